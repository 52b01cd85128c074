//! Placeholders of binary packets (Socket.IO v5, "Packet encoding": `{"_placeholder":true,"num":0}`).

use super::{DecodeError, parse_decimal};

/// Checks that every placeholder in `data` names one of the `attachments`: `0 <= num < attachments`, a plain integer.
///
/// `data`: JSON text that [`super::validate_args`] or [`super::validate_ack_args`] has passed; of other text the verdict means
/// nothing. Linear, without recursion. Of two members with one name the last decides, as in JavaScript, but a placeholder
/// within the first must fit as well.
pub fn check_placeholders(data: &str, attachments: u32) -> Result<(), DecodeError> {
    let mut scan = Scan { rest: data, open: Vec::new(), attachments };
    while let Some(token) = scan.token() {
        scan.take(token)?;
    }
    Ok(())
}

/// An array or object that is not closed yet.
#[derive(Clone, Copy)]
enum Open {
    Array,
    Object(Object),
}

#[derive(Clone, Copy)]
struct Object {
    /// The member whose value comes next; `None`: its key comes next.
    member: Option<Member>,
    /// Whether the last `_placeholder` is `true`.
    is_placeholder: bool,
    /// Whether the last `num` is the number of an attachment.
    is_num_valid: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    Placeholder,
    Num,
    Other,
}

enum Token<'a> {
    Punctuation(u8),
    /// A string's contents, still escaped.
    String(&'a str),
    /// A number, `true`, `false` or `null`.
    Bare(&'a str),
}

struct Scan<'a> {
    rest: &'a str,
    open: Vec<Open>,
    attachments: u32,
}

impl<'a> Scan<'a> {
    fn token(&mut self) -> Option<Token<'a>> {
        let text = self.rest.trim_ascii_start();
        let &first = text.as_bytes().first()?;
        let (token, len) = match first {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => (Token::Punctuation(first), 1),
            b'"' => {
                let contents = text.get(1..)?;
                let contents = contents.get(..string_len(contents.as_bytes()))?;
                (Token::String(contents), contents.len() + 2)
            }
            _ => {
                let is_end = |&byte: &u8| b"{}[],:\"".contains(&byte) || byte.is_ascii_whitespace();
                let bare = text.get(..text.bytes().position(|byte| is_end(&byte)).unwrap_or(text.len()))?;
                (Token::Bare(bare), bare.len())
            }
        };
        self.rest = text.get(len..).unwrap_or_default();
        Some(token)
    }

    fn take(&mut self, token: Token<'_>) -> Result<(), DecodeError> {
        match token {
            Token::Punctuation(b'[') => self.value("", Open::Array),
            Token::Punctuation(b'{') => {
                let object = Object { member: None, is_placeholder: false, is_num_valid: false };
                self.value("", Open::Object(object));
            }
            Token::Punctuation(b']' | b'}') => {
                if let Some(Open::Object(object)) = self.open.pop()
                    && object.is_placeholder
                    && !object.is_num_valid
                {
                    return Err(DecodeError::Placeholder);
                }
            }
            Token::Punctuation(_) => {}
            Token::String(contents) => match self.open.last_mut() {
                Some(Open::Object(object)) if object.member.is_none() => object.member = Some(member(contents)),
                _ => self.value("", None),
            },
            Token::Bare(text) => self.value(text, None),
        }
        Ok(())
    }

    /// A value begins: `bare` is its text if it is neither string, array nor object; `opens` if it is one of the latter two.
    fn value(&mut self, bare: &str, opens: impl Into<Option<Open>>) {
        if let Some(Open::Object(object)) = self.open.last_mut() {
            match object.member.take() {
                Some(Member::Placeholder) => object.is_placeholder = bare == "true",
                Some(Member::Num) => {
                    let num = parse_decimal(bare.as_bytes());
                    object.is_num_valid = num.is_some_and(|num| num < u64::from(self.attachments));
                }
                Some(Member::Other) | None => {}
            }
        }
        self.open.extend(opens.into());
    }
}

/// Length of a string's contents: what precedes its closing quotation mark.
fn string_len(contents: &[u8]) -> usize {
    let mut len = 0;
    while let Some(byte) = contents.get(len) {
        match byte {
            b'"' => return len,
            b'\\' => len += 2,
            _ => len += 1,
        }
    }
    contents.len()
}

/// Which member a key names; `contents` is the key's, still escaped.
fn member(contents: &str) -> Member {
    /// Longest key of interest, each of its characters as `\uXXXX`.
    const MAX_ESCAPED: usize = "_placeholder".len() * 6;
    let unescaped: Option<String> = (contents.contains('\\') && contents.len() <= MAX_ESCAPED)
        .then(|| serde_json::from_str(&format!("\"{contents}\"")).ok())
        .flatten();
    match unescaped.as_deref().unwrap_or(contents) {
        "_placeholder" => Member::Placeholder,
        "num" => Member::Num,
        _ => Member::Other,
    }
}
