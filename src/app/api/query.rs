//! What heads of requests say: the type of the body, which page of a list.

use super::problem::Problem;
use crate::wire::http::Head;

/// Messages of a page, if nobody says, and at most.
pub const PAGE: usize = 50;
pub const PAGE_MAX: usize = 200;

/// Which messages are asked for, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only those older than this, in milliseconds since 1970 UTC.
    pub before_ms: Option<u64>,
    pub limit: usize,
}

/// A body must be JSON, and not be encoded on top of that. One without a type is taken to be.
///
/// # Errors
/// 415.
pub fn check_content_type(head: &Head<'_>) -> Result<(), Problem> {
    let media = head.header("content-type").unwrap_or(b"application/json");
    let media = media.split(|&b| b == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    let is_json = media == b"application/json" || (media.starts_with(b"application/") && media.ends_with(b"+json"));
    let encoding = head.header("content-encoding").unwrap_or(b"identity");
    if is_json && encoding.eq_ignore_ascii_case(b"identity") {
        return Ok(());
    }
    Err(Problem::new(415, "The body must be application/json, without a Content-Encoding."))
}

/// `?limit=&before=`. A limit beyond [`PAGE_MAX`] means just that.
///
/// # Errors
/// 400 naming the parameter.
pub fn page(head: &Head<'_>) -> Result<Page, Problem> {
    let param = |name| head.query_param(name).filter(|value| !value.is_empty());
    let limit = match param("limit") {
        None => PAGE,
        Some(text) => {
            let limit = whole(&text).filter(|&limit| limit > 0);
            let limit = limit.ok_or_else(|| Problem::new(400, "limit must be a whole number above 0."))?;
            usize::try_from(limit).map_or(PAGE_MAX, |limit| limit.min(PAGE_MAX))
        }
    };
    let before_ms = param("before").map(|text| {
        let ms = whole(&text).or_else(|| date_ms(&text));
        ms.ok_or_else(|| {
            Problem::new(400, "before must be milliseconds since 1970 or a date like 2025-01-31T12:00:00Z.")
        })
    });
    Ok(Page { before_ms: before_ms.transpose()?, limit })
}

/// Digits alone; a number that is too large is as large as there is.
fn whole(text: &str) -> Option<u64> {
    let is_whole = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_whole.then(|| text.parse().unwrap_or(u64::MAX))
}

/// A date as JavaScript's `toISOString` writes it, in milliseconds since 1970; with or without the fraction.
fn date_ms(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "000"));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let [ms] = numbers(fraction, '.', [3])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month).ok()?.checked_sub(1)?;
    let in_month = *days_in.get(month)?;
    if year < 1970 || day == 0 || day > in_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let before = year - 1;
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leap_days(before) - leap_days(1969);
    let days = years + days_in.iter().take(month).sum::<u64>() + day - 1;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms)
}

/// Numbers of so many digits each, separated.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[u64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        *number = parts.next().filter(|part| part.len() == digits).and_then(whole)?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::parse_head;

    fn with<R>(target: &str, headers: &str, read: impl FnOnce(&Head<'_>) -> R) -> R {
        let text = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        let (head, _) = parse_head(text.as_bytes()).expect("a head").expect("a whole head");
        read(&head)
    }

    #[test]
    fn bodies_are_json() {
        for (headers, fine) in [
            ("", true),
            ("Content-Type: application/json\r\n", true),
            ("Content-Type: Application/JSON ; charset=utf-8\r\n", true),
            ("Content-Type: application/vnd.x+json\r\n", true),
            ("Content-Type: application/json\r\nContent-Encoding: identity\r\n", true),
            ("Content-Type: application/json\r\nContent-Encoding: gzip\r\n", false),
            ("Content-Type: application/x-www-form-urlencoded\r\n", false),
            ("Content-Type: text/plain\r\n", false),
            ("Content-Type: application/jsonx\r\n", false),
            ("Content-Type:\r\n", false),
        ] {
            assert_eq!(with("/", headers, check_content_type).is_ok(), fine, "{headers}");
        }
    }

    #[test]
    fn pages_are_bounded_and_begin_where_one_says() {
        let page = |before_ms, limit| Ok((before_ms, limit));
        for (query, expected) in [
            ("", page(None, PAGE)),
            ("?limit=&before=", page(None, PAGE)),
            ("?limit=1", page(None, 1)),
            ("?limit=200&before=0", page(Some(0), 200)),
            ("?limit=201", page(None, PAGE_MAX)),
            ("?limit=99999999999999999999999", page(None, PAGE_MAX)),
            ("?before=1700000000000", page(Some(1_700_000_000_000), PAGE)),
            ("?before=2023-11-14T22:13:20.000Z", page(Some(1_700_000_000_000), PAGE)),
            ("?limit=0", Err("limit")),
            ("?limit=-1", Err("limit")),
            ("?limit=x", Err("limit")),
            ("?limit=1.5", Err("limit")),
            ("?before=-1", Err("before")),
            ("?before=yesterday", Err("before")),
        ] {
            let got = with(&format!("/{query}"), "", super::page);
            match (got, expected) {
                (Ok(got), Ok(expected)) => assert_eq!((got.before_ms, got.limit), expected, "{query}"),
                (Err(problem), Err(name)) => assert!(problem.message.starts_with(name), "{query}"),
                (got, _) => panic!("{query}: {got:?}"),
            }
        }
    }

    #[test]
    fn dates_are_read_as_javascript_writes_them() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", Some(0)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T23:59:59.999Z", Some(951_868_799_999)),
            ("2024-12-31T00:00:00.000Z", Some(1_735_603_200_000)),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("2023-02-29T00:00:00.000Z", None),
            ("2023-00-01T00:00:00.000Z", None),
            ("2023-13-01T00:00:00.000Z", None),
            ("2023-01-00T00:00:00.000Z", None),
            ("2023-01-01T24:00:00.000Z", None),
            ("1969-12-31T23:59:59.999Z", None),
            ("2023-1-1T00:00:00Z", None),
            ("2023-01-01", None),
            ("2023-01-01T00:00:00", None),
            ("2023-01-01T00:00:00.0Z", None),
            ("+023-01-01T00:00:00.000Z", None),
        ] {
            assert_eq!(date_ms(text), ms, "{text}");
        }
    }
}
