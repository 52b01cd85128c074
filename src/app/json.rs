//! JSON of clients: parsed in one pass onto a tape, then read and written without recursion.
//!
//! A tape (simd-json) is a flat list of nodes in the order of the text; a container's node says how many nodes follow that
//! belong to it. So no depth of nesting costs stack, and skipping a value is one addition.

use crate::wire::socket::{DecodeError, validate_args};
use simd_json::value::generator::{BaseGenerator, WriterGenerator};
use simd_json::{Buffers, INPUT_PADDING, Node, StaticNode, Tape, fill_tape_padded};
use smallvec::SmallVec;
use std::num::NonZeroU32;

/// Levels of nesting of a value that is kept or passed on.
pub const DEPTH_MAX: usize = 64;
/// Bytes of a text up to which the buffers are kept for the next one.
const KEEP_MAX: usize = 64 * 1024;

/// Parses JSON; owns what that needs.
pub struct Parser {
    text: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl Default for Parser {
    fn default() -> Self {
        // The depth needs no bound of its own: the stack of open containers is on the heap and no longer than the text.
        Self { text: Vec::new(), buffers: Buffers::with_max_depth(1024, usize::MAX), tape: Tape(Vec::new()) }
    }
}

/// Why a text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// It is not JSON.
    Malformed,
    /// It is JSON with a number beyond what a double can hold.
    Number,
}

impl Parser {
    /// Parses `json` and gives its value to `read`. A lone surrogate is read as U+FFFD, as the rest of the world is to be
    /// sent valid UTF-8; of several equal keys the last one counts, as in JavaScript.
    pub fn read<R>(&mut self, json: &[u8], read: impl FnOnce(Value<'_>) -> R) -> Result<R, ParseError> {
        let result = match self.fill(json, read) {
            Ok(result) => Ok(result),
            Err(read) => self.read_again(json, read),
        };
        if json.len() > KEEP_MAX {
            *self = Self::default();
        }
        result
    }

    /// Gives `read` back when the text is not taken.
    fn fill<R, F: FnOnce(Value<'_>) -> R>(&mut self, json: &[u8], read: F) -> Result<R, F> {
        self.text.clear();
        self.text.extend_from_slice(json);
        self.text.resize(json.len() + INPUT_PADDING, 0);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let filled = fill_tape_padded(&mut self.text, json.len(), &mut self.buffers, &mut tape);
        let result = match filled {
            Ok(()) if !tape.0.is_empty() => Ok(read(Value { nodes: &tape.0 })),
            _ => Err(read),
        };
        self.tape = tape.reset();
        result
    }

    /// The parser is stricter than JavaScript's: what it refuses may still be JSON.
    fn read_again<R>(&mut self, json: &[u8], read: impl FnOnce(Value<'_>) -> R) -> Result<R, ParseError> {
        let text = std::str::from_utf8(json).map_err(|_| ParseError::Malformed)?;
        serde_json::from_str::<&serde_json::value::RawValue>(text).map_err(|_| ParseError::Malformed)?;
        self.fill(&replace_lone_surrogates(json), read).map_err(|_| ParseError::Number)
    }
}

/// The same JSON text with every escaped surrogate that is not one of a pair replaced.
fn replace_lone_surrogates(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let mut rest = json;
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'\\' {
            out.push(byte);
            rest = after;
            continue;
        }
        let taken = match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
            (Some(true), Some(false)) => 12,
            (Some(_), _) => {
                out.extend_from_slice(br"\ufffd");
                rest = rest.get(6..).unwrap_or_default();
                continue;
            }
            (None, _) => 2,
        };
        let (escape, after) = rest.split_at_checked(taken).unwrap_or((rest, &[]));
        out.extend_from_slice(escape);
        rest = after;
    }
    out
}

/// Whether the text begins with an escaped surrogate, and whether that is a high one.
fn surrogate(text: &[u8]) -> Option<bool> {
    match text {
        [b'\\', b'u', b'd' | b'D', kind, _, _, ..] => match kind.to_ascii_lowercase() {
            b'8' | b'9' | b'a' | b'b' => Some(true),
            b'c' | b'd' | b'e' | b'f' => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Where a member stands in its object: the distance between their nodes.
#[derive(Clone, Copy, Debug)]
pub struct Place(NonZeroU32);

/// A value on the tape.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    /// Its own node first.
    nodes: &'a [Node<'a>],
}

impl<'a> Value<'a> {
    fn node(self) -> Node<'a> {
        self.nodes.first().copied().unwrap_or(Node::Static(StaticNode::Null))
    }

    /// Nodes of this value, containers with all they contain.
    fn span(self) -> usize {
        match self.node() {
            Node::Object { count, .. } | Node::Array { count, .. } => 1 + count,
            Node::String(_) | Node::Static(_) => 1,
        }
    }

    /// A string.
    pub fn as_str(self) -> Option<&'a str> {
        match self.node() {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    /// `true` or `false`.
    pub fn as_bool(self) -> Option<bool> {
        match self.node() {
            Node::Static(StaticNode::Bool(value)) => Some(value),
            _ => None,
        }
    }

    /// A whole number that is not negative, however it is written.
    pub fn as_u64(self) -> Option<u64> {
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        match self.node() {
            Node::Static(StaticNode::U64(number)) => Some(number),
            Node::Static(StaticNode::I64(number)) => u64::try_from(number).ok(),
            Node::Static(StaticNode::F64(number)) if number.fract() == 0.0 && (0.0..EXACT_MAX).contains(&number) => {
                Some(number as u64)
            }
            _ => None,
        }
    }

    /// A number of any kind.
    pub fn is_number(self) -> bool {
        matches!(self.node(), Node::Static(StaticNode::U64(_) | StaticNode::I64(_) | StaticNode::F64(_)))
    }

    /// `null`.
    pub fn is_null(self) -> bool {
        matches!(self.node(), Node::Static(StaticNode::Null))
    }

    /// An array or object.
    pub fn is_array(self) -> bool {
        matches!(self.node(), Node::Array { .. })
    }

    /// The elements of an array.
    pub fn elements(self) -> Option<Children<'a>> {
        matches!(self.node(), Node::Array { .. }).then(|| self.children())
    }

    /// The members of an object, in the order of the text.
    pub fn members(self) -> Option<impl Iterator<Item = (&'a str, Value<'a>)>> {
        Some(self.placed_members()?.map(|(_, key, value)| (key, value)))
    }

    /// The members of an object and where they stand.
    pub fn placed_members(self) -> Option<impl Iterator<Item = (Place, &'a str, Value<'a>)>> {
        let mut children = matches!(self.node(), Node::Object { .. }).then(|| self.children())?;
        let end = self.span();
        Some(std::iter::from_fn(move || {
            let place = end - children.nodes.len();
            let key = children.next()?.as_str()?;
            Some((Place(NonZeroU32::new(u32::try_from(place).ok()?)?), key, children.next()?))
        }))
    }

    /// The member of an object at a place of [`Value::placed_members`].
    pub fn member_at(self, place: Place) -> Option<(&'a str, Value<'a>)> {
        let nodes = self.nodes.get(place.0.get() as usize..)?;
        Some((Value { nodes }.as_str()?, Value { nodes: nodes.get(1..)? }))
    }

    /// The last member of an object with this key.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.members()?.filter(|(name, _)| *name == key).last().map(|(_, value)| value)
    }

    fn children(self) -> Children<'a> {
        Children { nodes: self.nodes.get(1..self.span()).unwrap_or_default() }
    }

    /// Whether containers in it are nested more than [`DEPTH_MAX`] deep. Linear in its nodes, whatever their depth.
    pub fn is_too_deep(self) -> bool {
        let mut ends: SmallVec<[usize; DEPTH_MAX]> = SmallVec::new();
        for (at, node) in self.nodes.iter().take(self.span()).enumerate() {
            while ends.last().is_some_and(|&end| end <= at) {
                ends.pop();
            }
            if let Node::Object { count, .. } | Node::Array { count, .. } = *node {
                if ends.len() == DEPTH_MAX {
                    return true;
                }
                ends.push(at + 1 + count);
            }
        }
        false
    }

    /// Appends the value as JSON.
    pub fn put(self, out: &mut Vec<u8>) {
        let mut open: SmallVec<[Open; 8]> = SmallVec::new();
        for (at, node) in self.nodes.iter().take(self.span()).enumerate() {
            if let Some(parent) = open.last_mut() {
                if parent.written > 0 {
                    out.push(if parent.object && parent.written % 2 == 1 { b':' } else { b',' });
                }
                parent.written += 1;
            }
            match *node {
                Node::String(text) => put_str(out, text),
                Node::Static(value) => put_static(out, value),
                Node::Object { count, .. } => {
                    out.push(b'{');
                    open.push(Open { end: at + count, object: true, written: 0 });
                }
                Node::Array { count, .. } => {
                    out.push(b'[');
                    open.push(Open { end: at + count, object: false, written: 0 });
                }
            }
            while open.last().is_some_and(|o| o.end == at) {
                if let Some(closed) = open.pop() {
                    out.push(if closed.object { b'}' } else { b']' });
                }
            }
        }
    }
}

/// A container that is being written.
struct Open {
    /// The place of its last node.
    end: usize,
    object: bool,
    /// Children so far; a key and its value are two.
    written: usize,
}

/// The values directly in a container.
#[derive(Clone, Copy, Debug)]
pub struct Children<'a> {
    nodes: &'a [Node<'a>],
}

impl<'a> Iterator for Children<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if self.nodes.is_empty() {
            return None;
        }
        let value = Value { nodes: self.nodes };
        self.nodes = self.nodes.get(value.span()..).unwrap_or_default();
        Some(value)
    }
}

/// Appends a string as JSON, in quotes.
pub fn put_str(out: &mut Vec<u8>, text: &str) {
    if has_escapes(text.as_bytes()) {
        // Writing to a Vec does not fail.
        let _ = WriterGenerator::new(out).write_string(text);
        return;
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Whether a text has a character that JSON escapes; eight bytes at a time, since hardly any text has one.
fn has_escapes(text: &[u8]) -> bool {
    const EACH: u64 = u64::MAX / 0xff;
    const HIGH: u64 = EACH << 7;
    // The high bit of a byte that is below `min` (at most 0x80).
    let below = |bytes: u64, min: u8| bytes.wrapping_sub(EACH * u64::from(min)) & !bytes & HIGH;
    let is = |bytes: u64, byte: u8| below(bytes ^ (EACH * u64::from(byte)), 1);
    let (chunks, rest) = text.as_chunks::<8>();
    let mut last = [b' '; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let escaped = chunks.iter().chain([&last]).fold(0, |escaped, chunk| {
        let bytes = u64::from_le_bytes(*chunk);
        escaped | below(bytes, b' ') | is(bytes, b'"') | is(bytes, b'\\')
    });
    escaped != 0
}

/// Appends items with commas between them.
pub fn put_list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut put: impl FnMut(&mut Vec<u8>, T)) {
    for (n, item) in items.into_iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        put(out, item);
    }
}

fn put_static(out: &mut Vec<u8>, value: StaticNode) {
    let _ = match value {
        StaticNode::Null => serde_json::to_writer(out, &()),
        StaticNode::Bool(value) => serde_json::to_writer(out, &value),
        StaticNode::U64(value) => serde_json::to_writer(out, &value),
        StaticNode::I64(value) => serde_json::to_writer(out, &value),
        StaticNode::F64(value) => serde_json::to_writer(out, &value),
    };
}

/// The arguments of an event: its name and its first argument.
pub struct Args<'a> {
    /// The name; a number as JavaScript would write it.
    pub name: EventName<'a>,
    /// What was sent with it.
    pub payload: Option<Value<'a>>,
}

/// The name of an event.
#[derive(Clone, Copy, Debug)]
pub enum EventName<'a> {
    /// The usual case.
    Text(&'a str),
    /// A number that is none of a known event.
    Number,
}

impl<'a> EventName<'a> {
    /// The name in text.
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Text(name) => name,
            Self::Number => "(a number)",
        }
    }
}

impl<'a> Args<'a> {
    /// Takes apart an event's array. `json`: its text, for the rules about names.
    pub fn of(root: Value<'a>, json: &[u8]) -> Result<Self, DecodeError> {
        let mut elements = root.elements().ok_or(DecodeError::Data)?;
        let first = elements.next().ok_or(DecodeError::EventName)?;
        let name = match (first.as_str(), first.as_u64()) {
            (Some(name), _) => {
                // Reserved names are all short; the rare name that might be one is left to the rule itself.
                if is_suspect(name) {
                    validate_args(std::str::from_utf8(json).map_err(|_| DecodeError::Data)?)?;
                }
                EventName::Text(name)
            }
            (None, Some(1)) => EventName::Text("1"),
            (None, Some(2)) => EventName::Text("2"),
            (None, _) if first.is_number() => EventName::Number,
            _ => return Err(DecodeError::EventName),
        };
        Ok(Self { name, payload: elements.next() })
    }
}

/// Whether a name may be reserved by the Socket.IO libraries: each of those begins so.
fn is_suspect(name: &str) -> bool {
    ["connect", "disconnect", "newListener", "removeListener"].iter().any(|&prefix| name.starts_with(prefix))
}
