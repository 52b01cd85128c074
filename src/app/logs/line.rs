//! One log line, and what a reader wants of them (contract A6, B1).

use crate::app::broadcast::put_uuid;
use crate::app::fault::{Code, Fault};
use crate::app::fields::{Fields, Key};
use crate::app::json::{Value, put_str};
use crate::wire::prepared::Prepared;
use crate::wire::put_decimal;
use uuid::Uuid;

/// Bytes of the text of a posted line.
pub const MSG_MAX: usize = 16 * 1024;
/// Bytes of the name of an agent.
pub const AGENT_NAME_MAX: usize = 256;
/// Highest level a line or filter may have.
const LEVEL_MAX: u64 = 100;
/// Level of a posted line that names none: info.
const LEVEL_DEFAULT: u8 = 30;
/// Latest time of a posted line: the last that a JavaScript date can hold.
const TIME_MAX_MS: u64 = 8_640_000_000_000_000;
/// Levels by name; those of the SDK among them.
const LEVELS: [(&str, u8); 10] = [
    ("all", 0),
    ("trace", 10),
    ("debug", 20),
    ("success", 27),
    ("progress", 28),
    ("log", 29),
    ("info", 30),
    ("warn", 40),
    ("error", 50),
    ("fatal", 60),
];

/// A log line, encoded for all its readers.
#[derive(Debug)]
pub struct Line {
    /// 10 trace, 20 debug, 30 info, 40 warn, 50 error, 60 fatal.
    pub level: u8,
    /// The agent it is of.
    pub agent: Option<Uuid>,
    /// The name of that; of the server's own lines `sockeye`.
    pub agent_name: Box<str>,
    /// Whether it is one of the server's own.
    pub is_server: bool,
    /// As `logEntry`, and as `log_stream`.
    pub frames: [Prepared; 2],
}

/// What a line is made of.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    pub level: u8,
    /// Milliseconds since 1970 UTC.
    pub time_ms: u64,
    pub msg: &'a str,
    pub agent: Option<Uuid>,
    pub agent_name: &'a str,
}

impl Line {
    /// A line that an agent posted. What it does not say: level info, the time now.
    pub fn of_agent(value: Value<'_>, now_ms: u64) -> Result<Self, Fault> {
        let no_object = || Fault::new(Code::InvalidPayload, "A log line must be a JSON object.");
        let fields = Fields::of(value).ok_or_else(no_object)?;
        let msg = value.get("msg").and_then(Value::as_str).ok_or_else(|| Fault::field("msg", "a string"))?;
        if msg.len() > MSG_MAX {
            return Err(Fault::limit(Code::TooLarge, "msg", MSG_MAX, "bytes"));
        }
        let time_ms = match value.get("time").filter(|time| !time.is_null()) {
            None => now_ms,
            Some(time) => {
                let time_ms = time.as_u64().filter(|&ms| ms <= TIME_MAX_MS);
                time_ms.ok_or_else(|| Fault::field("time", "milliseconds since 1970 UTC"))?
            }
        };
        let level = Level::field(&fields)?.map_or(LEVEL_DEFAULT, |level| level.number);
        let agent_name = fields.text(Key::AgentName, AGENT_NAME_MAX)?.unwrap_or_default();
        let draft = Draft { level, time_ms, msg, agent: fields.uuid(Key::Agent)?, agent_name };
        Ok(Self::new(draft, false))
    }

    /// A line of the server's own.
    pub fn of_server(level: u8, time_ms: u64, msg: &str) -> Self {
        Self::new(Draft { level, time_ms, msg, agent: None, agent_name: "sockeye" }, true)
    }

    fn new(draft: Draft<'_>, is_server: bool) -> Self {
        let Draft { level, agent, agent_name, .. } = draft;
        let entry = Prepared::event(|out| {
            out.extend_from_slice(br#"["logEntry","#);
            draft.put(out);
            out.push(b']');
        });
        let stream = Prepared::event(|out| {
            out.extend_from_slice(br#"["log_stream",{"type":"log_entry","payload":"#);
            draft.put(out);
            out.extend_from_slice(b"}]");
        });
        Self { level, agent, agent_name: agent_name.into(), is_server, frames: [entry, stream] }
    }
}

impl Draft<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"level":"#);
        put_decimal(out, self.level.into());
        out.extend_from_slice(br#","time":"#);
        put_decimal(out, self.time_ms);
        out.extend_from_slice(br#","msg":"#);
        put_str(out, self.msg);
        out.extend_from_slice(br#","agentId":"#);
        match self.agent {
            Some(agent) => put_uuid(out, agent),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(br#","agentName":"#);
        put_str(out, self.agent_name);
        out.push(b'}');
    }
}

/// A level as a client wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    number: u8,
    name: Option<&'static str>,
}

impl Level {
    fn of(value: Value<'_>) -> Option<Self> {
        if let Some(number) = value.as_u64() {
            let number = u8::try_from(number.min(LEVEL_MAX)).ok()?;
            return Some(Self { number, name: None });
        }
        let name = value.as_str()?.to_ascii_lowercase();
        LEVELS.iter().find(|(known, _)| *known == name).map(|&(name, number)| Self { number, name: Some(name) })
    }

    fn field(fields: &Fields<'_>) -> Result<Option<Self>, Fault> {
        let Some(value) = fields.value(Key::Level) else { return Ok(None) };
        let wrong = || Fault::field("level", "a number, or the name of a level");
        Self::of(value).map(Some).ok_or_else(wrong)
    }
}

/// What a reader wants. Of what it does not say it wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    agent_name: Option<Box<str>>,
    level: Option<Level>,
}

impl Filters {
    /// What a client asks for.
    pub fn of(fields: &Fields<'_>) -> Result<Self, Fault> {
        let agent_name = fields.text(Key::AgentName, AGENT_NAME_MAX)?.map(Box::from);
        Ok(Self { agent_name, level: Level::field(fields)? })
    }

    /// Takes over what `other` says.
    pub fn merge(&mut self, other: Self) {
        self.agent_name = other.agent_name.or(self.agent_name.take());
        self.level = other.level.or(self.level);
    }

    /// Whether a line is wanted.
    pub fn want(&self, line: &Line) -> bool {
        let agent = self.agent_name.as_deref().filter(|&name| name != "all");
        agent.is_none_or(|name| *name == *line.agent_name) && self.level.is_none_or(|level| line.level >= level.number)
    }

    /// Appends them as JSON.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        if let Some(name) = &self.agent_name {
            out.extend_from_slice(br#""agentName":"#);
            put_str(out, name);
        }
        if let Some(level) = self.level {
            if self.agent_name.is_some() {
                out.push(b',');
            }
            out.extend_from_slice(br#""level":"#);
            match level.name {
                Some(name) => put_str(out, name),
                None => put_decimal(out, level.number.into()),
            }
        }
        out.push(b'}');
    }
}
