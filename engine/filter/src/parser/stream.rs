//! The token stream under the parser: looking ahead, taking, and saying what was expected instead.

use super::keyword::{is_keyword, is_operator, is_reserved, mixed_case_keyword};
use super::{Parser, compare_op};
use crate::ast::{CompareOp, Span};
use crate::error::{Issue, Result};
use crate::token::{Token, TokenKind};

/// The token past the end, should the stream ever be read further.
static END: Token = Token {
    kind: TokenKind::End,
    span: Span { start: 0, end: 0 },
};

impl Parser {
    /// The next token.
    pub(super) fn peek(&self) -> &Token {
        self.ahead(0)
    }

    /// The token `count` places after the next one.
    pub(super) fn ahead(&self, count: usize) -> &Token {
        self.tokens
            .get(self.at + count)
            .or(self.tokens.last())
            .unwrap_or(&END)
    }

    /// Takes the next token out of the stream; its place keeps its span.
    pub(super) fn bump(&mut self) -> Token {
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

    /// Whether `symbol` stands `ahead` places after the next token.
    pub(super) fn is_symbol(&self, ahead: usize, symbol: &str) -> bool {
        matches!(&self.ahead(ahead).kind, TokenKind::Symbol(found) if *found == symbol)
    }

    /// The same of a keyword, given in lower case.
    pub(super) fn is_word(&self, ahead: usize, lower: &str) -> bool {
        matches!(&self.ahead(ahead).kind, TokenKind::Word(word) if is_keyword(word, lower))
    }

    /// The same of a string.
    pub(super) fn is_string(&self, ahead: usize) -> bool {
        matches!(self.ahead(ahead).kind, TokenKind::Str(_))
    }

    /// Takes `symbol`, which must come next.
    pub(super) fn expect(&mut self, symbol: &str) -> Result<Span> {
        if self.is_symbol(0, symbol) {
            return Ok(self.bump().span);
        }
        Err(self.unexpected(&format!("'{symbol}'")))
    }

    /// Takes a comparison, which must come next.
    pub(super) fn take_compare(&mut self) -> Result<CompareOp> {
        if let TokenKind::Symbol(symbol) = &self.peek().kind
            && let Some(op) = compare_op(symbol)
        {
            self.bump();
            return Ok(op);
        }
        Err(self.unexpected("a comparison"))
    }

    /// Takes a string, which must come next.
    pub(super) fn string(&mut self) -> Result<String> {
        if self.is_string(0)
            && let TokenKind::Str(text) = self.bump().kind
        {
            return Ok(text);
        }
        Err(self.unexpected("a string"))
    }

    /// Takes a name, which must come next; `wanted` says what it would have been.
    pub(super) fn identifier(&mut self, wanted: &str) -> Result<String> {
        let TokenKind::Word(word) = &self.peek().kind else {
            return Err(self.unexpected(wanted));
        };
        if is_reserved(word) {
            return Err(self.unexpected(wanted));
        }
        let word = word.clone();
        self.bump();
        Ok(word)
    }

    /// The error about the next token.
    pub(super) fn unexpected(&self, wanted: &str) -> Box<Issue> {
        let token = self.peek();
        let found = describe(&token.kind);
        let hint = if token.kind == TokenKind::Symbol("=") {
            "; write == to compare"
        } else if matches!(&token.kind, TokenKind::Word(word) if mixed_case_keyword(word)) {
            "; keywords are written all lower or all upper case"
        } else if matches!(&token.kind, TokenKind::Path(word, _) if is_operator(word)) {
            "; a blank belongs before '['"
        } else {
            ""
        };
        Issue::parse(token.span, format!("unexpected {found}, expected {wanted}{hint}"))
    }
}

/// A token as error texts name it.
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
