//! What is wrong with a filter, and where.
//!
//! Inner stages raise an [`Issue`] (kind, text, span); the entry points of the crate turn it into a [`FilterError`] that
//! also knows the expression, so that line, column and a caret can be shown.

use std::borrow::Cow;
use std::fmt;

use crate::ast::Span;

/// Longest piece of the expression that is repeated in an error text, in characters.
const SHOWN_TEXT: usize = 512;
/// Characters of a line that are shown on either side of the offending piece.
const SHOWN_AROUND: usize = 60;
/// Longest message, in characters: it may quote names, patterns and whole subtrees that a client sent.
const SHOWN_MESSAGE: usize = 1024;

/// The family of a filter error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterErrorKind {
    /// The text is not of the grammar, or a literal is malformed.
    Parse,
    /// The expression names a field that the schema does not have (and there is no dynamic field).
    FieldNotFound {
        /// The name as written.
        field: String,
    },
    /// Operand types or values that the operation does not take.
    Type,
    /// A `{name}` placeholder without a value.
    TemplateMissing {
        /// The placeholder's name.
        name: String,
    },
    /// A construct of the grammar that Elanus does not evaluate.
    Unsupported,
}

/// An error of [`crate::parse`] or [`crate::compile`], with its place in the text.
///
/// `Display` gives one line: `cannot parse expression: <text>, error: <what> (line L, column C)`.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterError(Box<Inner>);

#[derive(Debug, Clone, PartialEq)]
struct Inner {
    kind: FilterErrorKind,
    message: String,
    text: String,
    span: Span,
    line: usize,
    column: usize,
}

impl FilterError {
    pub(crate) fn new(text: &str, issue: Issue) -> Self {
        let start = floor_char_boundary(text, issue.span.start);
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Self(Box::new(Inner {
            kind: issue.kind,
            message: cut(&issue.message, SHOWN_MESSAGE).into_owned(),
            text: text.to_owned(),
            span: issue.span,
            line,
            column,
        }))
    }

    /// The family of the error.
    pub fn kind(&self) -> &FilterErrorKind {
        &self.0.kind
    }

    /// What is wrong, and where it helps what is allowed; without the expression and the position.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Line of the offending piece, from 1.
    pub fn line(&self) -> usize {
        self.0.line
    }

    /// Column of the offending piece in characters, from 1.
    pub fn column(&self) -> usize {
        self.0.column
    }

    /// Byte range of the offending piece in the expression.
    pub fn span(&self) -> Span {
        self.0.span
    }

    /// The offending line of the expression with carets under the piece:
    ///
    /// ```text
    /// price >> 2 == 4
    ///       ^^
    /// ```
    ///
    /// Of a long line it is the part around the piece.
    pub fn excerpt(&self) -> String {
        let Inner {
            text,
            line,
            column,
            span,
            ..
        } = &*self.0;
        let line = text.split('\n').nth(line - 1).unwrap_or_default();
        let piece = text.get(span.start..span.end).unwrap_or_default();
        let first = (column - 1).saturating_sub(SHOWN_AROUND);
        let lead = if first > 0 { "..." } else { "" };
        let shown: String = line.chars().skip(first).take(2 * SHOWN_AROUND).collect();
        let before: String = lead
            .chars()
            .chain(shown.chars().take(column - 1 - first))
            .map(|character| if character == '\t' { '\t' } else { ' ' })
            .collect();
        let rest_of_line = shown.chars().count().saturating_sub(column - 1 - first);
        let width = piece.chars().count().min(rest_of_line).max(1);
        format!("{lead}{shown}\n{before}{}", "^".repeat(width))
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            message,
            text,
            line,
            column,
            ..
        } = &*self.0;
        let shown = cut(text, SHOWN_TEXT);
        write!(
            f,
            "cannot parse expression: {shown}, error: {message} (line {line}, column {column})"
        )
    }
}

impl std::error::Error for FilterError {}

/// A [`FilterError`] before the text is attached.
#[derive(Debug)]
pub(crate) struct Issue {
    pub(crate) kind: FilterErrorKind,
    pub(crate) message: String,
    pub(crate) span: Span,
}

/// Result of the inner stages; boxed so that the recursive parser keeps small frames.
pub(crate) type Result<T> = std::result::Result<T, Box<Issue>>;

impl Issue {
    pub(crate) fn parse(span: Span, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            kind: FilterErrorKind::Parse,
            message: message.into(),
            span,
        })
    }

    pub(crate) fn types(span: Span, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            kind: FilterErrorKind::Type,
            message: message.into(),
            span,
        })
    }

    pub(crate) fn unsupported(span: Span, what: impl fmt::Display) -> Box<Self> {
        Box::new(Self {
            kind: FilterErrorKind::Unsupported,
            message: format!("not supported: {what}"),
            span,
        })
    }
}

/// At most `longest` characters of `text`; three dots stand for the rest.
pub(crate) fn cut(text: &str, longest: usize) -> Cow<'_, str> {
    match text.char_indices().nth(longest) {
        Some((end, _)) => Cow::Owned(format!("{}...", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
