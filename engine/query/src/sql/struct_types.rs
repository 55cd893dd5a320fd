//! `STRUCT(text VARCHAR(100), n INT)[]`, the type of an array of structs.
//!
//! The parser of this dialect takes names, numbers and texts between the parentheses of a type that it does not know. So the
//! sub-fields go through it as one text, `STRUCT('text VARCHAR(100), n INT')[]`, and are read here.

use std::borrow::Cow;

use elanus_collection::{DataType, SubField};
use sqlparser::ast::{ArrayElemTypeDef, DataType as SqlType, Ident};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::create_table::normalized;
use super::offsets::tokens_of;
use super::types::{capacity_of, column_type, type_name};
use crate::error::{QueryError, Result};

const STRUCT: &str = "struct";

/// Words that follow a value and not a name: `struct(a IS NULL)[1]` is a call.
const OPERATORS: [&str; 14] = [
    "as", "is", "and", "or", "xor", "in", "not", "like", "ilike", "similar", "between", "collate", "at",
    "div",
];

/// `text` with the sub-fields of its struct types as texts; calls of `struct(..)` stay.
pub(super) fn as_text(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.to_ascii_lowercase().contains(STRUCT) {
        return text;
    }
    // What has no tokens is for the parser to complain about.
    let Ok(tokens) = tokens_of(&PostgreSqlDialect {}, &text) else {
        return text;
    };
    let mut out = String::with_capacity(text.len() + 16);
    let mut start = 0;
    for (at, (offset, token)) in tokens.iter().enumerate() {
        let is_struct = matches!(token, Token::Word(word) if word.keyword == Keyword::STRUCT && word.quote_style.is_none());
        if !is_struct || *offset < start {
            continue;
        }
        let Some((open, close)) = tokens.get(at + 1..).and_then(definition) else {
            continue;
        };
        out.push_str(text.get(start..=open).unwrap_or_default());
        out.push('\'');
        out.push_str(&text.get(open + 1..close).unwrap_or_default().replace('\'', "''"));
        out.push('\'');
        start = close;
    }
    if start == 0 {
        return text;
    }
    out.push_str(text.get(start..).unwrap_or_default());
    Cow::Owned(out)
}

/// The offsets of the parentheses, when these tokens begin with `(name type ..)[`.
fn definition(tokens: &[(usize, Token)]) -> Option<(usize, usize)> {
    let [
        (open, Token::LParen),
        (_, Token::Word(_)),
        (_, Token::Word(second)),
        ..,
    ] = tokens
    else {
        return None;
    };
    let is_operator = OPERATORS.contains(&second.value.to_lowercase().as_str());
    if is_operator && second.quote_style.is_none() {
        return None;
    }
    let mut depth = 0u32;
    for (at, (offset, token)) in tokens.iter().enumerate() {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            let next = tokens.get(at + 1).map(|(_, token)| token);
            return matches!(next, Some(Token::LBracket)).then_some((*open, *offset));
        }
    }
    None
}

/// The collection type of `STRUCT(..)[]` and `STRUCT(..)[n]`; none for any other type.
///
/// # Errors
/// A sub-field that cannot be read, or of a type that a column cannot have.
pub(super) fn struct_array(sql: &SqlType) -> Result<Option<DataType>> {
    let SqlType::Array(ArrayElemTypeDef::SquareBracket(item, capacity)) = sql else {
        return Ok(None);
    };
    let SqlType::Custom(name, modifiers) = item.as_ref() else {
        return Ok(None);
    };
    if !name.to_string().eq_ignore_ascii_case(STRUCT) {
        return Ok(None);
    }
    let text = modifiers.join(", ");
    let subs = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(&text)
        .and_then(|mut parser| sub_fields(&mut parser))
        .map_err(|error| QueryError::Syntax(format!("sub-fields of STRUCT({text}): {error}")))?;
    let mut fields = Vec::with_capacity(subs.len());
    for (name, sql) in subs {
        let name = normalized(&name);
        let data_type = column_type(&sql)?.bounded();
        fields.push(SubField::new(name, data_type));
    }
    Ok(Some(DataType::StructArray {
        fields,
        max_capacity: capacity_of(*capacity)?,
    }))
}

fn sub_fields(parser: &mut Parser<'_>) -> std::result::Result<Vec<(Ident, SqlType)>, ParserError> {
    let mut fields = Vec::new();
    loop {
        fields.push((parser.parse_identifier()?, parser.parse_data_type()?));
        if parser.consume_token(&Token::EOF) {
            return Ok(fields);
        }
        parser.expect_token(&Token::Comma)?;
    }
}

/// Such a type as SQL spells it, without the brackets behind it.
pub(super) fn struct_name(fields: &[SubField]) -> String {
    let fields = fields.iter().map(|sub| {
        let name = Ident::with_quote('"', &sub.name);
        format!("{name} {}", type_name(&sub.data_type))
    });
    format!("STRUCT({})", fields.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_through_the_parser_as_texts_and_calls_as_they_are() {
        for (text, expected) in [
            (
                "CREATE TABLE t (c STRUCT(a INT, b VARCHAR(5))[] NOT NULL)",
                "CREATE TABLE t (c STRUCT('a INT, b VARCHAR(5)')[] NOT NULL)",
            ),
            (
                "CREATE TABLE t (c struct ( \"a b\" INT ) [4], d STRUCT(x REAL)[])",
                "CREATE TABLE t (c struct (' \"a b\" INT ') [4], d STRUCT('x REAL')[])",
            ),
            ("SELECT struct(a, b)[1]", "SELECT struct(a, b)[1]"),
            (
                "SELECT struct(a IS NULL)[1], struct(a b)",
                "SELECT struct(a IS NULL)[1], struct(a b)",
            ),
            ("SELECT 'STRUCT(a INT)[]'", "SELECT 'STRUCT(a INT)[]'"),
            ("SELECT STRUCT(a INT", "SELECT STRUCT(a INT"),
        ] {
            assert_eq!(as_text(text.into()), expected);
        }
    }
}
