//! The templates of labels and annotations: Go's `text/template` as far as rules use it.

#[derive(Clone, Debug)]
pub struct Template {
    pub text: farol_model::Text,
}
