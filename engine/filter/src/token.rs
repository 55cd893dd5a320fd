//! Text to tokens, always the longest match, as the grammar's lexer does it.
//!
//! A path such as `meta["a"][0]` is one token (no blanks inside), and so is `is not null` (exactly one blank between
//! words). Words are not classified here: which of them are keywords depends on the place, so the parser decides.

use crate::ast::{PathStep, Span};
use crate::error::{Issue, Result};
use crate::literal;

/// A token and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    /// Magnitude of an integer; the sign is a token of its own.
    Int(u64),
    Float(f64),
    Str(String),
    /// Identifier or keyword.
    Word(String),
    /// `$meta`
    Meta,
    /// Identifier or `$meta` with at least one bracket.
    Path(String, Vec<PathStep>),
    /// `a[b]`
    StructField(String, String),
    /// `a[0][b]`
    StructIndexField(String, u64, String),
    /// `$[a]`
    StructSubField(String),
    /// `$`
    ElementSelf,
    IsNull,
    IsNotNull,
    Symbol(&'static str),
    End,
}

/// Longest symbols first, so that the first hit is the longest match.
const SYMBOLS: [&str; 31] = [
    "==", "!=", "<=", ">=", "=~", "!~", "**", "<<", ">>", "&&", "||", "(", ")", "[", "]", "{", "}", ",", "<",
    ">", "=", "+", "-", "*", "/", "%", "&", "|", "^", "~", "!",
];

/// Most tokens that an expression may have: a list of two million numbers. Longer lists arrive as template values, which
/// cost a tenth of the memory.
const MAX_TOKENS: usize = 1 << 22;

/// All tokens of `text`, closed by [`TokenKind::End`].
pub(crate) fn tokenize(text: &str) -> Result<Vec<Token>> {
    let mut lexer = Lexer {
        text,
        bytes: text.as_bytes(),
        at: 0,
    };
    let mut tokens = Vec::with_capacity(text.len() / 4 + 1);
    loop {
        let token = lexer.next()?;
        let done = token.kind == TokenKind::End;
        if tokens.len() == MAX_TOKENS && !done {
            return Err(Issue::parse(
                token.span,
                format!(
                    "the expression has more than {MAX_TOKENS} words and symbols; send a long list as a template: field in {{list}}"
                ),
            ));
        }
        tokens.push(token);
        if done {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        // 0 stands for the end: the byte itself is no part of any token but a string's inside
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn slice(&self, start: usize, end: usize) -> &str {
        self.text.get(start..end).unwrap_or_default()
    }

    fn next(&mut self) -> Result<Token> {
        while matches!(self.peek(0), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        let start = self.at;
        if start >= self.bytes.len() {
            return Ok(Token {
                kind: TokenKind::End,
                span: Span { start, end: start },
            });
        }
        let kind = match self.peek(0) {
            byte if is_word_start(byte) => self.word()?,
            b'0'..=b'9' => self.number()?,
            b'.' if self.peek(1).is_ascii_digit() => self.number()?,
            b'"' | b'\'' => TokenKind::Str(self.string(false)?),
            b'$' => self.dollar()?,
            _ => self.symbol()?,
        };
        Ok(Token {
            kind,
            span: Span { start, end: self.at },
        })
    }

    fn symbol(&mut self) -> Result<TokenKind> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        for symbol in SYMBOLS {
            if rest.starts_with(symbol.as_bytes()) {
                self.at += symbol.len();
                return Ok(TokenKind::Symbol(symbol));
            }
        }
        let character = self
            .text
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
            .unwrap_or('?');
        let span = Span {
            start: self.at,
            end: self.at + character.len_utf8(),
        };
        let hint = match character {
            ';' => "; a filter is one expression",
            '#' => "; there are no comments",
            _ if character.is_alphabetic() => {
                "; field names are made of a-z, A-Z, 0-9 and _, other text must be quoted"
            }
            _ => "",
        };
        Err(Issue::parse(
            span,
            format!("unexpected character {character:?}{hint}"),
        ))
    }

    /// `$meta`, `$meta[..]`, `$[sub]`, `$`
    fn dollar(&mut self) -> Result<TokenKind> {
        self.at += 1;
        if self.bytes.get(self.at..).unwrap_or_default().starts_with(b"meta") {
            self.at += 4;
            let path = self.path()?;
            return Ok(if path.is_empty() {
                TokenKind::Meta
            } else {
                TokenKind::Path("$meta".to_owned(), path)
            });
        }
        Ok(match self.bracketed_word() {
            Some(sub) => TokenKind::StructSubField(sub),
            None => TokenKind::ElementSelf,
        })
    }

    fn word(&mut self) -> Result<TokenKind> {
        let start = self.at;
        while is_word_byte(self.peek(0)) {
            self.at += 1;
        }
        let end = self.at;
        let word = self.slice(start, end).to_owned();
        if matches!(self.peek(0), b'"' | b'\'') {
            match word.as_str() {
                "u8" | "u" | "U" | "L" => return Ok(TokenKind::Str(self.string(false)?)),
                "r" | "R" => return Ok(TokenKind::Str(self.string(true)?)),
                _ => {}
            }
        }
        if word == "is" || word == "IS" {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let (not_null, null): (&[u8], &[u8]) = if word == "is" {
                (b" not null", b" null")
            } else {
                (b" NOT NULL", b" NULL")
            };
            if rest.starts_with(not_null) {
                self.at += not_null.len();
                return Ok(TokenKind::IsNotNull);
            }
            if rest.starts_with(null) {
                self.at += null.len();
                return Ok(TokenKind::IsNull);
            }
        }
        if self.peek(0) != b'[' {
            return Ok(TokenKind::Word(word));
        }
        let path = self.path()?;
        match path.as_slice() {
            [] => Ok(match self.bracketed_word() {
                Some(sub) => TokenKind::StructField(word, sub),
                None => TokenKind::Word(word),
            }),
            [PathStep::Index(index)] if self.peek(0) == b'[' => {
                let index = *index;
                Ok(match self.bracketed_word() {
                    Some(sub) => TokenKind::StructIndexField(word, index, sub),
                    None => TokenKind::Path(word, path),
                })
            }
            [..] => Ok(TokenKind::Path(word, path)),
        }
    }

    /// As many `["key"]` and `[3]` as follow without a blank. Stops before a bracket that is neither.
    fn path(&mut self) -> Result<Vec<PathStep>> {
        let mut steps = Vec::new();
        while self.peek(0) == b'[' {
            let before = self.at;
            self.at += 1;
            let step = self.path_step()?;
            match step {
                Some(step) if self.peek(0) == b']' => {
                    self.at += 1;
                    steps.push(step);
                }
                Some(_) | None => {
                    self.at = before;
                    break;
                }
            }
        }
        Ok(steps)
    }

    fn path_step(&mut self) -> Result<Option<PathStep>> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        for (prefix, raw) in [
            ("", false),
            ("u8", false),
            ("u", false),
            ("U", false),
            ("L", false),
            ("r", true),
            ("R", true),
        ] {
            if rest.starts_with(prefix.as_bytes()) && matches!(rest.get(prefix.len()), Some(b'"' | b'\'')) {
                self.at += prefix.len();
                return Ok(Some(PathStep::Key(self.string(raw)?)));
            }
        }
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
        let digits = self.slice(start, self.at);
        if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
            return Ok(None);
        }
        let span = Span { start, end: self.at };
        let index = digits
            .parse()
            .map_err(|_| Issue::parse(span, format!("index {digits} is out of range")))?;
        Ok(Some(PathStep::Index(index)))
    }

    /// `[word]`, or nothing consumed.
    fn bracketed_word(&mut self) -> Option<String> {
        if self.peek(0) != b'[' || !is_word_start(self.peek(1)) {
            return None;
        }
        let start = self.at + 1;
        let mut end = start;
        while self.bytes.get(end).copied().is_some_and(is_word_byte) {
            end += 1;
        }
        if self.bytes.get(end) != Some(&b']') {
            return None;
        }
        self.at = end + 1;
        Some(self.slice(start, end).to_owned())
    }

    /// A string literal from its opening quote on.
    fn string(&mut self, raw: bool) -> Result<String> {
        let open = self.at;
        let quote = self.peek(0);
        self.at += 1;
        loop {
            match self.bytes.get(self.at) {
                None | Some(b'\n' | b'\r') => {
                    let span = Span {
                        start: open,
                        end: self.at,
                    };
                    return Err(Issue::parse(
                        span,
                        "string is not closed; a string ends on the line where it begins",
                    ));
                }
                Some(b'\\') => {
                    let after = self.bytes.get(self.at + 1);
                    let line_break = matches!(after, Some(b'\n' | b'\r'));
                    if raw && line_break {
                        self.at += 1;
                        continue;
                    }
                    let windows = after == Some(&b'\r') && self.bytes.get(self.at + 2) == Some(&b'\n');
                    self.at += if windows { 3 } else { 2 };
                }
                Some(byte) if *byte == quote => break,
                Some(_) => self.at += 1,
            }
        }
        let inside = Span {
            start: open + 1,
            end: self.at,
        };
        self.at += 1;
        let text = self.slice(inside.start, inside.end);
        if raw {
            Ok(text.to_owned())
        } else {
            literal::unescape(text, inside)
        }
    }

    fn number(&mut self) -> Result<TokenKind> {
        let start = self.at;
        let number = literal::scan_number(self.bytes.get(start..).unwrap_or_default());
        self.at += number.length;
        let text = self.slice(start, self.at);
        let span = Span { start, end: self.at };
        if number.float {
            return literal::parse_float(text)
                .map(TokenKind::Float)
                .ok_or_else(|| Issue::parse(span, format!("number {text} is out of the range of a double")));
        }
        literal::parse_integer(text)
            .map(TokenKind::Int)
            .ok_or_else(|| Issue::parse(span, format!("integer {text} is out of the range of int64")))
    }
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
