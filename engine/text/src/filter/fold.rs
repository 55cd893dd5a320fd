//! ASCII folding: letters with marks, ligatures and other forms of ASCII characters become ASCII.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Letters that Unicode does not take apart.
const WHOLE: [(char, &str); 32] = [
    ('Æ', "AE"),
    ('æ', "ae"),
    ('Œ', "OE"),
    ('œ', "oe"),
    ('Ø', "O"),
    ('ø', "o"),
    ('ß', "ss"),
    ('ẞ', "SS"),
    ('Đ', "D"),
    ('đ', "d"),
    ('Ð', "D"),
    ('ð', "d"),
    ('Ħ', "H"),
    ('ħ', "h"),
    ('ı', "i"),
    ('ĸ', "q"),
    ('Ł', "L"),
    ('ł', "l"),
    ('Ŋ', "N"),
    ('ŋ', "n"),
    ('Þ', "TH"),
    ('þ', "th"),
    ('Ŧ', "T"),
    ('ŧ', "t"),
    ('ƒ', "f"),
    ('‘', "'"),
    ('’', "'"),
    ('“', "\""),
    ('”', "\""),
    ('–', "-"),
    ('—', "-"),
    ('‐', "-"),
];

/// The text with every character that has an ASCII form replaced by it; others stay as they are.
pub(super) fn to_ascii(text: &str) -> String {
    if text.is_ascii() {
        return text.to_string();
    }
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            folded.push(c);
        } else if let Some((_, ascii)) = WHOLE.iter().find(|(whole, _)| *whole == c) {
            folded.push_str(ascii);
        } else {
            let plain: String = std::iter::once(c)
                .nfkd()
                .filter(|part| !is_combining_mark(*part))
                .collect();
            if plain.is_ascii() && !plain.is_empty() {
                folded.push_str(&plain);
            } else {
                folded.push(c);
            }
        }
    }
    folded
}
