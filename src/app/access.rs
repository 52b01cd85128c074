//! Who may use the server (contract B2). Open by default.

use super::handshake::Handshake;
use crate::engine::Credential;
use crate::rooms::parse_uuid;
use crate::socket::ConnectError;
use crate::wire::http::Head;
use std::fmt;
use subtle::ConstantTimeEq;

/// What operators set of access.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// What clients must present, if anything.
    pub token: Option<Secret>,
    /// Whether a socket must name the user who speaks through it.
    pub require_entity_id: bool,
}

/// A secret that clients share with the server. Not empty; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// `None`: it is empty.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.as_bytes().into()))
    }

    /// Whether `given` is the secret. How long that takes tells whether the lengths agree, and nothing else.
    fn is(&self, given: &[u8]) -> bool {
        self.0.ct_eq(given).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Access {
    /// What a request's headers carry, if it can matter.
    pub fn credential(&self, head: &Head<'_>) -> Option<Box<Credential>> {
        self.token.as_ref()?;
        head.header("x-api-key").map(|key| Box::new(Credential { api_key: key.into() }))
    }

    /// Whether a socket may connect.
    pub fn check_socket(&self, handshake: &Handshake<'_>, credential: Option<&Credential>) -> Result<(), ConnectError> {
        let auth = [&handshake.api_key, &handshake.token].into_iter().flatten().map(|text| text.as_bytes());
        let header = credential.map(|c| &*c.api_key);
        if !self.is_presented(auth.chain(header)) {
            return Err(ConnectError { message: "Invalid or missing API Key".to_owned() });
        }
        if self.require_entity_id && handshake.entity_id.as_deref().and_then(parse_uuid).is_none() {
            return Err(ConnectError { message: "Valid entityId required".to_owned() });
        }
        Ok(())
    }

    /// Whether an HTTP call may be made; if not it is to be answered 401.
    pub fn allows_call(&self, head: &Head<'_>) -> bool {
        self.is_presented(head.header("x-api-key").into_iter())
    }

    /// Whether the token is among what a client presents, or none is needed.
    fn is_presented<'a>(&self, presented: impl Iterator<Item = &'a [u8]>) -> bool {
        let Some(token) = &self.token else { return true };
        presented.fold(false, |found, given| token.is(given) | found)
    }
}
