//! Pure codecs over bytes.

pub mod engine;
pub mod http;
pub mod prepared;
pub mod proxy;
pub mod sid;
pub mod socket;
pub mod websocket;

/// Appends `number` in decimal.
pub fn put_decimal(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Parses decimal digits and nothing else: no sign, no white space, no overflow.
fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_round_trip() {
        for number in [0, 7, 10, 1234567890, u64::MAX] {
            let mut out = b"x".to_vec();
            put_decimal(&mut out, number);
            assert_eq!(out, format!("x{number}").into_bytes());
            assert_eq!(parse_decimal(&out[1..]), Some(number));
        }
    }

    #[test]
    fn a_decimal_is_digits_only() {
        for bad in ["", "+1", "-1", " 1", "1 ", "0x1", "1e3", "18446744073709551616", "1,1"] {
            assert_eq!(parse_decimal(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
