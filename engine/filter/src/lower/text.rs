//! `text_match`, `text_match_fuzzy`, `phrase_match`: tests of a text field by its terms.

use datafusion::logical_expr::{Expr, lit};
use elanus_udfs::text::{self, FieldText, MatchKind};

use super::Lowerer;
use super::operand::{Kind, Operand, Origin, call};
use super::value::Value;
use crate::ast::{self, FieldPath, Span};
use crate::error::{Issue, Result};

impl Lowerer<'_> {
    /// The test `kind` of a field for a query, with the number that was given.
    pub(super) fn text_test(
        &self,
        kind: MatchKind,
        (name, query): (&str, &ast::Expr),
        number: Option<i64>,
        span: Span,
    ) -> Result<Expr> {
        let path = FieldPath {
            name: name.to_owned(),
            path: Vec::new(),
        };
        let field = match self.field(&path, span)? {
            Operand::Scalar(scalar) if scalar.kind == Kind::Text && scalar.origin == Origin::Column => scalar,
            other @ (Operand::Scalar(_)
            | Operand::Constant { .. }
            | Operand::Array(_)
            | Operand::Json(_)
            | Operand::JsonArithmetic { .. }
            | Operand::Predicate(_)) => {
                let got = other.type_name();
                return Err(Issue::types(
                    span,
                    format!(
                        "{} operation on non-string is unsupported: field {name} is {got}",
                        word(kind)
                    ),
                ));
            }
        };
        let of_field = match self.schema.field_with_name(name) {
            Ok(field) => FieldText::of(field),
            Err(_) => FieldText::default(),
        };
        let (Some(analyzer), true) = (of_field.analyzer, of_field.enable_match) else {
            return Err(Issue::types(
                span,
                format!(
                    "field \"{name}\" does not enable match: {} needs a field that was made with enable_analyzer and enable_match",
                    word(kind)
                ),
            ));
        };
        let query_operand = self.operand(query)?;
        let Some(Value::Str(text)) = query_operand.constant() else {
            return Err(Issue::types(
                query.span,
                format!(
                    "the query of {} must be a string or a template with a string",
                    word(kind)
                ),
            ));
        };
        let Some(number) = number.or_else(|| kind.default_number()) else {
            return Err(Issue::parse(span, format!("{} needs its number", word(kind))));
        };
        kind.test(number).map_err(|error| Issue::types(span, error))?;
        let arguments = vec![field.expr, lit(text.as_str()), lit(number), lit(analyzer)];
        Ok(call(text::function(kind), arguments))
    }

    /// The slop of a phrase: a whole number, or a template with one.
    pub(super) fn slop(&self, slop: &ast::Expr) -> Result<i64> {
        let operand = self.operand(slop)?;
        let Some(Value::Int(number)) = operand.constant() else {
            let got = operand.type_name();
            return Err(Issue::types(
                slop.span,
                format!("the slop of phrase_match must be a whole number, got {got}"),
            ));
        };
        Ok(*number)
    }
}

fn word(kind: MatchKind) -> &'static str {
    match kind {
        MatchKind::Terms => "text_match",
        MatchKind::Fuzzy => "text_match_fuzzy",
        MatchKind::Phrase => "phrase_match",
    }
}
