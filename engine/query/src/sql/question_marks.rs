//! `?` as a parameter: `WHERE id = ? AND price < ?` means `WHERE id = $1 AND price < $2`.
//!
//! The PostgreSQL dialect reads `?` as a JSON operator, which DataFusion does not have; JDBC and ADBC
//! programs write parameters so.

use std::borrow::Cow;

use sqlparser::tokenizer::Token;

use super::offsets::offsets_of;
use crate::error::{QueryError, Result};

/// `text` with its question marks numbered from left to right; those in strings, names and comments stay.
///
/// # Errors
/// [`QueryError::Syntax`] when `?` and `$1` are mixed, or the text has no tokens.
pub(super) fn numbered(text: &str) -> Result<Cow<'_, str>> {
    if !text.contains('?') {
        return Ok(Cow::Borrowed(text));
    }
    let unreadable = |e| QueryError::Syntax(format!("cannot parse SQL: {e}"));
    let marks = offsets_of(text, is_mark).map_err(unreadable)?;
    if marks.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    let numbered = |token: &Token| matches!(token, Token::Placeholder(name) if name.starts_with('$'));
    if !offsets_of(text, numbered).map_err(unreadable)?.is_empty() {
        return Err(QueryError::Syntax(
            "parameters are written ? or $1, not both in one text".into(),
        ));
    }
    let mut out = String::with_capacity(text.len() + 2 * marks.len());
    let mut start = 0;
    for (index, mark) in marks.into_iter().enumerate() {
        out.push_str(text.get(start..mark).unwrap_or_default());
        out.push_str(&format!("${}", index + 1));
        start = mark + 1;
    }
    out.push_str(text.get(start..).unwrap_or_default());
    Ok(Cow::Owned(out))
}

/// Whether the token starts with a question mark that stands for a value.
fn is_mark(token: &Token) -> bool {
    matches!(
        token,
        Token::Question
            | Token::QuestionAnd
            | Token::QuestionPipe
            | Token::QuestionMarkDash
            | Token::QuestionMarkSharp
            | Token::QuestionMarkDashVerticalBar
            | Token::QuestionMarkDoubleVerticalBar
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_numbered_and_texts_left_alone() {
        let text = "SELECT '?', \"?\", ? -- ?\n FROM t WHERE a=? /* ? */ AND b=?-1 OR c=?||'é?'";
        let expected = "SELECT '?', \"?\", $1 -- ?\n FROM t WHERE a=$2 /* ? */ AND b=$3-1 OR c=$4||'é?'";
        assert_eq!(numbered(text).unwrap(), expected);
        assert_eq!(numbered("SELECT $1").unwrap(), "SELECT $1");
    }

    #[test]
    fn two_ways_in_one_text_are_refused() {
        let error = numbered("SELECT ?, $1").unwrap_err().to_string();
        assert!(error.contains("not both"), "{error}");
    }
}
