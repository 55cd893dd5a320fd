//! Tokens to tree: an operator-precedence (Pratt) parser over the grammar's own precedence table.
//!
//! Recursion is bounded twice: by [`MAX_DEPTH`] while descending, and by the height of the finished tree, because a
//! left-leaning chain grows upwards without recursion. Whatever walks the tree later may therefore simply recurse.

mod call;
mod keyword;
mod operand;
mod stream;
mod time;

use self::operand::field_kind;
use crate::ast::{BinaryOp, CompareOp, Expr, ExprKind, Span, precedence};
use crate::error::{Issue, Result};
use crate::token::{Token, TokenKind, tokenize};

/// Nesting levels that an expression may have. A list of any length is one level; a chain of `and`s or of `or`s counts as
/// the balanced tree that it is computed as, so one of a thousand conditions is ten levels.
pub const MAX_DEPTH: u32 = 200;

/// Parses one complete expression.
pub(crate) fn parse(text: &str) -> Result<Expr> {
    let mut parser = Parser {
        tokens: tokenize(text)?,
        at: 0,
        depth: 0,
    };
    if parser.peek().kind == TokenKind::End {
        return Err(Issue::parse(parser.peek().span, "the expression is empty"));
    }
    let built = parser.expr(0)?;
    if parser.peek().kind != TokenKind::End {
        return Err(parser.unexpected("an operator or the end of the expression"));
    }
    Ok(built.expr)
}

/// A subtree and its height.
struct Built {
    expr: Expr,
    height: u32,
}

impl Built {
    fn leaf(kind: ExprKind, span: Span) -> Self {
        Self {
            expr: Expr { kind, span },
            height: 1,
        }
    }

    /// A node above children of at most `below` levels.
    fn node(kind: ExprKind, span: Span, below: u32) -> Result<Self> {
        if below >= MAX_DEPTH {
            return Err(too_deep(span));
        }
        Ok(Self {
            expr: Expr { kind, span },
            height: below + 1,
        })
    }
}

fn too_deep(span: Span) -> Box<Issue> {
    Issue::parse(
        span,
        format!("the expression is nested too deeply; at most {MAX_DEPTH} levels are allowed"),
    )
}

/// What may continue an operand.
#[derive(Clone, Copy)]
enum Infix {
    Binary(BinaryOp),
    And,
    Or,
    In { negated: bool },
}

impl Infix {
    fn precedence(&self) -> u8 {
        match self {
            Self::Binary(op) => op.precedence(),
            Self::And => precedence::AND,
            Self::Or => precedence::OR,
            Self::In { .. } => precedence::TERM,
        }
    }
}

/// The tokens, how many are taken, and how deep the descent is.
struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: u32,
}

impl Parser {
    /// An expression whose operators all bind at least as tightly as `min`.
    fn expr(&mut self, min: u8) -> Result<Built> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.peek().span));
        }
        let mut left = self.prefix()?;
        while let Some(infix) = self.infix() {
            // a range binds tighter than a plain comparison, so it may go on where the comparison may not
            let range = min <= precedence::RANGE && self.range_ahead(&infix);
            if infix.precedence() < min && !range {
                break;
            }
            left = if range {
                self.range(left)?
            } else {
                self.infix_tail(left, infix)?
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn infix(&self) -> Option<Infix> {
        if let TokenKind::Word(word) = &self.peek().kind {
            return match word.as_str() {
                "like" | "LIKE" => Some(Infix::Binary(BinaryOp::Like)),
                "and" | "AND" => Some(Infix::And),
                "or" | "OR" => Some(Infix::Or),
                "in" | "IN" => Some(Infix::In { negated: false }),
                "not" | "NOT" if self.is_word(1, "in") => Some(Infix::In { negated: true }),
                _ => None,
            };
        }
        let TokenKind::Symbol(symbol) = &self.peek().kind else {
            return None;
        };
        let op = match *symbol {
            "&&" => return Some(Infix::And),
            "||" => return Some(Infix::Or),
            "!" if self.is_word(1, "in") => return Some(Infix::In { negated: true }),
            "=~" => BinaryOp::RegexMatch,
            "!~" => BinaryOp::RegexNotMatch,
            "**" => BinaryOp::Pow,
            "*" => BinaryOp::Mul,
            "/" => BinaryOp::Div,
            "%" => BinaryOp::Mod,
            "+" => BinaryOp::Add,
            "-" => BinaryOp::Sub,
            "<<" => BinaryOp::Shl,
            ">>" => BinaryOp::Shr,
            "&" => BinaryOp::BitAnd,
            "^" => BinaryOp::BitXor,
            "|" => BinaryOp::BitOr,
            other => BinaryOp::Compare(compare_op(other)?),
        };
        Some(Infix::Binary(op))
    }

    /// Whether `op field op` follows with both operators pointing the same way.
    fn range_ahead(&self, infix: &Infix) -> bool {
        let Infix::Binary(BinaryOp::Compare(first)) = infix else {
            return false;
        };
        let middle = matches!(
            self.ahead(1).kind,
            TokenKind::Path(..)
                | TokenKind::StructSubField(_)
                | TokenKind::StructIndexField(..)
                | TokenKind::ElementSelf
        ) || matches!(&self.ahead(1).kind, TokenKind::Word(word) if !keyword::is_reserved(word));
        let TokenKind::Symbol(symbol) = &self.ahead(2).kind else {
            return false;
        };
        let Some(second) = compare_op(symbol) else {
            return false;
        };
        let rising = |op: CompareOp| matches!(op, CompareOp::Lt | CompareOp::Le);
        let falling = |op: CompareOp| matches!(op, CompareOp::Gt | CompareOp::Ge);
        // `x < ts < ISO '..'` is a comparison with a timestamp condition, not a range
        let instant = self.is_word(3, "iso") && self.is_string(4);
        middle && !instant && ((rising(*first) && rising(second)) || (falling(*first) && falling(second)))
    }

    fn range(&mut self, left: Built) -> Result<Built> {
        let left_op = self.take_compare()?;
        let token = self.bump();
        let middle = Expr {
            span: token.span,
            kind: field_kind(token.kind).unwrap_or(ExprKind::ElementSelf),
        };
        let right_op = self.take_compare()?;
        let right = self.expr(precedence::RANGE + 1)?;
        let span = left.expr.span.to(right.expr.span);
        let below = left.height.max(right.height);
        let kind = ExprKind::Range {
            left: Box::new(left.expr),
            left_op,
            middle: Box::new(middle),
            right_op,
            right: Box::new(right.expr),
        };
        Built::node(kind, span, below)
    }

    fn infix_tail(&mut self, left: Built, infix: Infix) -> Result<Built> {
        match infix {
            Infix::Binary(op) => {
                self.bump();
                let right = self.expr(op.precedence() + 1)?;
                let span = left.expr.span.to(right.expr.span);
                let below = left.height.max(right.height);
                Built::node(
                    ExprKind::Binary {
                        op,
                        left: Box::new(left.expr),
                        right: Box::new(right.expr),
                    },
                    span,
                    below,
                )
            }
            Infix::In { negated } => {
                self.bump();
                if negated {
                    self.bump();
                }
                let right = self.expr(precedence::TERM + 1)?;
                let span = left.expr.span.to(right.expr.span);
                let below = left.height.max(right.height);
                let kind = ExprKind::In {
                    negated,
                    value: Box::new(left.expr),
                    list: Box::new(right.expr),
                };
                Built::node(kind, span, below)
            }
            Infix::And | Infix::Or => self.chain(left, infix),
        }
    }

    /// The whole run of `and`s or of `or`s.
    fn chain(&mut self, first: Built, infix: Infix) -> Result<Built> {
        let is_and = matches!(infix, Infix::And);
        let mut below = first.height;
        let mut span = first.expr.span;
        let mut operands = vec![first.expr];
        while matches!(
            (self.infix(), is_and),
            (Some(Infix::And), true) | (Some(Infix::Or), false)
        ) {
            self.bump();
            let next = self.expr(infix.precedence() + 1)?;
            below = below.max(next.height);
            span = span.to(next.expr.span);
            operands.push(next.expr);
        }
        let levels = operands.len().next_power_of_two().ilog2();
        below += levels.saturating_sub(1);
        Built::node(
            if is_and {
                ExprKind::And(operands)
            } else {
                ExprKind::Or(operands)
            },
            span,
            below,
        )
    }
}

fn compare_op(symbol: &str) -> Option<CompareOp> {
    Some(match symbol {
        "==" => CompareOp::Eq,
        "!=" => CompareOp::Ne,
        "<" => CompareOp::Lt,
        "<=" => CompareOp::Le,
        ">" => CompareOp::Gt,
        ">=" => CompareOp::Ge,
        _ => return None,
    })
}
