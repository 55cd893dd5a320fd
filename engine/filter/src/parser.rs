//! Tokens to tree: an operator-precedence (Pratt) parser over the grammar's own precedence table.
//!
//! Recursion is bounded twice: by [`MAX_DEPTH`] while descending, and by the height of the finished tree, because a
//! left-leaning chain grows upwards without recursion. Whatever walks the tree later may therefore simply recurse.

use crate::ast::{
    BinaryOp, CompareOp, ContainsMode, Expr, ExprKind, FieldPath, Literal, MatchMode, Span, SpatialOp,
    TimeCompare, UnaryOp, precedence,
};
use crate::error::{Issue, Result};
use crate::token::{Token, TokenKind, tokenize};

/// Nesting levels that an expression may have. Flat `and`/`or` chains and lists of any length are one level.
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

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: u32,
}

/// The token past the end, should the stream ever be read further.
static END: Token = Token {
    kind: TokenKind::End,
    span: Span { start: 0, end: 0 },
};

impl Parser {
    fn peek(&self) -> &Token {
        self.ahead(0)
    }

    fn ahead(&self, count: usize) -> &Token {
        self.tokens
            .get(self.at + count)
            .or(self.tokens.last())
            .unwrap_or(&END)
    }

    /// Takes the next token out of the stream; its place keeps its span.
    fn bump(&mut self) -> Token {
        let Some(token) = self.tokens.get_mut(self.at) else {
            return END.clone();
        };
        if token.kind == TokenKind::End {
            return token.clone();
        }
        self.at += 1;
        let kind = std::mem::replace(&mut token.kind, TokenKind::Symbol(""));
        Token {
            kind,
            span: token.span,
        }
    }

    fn is_symbol(&self, ahead: usize, symbol: &str) -> bool {
        matches!(&self.ahead(ahead).kind, TokenKind::Symbol(found) if *found == symbol)
    }

    fn is_word(&self, ahead: usize, lower: &str) -> bool {
        matches!(&self.ahead(ahead).kind, TokenKind::Word(word) if is_keyword(word, lower))
    }

    fn is_string(&self, ahead: usize) -> bool {
        matches!(self.ahead(ahead).kind, TokenKind::Str(_))
    }

    fn expect(&mut self, symbol: &str) -> Result<Span> {
        if self.is_symbol(0, symbol) {
            return Ok(self.bump().span);
        }
        Err(self.unexpected(&format!("'{symbol}'")))
    }

    fn unexpected(&self, wanted: &str) -> Box<Issue> {
        let token = self.peek();
        let found = describe(&token.kind);
        let hint = if token.kind == TokenKind::Symbol("=") {
            "; write == to compare"
        } else if matches!(&token.kind, TokenKind::Word(word) if mixed_case_keyword(word)) {
            "; keywords are written all lower or all upper case"
        } else {
            ""
        };
        Issue::parse(token.span, format!("unexpected {found}, expected {wanted}{hint}"))
    }

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
            TokenKind::Word(_)
                | TokenKind::Path(..)
                | TokenKind::StructSubField(_)
                | TokenKind::StructIndexField(..)
                | TokenKind::ElementSelf
        );
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

    fn take_compare(&mut self) -> Result<CompareOp> {
        if let TokenKind::Symbol(symbol) = &self.peek().kind
            && let Some(op) = compare_op(symbol)
        {
            self.bump();
            return Ok(op);
        }
        Err(self.unexpected("a comparison"))
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

    /// A prefix operator with its operand, or a primary.
    fn prefix(&mut self) -> Result<Built> {
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
        const WANTED: &str = "a field, a literal, '(' or '['";
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
        if ["like", "exists", "and", "or", "not", "in"]
            .iter()
            .any(|keyword| is_keyword(word, keyword))
        {
            return Err(self.unexpected("a field, a literal, '(' or '['"));
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

    /// `field [+- INTERVAL '..'] op ISO '..'`
    fn time_compare(&mut self, field: &str) -> Result<Option<Built>> {
        let has_interval = (self.is_symbol(1, "+") || self.is_symbol(1, "-"))
            && self.is_word(2, "interval")
            && self.is_string(3);
        let op_at = if has_interval { 4 } else { 1 };
        let TokenKind::Symbol(symbol) = &self.ahead(op_at).kind else {
            return Ok(None);
        };
        let Some(op) = compare_op(symbol) else {
            return Ok(None);
        };
        if !(self.is_word(op_at + 1, "iso") && self.is_string(op_at + 2)) {
            return Ok(None);
        }
        let start = self.bump().span;
        let interval = if has_interval {
            Some(self.interval()?)
        } else {
            None
        };
        self.bump();
        self.bump();
        let end = self.peek().span;
        let iso = self.string()?;
        let compare = TimeCompare {
            field: field.to_owned(),
            interval,
            op,
            iso,
            iso_first: false,
        };
        Ok(Some(Built::leaf(ExprKind::TimeCompare(compare), start.to(end))))
    }

    /// `ISO '..' op field [+- INTERVAL '..']`
    fn time_compare_iso_first(&mut self) -> Result<Built> {
        let start = self.bump().span;
        let iso = self.string()?;
        let op = self.take_compare()?;
        let mut end = self.peek().span;
        let field = self.identifier("a timestamp field")?;
        let has_interval = (self.is_symbol(0, "+") || self.is_symbol(0, "-"))
            && self.is_word(1, "interval")
            && self.is_string(2);
        let interval = if has_interval {
            end = self.ahead(2).span;
            Some(self.interval()?)
        } else {
            None
        };
        let compare = TimeCompare {
            field,
            interval,
            op,
            iso,
            iso_first: true,
        };
        Ok(Built::leaf(ExprKind::TimeCompare(compare), start.to(end)))
    }

    fn interval(&mut self) -> Result<(bool, String)> {
        let minus = self.is_symbol(0, "-");
        self.bump();
        self.bump();
        Ok((minus, self.string()?))
    }

    fn string(&mut self) -> Result<String> {
        if self.is_string(0)
            && let TokenKind::Str(text) = self.bump().kind
        {
            return Ok(text);
        }
        Err(self.unexpected("a string"))
    }

    fn identifier(&mut self, wanted: &str) -> Result<String> {
        let TokenKind::Word(word) = &self.peek().kind else {
            return Err(self.unexpected(wanted));
        };
        let reserved = boolean(word).is_some()
            || ["like", "exists", "and", "or", "not", "in"]
                .iter()
                .any(|keyword| is_keyword(word, keyword));
        if reserved {
            return Err(self.unexpected(wanted));
        }
        let word = word.clone();
        self.bump();
        Ok(word)
    }

    /// Expressions up to `close`, which stays; a trailing comma is allowed. Also the greatest height.
    fn items(&mut self, close: &str) -> Result<(Vec<Expr>, u32)> {
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

    /// A call from its opening parenthesis on.
    fn call(&mut self, name: &str, start: Span) -> Result<Built> {
        self.expect("(")?;
        let lower = name.to_ascii_lowercase();
        let known = if is_keyword(name, &lower) {
            lower.as_str()
        } else {
            ""
        };
        let (kind, below) = match known {
            "json_contains" | "array_contains" => self.contains(ContainsMode::One)?,
            "json_contains_all" | "array_contains_all" => self.contains(ContainsMode::All)?,
            "json_contains_any" | "array_contains_any" => self.contains(ContainsMode::Any)?,
            "array_length" => self.array_length()?,
            "text_match" => self.text_match()?,
            "text_match_fuzzy" => self.text_match_fuzzy()?,
            "phrase_match" => self.phrase_match()?,
            "random_sample" => {
                let share = self.expr(0)?;
                (ExprKind::RandomSample(Box::new(share.expr)), share.height)
            }
            "element_filter" => {
                let (field, predicate) = self.field_and_expr()?;
                (
                    ExprKind::ElementFilter {
                        field,
                        predicate: Box::new(predicate.expr),
                    },
                    predicate.height,
                )
            }
            "match_all" => self.element_match(MatchMode::All)?,
            "match_any" => self.element_match(MatchMode::Any)?,
            "match_least" => self.element_match(MatchMode::Least)?,
            "match_most" => self.element_match(MatchMode::Most)?,
            "match_exact" => self.element_match(MatchMode::Exact)?,
            "st_equals" => self.spatial(SpatialOp::Equals)?,
            "st_touches" => self.spatial(SpatialOp::Touches)?,
            "st_overlaps" => self.spatial(SpatialOp::Overlaps)?,
            "st_crosses" => self.spatial(SpatialOp::Crosses)?,
            "st_contains" => self.spatial(SpatialOp::Contains)?,
            "st_intersects" => self.spatial(SpatialOp::Intersects)?,
            "st_within" => self.spatial(SpatialOp::Within)?,
            "st_dwithin" => {
                let (field, shape) = self.field_and_expr()?;
                self.expect(",")?;
                let distance = self.expr(0)?;
                let below = shape.height.max(distance.height);
                (
                    ExprKind::SpatialDistance {
                        field,
                        shape: Box::new(shape.expr),
                        distance: Box::new(distance.expr),
                    },
                    below,
                )
            }
            "st_isvalid" => (ExprKind::SpatialIsValid(self.identifier("a geometry field")?), 0),
            _ => {
                let (args, below) = self.items(")")?;
                (
                    ExprKind::Call {
                        name: name.to_owned(),
                        args,
                    },
                    below,
                )
            }
        };
        let close = self.expect(")")?;
        Built::node(kind, start.to(close), below)
    }

    fn contains(&mut self, mode: ContainsMode) -> Result<(ExprKind, u32)> {
        let container = self.expr(0)?;
        self.expect(",")?;
        let value = self.expr(0)?;
        let below = container.height.max(value.height);
        Ok((
            ExprKind::Contains {
                mode,
                container: Box::new(container.expr),
                value: Box::new(value.expr),
            },
            below,
        ))
    }

    fn array_length(&mut self) -> Result<(ExprKind, u32)> {
        let token = self.peek();
        let takes = matches!(
            token.kind,
            TokenKind::Word(_) | TokenKind::Path(..) | TokenKind::StructField(..)
        );
        if !takes {
            return Err(self.unexpected("an array field or a JSON path"));
        }
        let token = self.bump();
        let operand = Expr {
            span: token.span,
            kind: field_kind(token.kind).unwrap_or(ExprKind::ElementSelf),
        };
        Ok((ExprKind::ArrayLength(Box::new(operand)), 1))
    }

    fn field_and_expr(&mut self) -> Result<(String, Built)> {
        let field = self.identifier("a field name")?;
        self.expect(",")?;
        Ok((field, self.expr(0)?))
    }

    fn text_match(&mut self) -> Result<(ExprKind, u32)> {
        let (field, query) = self.field_and_expr()?;
        let minimum_should_match = if self.is_symbol(0, ",") {
            self.bump();
            Some(self.option("minimum_should_match")?)
        } else {
            None
        };
        Ok((
            ExprKind::TextMatch {
                field,
                query: Box::new(query.expr),
                minimum_should_match,
            },
            query.height,
        ))
    }

    fn text_match_fuzzy(&mut self) -> Result<(ExprKind, u32)> {
        let (field, query) = self.field_and_expr()?;
        self.expect(",")?;
        let max_edit_distance = self.option("max_edit_distance")?;
        Ok((
            ExprKind::TextMatchFuzzy {
                field,
                query: Box::new(query.expr),
                max_edit_distance,
            },
            query.height,
        ))
    }

    fn phrase_match(&mut self) -> Result<(ExprKind, u32)> {
        let (field, query) = self.field_and_expr()?;
        let mut below = query.height;
        let slop = if self.is_symbol(0, ",") {
            self.bump();
            let slop = self.expr(0)?;
            below = below.max(slop.height);
            Some(Box::new(slop.expr))
        } else {
            None
        };
        Ok((
            ExprKind::PhraseMatch {
                field,
                query: Box::new(query.expr),
                slop,
            },
            below,
        ))
    }

    fn element_match(&mut self, mode: MatchMode) -> Result<(ExprKind, u32)> {
        let (field, predicate) = self.field_and_expr()?;
        let threshold = match mode {
            MatchMode::All | MatchMode::Any => None,
            MatchMode::Least | MatchMode::Most | MatchMode::Exact => {
                self.expect(",")?;
                Some(self.option("threshold")?)
            }
        };
        Ok((
            ExprKind::Match {
                mode,
                field,
                predicate: Box::new(predicate.expr),
                threshold,
            },
            predicate.height,
        ))
    }

    fn spatial(&mut self, op: SpatialOp) -> Result<(ExprKind, u32)> {
        let (field, shape) = self.field_and_expr()?;
        Ok((
            ExprKind::Spatial {
                op,
                field,
                shape: Box::new(shape.expr),
            },
            shape.height,
        ))
    }

    /// `name=5`
    fn option(&mut self, name: &str) -> Result<i64> {
        if !self.is_word(0, name) {
            return Err(self.unexpected(&format!("{name}=<integer>")));
        }
        self.bump();
        self.expect("=")?;
        let span = self.peek().span;
        if let TokenKind::Int(magnitude) = self.peek().kind {
            self.bump();
            return i64::try_from(magnitude).map_err(|_| {
                Issue::parse(span, format!("integer {magnitude} is out of the range of int64"))
            });
        }
        Err(self.unexpected("an integer"))
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

/// Keywords exist all lower and all upper, nothing between.
fn is_keyword(word: &str, lower: &str) -> bool {
    word == lower || (word.eq_ignore_ascii_case(lower) && !word.bytes().any(|byte| byte.is_ascii_lowercase()))
}

fn mixed_case_keyword(word: &str) -> bool {
    ["like", "exists", "and", "or", "not", "in", "is"]
        .iter()
        .any(|keyword| word.eq_ignore_ascii_case(keyword) && !is_keyword(word, keyword))
}

fn boolean(word: &str) -> Option<bool> {
    match word {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// The node of a token that names a field.
fn field_kind(token: TokenKind) -> Option<ExprKind> {
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

fn describe(token: &TokenKind) -> String {
    match token {
        TokenKind::Int(value) => format!("number {value}"),
        TokenKind::Float(value) => format!("number {value:?}"),
        TokenKind::Str(_) => "string".to_owned(),
        TokenKind::Word(word) => format!("'{word}'"),
        TokenKind::Meta => "'$meta'".to_owned(),
        TokenKind::Path(name, _)
        | TokenKind::StructField(name, _)
        | TokenKind::StructIndexField(name, ..) => format!("'{name}[..]'"),
        TokenKind::StructSubField(_) | TokenKind::ElementSelf => "'$'".to_owned(),
        TokenKind::IsNull => "'is null' (it follows a field or a path)".to_owned(),
        TokenKind::IsNotNull => "'is not null' (it follows a field or a path)".to_owned(),
        TokenKind::Symbol(symbol) => format!("'{symbol}'"),
        TokenKind::End => "end of the expression".to_owned(),
    }
}
