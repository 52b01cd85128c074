//! What a client says of itself in its CONNECT packet (contract B1, B2).

use crate::rooms::parse_uuid;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use uuid::Uuid;

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
    /// The agent whose own the socket is.
    #[serde(borrow, deserialize_with = "text")]
    pub agent_id: Option<Cow<'a, str>>,
}

/// Whom a socket is said to stand for. What is not a uuid is as good as absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The socket is this agent's own.
    pub agent: Option<Uuid>,
    /// This user speaks through it.
    pub entity: Option<Uuid>,
}

impl<'a> Handshake<'a> {
    /// Reads the JSON object of a CONNECT. One in which a known member comes twice says nothing.
    pub fn of(auth: Option<&'a str>) -> Self {
        auth.and_then(|auth| serde_json::from_str(auth).ok()).unwrap_or_default()
    }

    /// Whom the socket stands for.
    pub fn identity(&self) -> Identity {
        let uuid = |text: &Option<Cow<'_, str>>| text.as_deref().and_then(parse_uuid);
        Identity { agent: uuid(&self.agent_id), entity: uuid(&self.entity_id) }
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
    fn a_socket_stands_for_those_who_are_named_by_a_uuid() {
        let id = "0C0C0C0C-0000-4000-8000-000000000001";
        let uuid = parse_uuid(id);
        for (auth, agent, entity) in [
            (format!(r#"{{"agentId":"{id}","entityId":"{}"}}"#, id.to_lowercase()), uuid, uuid),
            (format!(r#"{{"agentId":"\u0030{}"}}"#, &id[1..]), uuid, None),
            (format!(r#"{{"agentId":7,"entityId":"{id}"}}"#), None, uuid),
            (format!(r#"{{"agentId":"{id} ","entityId":""}}"#), None, None),
        ] {
            assert_eq!(Handshake::of(Some(&auth)).identity(), Identity { agent, entity }, "{auth}");
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!(r#"{{"token":{}1{},"apiKey":"a"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Handshake::of(Some(&deep)).api_key.as_deref(), Some("a"));
    }
}
