//! Which origins may use the server (Fetch standard, "CORS protocol"). The WebSocket transport knows no CORS, so the list
//! is checked here for both transports.

/// Sent with every answer to a preflight.
const PREFLIGHT: &str = "Access-Control-Allow-Methods: GET, POST, PUT, PATCH, DELETE, OPTIONS\r\n\
    Access-Control-Allow-Headers: Content-Type, Authorization, X-API-KEY, Idempotency-Key\r\n\
    Access-Control-Max-Age: 600\r\n";

/// The allow-list.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    /// `None`: any origin, without credentials.
    allowed: Option<Vec<Allowed>>,
}

#[derive(Clone, Debug)]
struct Allowed {
    origin: String,
    headers: String,
}

impl Cors {
    /// Any origin, without credentials.
    pub fn any() -> Self {
        Self::default()
    }

    /// These origins only (`scheme://host[:port]`), with credentials.
    pub fn only(origins: impl IntoIterator<Item = String>) -> Self {
        let allowed = origins.into_iter().map(|origin| Allowed {
            headers: format!(
                "Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n"
            ),
            origin,
        });
        Self { allowed: Some(allowed.collect()) }
    }

    /// What a request's `Origin` header leads to: the number to pass to [`Cors::headers`], or `Err` when it is not allowed.
    /// Requests without one (no browser) are let in. `origin` is asked for it only where it matters.
    pub fn check<'a>(&self, origin: impl FnOnce() -> Option<&'a [u8]>) -> Result<Option<u16>, Forbidden> {
        let Some(allowed) = &self.allowed else { return Ok(None) };
        let Some(origin) = origin() else { return Ok(None) };
        let found = allowed.iter().position(|a| a.origin.as_bytes().eq_ignore_ascii_case(origin));
        found.and_then(|i| u16::try_from(i).ok()).map(Some).ok_or(Forbidden)
    }

    /// Header lines of an answer.
    pub fn headers(&self, origin: Option<u16>) -> &str {
        match &self.allowed {
            None => "Access-Control-Allow-Origin: *\r\n",
            Some(allowed) => origin.and_then(|i| allowed.get(i as usize)).map_or("Vary: Origin\r\n", |a| &a.headers),
        }
    }

    /// Header lines of an answer to a preflight.
    pub fn preflight(&self, origin: Option<u16>) -> String {
        format!("{}{PREFLIGHT}", self.headers(origin))
    }
}

/// The origin is not on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forbidden;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_origin_never_comes_with_credentials() {
        let cors = Cors::any();
        let seen = cors.check(|| Some(b"https://evil.example")).expect("any is let in");
        assert_eq!(cors.headers(seen), "Access-Control-Allow-Origin: *\r\n");
    }

    #[test]
    fn a_list_lets_in_its_own_and_clients_without_origin() {
        let cors = Cors::only(["https://a.example".to_owned()]);
        assert_eq!(cors.check(|| Some(b"https://evil.example")), Err(Forbidden));
        assert_eq!(cors.check(|| None), Ok(None));
        let seen = cors.check(|| Some(b"https://a.example")).expect("listed");
        assert!(cors.headers(seen).starts_with("Access-Control-Allow-Origin: https://a.example\r\n"));
        assert!(!cors.headers(None).contains("Allow-Origin"));
    }
}
