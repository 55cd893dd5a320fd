//! `?` as a parameter: `WHERE id = ? AND price < ?` means `WHERE id = $1 AND price < $2`.
//!
//! The PostgreSQL dialect reads `?` as a part of operators that DataFusion does not have; JDBC and ADBC
//! programs write parameters so. `?2` is the second parameter, as in SQLite.

use std::any::TypeId;
use std::borrow::Cow;
use std::fmt::Write;

use sqlparser::dialect::{Dialect, PostgreSqlDialect};
use sqlparser::tokenizer::Token;

use super::offsets::tokens_of;
use crate::error::{QueryError, Result};

/// `text` with its question marks numbered from left to right; those in strings, names and comments stay.
///
/// # Errors
/// [`QueryError::Syntax`] when ways of writing parameters are mixed, or the text has no tokens.
pub(super) fn numbered(text: &str) -> Result<Cow<'_, str>> {
    if !text.contains('?') {
        return Ok(Cow::Borrowed(text));
    }
    let tokens = tokens_of(&QuestionMarks::default(), text)
        .map_err(|e| QueryError::Syntax(format!("cannot parse SQL: {e}")))?;
    let mut out = String::with_capacity(text.len() + 16);
    let (mut start, mut plain, mut numbered) = (0, 0, 0);
    let mut dollars = false;
    for (offset, token) in &tokens {
        let Token::Placeholder(name) = token else {
            continue;
        };
        let Some(number) = name.strip_prefix('?') else {
            dollars |= name.starts_with('$');
            continue;
        };
        out.push_str(text.get(start..*offset).unwrap_or_default());
        start = offset + name.len();
        let number = if number.is_empty() {
            plain += 1;
            plain.to_string()
        } else {
            numbered += 1;
            number.to_string()
        };
        // Blanks keep it apart from what stood beside the mark. Writing to a string does not fail.
        let _written = write!(out, " ${number} ");
    }
    if usize::from(dollars) + usize::from(plain > 0) + usize::from(numbered > 0) > 1 {
        return Err(QueryError::Syntax(
            "parameters are written ?, ?1 or $1, not in two ways in one text".into(),
        ));
    }
    out.push_str(text.get(start..).unwrap_or_default());
    Ok(Cow::Owned(out))
}

/// PostgreSQL's tokens, but `?` is a parameter and belongs to no operator.
#[derive(Debug, Default)]
struct QuestionMarks(PostgreSqlDialect);

impl Dialect for QuestionMarks {
    fn dialect(&self) -> TypeId {
        self.0.dialect()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.0.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.0.is_identifier_part(ch)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.0.is_delimited_identifier_start(ch)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        ch != '?' && self.0.is_custom_operator_part(ch)
    }

    fn supports_unicode_string_literal(&self) -> bool {
        self.0.supports_unicode_string_literal()
    }

    fn supports_nested_comments(&self) -> bool {
        self.0.supports_nested_comments()
    }

    fn supports_string_escape_constant(&self) -> bool {
        self.0.supports_string_escape_constant()
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        self.0.supports_numeric_literal_underscores()
    }

    // Its operators have question marks in them.
    fn supports_geometric_types(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let text = numbered(text).unwrap();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn marks_are_numbered_and_texts_left_alone() {
        let text =
            "SELECT '?', \"?\", ? -- ?\n FROM t WHERE a=? /* ? */ AND b=?-1 OR c=?||'é?' OR E'\\'?' = $$?$$";
        let expected = "SELECT '?', \"?\", $1 -- ? FROM t WHERE a= $2 /* ? */ AND b= $3 -1 OR c= $4 ||'é?' OR E'\\'?' = $$?$$";
        assert_eq!(words(text), expected);
        assert_eq!(numbered("SELECT $1").unwrap(), "SELECT $1");
    }

    #[test]
    fn a_mark_may_stand_beside_anything() {
        for (text, expected) in [
            ("price<?", "price< $1"),
            ("n>=?AND m<>?", "n>= $1 AND m<> $2"),
            ("v<->?", "v<-> $1"),
            ("v<=>?", "v<=> $1"),
            ("v<#>?", "v<#> $1"),
            ("x-?", "x- $1"),
            ("LIMIT?", "LIMIT $1"),
            ("f(?,?)", "f( $1 , $2 )"),
            ("?::vector(2)", "$1 ::vector(2)"),
            ("a=?2 OR b=?1", "a= $2 OR b= $1"),
        ] {
            assert_eq!(words(text), expected);
        }
    }

    #[test]
    fn two_ways_in_one_text_are_refused() {
        for text in ["SELECT ?, $1", "SELECT ?, ?1"] {
            let error = numbered(text).unwrap_err().to_string();
            assert!(error.contains("two ways"), "{error}");
        }
    }
}
