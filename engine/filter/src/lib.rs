//! Milvus boolean expressions: text -> syntax tree -> DataFusion expression.
//!
//! ```text
//!  text ──token──▶ tokens ──parser──▶ ast::Expr ──lower──▶ datafusion Expr (boolean, typed, ready to execute)
//!                                        │  ▲
//!                                     printer (canonical text)
//! ```
//!
//! The grammar, its precedence and its type rules are Milvus 3.0's. Evaluation follows three-valued logic: a comparison
//! with NULL, with a missing JSON path or with a JSON value of another type is unknown, `not` keeps unknown, and only
//! rows that are true match. The crate sees an Arrow schema and nothing else of the engine.

mod error;
mod literal;
mod parser;
mod printer;
mod token;

pub mod ast;

pub use error::{FilterError, FilterErrorKind};
pub use parser::MAX_DEPTH;

/// Parses a filter without looking at any schema.
///
/// # Errors
/// [`FilterErrorKind::Parse`] with the position when the text is not of the grammar.
pub fn parse(text: &str) -> Result<ast::Expr, FilterError> {
    parser::parse(text).map_err(|issue| FilterError::new(text, *issue))
}
