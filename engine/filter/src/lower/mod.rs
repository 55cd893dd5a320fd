//! Tree to DataFusion expression, against a schema.
//!
//! A subtree becomes an [`Operand`]: a constant, a typed scalar, an array, a place in JSON, or a finished condition.
//! Operators check Milvus' type rules on operands and build expressions that are typed already, so that they can become
//! physical expressions without an analyzer pass.

mod arithmetic;
mod compare;
mod contains;
mod elements;
mod field;
mod membership;
mod operand;
mod pattern;
mod spatial;
mod text;
mod time;
mod value;

use arrow::datatypes::Schema;
use chrono_tz::Tz;
use datafusion::logical_expr::{Expr, Operator, binary_expr, lit};
use elanus_udfs::elements::ElementTest;
use elanus_udfs::json::JsonTest;
use elanus_udfs::sample;
use elanus_udfs::text::MatchKind;

use self::compare::Bound;
use self::contains::{array_literal, empty_list_test};
use self::elements::{Scope, test_of};
use self::operand::{Kind, Operand, Origin, call, column, literal, text_scalar};
use self::spatial::is_geometry;
use self::value::Value;
use crate::ast::{self, BinaryOp, CompareOp, ExprKind, Span, UnaryOp};
use crate::error::{FilterErrorKind, Issue, Result};
use crate::template::{TemplateValue, Templates};

/// Lowers a whole filter, whose timestamps without an offset are in `zone`.
pub(crate) fn compile(tree: &ast::Expr, schema: &Schema, templates: &Templates, zone: Tz) -> Result<Expr> {
    let lowerer = Lowerer {
        schema,
        templates,
        zone,
        scope: None,
    };
    let (rest, last) = if let ExprKind::And(operands) = &tree.kind {
        (operands.split_last().map(|(_, rest)| rest), operands.last())
    } else {
        (None, Some(tree))
    };
    let last = match last.map(|last| (&last.kind, last.span)) {
        Some((ExprKind::RandomSample(share), _)) => lowerer.random_sample(share)?,
        // Of a row as with match_any; a search of elements finds those alone that the condition is true for.
        Some((ExprKind::ElementFilter { field, predicate }, span)) => {
            lowerer.elements("element_filter", field, predicate, ElementTest::Filter, span)?
        }
        Some(_) | None => {
            return lowerer.condition(tree, |got| {
                format!("predicate is not a boolean expression: {tree}, data type: {got}")
            });
        }
    };
    Ok(match rest {
        Some(rest) => lowerer.chain(rest, Operator::And, "and")?.and(last),
        None => last,
    })
}

struct Lowerer<'a> {
    schema: &'a Schema,
    templates: &'a Templates,
    zone: Tz,
    /// Inside of a condition on elements: whose.
    scope: Option<Scope<'a>>,
}

impl Lowerer<'_> {
    /// A subtree that must be a condition; `otherwise` says what is wrong with one of another type.
    fn condition(&self, tree: &ast::Expr, otherwise: impl Fn(&str) -> String) -> Result<Expr> {
        match self.operand(tree)? {
            Operand::Predicate(expr) => Ok(expr),
            Operand::Constant {
                value: Value::Bool(value),
                ..
            } => Ok(lit(value)),
            other @ (Operand::Constant { .. }
            | Operand::Scalar(_)
            | Operand::Array(_)
            | Operand::Json(_)
            | Operand::JsonArithmetic { .. }) => {
                let mut message = otherwise(&other.type_name());
                let flag = matches!(&other, Operand::Scalar(scalar) if scalar.kind == Kind::Bool);
                if flag || matches!(other, Operand::Json(_)) {
                    message.push_str("; a boolean field is written field == true");
                }
                Err(Issue::types(tree.span, message))
            }
        }
    }

    fn operand(&self, tree: &ast::Expr) -> Result<Operand> {
        let span = tree.span;
        let expr = match &tree.kind {
            ExprKind::Literal(literal) => {
                return Ok(Operand::Constant {
                    value: Value::from_literal(literal),
                    template: false,
                });
            }
            ExprKind::Template(name) => return self.template(name, span),
            ExprKind::List(items) => return self.list(items),
            ExprKind::Field(path) => return self.field(path, span),
            ExprKind::StructField { field, sub } => {
                return self.struct_field(field, sub, span).map(Operand::Array);
            }
            ExprKind::StructIndexField { field, index, sub } => {
                return self.struct_element(field, *index, sub, span);
            }
            ExprKind::StructSubField(sub) => return self.element_sub_field(sub, span),
            ExprKind::ElementSelf => return self.element_itself(span),
            ExprKind::Unary { op, operand } => return self.unary(*op, operand, span),
            ExprKind::Binary { op, left, right } => return self.binary(*op, left, right, span),
            ExprKind::ArrayLength(operand) => return contains::array_length(&self.operand(operand)?, span),
            ExprKind::And(operands) => self.chain(operands, Operator::And, "and")?,
            ExprKind::Or(operands) => self.chain(operands, Operator::Or, "or")?,
            ExprKind::Exists(operand) => self.exists(operand, span)?,
            ExprKind::IsNull { operand, negated } => self.is_null(operand, *negated, span)?,
            ExprKind::In { negated, value, list } => {
                let operand = self.operand(value)?;
                let values = self.operand(list)?;
                let Some(Value::List(values)) = values.constant() else {
                    let got = values.type_name();
                    return Err(Issue::types(
                        list.span,
                        format!("the right-hand side of 'in' must be a list, got {got}"),
                    ));
                };
                compare::is_in(&operand, values, *negated, span)?
            }
            ExprKind::Range {
                left,
                left_op,
                middle,
                right_op,
                right,
            } => self.range((left, *left_op), middle, (*right_op, right), span)?,
            ExprKind::TimeCompare(compare) => {
                let path = ast::FieldPath {
                    name: compare.field.clone(),
                    path: Vec::new(),
                };
                time::time_compare(compare, self.field(&path, span)?, self.zone, span)?
            }
            ExprKind::Contains {
                mode,
                container,
                value,
            } => {
                let (container, value) = (self.operand(container)?, self.operand(value)?);
                contains::contains(*mode, &container, &value, span)?
            }
            ExprKind::Call { name, args } => self.call(name, args, span)?,
            ExprKind::TextMatch {
                field,
                query,
                minimum_should_match,
            } => self.text_test(MatchKind::Terms, (field, query), *minimum_should_match, span)?,
            ExprKind::TextMatchFuzzy {
                field,
                query,
                max_edit_distance,
            } => self.text_test(MatchKind::Fuzzy, (field, query), Some(*max_edit_distance), span)?,
            ExprKind::PhraseMatch { field, query, slop } => {
                let slop = slop.as_deref().map(|slop| self.slop(slop)).transpose()?;
                self.text_test(MatchKind::Phrase, (field, query), slop, span)?
            }
            ExprKind::MembershipMatch { value, set, kind } => {
                self.membership_match(value, set, *kind, span)?
            }
            ExprKind::RandomSample(_) => {
                let message = "random_sample can only stand alone or as the last condition of 'and'";
                return Err(Issue::parse(span, message));
            }
            ExprKind::ElementFilter { .. } => {
                let message = "element_filter can only stand alone or as the last condition of 'and'";
                return Err(Issue::parse(span, message));
            }
            ExprKind::Match {
                mode,
                field,
                predicate,
                threshold,
            } => {
                let test = test_of(*mode, *threshold, span)?;
                self.elements(mode.name(), field, predicate, test, span)?
            }
            ExprKind::Spatial { op, field, shape } => self.spatial(*op, field, shape, span)?,
            ExprKind::SpatialDistance {
                field,
                shape,
                distance,
            } => self.spatial_distance(field, shape, distance, span)?,
            ExprKind::SpatialIsValid(field) => self.spatial_is_valid(field, span)?,
        };
        Ok(Operand::Predicate(expr))
    }

    fn template(&self, name: &str, span: Span) -> Result<Operand> {
        let template = self.template_value(name, span)?;
        match Value::from_template(template) {
            Some(value) => Ok(Operand::Constant {
                value,
                template: true,
            }),
            None if matches!(template, TemplateValue::Bytes(_)) => Err(Issue::types(
                span,
                format!("the value of {{{name}}} is bytes, which only membership_match takes"),
            )),
            None => Err(Issue::types(
                span,
                format!("the value of {{{name}}} is not a finite number"),
            )),
        }
    }

    fn template_value(&self, name: &str, span: Span) -> Result<&TemplateValue> {
        if let Some(template) = self.templates.get(name) {
            return Ok(template);
        }
        let mut message = format!("the value of expression template variable name {{{name}}} is not found");
        if !self.templates.0.is_empty() {
            let known: Vec<_> = self.templates.0.keys().map(String::as_str).collect();
            message.push_str("; given are ");
            message.push_str(&known.join(", "));
        }
        let kind = FilterErrorKind::TemplateMissing {
            name: name.to_owned(),
        };
        Err(Box::new(Issue { kind, message, span }))
    }

    fn list(&self, items: &[ast::Expr]) -> Result<Operand> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            match self.operand(item)? {
                Operand::Constant { value, .. } => values.push(value),
                other @ (Operand::Scalar(_)
                | Operand::Array(_)
                | Operand::Json(_)
                | Operand::JsonArithmetic { .. }
                | Operand::Predicate(_)) => {
                    let got = other.type_name();
                    return Err(Issue::types(
                        item.span,
                        format!("a list holds constants only, got an expression of type {got}"),
                    ));
                }
            }
        }
        Ok(Operand::Constant {
            value: Value::List(values),
            template: false,
        })
    }

    fn unary(&self, op: UnaryOp, operand: &ast::Expr, span: Span) -> Result<Operand> {
        let inner = self.operand(operand)?;
        match (op, inner) {
            (UnaryOp::BitNot, _) => Err(Issue::unsupported(span, "the operator ~")),
            (UnaryOp::Plus, Operand::Array(_)) => Err(Issue::types(
                span,
                "can not comparisons array fields directly; use an element",
            )),
            (UnaryOp::Plus, inner) => Ok(inner),
            (
                UnaryOp::Minus,
                Operand::Constant {
                    value: Value::Int(value),
                    template,
                },
            ) => match value.checked_neg() {
                Some(value) => Ok(Operand::Constant {
                    value: Value::Int(value),
                    template,
                }),
                None => Err(Issue::parse(
                    span,
                    format!("integer -({value}) is out of the range of int64"),
                )),
            },
            (
                UnaryOp::Minus,
                Operand::Constant {
                    value: Value::Float(value),
                    template,
                },
            ) => Ok(Operand::Constant {
                value: Value::Float(-value),
                template,
            }),
            (UnaryOp::Minus, other) => {
                let got = other.type_name();
                Err(Issue::types(
                    span,
                    format!("'-' before an operand takes a number constant, got {got}"),
                ))
            }
            (UnaryOp::Not, Operand::Predicate(expr)) => Ok(Operand::Predicate(Expr::Not(Box::new(expr)))),
            (
                UnaryOp::Not,
                Operand::Constant {
                    value: Value::Bool(value),
                    template,
                },
            ) => Ok(Operand::Constant {
                value: Value::Bool(!value),
                template,
            }),
            (UnaryOp::Not, _) => Err(Issue::types(
                span,
                "'not' op can only be applied on boolean expression; it binds tighter than comparisons, so write not (a == 1)",
            )),
        }
    }

    fn binary(&self, op: BinaryOp, left: &ast::Expr, right: &ast::Expr, span: Span) -> Result<Operand> {
        if matches!(op, BinaryOp::Shl | BinaryOp::Shr) {
            return Err(Issue::types(span, "shift is not supported"));
        }
        let (left, right) = (self.operand(left)?, self.operand(right)?);
        match op {
            BinaryOp::Compare(op) => compare::compare(op, left, right, span),
            BinaryOp::Like => Ok(Operand::Predicate(pattern::like(left, &right, span)?)),
            BinaryOp::RegexMatch => Ok(Operand::Predicate(pattern::regex(left, &right, false, span)?)),
            BinaryOp::RegexNotMatch => Ok(Operand::Predicate(pattern::regex(left, &right, true, span)?)),
            BinaryOp::Pow => match (left, right) {
                (
                    Operand::Constant {
                        value: left,
                        template: false,
                    },
                    Operand::Constant {
                        value: right,
                        template: false,
                    },
                ) => Ok(Operand::Constant {
                    value: value::arithmetic(op, &left, &right, span)?,
                    template: false,
                }),
                (_, _) => Err(Issue::types(span, "power can only apply on constants")),
            },
            BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Mod
            | BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Shl
            | BinaryOp::Shr
            | BinaryOp::BitAnd
            | BinaryOp::BitXor
            | BinaryOp::BitOr => arithmetic::arithmetic(op, left, right, span),
        }
    }

    /// `random_sample(share)`
    fn random_sample(&self, share: &ast::Expr) -> Result<Expr> {
        let what = match self.operand(share)? {
            Operand::Constant {
                value: Value::Float(value),
                ..
            } if value > 0.0 && value < 1.0 => {
                return Ok(call(sample::function(), vec![lit(value)]));
            }
            Operand::Constant {
                value: Value::Float(value),
                ..
            } => value.to_string(),
            Operand::Constant {
                value: Value::Int(value),
                ..
            } => value.to_string(),
            other @ (Operand::Constant { .. }
            | Operand::Scalar(_)
            | Operand::Array(_)
            | Operand::Json(_)
            | Operand::JsonArithmetic { .. }
            | Operand::Predicate(_)) => other.type_name(),
        };
        Err(Issue::types(
            share.span,
            format!("the sample factor should be between 0 and 1, both excluded, got {what}"),
        ))
    }

    /// All operands joined by one operator, as a balanced tree: a chain of thousands stays shallow.
    fn chain(&self, operands: &[ast::Expr], op: Operator, name: &str) -> Result<Expr> {
        let mut level = Vec::with_capacity(operands.len());
        for operand in operands {
            level.push(self.condition(operand, |got| {
                format!("'{name}' can only be used between boolean expressions, got {got}")
            })?);
        }
        while level.len() > 1 {
            let mut pairs = level.into_iter();
            let mut next = Vec::with_capacity(pairs.len().div_ceil(2));
            while let Some(left) = pairs.next() {
                next.push(match pairs.next() {
                    Some(right) => binary_expr(left, op, right),
                    None => left,
                });
            }
            level = next;
        }
        // an empty conjunction is true; the parser never makes one
        Ok(level.pop().unwrap_or_else(|| lit(op == Operator::And)))
    }

    fn exists(&self, operand: &ast::Expr, span: Span) -> Result<Expr> {
        match self.operand(operand)? {
            Operand::Json(path) if path.pointer.is_empty() => Err(Issue::types(
                span,
                "exists operations are only supported on a json key, not on the whole field",
            )),
            Operand::Json(path) => Ok(path.test(JsonTest::Exists, [])),
            other @ (Operand::Constant { .. }
            | Operand::Scalar(_)
            | Operand::Array(_)
            | Operand::JsonArithmetic { .. }
            | Operand::Predicate(_)) => {
                let got = other.type_name();
                Err(Issue::types(
                    span,
                    format!("exists operations are only supported on a json key, got: {got}"),
                ))
            }
        }
    }

    fn is_null(&self, operand: &ast::Expr, negated: bool, span: Span) -> Result<Expr> {
        let test = |expr: Expr| {
            if negated {
                Expr::IsNotNull(Box::new(expr))
            } else {
                Expr::IsNull(Box::new(expr))
            }
        };
        if let ExprKind::Field(path) = &operand.kind
            && path.path.is_empty()
            && let Ok(field) = self.schema.field_with_name(&path.name)
            && is_geometry(field)
        {
            return Ok(test(column(&path.name)));
        }
        match self.operand(operand)? {
            Operand::Scalar(scalar) if scalar.origin == Origin::Column => Ok(test(scalar.expr)),
            Operand::Array(array) => Ok(test(array.expr)),
            Operand::Json(path) if path.pointer.is_empty() => Ok(test(path.column)),
            Operand::Json(path) => {
                let exists = path.test(JsonTest::Exists, []);
                Ok(if negated {
                    exists
                } else {
                    Expr::Not(Box::new(exists))
                })
            }
            Operand::Scalar(_)
            | Operand::Constant { .. }
            | Operand::JsonArithmetic { .. }
            | Operand::Predicate(_) => Err(Issue::types(
                span,
                "is null is supported on fields and JSON paths, not on array elements",
            )),
        }
    }

    fn range(
        &self,
        (left, left_op): (&ast::Expr, CompareOp),
        middle: &ast::Expr,
        (right_op, right): (CompareOp, &ast::Expr),
        span: Span,
    ) -> Result<Expr> {
        let middle = self.operand(middle)?;
        let bound = |tree: &ast::Expr, op: CompareOp| match self.operand(tree)? {
            Operand::Constant { value, template } => Ok(Bound {
                value,
                template,
                inclusive: matches!(op, CompareOp::Le | CompareOp::Ge),
            }),
            Operand::Scalar(_)
            | Operand::Array(_)
            | Operand::Json(_)
            | Operand::JsonArithmetic { .. }
            | Operand::Predicate(_) => Err(Issue::types(
                tree.span,
                "a bound of a range cannot be a non-const expression; join two comparisons with and",
            )),
        };
        let (left, right) = (bound(left, left_op)?, bound(right, right_op)?);
        let rising = matches!(left_op, CompareOp::Lt | CompareOp::Le);
        let (lower, upper) = if rising { (left, right) } else { (right, left) };
        compare::range(&middle, &lower, &upper, span)
    }

    /// Functions outside of the grammar's own.
    fn call(&self, name: &str, args: &[ast::Expr], span: Span) -> Result<Expr> {
        let text = |tree: &ast::Expr| {
            let operand = self.operand(tree)?;
            let got = operand.type_name();
            if let Operand::Scalar(scalar) = operand
                && scalar.kind == Kind::Text
            {
                return Ok(scalar);
            }
            Err(Issue::types(
                tree.span,
                format!("{name} takes a VarChar field, got {got}"),
            ))
        };
        match (name.to_ascii_lowercase().as_str(), args) {
            ("empty", [field]) => {
                let field = text(field)?;
                Ok(binary_expr(
                    field.expr,
                    Operator::Eq,
                    literal(text_scalar(&field.data_type, "")),
                ))
            }
            ("starts_with", [field, prefix]) => {
                let field = text(field)?;
                let operand = self.operand(prefix)?;
                let Some(Value::Str(prefix)) = operand.constant() else {
                    return Err(Issue::types(
                        prefix.span,
                        "the prefix of starts_with must be a string",
                    ));
                };
                let mut escaped = String::with_capacity(prefix.len() + 1);
                for character in prefix.chars() {
                    if matches!(character, '%' | '_' | '\\') {
                        escaped.push('\\');
                    }
                    escaped.push(character);
                }
                escaped.push('%');
                Ok(field.expr.like(literal(text_scalar(&field.data_type, &escaped))))
            }
            ("empty", _) => Err(Issue::parse(span, "empty takes one argument: empty(field)")),
            ("starts_with", _) => Err(Issue::parse(
                span,
                "starts_with takes two arguments: starts_with(field, \"prefix\")",
            )),
            (_, _) => Err(Issue::unsupported(span, format_args!("function {name}"))),
        }
    }
}
