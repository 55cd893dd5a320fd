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
mod lower;
mod parser;
mod printer;
mod template;
mod token;

pub mod ast;

pub use error::{FilterError, FilterErrorKind};
pub use parser::MAX_DEPTH;
pub use template::{TemplateValue, Templates};

use arrow::datatypes::Schema;
use chrono_tz::Tz;
use datafusion::logical_expr::Expr;

/// Parses a filter without looking at any schema.
///
/// # Errors
/// [`FilterErrorKind::Parse`] with the position when the text is not of the grammar.
pub fn parse(text: &str) -> Result<ast::Expr, FilterError> {
    parser::parse(text).map_err(|issue| FilterError::new(text, *issue))
}

/// Compiles a filter to a boolean DataFusion expression over the columns of `schema`.
///
/// The expression is typed: literals have the types of their columns and casts stand where they are needed, so it can
/// become a physical expression directly. Column names are taken as they are, without normalisation.
///
/// JSON columns are `Utf8` with the extension name `arrow.json` (or the Milvus type `JSON`) in the field's metadata;
/// the dynamic field is the column `$meta`. GEOMETRY columns are `Binary` with the extension name `geoarrow.wkb`.
///
/// # Errors
/// Any [`FilterErrorKind`], with the position.
pub fn compile(text: &str, schema: &Schema, templates: &Templates) -> Result<Expr, FilterError> {
    compile_in(text, schema, templates, Tz::UTC)
}

/// As [`compile`]; timestamps without an offset are in `zone`.
///
/// # Errors
/// As [`compile`], and timestamps that this zone has not.
pub fn compile_in(text: &str, schema: &Schema, templates: &Templates, zone: Tz) -> Result<Expr, FilterError> {
    let lowered = parser::parse(text).and_then(|tree| lower::compile(&tree, schema, templates, zone));
    lowered.map_err(|issue| FilterError::new(text, *issue))
}
