//! Where tokens are in a text, in bytes: the tokenizer counts lines and characters.

use sqlparser::dialect::Dialect;
use sqlparser::tokenizer::{Token, Tokenizer, TokenizerError};

/// The tokens of a text but white space and comments, each with its offset in bytes.
///
/// # Errors
/// The text ends inside a string, a name or a comment, or has a character that belongs to no token.
pub(super) fn tokens_of(dialect: &dyn Dialect, text: &str) -> Result<Vec<(usize, Token)>, TokenizerError> {
    let mut tokens = Tokenizer::new(dialect, text)
        .tokenize_with_location()?
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)))
        .peekable();
    let mut placed = Vec::new();
    let (mut line, mut column) = (1, 1);
    for (offset, char) in text.char_indices() {
        let here = |place: sqlparser::tokenizer::Location| (place.line, place.column) == (line, column);
        if let Some(token) = tokens.next_if(|token| here(token.span.start)) {
            placed.push((offset, token.token));
        }
        if char == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    Ok(placed)
}
