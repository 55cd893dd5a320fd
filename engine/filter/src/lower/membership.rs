//! `membership_match(field, {set}, type=bloom)`: a field or a place in JSON against a set that the client made.

use std::sync::Arc;

use datafusion::logical_expr::Expr;
use elanus_udfs::membership::{Membership, MembershipKind, in_set, json_in_set};

use super::Lowerer;
use super::operand::{Kind, Operand, Origin};
use crate::ast::{self, ExprKind, Span};
use crate::error::{Issue, Result};
use crate::template::TemplateValue;

const NAME: &str = "membership_match";

impl Lowerer<'_> {
    /// Whether the value is in the set, which must be of `kind` where one is named.
    pub(super) fn membership_match(
        &self,
        value: &ast::Expr,
        set: &ast::Expr,
        kind: Option<MembershipKind>,
        span: Span,
    ) -> Result<Expr> {
        if self.scope.is_some() {
            let message = format!("{NAME} cannot be used in a condition on elements");
            return Err(Issue::parse(span, message));
        }
        let operand = self.operand(value)?;
        let set_span = set.span;
        let set = Arc::new(self.membership(set)?);
        let found = set.kind();
        if kind.is_some_and(|kind| kind != found) {
            let message = format!("the set of {NAME} is of type {}", found.name());
            return Err(Issue::types(set_span, message));
        }
        let (of_integers, of_texts) = (set.takes_integers(), set.takes_texts());
        let made_of = if of_integers { "integers" } else { "strings" };
        match operand {
            Operand::Scalar(field) if field.origin == Origin::Column => match field.kind {
                Kind::Int if of_integers => Ok(in_set(field.expr, set)),
                Kind::Text if of_texts => Ok(in_set(field.expr, set)),
                Kind::Int | Kind::Text => {
                    let got = Operand::Scalar(field).type_name();
                    let message = format!("the set of {NAME} was made of {made_of}, the field is {got}");
                    Err(Issue::types(span, message))
                }
                Kind::Bool | Kind::Float | Kind::Time => {
                    let got = Operand::Scalar(field).type_name();
                    Err(wrong_field(found, &got, value.span))
                }
            },
            Operand::Json(path) if found == MembershipKind::Bloom => {
                Ok(json_in_set(path.column, &path.pointer, set))
            }
            other @ (Operand::Scalar(_)
            | Operand::Constant { .. }
            | Operand::Array(_)
            | Operand::Json(_)
            | Operand::JsonArithmetic { .. }
            | Operand::Predicate(_)) => Err(wrong_field(found, &other.type_name(), value.span)),
        }
    }

    fn membership(&self, set: &ast::Expr) -> Result<Membership> {
        // Members are not repeated in errors: they may be secret.
        let ExprKind::Template(name) = &set.kind else {
            let message =
                format!("the second argument of {NAME} must be a {{template}} with the bytes of a set");
            return Err(Issue::types(set.span, message));
        };
        let TemplateValue::Bytes(bytes) = self.template_value(name, set.span)? else {
            let message =
                format!("the value of {{{name}}} must be bytes: a set as build_bloom_filter makes it");
            return Err(Issue::types(set.span, message));
        };
        Membership::read(bytes).map_err(|reason| Issue::types(set.span, reason))
    }
}

fn wrong_field(kind: MembershipKind, got: &str, span: Span) -> Box<Issue> {
    let takes = match kind {
        MembershipKind::Bloom => "an integer or VarChar field, or a JSON path",
        MembershipKind::Roaring => "an integer field",
    };
    Issue::types(
        span,
        format!(
            "{NAME} with a set of type {} takes {takes}, got {got}",
            kind.name()
        ),
    )
}
