//! JSON made of the bytes of an input: what clients send, changed here and there.

use serde_json::Value;

pub const ROOM: &str = "0a0a0a0a-0000-4000-8000-000000000001";
pub const AGENT: &str = "0c0c0c0c-0000-4000-8000-000000000001";
pub const USER: &str = "0b0b0b0b-0000-4000-8000-000000000001";

/// Names of fields, each meaning another of those that the application reads, and some that mean nothing.
const FIELDS: [&str; 32] = [
    "roomId",
    "channel_id",
    "serverId",
    "userId",
    "senderId",
    "author_id",
    "agentId",
    "entityId",
    "name",
    "senderName",
    "text",
    "message",
    "content",
    "messageId",
    "source",
    "thought",
    "actions",
    "attachments",
    "metadata",
    "raw_message",
    "sourceId",
    "in_reply_to_message_id",
    "targetUserId",
    "isDm",
    "type",
    "payload",
    "chunk",
    "index",
    "agentName",
    "level",
    "__proto__",
    "a\\u0000\\ud83d\\ude00\\\"",
];

const SCALARS: [&str; 32] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "2",
    "-1",
    "-0.0",
    "1.5e-3",
    "1e999",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "0.1e+1",
    "\"\"",
    "\"1\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\\u0000\\/\\\\\"",
    "\"__proto__\"",
    "\"DM\"",
    "\"x\"",
    "\"\u{7f}\u{2028}\u{ffff}\"",
    "\"info\"",
    "\"00000000-0000-0000-0000-000000000000\"",
    "\"0a0a0a0a-0000-4000-8000-000000000001\"",
    "\"0A0A0A0A-0000-4000-8000-000000000001\"",
    "\"0a0a0a0a-0000-4000-8000-000000000002\"",
    "\"0b0b0b0b-0000-4000-8000-000000000001\"",
    "\"0c0c0c0c-0000-4000-8000-000000000001\"",
    "\"0c0c0c0c-0000-4000-8000-00000000000g\"",
    "\"e112a000-0000-4000-8000-000000000001\"",
];

/// Levels of what is made up; besides, there is what is nothing but deep.
const DEPTH_MAX: usize = 4;

/// The bytes of an input, each of which decides something.
pub struct Choices<'a>(pub &'a [u8]);

impl Choices<'_> {
    /// The next byte. Where there is none, 0: everything stays as it is.
    pub fn next(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(&first, rest)| (first, rest));
        self.0 = rest;
        first
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.next()) % of.len()]
    }

    /// The text of the next bytes.
    fn text(&mut self) -> String {
        let (text, rest) = self.0.split_at(usize::from(self.next()).min(self.0.len()));
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }
}

/// Appends `value` as it is, or changed.
pub fn put_changed(out: &mut String, value: &Value, choices: &mut Choices<'_>) {
    match (choices.next(), value) {
        (0..200, Value::Object(members)) => {
            let start = out.len();
            for (name, value) in members {
                put_member(out, name, value, choices);
            }
            if choices.next() >= 200 {
                put_name(out, choices.pick(&FIELDS));
                put_any(out, choices, 0);
            }
            close(out, start, ['{', '}']);
        }
        (0..200, Value::Array(elements)) => {
            let start = out.len();
            for value in elements {
                out.push(',');
                put_changed(out, value, choices);
            }
            close(out, start, ['[', ']']);
        }
        (0..200, value) => out.push_str(&value.to_string()),
        (200..230, _) => put_any(out, choices, 0),
        (230..240, _) => {
            let levels = 1 + usize::from(choices.next());
            let [open, close] = choices.pick(&[["[", "]"], ["{\"a\":", "}"]]);
            out.extend([&open.repeat(levels), "0", &close.repeat(levels)]);
        }
        _ => {
            out.push('[');
            put_changed(out, value, choices);
            out.push(']');
        }
    }
}

fn put_member(out: &mut String, name: &str, value: &Value, choices: &mut Choices<'_>) {
    match choices.next() {
        0..210 => {
            put_name(out, name);
            put_changed(out, value, choices);
        }
        210..225 => {}
        225..240 => {
            put_name(out, choices.pick(&FIELDS));
            put_changed(out, value, choices);
        }
        _ => {
            put_name(out, name);
            put_any(out, choices, 0);
            put_name(out, name);
            put_changed(out, value, choices);
        }
    }
}

/// A comma, the name of a member and a colon. Names are as they stand in JSON.
fn put_name(out: &mut String, name: &str) {
    out.extend([",\"", name, "\":"]);
}

/// Encloses what was appended from `start` on, a comma in front of each element.
fn close(out: &mut String, start: usize, [open, close]: [char; 2]) {
    if out.len() == start {
        out.push(',');
    }
    out.replace_range(start..=start, open.encode_utf8(&mut [0; 4]));
    out.push(close);
}

/// Appends any value.
pub fn put_any(out: &mut String, choices: &mut Choices<'_>, depth: usize) {
    let choice = choices.next();
    let count = if depth < DEPTH_MAX { choice / 8 % 4 } else { 0 };
    let start = out.len();
    match choice % 8 {
        0 => out.push_str(&Value::from(choices.text()).to_string()),
        1 => out.push_str(&Value::from("x".repeat(usize::from(choices.next()) * 2)).to_string()),
        2 | 3 => {
            for _ in 0..count {
                put_name(out, choices.pick(&FIELDS));
                put_any(out, choices, depth + 1);
            }
            close(out, start, ['{', '}']);
        }
        4 => {
            for _ in 0..count {
                out.push(',');
                put_any(out, choices, depth + 1);
            }
            close(out, start, ['[', ']']);
        }
        _ => out.push_str(choices.pick(&SCALARS)),
    }
}
