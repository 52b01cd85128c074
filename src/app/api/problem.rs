//! Why a call is refused (contract B3): `{success:false, error:{code, message}}`.

use crate::app::fault::{Code, Fault};
use crate::app::json::put_str;
use crate::engine::Answer;
use std::borrow::Cow;

/// A refused call; nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    /// For programs.
    pub code: &'static str,
    /// For people, one sentence.
    pub message: Cow<'static, str>,
    /// Further header lines, each ending in CRLF.
    pub headers: &'static str,
}

impl Problem {
    /// `status`: one of those that [`code_of`] knows.
    pub fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code: code_of(status), message: message.into(), headers: "" }
    }

    /// There is nothing of that name.
    pub fn not_found(message: &'static str) -> Self {
        Self::new(404, message)
    }

    /// The answer's text.
    pub fn json(&self) -> String {
        let mut out = br#"{"success":false,"error":{"code":""#.to_vec();
        out.extend_from_slice(self.code.as_bytes());
        out.extend_from_slice(br#"","message":"#);
        put_str(&mut out, &self.message);
        out.extend_from_slice(b"}}");
        // Only whole strings were appended.
        String::from_utf8(out).unwrap_or_default()
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        Self::Json { status: problem.status, headers: problem.headers, json: problem.json() }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let status = match fault.code {
            Code::Forbidden | Code::NotJoined => 403,
            Code::TooLarge => 413,
            Code::RateLimited | Code::TooManyRooms => 429,
            Code::Conflict => 409,
            Code::Unavailable => 503,
            Code::InvalidPayload | Code::UnknownEvent => 400,
        };
        Self { code: fault.code.name(), ..Self::new(status, fault.message) }
    }
}

/// The code of a status that needs no finer one.
fn code_of(status: u16) -> &'static str {
    match status {
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        409 => "conflict",
        413 => "too_large",
        415 => "unsupported_media_type",
        429 => "rate_limited",
        503 => "unavailable",
        _ => "invalid_request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_in_the_contracts_words() {
        let problem = Problem::new(404, "There is no \"x\".");
        assert_eq!(problem.json(), r#"{"success":false,"error":{"code":"not_found","message":"There is no \"x\"."}}"#);
        for (code, status) in [
            (Code::InvalidPayload, 400),
            (Code::Forbidden, 403),
            (Code::TooLarge, 413),
            (Code::RateLimited, 429),
            (Code::Unavailable, 503),
        ] {
            let problem = Problem::from(Fault::new(code, "No."));
            assert_eq!((problem.status, problem.code), (status, code.name()));
        }
    }
}
