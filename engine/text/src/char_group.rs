//! Delimiters of the tokenizer `char_group`: characters, and groups of them by name.

use std::sync::Arc;

use serde_json::{Map, Value};
use unicode_general_category::{GeneralCategory, get_general_category};

use crate::error::AnalyzerError;
use crate::params::only;

const GROUPS: &str = "whitespace, letter, digit, punctuation, symbol, ascii_whitespace, ascii_letter, ascii_digit, ascii_punctuation";

/// What ends a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delimiter {
    Char(char),
    Whitespace,
    Letter,
    /// 0 to 9 by either name, as in Milvus.
    Digit,
    /// Unicode's categories P*.
    Punctuation,
    /// Unicode's categories S*.
    Symbol,
    AsciiWhitespace,
    AsciiLetter,
    AsciiPunctuation,
}

impl Delimiter {
    fn of(name: &str) -> Option<Self> {
        let mut characters = name.chars();
        if let (Some(character), None) = (characters.next(), characters.next()) {
            return Some(Self::Char(character));
        }
        Some(match name {
            "whitespace" => Self::Whitespace,
            "letter" => Self::Letter,
            "digit" | "ascii_digit" => Self::Digit,
            "punctuation" => Self::Punctuation,
            "symbol" => Self::Symbol,
            "ascii_whitespace" => Self::AsciiWhitespace,
            "ascii_letter" => Self::AsciiLetter,
            "ascii_punctuation" => Self::AsciiPunctuation,
            _ => return None,
        })
    }

    /// Whether the character ends a token.
    pub fn is(self, character: char) -> bool {
        use GeneralCategory::{
            ClosePunctuation, ConnectorPunctuation, CurrencySymbol, DashPunctuation, FinalPunctuation,
            InitialPunctuation, MathSymbol, ModifierSymbol, OpenPunctuation, OtherPunctuation, OtherSymbol,
        };
        match self {
            Self::Char(delimiter) => character == delimiter,
            Self::Whitespace => character.is_whitespace(),
            Self::Letter => character.is_alphabetic(),
            Self::Digit => character.is_ascii_digit(),
            Self::Punctuation => matches!(
                get_general_category(character),
                ConnectorPunctuation
                    | DashPunctuation
                    | OpenPunctuation
                    | ClosePunctuation
                    | InitialPunctuation
                    | FinalPunctuation
                    | OtherPunctuation
            ),
            Self::Symbol => matches!(
                get_general_category(character),
                MathSymbol | CurrencySymbol | ModifierSymbol | OtherSymbol
            ),
            Self::AsciiWhitespace => character.is_ascii_whitespace(),
            Self::AsciiLetter => character.is_ascii_alphabetic(),
            Self::AsciiPunctuation => character.is_ascii_punctuation(),
        }
    }
}

/// The list `delimiters` of the tokenizer.
pub(crate) fn delimiters(params: &Map<String, Value>, of: &str) -> Result<Arc<[Delimiter]>, AnalyzerError> {
    only(params, &["type", "delimiters"], of)?;
    let Some(Value::Array(names)) = params.get("delimiters") else {
        return Err(AnalyzerError::Invalid(format!(
            "{of} must have 'delimiters', a list of characters and groups; groups are {GROUPS}"
        )));
    };
    let delimiter = |name: &Value| {
        name.as_str().and_then(Delimiter::of).ok_or_else(|| {
            AnalyzerError::Invalid(format!(
                "a delimiter of {of} must be one character or a group, got {name}; groups are {GROUPS}"
            ))
        })
    };
    names.iter().map(delimiter).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::tokenizer::Tokenizer;

    fn split(delimiters: &serde_json::Value, text: &str) -> Vec<String> {
        let params = json!({"type": "char_group", "delimiters": delimiters});
        let tokens = Tokenizer::new(&params).unwrap().tokens(text);
        tokens.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn tokens_stand_between_delimiters() {
        let words = ["test", "test", "test", "test"];
        assert_eq!(
            split(&json!(["o", "punctuation", "digit"]), "testotest,test1test"),
            words
        );
        assert_eq!(split(&json!(["。", "、"]), "一、二三。四"), ["一", "二三", "四"]);
        assert_eq!(split(&json!(["whitespace"]), "a\u{2003}b c"), ["a", "b", "c"]);
        assert_eq!(
            split(&json!(["ascii_whitespace"]), "a\u{2003}b c"),
            ["a\u{2003}b", "c"]
        );
        assert_eq!(split(&json!(["symbol"]), "1+2€3-4"), ["1", "2", "3-4"]);
        assert_eq!(
            split(&json!(["ascii_punctuation"]), "1+2€3-4«5"),
            ["1", "2€3", "4«5"]
        );
        assert_eq!(split(&json!(["letter"]), "12ab34é5"), ["12", "34", "5"]);
        assert_eq!(split(&json!(["ascii_letter"]), "12ab34é5"), ["12", "34é5"]);
        assert_eq!(split(&json!(["digit"]), "a1b٣c"), ["a", "b٣c"]);
        assert_eq!(split(&json!([]), "a b"), ["a b"]);
    }

    #[test]
    fn what_is_no_delimiter_is_named() {
        let error = |params| Tokenizer::new(&params).unwrap_err().to_string();
        assert!(error(json!("char_group")).contains("must have 'delimiters'"));
        let error = |delimiters| error(json!({"type": "char_group", "delimiters": delimiters}));
        assert!(error(json!("ab")).contains("must have 'delimiters'"));
        assert!(error(json!(["ab"])).contains("one character or a group, got \"ab\""));
        assert!(error(json!([1])).contains("got 1"));
        assert!(error(json!([""])).contains("got \"\""));
    }
}
