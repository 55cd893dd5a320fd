//! `B'1010'`, PostgreSQL's literal of bits: read as the text `'1010'`, which is a vector of bits wherever one is wanted.

use std::borrow::Cow;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::Token;

use super::offsets::tokens_of;
use crate::error::{QueryError, Result};

/// `text` without the letters before literals of bits; those in strings, names and comments stay.
///
/// # Errors
/// [`QueryError::Syntax`] for a literal with anything but 0 and 1, or a text that has no tokens.
pub(super) fn as_text(text: Cow<'_, str>) -> Result<Cow<'_, str>> {
    if !text.contains("b'") && !text.contains("B'") {
        return Ok(text);
    }
    let tokens = tokens_of(&PostgreSqlDialect {}, &text)
        .map_err(|e| QueryError::Syntax(format!("cannot parse SQL: {e}")))?;
    let mut out = String::with_capacity(text.len());
    let mut start = 0;
    for (offset, token) in &tokens {
        let Token::SingleQuotedByteStringLiteral(bits) = token else {
            continue;
        };
        if let Some(other) = bits.chars().find(|digit| !matches!(digit, '0' | '1')) {
            return Err(QueryError::Syntax(format!(
                "'{other}' in B'{bits}' is no bit: allowed are 0 and 1"
            )));
        }
        out.push_str(text.get(start..*offset).unwrap_or_default());
        start = offset + 1;
    }
    if start == 0 {
        return Ok(text);
    }
    out.push_str(text.get(start..).unwrap_or_default());
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_literals_lose_their_letter() {
        for (text, expected) in [
            ("SELECT B'10', b'01'", "SELECT '10', '01'"),
            ("B'1'", "'1'"),
            ("SELECT 'B''1', \"b'\" -- B'2", "SELECT 'B''1', \"b'\" -- B'2"),
            ("SELECT 'ü', B'1'", "SELECT 'ü', '1'"),
        ] {
            assert_eq!(as_text(text.into()).unwrap(), expected);
        }
        let error = as_text("SELECT B'12'".into()).unwrap_err().to_string();
        assert!(error.contains("'2' in B'12' is no bit"), "{error}");
    }
}
