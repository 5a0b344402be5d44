//! Why a question is not answered, in the words of Prometheus' API.

use std::fmt::Display;

use axum::{
    body::Body,
    http::{
        Response, StatusCode,
        header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER},
    },
};
use farol_query::{EvalError, Stop};

use super::json;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Of what is sent, if not the kind's own.
    status: Option<StatusCode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request makes no sense.
    BadData,
    /// The question began and could not go on.
    Execution,
    /// It would take more than a limit: to clients the same.
    TooLarge,
    /// Its client went away.
    Canceled,
    Timeout,
    /// Not now: the store is not there yet, or there are too many questions.
    Unavailable,
    Internal,
    NotFound,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::BadData => "bad_data",
            Kind::Execution | Kind::TooLarge => "execution",
            Kind::Canceled => "canceled",
            Kind::Timeout => "timeout",
            Kind::Unavailable => "unavailable",
            Kind::Internal => "internal",
            Kind::NotFound => "not_found",
        }
    }

    const fn status(self) -> u16 {
        match self {
            Kind::BadData => 400,
            Kind::Execution | Kind::TooLarge => 422,
            Kind::Canceled => 499,
            Kind::Timeout | Kind::Unavailable => 503,
            Kind::Internal => 500,
            Kind::NotFound => 404,
        }
    }
}

impl ApiError {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> ApiError {
        ApiError { kind, text: text.into(), status: None }
    }

    pub(crate) fn bad(text: impl Into<String>) -> ApiError {
        ApiError::new(Kind::BadData, text)
    }

    pub(crate) fn parameter(name: &str, cause: impl Display) -> ApiError {
        ApiError::bad(format!("invalid parameter {name:?}: {cause}"))
    }

    /// With another status than the kind's.
    pub(crate) fn with_status(self, status: StatusCode) -> ApiError {
        ApiError { status: Some(status), ..self }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let status = self.status.or_else(|| StatusCode::from_u16(self.kind.status()).ok());
        let mut response = Response::new(Body::from(json::failure(self.kind.word(), &self.text)));
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.kind == Kind::Unavailable {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<EvalError> for ApiError {
    fn from(error: EvalError) -> ApiError {
        let kind = match &error {
            EvalError::Bad(_) => Kind::BadData,
            EvalError::Failed(_) => Kind::Execution,
            EvalError::TooLarge(_) => Kind::TooLarge,
            EvalError::Stopped(Stop::TimedOut) => Kind::Timeout,
            EvalError::Stopped(Stop::Canceled) => Kind::Canceled,
        };
        ApiError::new(kind, error.to_string())
    }
}

impl From<Stop> for ApiError {
    fn from(stop: Stop) -> ApiError {
        EvalError::Stopped(stop).into()
    }
}
