//! Which words are keywords.

/// The operators that are words.
const OPERATORS: [&str; 6] = ["like", "exists", "and", "or", "not", "in"];

/// Whether a word can name neither a field nor a function: an operator or a boolean.
pub(super) fn is_reserved(word: &str) -> bool {
    boolean(word).is_some() || is_operator(word)
}

/// Whether a word is an operator.
pub(super) fn is_operator(word: &str) -> bool {
    OPERATORS.iter().any(|operator| is_keyword(word, operator))
}

/// Keywords exist all lower and all upper, nothing between.
pub(super) fn is_keyword(word: &str, lower: &str) -> bool {
    word == lower || (word.eq_ignore_ascii_case(lower) && !word.bytes().any(|byte| byte.is_ascii_lowercase()))
}

/// The value of a boolean literal.
pub(super) fn boolean(word: &str) -> Option<bool> {
    match word {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Whether a word would be a keyword in another case.
pub(super) fn mixed_case_keyword(word: &str) -> bool {
    OPERATORS
        .iter()
        .chain(&["is"])
        .any(|keyword| word.eq_ignore_ascii_case(keyword) && !is_keyword(word, keyword))
}
