//! Numbers and string escapes of the grammar, in both directions.

use crate::ast::Span;
use crate::error::{Issue, Result};

/// Extent of the longest number at the start of some bytes.
pub(crate) struct ScannedNumber {
    /// Bytes.
    pub(crate) length: usize,
    /// A floating-point form.
    pub(crate) float: bool,
}

/// The longest number at the start of `bytes`, which begin with a digit or with `.` and a digit.
pub(crate) fn scan_number(bytes: &[u8]) -> ScannedNumber {
    let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
    let run = |from: usize, accept: fn(&u8) -> bool| {
        bytes.iter().skip(from).take_while(|byte| accept(byte)).count()
    };
    let exponent = |from: usize, lower: u8| -> usize {
        if at(from).to_ascii_lowercase() != lower {
            return 0;
        }
        let sign = usize::from(matches!(at(from + 1), b'+' | b'-'));
        match run(from + 1 + sign, u8::is_ascii_digit) {
            0 => 0,
            digits => 1 + sign + digits,
        }
    };

    if at(0) == b'0' && matches!(at(1), b'x' | b'X') {
        let whole = run(2, u8::is_ascii_hexdigit);
        let point = usize::from(at(2 + whole) == b'.');
        let fraction = if point == 1 {
            run(3 + whole, u8::is_ascii_hexdigit)
        } else {
            0
        };
        if whole + fraction > 0 {
            let mantissa_end = 2 + whole + point + fraction;
            let power = exponent(mantissa_end, b'p');
            if power > 0 {
                return ScannedNumber {
                    length: mantissa_end + power,
                    float: true,
                };
            }
        }
        if whole > 0 {
            return ScannedNumber {
                length: 2 + whole,
                float: false,
            };
        }
        return ScannedNumber {
            length: 1,
            float: false,
        };
    }
    if at(0) == b'0' && matches!(at(1), b'b' | b'B') {
        let digits = run(2, |byte| matches!(byte, b'0' | b'1'));
        return ScannedNumber {
            length: if digits > 0 { 2 + digits } else { 1 },
            float: false,
        };
    }

    let whole = run(0, u8::is_ascii_digit);
    if at(whole) == b'.' {
        let fraction = run(whole + 1, u8::is_ascii_digit);
        let mantissa_end = whole + 1 + fraction;
        return ScannedNumber {
            length: mantissa_end + exponent(mantissa_end, b'e'),
            float: true,
        };
    }
    let power = exponent(whole, b'e');
    if power > 0 {
        return ScannedNumber {
            length: whole + power,
            float: true,
        };
    }
    let length = if at(0) == b'0' {
        1 + run(1, |byte| matches!(byte, b'0'..=b'7'))
    } else {
        whole
    };
    ScannedNumber { length, float: false }
}

/// Magnitude of an integer of any base; none when it exceeds 64 bits.
pub(crate) fn parse_integer(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.get(1)) {
        (Some(b'0'), Some(b'x' | b'X')) => u64::from_str_radix(text.get(2..)?, 16).ok(),
        (Some(b'0'), Some(b'b' | b'B')) => u64::from_str_radix(text.get(2..)?, 2).ok(),
        (Some(b'0'), Some(_)) => u64::from_str_radix(text.get(1..)?, 8).ok(),
        (_, _) => text.parse().ok(),
    }
}

/// A decimal or hexadecimal float; none when it is not finite.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let value = if text.starts_with("0x") || text.starts_with("0X") {
        parse_hex_float(text.get(2..)?)?
    } else {
        text.parse().ok()?
    };
    value.is_finite().then_some(value)
}

fn parse_hex_float(text: &str) -> Option<f64> {
    let power_at = text.find(['p', 'P'])?;
    let (mantissa, power) = (text.get(..power_at)?, text.get(power_at + 1..)?);
    // exponents beyond this are zero or infinity whatever the mantissa
    let power: i64 = power.parse::<i64>().unwrap_or(if power.starts_with('-') {
        -1_000_000
    } else {
        1_000_000
    });
    let mut digits: u128 = 0;
    let mut scale: i64 = 0;
    let mut after_point = false;
    for character in mantissa.chars() {
        let Some(digit) = character.to_digit(16) else {
            after_point = true;
            continue;
        };
        // 30 digits are 120 bits: more than a double keeps, so later digits only move the scale
        if digits >> 116 == 0 {
            digits = (digits << 4) | u128::from(digit);
            scale -= i64::from(after_point) * 4;
        } else {
            scale += i64::from(!after_point) * 4;
        }
    }
    if digits == 0 {
        return Some(0.0);
    }
    let exponent = power.saturating_add(scale).clamp(-3000, 3000) as i32;
    // two steps, as 2^exponent alone may leave the range of a double while the product does not
    let half = exponent / 2;
    Some(digits as f64 * 2f64.powi(half) * 2f64.powi(exponent - half))
}

/// Resolves the escapes of a string literal. An escape that is none of the known ones keeps its backslash, so that
/// patterns of `like` and `=~` can be written with single backslashes.
pub(crate) fn unescape(text: &str, span: Span) -> Result<String> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(rest.get(..at).unwrap_or_default().as_bytes());
        rest = rest.get(at + 1..).unwrap_or_default();
        let Some(escape) = rest.chars().next() else { break };
        rest = rest.get(escape.len_utf8()..).unwrap_or_default();
        match escape {
            'a' => out.push(0x07),
            'b' => out.push(0x08),
            'f' => out.push(0x0c),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(0x0b),
            '\\' | '"' | '\'' | '?' => out.push(escape as u8),
            '\n' => {}
            '\r' => rest = rest.strip_prefix('\n').unwrap_or(rest),
            'x' => {
                let value = take_digits(&mut rest, 16, 2)
                    .ok_or_else(|| bad_escape(span, "\\x needs two hexadecimal digits"))?;
                out.push(value as u8);
            }
            '0'..='7' => {
                let mut value = escape.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = take_digits(&mut rest, 8, 1) else {
                        break;
                    };
                    value = value * 8 + digit;
                }
                let byte =
                    u8::try_from(value).map_err(|_| bad_escape(span, "an octal escape is at most \\377"))?;
                out.push(byte);
            }
            'u' | 'U' => {
                let count = if escape == 'u' { 4 } else { 8 };
                let character = take_digits(&mut rest, 16, count)
                    .and_then(char::from_u32)
                    .ok_or_else(|| {
                        bad_escape(
                            span,
                            "\\u needs four and \\U eight hexadecimal digits of a Unicode character",
                        )
                    })?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => {
                out.push(b'\\');
                out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).map_err(|_| bad_escape(span, "the escapes of the string do not give valid UTF-8"))
}

fn bad_escape(span: Span, message: &str) -> Box<Issue> {
    Issue::parse(span, message)
}

/// Takes exactly `count` digits off `rest`, or nothing.
fn take_digits(rest: &mut &str, radix: u32, count: usize) -> Option<u32> {
    let digits = rest.get(..count)?;
    let mut value: u32 = 0;
    for character in digits.chars() {
        value = value
            .checked_mul(radix)?
            .checked_add(character.to_digit(radix)?)?;
    }
    *rest = rest.get(count..).unwrap_or_default();
    Some(value)
}

/// Appends `text` as a string literal in double quotes.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\x{:02x}", character as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
}
