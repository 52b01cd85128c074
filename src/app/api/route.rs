//! Which call a request makes (contract B3), decided from method and path.

use super::problem::Problem;
use crate::rooms::parse_uuid;
use crate::wire::http::Method;
use uuid::Uuid;

/// Where the API is served.
pub const PREFIX: &str = "/api/messaging";

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /message-server/current`
    CurrentServer,
    /// `POST /logs`
    Logs,
    /// One with a JSON body.
    Told(Told),
    /// One without.
    Bare(Bare),
}

/// A call with a JSON body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A message is published.
    Publish(Kind),
    /// `PATCH /action/:id`
    UpdateAction(Uuid),
    /// `POST /complete`
    Complete,
    /// `POST /channels/:id/agents`
    AddAgent(Uuid),
}

/// A call that publishes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `POST /submit`
    Submit,
    /// `POST /action`
    Action,
    /// `POST /ingest-external`
    External,
}

/// A call without a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bare {
    /// `GET /agents/:id/message-servers`
    ServersOfAgent(Uuid),
    /// `GET /message-servers/:id/channels`
    ChannelsOfServer(Uuid),
    /// `GET /channels/:id/details`
    Details(Uuid),
    /// `GET /channels/:id/participants`
    Participants(Uuid),
    /// `GET /channels/:id/messages`
    Messages(Uuid),
    /// `DELETE /channels/:id/agents/:agentId`
    RemoveAgent(Uuid, Uuid),
}

/// Whether a path is the API's.
pub fn serves(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Most segments that the path of a call has, and one more.
const SEGMENTS_MAX: usize = 5;

/// The call of a request. The path may end in a slash.
///
/// # Errors
/// 404, 405 with `Allow`, or 400 for an id that is no uuid.
pub fn route(method: Method, path: &str) -> Result<Route, Problem> {
    const GET: &str = "Allow: GET, HEAD, OPTIONS\r\n";
    const POST: &str = "Allow: POST, OPTIONS\r\n";
    const PATCH: &str = "Allow: PATCH, OPTIONS\r\n";
    const DELETE: &str = "Allow: DELETE, OPTIONS\r\n";
    let rest = path.strip_prefix(PREFIX).unwrap_or_default();
    let rest = rest.strip_prefix('/').unwrap_or_default();
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let segments: Vec<&str> = rest.splitn(SEGMENTS_MAX, '/').collect();
    let (allow, call): (_, Result<Route, Problem>) = match *segments.as_slice() {
        ["submit"] => (POST, Ok(Route::Told(Told::Publish(Kind::Submit)))),
        ["action"] => (POST, Ok(Route::Told(Told::Publish(Kind::Action)))),
        ["action", id] => (PATCH, told("messageId", id, Told::UpdateAction)),
        ["complete"] => (POST, Ok(Route::Told(Told::Complete))),
        ["ingest-external"] => (POST, Ok(Route::Told(Told::Publish(Kind::External)))),
        ["logs"] => (POST, Ok(Route::Logs)),
        ["agents", id, "message-servers"] => (GET, bare("agentId", id, Bare::ServersOfAgent)),
        ["message-servers", id, "channels"] => (GET, bare("messageServerId", id, Bare::ChannelsOfServer)),
        ["message-server", "current"] => (GET, Ok(Route::CurrentServer)),
        ["channels", id, "details"] => (GET, bare("channelId", id, Bare::Details)),
        ["channels", id, "participants"] => (GET, bare("channelId", id, Bare::Participants)),
        ["channels", id, "messages"] => (GET, bare("channelId", id, Bare::Messages)),
        ["channels", id, "agents"] => (POST, told("channelId", id, Told::AddAgent)),
        ["channels", id, "agents", agent] => {
            let ids = uuid("channelId", id).and_then(|id| Ok(Bare::RemoveAgent(id, uuid("agentId", agent)?)));
            (DELETE, ids.map(Route::Bare))
        }
        _ => return Err(Problem::not_found("There is no such call.")),
    };
    let is_allowed = match method {
        Method::Get | Method::Head => allow == GET,
        Method::Post => allow == POST,
        Method::Patch => allow == PATCH,
        Method::Delete => allow == DELETE,
        Method::Put | Method::Options | Method::Other => false,
    };
    if !is_allowed {
        return Err(Problem { headers: allow, ..Problem::new(405, "The call has another method.") });
    }
    call
}

fn told(name: &'static str, id: &str, call: fn(Uuid) -> Told) -> Result<Route, Problem> {
    uuid(name, id).map(|id| Route::Told(call(id)))
}

fn bare(name: &'static str, id: &str, call: fn(Uuid) -> Bare) -> Result<Route, Problem> {
    uuid(name, id).map(|id| Route::Bare(call(id)))
}

fn uuid(name: &'static str, text: &str) -> Result<Uuid, Problem> {
    parse_uuid(text).ok_or_else(|| Problem::new(400, format!("{name} must be a uuid.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0A0a0a0a-0000-4000-8000-000000000001";
    const AGENT: &str = "0c0c0c0c-0000-4000-8000-000000000001";

    /// Method, path, call.
    fn calls() -> [(Method, &'static str, Route); 14] {
        let (id, agent) = (Uuid::parse_str(ID).expect("a uuid"), Uuid::parse_str(AGENT).expect("a uuid"));
        [
            (Method::Post, "submit", Route::Told(Told::Publish(Kind::Submit))),
            (Method::Post, "action", Route::Told(Told::Publish(Kind::Action))),
            (Method::Patch, "action/:id", Route::Told(Told::UpdateAction(id))),
            (Method::Post, "complete", Route::Told(Told::Complete)),
            (Method::Post, "ingest-external", Route::Told(Told::Publish(Kind::External))),
            (Method::Post, "logs", Route::Logs),
            (Method::Get, "agents/:id/message-servers", Route::Bare(Bare::ServersOfAgent(id))),
            (Method::Get, "message-servers/:id/channels", Route::Bare(Bare::ChannelsOfServer(id))),
            (Method::Get, "message-server/current", Route::CurrentServer),
            (Method::Get, "channels/:id/details", Route::Bare(Bare::Details(id))),
            (Method::Get, "channels/:id/participants", Route::Bare(Bare::Participants(id))),
            (Method::Get, "channels/:id/messages", Route::Bare(Bare::Messages(id))),
            (Method::Post, "channels/:id/agents", Route::Told(Told::AddAgent(id))),
            (Method::Delete, "channels/:id/agents/:agent", Route::Bare(Bare::RemoveAgent(id, agent))),
        ]
    }

    #[test]
    fn every_call_has_its_path_and_no_other_method() {
        let methods = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete, Method::Other];
        for (method, path, call) in calls() {
            let path = format!("{PREFIX}/{}", path.replace(":id", ID).replace(":agent", AGENT));
            assert!(serves(&path));
            assert_eq!(route(method, &path), Ok(call), "{path}");
            assert_eq!(route(method, &format!("{path}/")), Ok(call), "{path}/");
            assert_eq!(route(Method::Head, &path).is_ok(), method == Method::Get, "{path}");
            for other in methods.into_iter().filter(|&m| m != method) {
                let problem = route(other, &path).expect_err("another method");
                assert_eq!(problem.status, 405, "{other:?} {path}");
                assert!(problem.headers.starts_with("Allow: ") && problem.headers.ends_with("OPTIONS\r\n"));
            }
        }
    }

    #[test]
    fn ids_are_uuids() {
        for (method, path, _) in calls() {
            for wrong in ["x", "", "0a0a0a0a00004000800000000000000a", "%30a0a0a0a-0000-4000-8000-000000000001"] {
                for placeholder in [":id", ":agent"] {
                    let other = if placeholder == ":id" { (":agent", AGENT) } else { (":id", ID) };
                    if path.contains(placeholder) {
                        let path = path.replace(placeholder, wrong).replace(other.0, other.1);
                        let refused = route(method, &format!("{PREFIX}/{path}")).expect_err("no uuid");
                        // Without an id the path may be another call's.
                        assert!(matches!((refused.status, wrong), (400, _) | (404 | 405, "")), "{path}");
                    }
                }
            }
        }
    }

    #[test]
    fn everything_else_is_not_there() {
        for path in ["", "/", "/submit/x", "/Submit", "/channels", "/channels//x", "/submit//", "/a/b/c/d/e/f/g"] {
            let refused = route(Method::Get, &format!("{PREFIX}{path}")).expect_err(path);
            assert_eq!(refused.status, 404, "{path}");
        }
        assert!(!serves("/api/messagingx") && !serves("/api") && serves(PREFIX));
    }
}
