//! Signed tokens (RFC 7519) that say what a client may do.

use super::grant::{Claims, Role, Rooms};
use crate::engine::Now;
use crate::rooms::{RoomId, parse_uuid};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation, decode};
use serde::Deserialize;
use std::fmt;

/// Bytes of a token.
pub const TOKEN_MAX: usize = 8 * 1024;

/// Checks tokens with one key. The key fixes the algorithm; what a token says of its own is only compared with that.
#[derive(Clone)]
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

/// Why a token gives no access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// It is not signed with the key, or does not say what it must.
    Token,
    /// Its time is over.
    Expired,
    /// Its time is yet to come.
    Early,
}

/// The claims that are read. Others are left to others.
#[derive(Deserialize)]
struct Payload {
    sub: Option<String>,
    role: Option<String>,
    rooms: Option<NamedRooms>,
    permissions: Option<Vec<String>>,
    exp: f64,
    nbf: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NamedRooms {
    /// `*`, or one room.
    One(String),
    Several(Vec<String>),
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({:?})", self.validation.algorithms)
    }
}

impl Verifier {
    /// For tokens signed by whoever shares `secret` (HS256).
    pub fn shared(secret: &[u8]) -> Self {
        Self::new(DecodingKey::from_secret(secret), Algorithm::HS256)
    }

    /// For tokens signed with the private part of a public key in PEM: RS256, ES256 (P-256) or EdDSA (Ed25519), as the key
    /// is. `None`: it is no such key.
    pub fn public(pem: &[u8]) -> Option<Self> {
        /// 4, x and y (SEC 1 §2.3.3).
        const P256_POINT_LEN: usize = 65;
        // The library would take the file of a private key for its public part; that file should not be here.
        if pem.windows(11).any(|window| window == b"PRIVATE KEY") {
            return None;
        }
        let key = DecodingKey::from_rsa_pem(pem).or_else(|_| DecodingKey::from_ed_pem(pem));
        let key = key.or_else(|_| DecodingKey::from_ec_pem(pem)).ok()?;
        let algorithm = match key.family() {
            AlgorithmFamily::Rsa => Algorithm::RS256,
            AlgorithmFamily::Ed => Algorithm::EdDSA,
            AlgorithmFamily::Ec if key.try_get_as_bytes().is_ok_and(|p| p.len() == P256_POINT_LEN) => Algorithm::ES256,
            _ => return None,
        };
        Some(Self::new(key, algorithm))
    }

    fn new(key: DecodingKey, algorithm: Algorithm) -> Self {
        let mut validation = Validation::new(algorithm);
        // Times are checked here, by the clock of the turn.
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        validation.required_spec_claims.clear();
        Self { key, validation }
    }

    /// The claims of a token that holds now.
    pub fn verify(&self, token: &[u8], now: Now) -> Result<Claims, Invalid> {
        if token.len() > TOKEN_MAX {
            return Err(Invalid::Token);
        }
        let decoded = decode::<Payload>(token, &self.key, &self.validation).map_err(|_| Invalid::Token)?;
        // What a token declares critical must be understood, and nothing is (RFC 7515 §4.1.11).
        if decoded.header.crit.is_some() {
            return Err(Invalid::Token);
        }
        let claims = decoded.claims.claims().ok_or(Invalid::Token)?;
        let nbf_ms = decoded.claims.nbf.map(unix_ms);
        match (nbf_ms, claims.expires_ms) {
            (Some(None), _) => Err(Invalid::Token),
            (_, expires_ms) if expires_ms <= now.unix_ms => Err(Invalid::Expired),
            (Some(Some(nbf_ms)), _) if nbf_ms > now.unix_ms => Err(Invalid::Early),
            _ => Ok(claims),
        }
    }
}

impl Payload {
    fn claims(&self) -> Option<Claims> {
        let role = match self.role.as_deref() {
            None | Some("user") => Role::User,
            Some("agent") => Role::Agent,
            Some("admin") => Role::Admin,
            Some(_) => return None,
        };
        let subject = self.sub.as_deref().and_then(parse_uuid);
        if role == Role::User && subject.is_none() {
            return None;
        }
        let rooms = match &self.rooms {
            None if role == Role::Admin => Rooms::All,
            None => Rooms::Listed(Box::default()),
            Some(NamedRooms::One(name)) if name == "*" => Rooms::All,
            Some(NamedRooms::One(name)) => listed(std::slice::from_ref(name))?,
            Some(NamedRooms::Several(names)) if names.iter().any(|name| name == "*") => Rooms::All,
            Some(NamedRooms::Several(names)) => listed(names)?,
        };
        let reads_logs = self.permissions.iter().flatten().any(|permission| permission == "logs");
        Some(Claims { subject, role, rooms, reads_logs, expires_ms: unix_ms(self.exp)? })
    }
}

fn listed(names: &[String]) -> Option<Rooms> {
    let mut rooms: Vec<RoomId> = names.iter().map(|name| RoomId::any(name)).collect::<Option<_>>()?;
    rooms.sort_unstable();
    Some(Rooms::Listed(rooms.into()))
}

/// A NumericDate (RFC 7519 §2), which may have a fraction, in milliseconds.
fn unix_ms(seconds: f64) -> Option<u64> {
    /// The last second of the year 9999.
    const MAX: f64 = 253_402_300_799.0;
    (seconds >= 0.0).then(|| (seconds.min(MAX) * 1_000.0) as u64)
}
