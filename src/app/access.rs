//! Who may use the server (contract B2). Open by default.

use super::grant::Grant;
use super::handshake::Handshake;
use super::jwt::{Invalid, Verifier};
use crate::engine::{Credential, Now};
use crate::rooms::parse_uuid;
use crate::socket::ConnectError;
use crate::wire::http::Head;
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What operators set of access. Where clients must present something, the operator's token or a signed one will do.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The operator's token: with it a client may do everything.
    pub token: Option<Secret>,
    /// Checks signed tokens, which say what their bearer may do.
    pub verifier: Option<Arc<Verifier>>,
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

    /// The secret itself.
    pub fn bytes(&self) -> &[u8] {
        &self.0
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
    /// Whether clients must present anything.
    fn is_open(&self) -> bool {
        self.token.is_none() && self.verifier.is_none()
    }

    /// What a request's headers carry, if it can matter.
    pub fn credential(&self, head: &Head<'_>) -> Option<Box<Credential>> {
        if self.is_open() {
            return None;
        }
        let api_key = head.header("x-api-key").map(Box::from);
        let bearer = head.header("authorization").and_then(bearer).map(Box::from);
        let carries = api_key.is_some() || bearer.is_some();
        carries.then(|| Box::new(Credential { api_key, bearer }))
    }

    /// What a socket may do.
    pub fn admit_socket(
        &self,
        now: Now,
        handshake: &Handshake<'_>,
        credential: Option<&Credential>,
    ) -> Result<Grant, ConnectError> {
        let api_key = handshake.api_key.as_deref().map(str::as_bytes);
        let token = handshake.token.as_deref().map(str::as_bytes);
        let header_key = credential.and_then(|c| c.api_key.as_deref());
        let header_token = credential.and_then(|c| c.bearer.as_deref());
        let grant = self.admit(now, &[api_key, token, header_key], &[token, header_token]);
        let grant = grant.map_err(|denied| ConnectError { message: denied.message().to_owned() })?;
        let entity = handshake.entity_id.as_deref().and_then(parse_uuid);
        let is_right = entity.map_or(!self.require_entity_id, |entity| grant.allows_sender(entity));
        if is_right { Ok(grant) } else { Err(ConnectError { message: "Valid entityId required".to_owned() }) }
    }

    /// What an HTTP call may do.
    pub fn admit_call(&self, now: Now, head: &Head<'_>) -> Result<Grant, Denied> {
        self.admit(now, &[head.header("x-api-key")], &[head.header("authorization").and_then(bearer)])
    }

    /// `keys`: what may be the operator's token; `tokens`: what may be a signed one.
    fn admit(&self, now: Now, keys: &[Option<&[u8]>], tokens: &[Option<&[u8]>]) -> Result<Grant, Denied> {
        if self.is_open() {
            return Ok(Grant::Anonymous);
        }
        if let Some(token) = &self.token
            && keys.iter().flatten().fold(false, |found, key| token.is(key) | found)
        {
            return Ok(Grant::Operator);
        }
        let Some(verifier) = &self.verifier else { return Err(Denied::Missing) };
        let mut denied = Denied::Missing;
        for token in tokens.iter().flatten() {
            match verifier.verify(token, now) {
                Ok(claims) => return Ok(Grant::Claims(Box::new(claims))),
                Err(invalid) => denied = Denied::Token(invalid),
            }
        }
        Err(denied)
    }
}

/// Why a client has no access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It presents nothing that is known.
    Missing,
    /// It presents a token that does not hold.
    Token(Invalid),
}

impl Denied {
    /// What it is told.
    pub fn message(self) -> &'static str {
        match self {
            Self::Missing => "Invalid or missing API Key",
            Self::Token(Invalid::Token) => "Invalid token",
            Self::Token(Invalid::Expired) => "Token expired",
            Self::Token(Invalid::Early) => "Token not yet valid",
        }
    }
}

/// The token of `Bearer TOKEN`; the scheme in any case (RFC 9110 §11.1).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}
