//! A token: a piece of text, where it came from, and its place among the others.

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The text, as the filters left it.
    pub text: String,
    /// First byte of the piece in the text.
    pub start: usize,
    /// First byte behind it.
    pub end: usize,
    /// Place among the tokens of the text: their number, or for `jieba` the number of the first character.
    pub position: usize,
    /// How many places it takes up.
    pub position_length: usize,
}
