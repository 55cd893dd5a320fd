//! Texts that are numbers.

/// The number that a text begins with: blanks, then the longest run of characters that is a decimal number, as C's `strtod`
/// reads it (`" 7.5 kg"` is 7.5). None when there is no digit, or when no float is near the number.
pub fn leading_number(text: &str) -> Option<f64> {
    let is_blank = |character: char| matches!(character, ' ' | '\t'..='\r');
    let text = text.trim_start_matches(is_blank);
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = |at: usize| text.get(at..).unwrap_or_default();
    let mut end = usize::from(text.starts_with(['+', '-']));
    let start = end;
    end += digits(rest(end));
    let mut count = end - start;
    if rest(end).starts_with('.') {
        let fraction = digits(rest(end + 1));
        count += fraction;
        end += 1 + fraction;
    }
    if count == 0 {
        return None;
    }
    let mantissa = text.get(start..end)?;
    if rest(end).starts_with(['e', 'E']) {
        let sign = usize::from(rest(end + 1).starts_with(['+', '-']));
        let exponent = digits(rest(end + 1 + sign));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let number: f64 = text.get(..end)?.parse().ok()?;
    let is_zero = !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    (number.is_normal() || is_zero).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_decimal_number_at_the_start_counts() {
        for (text, number) in [
            ("7", Some(7.0)),
            (" \t-7.5 kg", Some(-7.5)),
            ("+.5e1x", Some(5.0)),
            ("3.", Some(3.0)),
            ("1e", Some(1.0)),
            ("1e+", Some(1.0)),
            ("12e-1-4", Some(1.2)),
            ("0x10", Some(0.0)),
            ("-0", Some(-0.0)),
            ("0e999", Some(0.0)),
            ("9007199254740993", Some(9_007_199_254_740_992.0)),
            ("1,5", Some(1.0)),
            ("", None),
            ("abc", None),
            (".", None),
            ("-", None),
            ("e5", None),
            ("- 7", None),
            ("inf", None),
            ("nan", None),
            ("1e999", None),
            ("1e-400", None),
            ("\u{a0}7", None),
            ("\u{664}", None),
        ] {
            assert_eq!(leading_number(text), number, "{text:?}");
        }
    }
}
