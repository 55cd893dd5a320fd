//! Operands: prefix operators, literals, fields, lists, templates, parentheses, null tests.

use super::keyword::{boolean, is_keyword, is_operator};
use super::{Built, Parser};
use crate::ast::{Expr, ExprKind, FieldPath, Literal, UnaryOp, precedence};
use crate::error::{Issue, Result};
use crate::token::TokenKind;

const WANTED: &str = "a field, a literal, '(' or '['";

impl Parser {
    /// A prefix operator with its operand, or a primary.
    pub(super) fn prefix(&mut self) -> Result<Built> {
        if self.is_word(0, "exists") {
            let start = self.bump().span;
            let operand = self.expr(precedence::EXISTS)?;
            let span = start.to(operand.expr.span);
            return Built::node(ExprKind::Exists(Box::new(operand.expr)), span, operand.height);
        }
        let op = if self.is_word(0, "not") || self.is_symbol(0, "!") {
            UnaryOp::Not
        } else if self.is_symbol(0, "-") {
            UnaryOp::Minus
        } else if self.is_symbol(0, "+") {
            UnaryOp::Plus
        } else if self.is_symbol(0, "~") {
            UnaryOp::BitNot
        } else {
            return self.primary();
        };
        let start = self.bump().span;
        if op == UnaryOp::Minus
            && let Some(literal) = self.negative_number()
        {
            let span = start.to(self.bump().span);
            return Ok(Built::leaf(ExprKind::Literal(literal), span));
        }
        let operand = self.expr(precedence::PREFIX)?;
        let span = start.to(operand.expr.span);
        Built::node(
            ExprKind::Unary {
                op,
                operand: Box::new(operand.expr),
            },
            span,
            operand.height,
        )
    }

    /// The number after a minus sign, with the sign, unless an operator binds tighter to it than the sign does.
    fn negative_number(&self) -> Option<Literal> {
        let literal = if let TokenKind::Int(magnitude) = self.peek().kind {
            Literal::Int(0i64.checked_sub_unsigned(magnitude)?)
        } else if let TokenKind::Float(value) = self.peek().kind {
            Literal::Float(-value)
        } else {
            return None;
        };
        let tighter = self.is_symbol(1, "**")
            || self.is_symbol(1, "=~")
            || self.is_symbol(1, "!~")
            || self.is_word(1, "like");
        (!tighter).then_some(literal)
    }

    fn primary(&mut self) -> Result<Built> {
        if let TokenKind::Word(word) = &self.peek().kind {
            let word = word.clone();
            return self.word(&word);
        }
        let span = self.peek().span;
        let kind = match &self.peek().kind {
            TokenKind::Symbol("(") => {
                self.bump();
                let mut inner = self.expr(0)?;
                let close = self.expect(")")?;
                inner.expr.span = span.to(close);
                return Ok(inner);
            }
            TokenKind::Symbol("[") => {
                self.bump();
                let (items, below) = self.items("]")?;
                let close = self.expect("]")?;
                return Built::node(ExprKind::List(items), span.to(close), below);
            }
            TokenKind::Symbol("{") => {
                self.bump();
                let name = self.identifier("the name of a template variable")?;
                let close = self.expect("}")?;
                return Ok(Built::leaf(ExprKind::Template(name), span.to(close)));
            }
            TokenKind::Int(magnitude) => {
                let value = i64::try_from(*magnitude).map_err(|_| {
                    Issue::parse(span, format!("integer {magnitude} is out of the range of int64"))
                })?;
                ExprKind::Literal(Literal::Int(value))
            }
            TokenKind::Float(value) => ExprKind::Literal(Literal::Float(*value)),
            TokenKind::Str(text) => ExprKind::Literal(Literal::Str(text.clone())),
            TokenKind::Path(..)
            | TokenKind::Meta
            | TokenKind::StructField(..)
            | TokenKind::StructIndexField(..)
            | TokenKind::StructSubField(_)
            | TokenKind::ElementSelf => {
                let is_path = matches!(self.peek().kind, TokenKind::Path(..));
                let token = self.bump();
                let field = Built::leaf(field_kind(token.kind).unwrap_or(ExprKind::ElementSelf), span);
                return if is_path { self.null_test(field) } else { Ok(field) };
            }
            TokenKind::Word(_)
            | TokenKind::IsNull
            | TokenKind::IsNotNull
            | TokenKind::Symbol(_)
            | TokenKind::End => {
                return Err(self.unexpected(WANTED));
            }
        };
        self.bump();
        Ok(Built::leaf(kind, span))
    }

    /// `is null` and `is not null` belong to the field directly before them.
    fn null_test(&mut self, field: Built) -> Result<Built> {
        let negated = self.peek().kind == TokenKind::IsNotNull;
        if !negated && self.peek().kind != TokenKind::IsNull {
            return Ok(field);
        }
        let span = field.expr.span.to(self.bump().span);
        Built::node(
            ExprKind::IsNull {
                operand: Box::new(field.expr),
                negated,
            },
            span,
            field.height,
        )
    }

    /// A primary that begins with a word: boolean, call, timestamp comparison or field.
    fn word(&mut self, word: &str) -> Result<Built> {
        let span = self.peek().span;
        if let Some(value) = boolean(word) {
            self.bump();
            return Ok(Built::leaf(ExprKind::Literal(Literal::Bool(value)), span));
        }
        if is_operator(word) {
            return Err(self.unexpected(WANTED));
        }
        if is_keyword(word, "iso") && self.is_string(1) {
            return self.time_compare_iso_first();
        }
        if self.is_symbol(1, "(") {
            self.bump();
            return self.call(word, span);
        }
        if let Some(compare) = self.time_compare(word)? {
            return Ok(compare);
        }
        self.bump();
        let field = ExprKind::Field(FieldPath {
            name: word.to_owned(),
            path: Vec::new(),
        });
        self.null_test(Built::leaf(field, span))
    }

    /// Expressions up to `close`, which stays; a trailing comma is allowed. Also the greatest height.
    pub(super) fn items(&mut self, close: &str) -> Result<(Vec<Expr>, u32)> {
        let mut items = Vec::new();
        let mut below = 0;
        while !self.is_symbol(0, close) {
            let item = self.expr(0)?;
            below = below.max(item.height);
            items.push(item.expr);
            if !self.is_symbol(0, ",") {
                break;
            }
            self.bump();
        }
        Ok((items, below))
    }
}

/// The node of a token that names a field.
pub(super) fn field_kind(token: TokenKind) -> Option<ExprKind> {
    Some(match token {
        TokenKind::Word(name) => ExprKind::Field(FieldPath {
            name,
            path: Vec::new(),
        }),
        TokenKind::Meta => ExprKind::Field(FieldPath {
            name: "$meta".to_owned(),
            path: Vec::new(),
        }),
        TokenKind::Path(name, path) => ExprKind::Field(FieldPath { name, path }),
        TokenKind::StructField(field, sub) => ExprKind::StructField { field, sub },
        TokenKind::StructIndexField(field, index, sub) => ExprKind::StructIndexField { field, index, sub },
        TokenKind::StructSubField(sub) => ExprKind::StructSubField(sub),
        TokenKind::ElementSelf => ExprKind::ElementSelf,
        TokenKind::Int(_)
        | TokenKind::Float(_)
        | TokenKind::Str(_)
        | TokenKind::IsNull
        | TokenKind::IsNotNull
        | TokenKind::Symbol(_)
        | TokenKind::End => return None,
    })
}
