//! What clients must present, from the flags and the files they name.

use super::StartError;
use crate::app::{Access, Secret, Verifier};
use crate::config::Config;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a secret for HS256 at least, if it is to be as good as the algorithm (RFC 7518 §3.2).
const SECRET_MIN: usize = 32;

/// Reads the key of signed tokens, if there is to be one.
pub fn load(config: &Config) -> Result<Access, StartError> {
    let verifier = match (&config.jwt_secret, &config.jwt_secret_file, &config.jwt_public_key) {
        (Some(secret), _, _) => Some(shared(secret)),
        (_, Some(path), _) => Some(shared(&secret_of(path)?)),
        (_, _, Some(path)) => Some(public(path)?),
        (None, None, None) => None,
    };
    let (token, require_entity_id) = (config.auth_token.clone(), config.require_entity_id);
    Ok(Access { token, verifier: verifier.map(Arc::new), require_entity_id })
}

fn shared(secret: &Secret) -> Verifier {
    if secret.bytes().len() < SECRET_MIN {
        tracing::warn!(at_least = SECRET_MIN, "the secret of signed tokens has too few bytes to be safe");
    }
    Verifier::shared(secret.bytes())
}

fn secret_of(path: &Path) -> Result<Secret, StartError> {
    let text = read(path)?;
    let text = String::from_utf8(text).map_err(|_| refused(path, "is not UTF-8"))?;
    let text = text.strip_suffix('\n').map_or(&*text, |text| text.strip_suffix('\r').unwrap_or(text));
    Secret::new(text).ok_or_else(|| refused(path, "is empty"))
}

fn public(path: &Path) -> Result<Verifier, StartError> {
    let wanted = "is not a public key in PEM: RSA, P-256 or Ed25519";
    Verifier::public(&read(path)?).ok_or_else(|| refused(path, wanted))
}

fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    fs::read(path).map_err(|error| refused(path, error))
}

fn refused(path: &Path, why: impl ToString) -> StartError {
    StartError::File(path.to_owned(), why.to_string())
}
