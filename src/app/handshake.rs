//! What a client says of itself in its CONNECT packet (contract B1, B2).

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The members of `auth` that mean something here. One that is not a string is as good as absent. No `Debug`: there are
/// secrets among them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Handshake<'a> {
    /// A secret that gives access.
    #[serde(borrow, deserialize_with = "text")]
    pub api_key: Option<Cow<'a, str>>,
    /// The same, under its other name.
    #[serde(borrow, deserialize_with = "text")]
    pub token: Option<Cow<'a, str>>,
    /// The user who speaks through the socket.
    #[serde(borrow, deserialize_with = "text")]
    pub entity_id: Option<Cow<'a, str>>,
}

impl<'a> Handshake<'a> {
    /// Reads the JSON object of a CONNECT. One in which a known member comes twice says nothing.
    pub fn of(auth: Option<&'a str>) -> Self {
        auth.and_then(|auth| serde_json::from_str(auth).ok()).unwrap_or_default()
    }
}

/// A string, or nothing; other values are skipped without recursion on their nesting.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    /// Borrowed where it can be.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).ok().map(|Text(text)| text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_and_anything_else_is_as_good_as_absent() {
        for (auth, token, entity_id) in [
            (r#"{"token":"a","entityId":"b"}"#, Some("a"), Some("b")),
            (r#"{"token":"\u0061\n","more":{"token":1}}"#, Some("a\n"), None),
            (r#"{"token":7,"entityId":null}"#, None, None),
            (r#"{"token":["a"],"entityId":{"b":"b"}}"#, None, None),
            (r#"{"token":"\ud800","entityId":"b"}"#, None, Some("b")),
            (r#"{"token":"a","token":"b"}"#, None, None),
            ("{}", None, None),
        ] {
            let handshake = Handshake::of(Some(auth));
            assert_eq!((handshake.token.as_deref(), handshake.entity_id.as_deref()), (token, entity_id), "{auth}");
        }
        assert!(Handshake::of(None).api_key.is_none());
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!(r#"{{"token":{}1{},"apiKey":"a"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Handshake::of(Some(&deep)).api_key.as_deref(), Some("a"));
    }
}
