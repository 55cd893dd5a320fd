//! Where tokens are in a text, in bytes: the tokenizer counts lines and characters.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer, TokenizerError};

/// Byte offsets of the tokens that `wanted` holds for, in order.
///
/// # Errors
/// The text ends inside a string, a name or a comment, or has a character that belongs to no token.
pub(super) fn offsets_of(text: &str, wanted: impl Fn(&Token) -> bool) -> Result<Vec<usize>, TokenizerError> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location()?;
    let mut places = tokens
        .iter()
        .filter(|token| wanted(&token.token))
        .map(|token| (token.span.start.line, token.span.start.column))
        .peekable();
    let mut offsets = Vec::new();
    let (mut line, mut column) = (1, 1);
    for (offset, char) in text.char_indices() {
        if places.next_if_eq(&(line, column)).is_some() {
            offsets.push(offset);
        }
        if char == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    Ok(offsets)
}
