//! Writes the members of a JSON object one by one, each with the comma before it.

use farol_model::{Labels, Timestamp};

use super::{write_number, write_string};
use crate::time;

#[derive(Debug)]
pub(super) struct Object<'a> {
    line: &'a mut Vec<u8>,
    comma: bool,
}

impl Object<'_> {
    /// Of an object that is open already and has members.
    pub(super) fn going_on(line: &mut Vec<u8>) -> Object<'_> {
        Object { line, comma: true }
    }

    pub(super) fn write(line: &mut Vec<u8>, members: impl FnOnce(&mut Object<'_>)) {
        line.push(b'{');
        members(&mut Object { line, comma: false });
        line.push(b'}');
    }

    /// Where the member's value is to be written.
    pub(super) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if std::mem::replace(&mut self.comma, true) {
            self.line.push(b',');
        }
        write_string(self.line, name);
        self.line.push(b':');
        self.line
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        write_string(self.member(name), text);
    }

    pub(super) fn time(&mut self, name: &str, at: Timestamp) {
        write_time(self.member(name), at);
    }

    pub(super) fn number(&mut self, name: &str, value: f64) {
        write_number(self.member(name), value);
    }

    pub(super) fn whole(&mut self, name: &str, value: i64) {
        let line = self.member(name);
        line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    pub(super) fn flag(&mut self, name: &str, value: bool) {
        let word: &[u8] = if value { b"true" } else { b"false" };
        self.member(name).extend_from_slice(word);
    }

    pub(super) fn fingerprint(&mut self, fingerprint: u64) {
        self.text("fingerprint", &format!("{fingerprint:016x}"));
    }

    pub(super) fn labels(&mut self, name: &str, labels: &Labels) {
        Object::write(self.member(name), |object| {
            for (name, value) in labels.iter() {
                object.text(name, value);
            }
        });
    }

    pub(super) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T),
    ) {
        let line = self.member(name);
        line.push(b'[');
        for (place, item) in items.into_iter().enumerate() {
            if place > 0 {
                line.push(b',');
            }
            write(line, item);
        }
        line.push(b']');
    }
}

pub(super) fn write_time(line: &mut Vec<u8>, at: Timestamp) {
    line.push(b'"');
    time::write(line, at);
    line.push(b'"');
}
