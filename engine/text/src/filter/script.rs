//! Letters and digits of other scripts to the plain ones.

use std::sync::LazyLock;

use regex::Regex;

static DIGIT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{Nd}$").ok());

/// Decimal digits of every script as those of ASCII.
pub(super) fn to_ascii(text: &str) -> String {
    text.chars().map(|c| digit(c).unwrap_or(c)).collect()
}

fn digit(c: char) -> Option<char> {
    if c.is_ascii() || !is_digit(c) {
        return None;
    }
    // Unicode has the ten digits of a script one after the other, and nothing but whole tens of them in a row.
    let before = (1..)
        .map_while(|back| char::from_u32(u32::from(c).checked_sub(back)?))
        .take_while(|c| is_digit(*c))
        .count();
    char::from_digit(u32::try_from(before % 10).ok()?, 10)
}

fn is_digit(c: char) -> bool {
    let mut bytes = [0; 4];
    DIGIT
        .as_ref()
        .is_some_and(|digit| digit.is_match(c.encode_utf8(&mut bytes)))
}

/// One form of the Arabic letters that are written in several, without vowel marks and elongation (Lucene's
/// `ArabicNormalizer`).
pub(super) fn arabic(text: &str) -> String {
    let plain = |c: char| match c {
        // Alef with a mark, as alef.
        '\u{622}' | '\u{623}' | '\u{625}' => Some('\u{627}'),
        // Dotless yeh, as yeh; teh marbuta, as heh.
        '\u{649}' => Some('\u{64a}'),
        '\u{629}' => Some('\u{647}'),
        // Elongation and the marks from fathatan to sukun.
        '\u{640}' | '\u{64b}'..='\u{652}' => None,
        other => Some(other),
    };
    text.chars().filter_map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_every_script_are_digits() {
        assert_eq!(to_ascii("١٢٣ ๑๒๓ १२३ ０１２９ 9x ² Ⅷ"), "123 123 123 0129 9x ² Ⅷ");
        // Five alphabets of digits in one run.
        assert_eq!(to_ascii("\u{1d7ce}\u{1d7d7}\u{1d7d8}\u{1d7ff}"), "0909");
    }

    #[test]
    fn arabic_letters_have_one_form() {
        assert_eq!(arabic("أَحْمَد إلى آب مدرسة كـتـاب"), "احمد الي اب مدرسه كتاب");
    }
}
