//! Parsing `COPY`, in the spellings that people know it by.
//!
//! ```text
//!   COPY t [(a, b)] FROM 'path'     COPY t [(a, b)] TO 'path'     COPY (query) TO 'path'
//!     [STORED AS PARQUET]                          DataFusion
//!     [[WITH] (FORMAT csv, HEADER true)]           PostgreSQL
//!     [WITH (format = 'csv', header = true)]
//!     [OPTIONS ('format.has_header' 'true')]       DataFusion
//! ```
//!
//! DataFusion's parser knows the direction TO only and PostgreSQL's options not at all, so the statement is parsed here
//! into the syntax tree of the SQL parser.

use datafusion::sql::parser::{DFParser, Statement};
use sqlparser::ast::{CopyOption, CopySource, CopyTarget, Ident, Statement as SqlStatement};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{IsOptional, Parser, ParserError};
use sqlparser::tokenizer::Token;

/// Whether a COPY comes next.
pub(crate) fn is_next(parser: &DFParser<'_>) -> bool {
    let word = |nth, keyword| matches!(&parser.parser.peek_nth_token_ref(nth).token, Token::Word(word) if word.keyword == keyword);
    word(0, Keyword::COPY) && !word(1, Keyword::INTO)
}

/// Parses a COPY.
///
/// # Errors
/// What is wrong, with its position.
pub(crate) fn parse(parser: &mut DFParser<'_>) -> Result<Statement, ParserError> {
    let parser = &mut parser.parser;
    parser.expect_keyword(Keyword::COPY)?;
    let source = if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        CopySource::Query(query)
    } else {
        CopySource::Table {
            table_name: parser.parse_object_name(false)?,
            columns: parser.parse_parenthesized_column_list(IsOptional::Optional, false)?,
        }
    };
    let to = match (
        parser.parse_one_of_keywords(&[Keyword::FROM, Keyword::TO]),
        &source,
    ) {
        (Some(Keyword::TO), _) => true,
        (Some(Keyword::FROM), CopySource::Table { .. }) => false,
        (_, CopySource::Table { .. }) => return expected(parser, "FROM or TO"),
        (_, CopySource::Query(_)) => return expected(parser, "TO"),
    };
    let target = match parser.parse_one_of_keywords(&[Keyword::STDIN, Keyword::STDOUT, Keyword::PROGRAM]) {
        Some(Keyword::STDIN) => CopyTarget::Stdin,
        Some(Keyword::STDOUT) => CopyTarget::Stdout,
        Some(_) => CopyTarget::Program {
            command: parser.parse_literal_string()?,
        },
        None => match parser.peek_token_ref().token {
            Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) => CopyTarget::File {
                filename: parser.parse_literal_string()?,
            },
            _ => return expected(parser, "the path of a file in single quotes"),
        },
    };
    let mut options = Vec::new();
    loop {
        match parser.parse_one_of_keywords(&[
            Keyword::STORED,
            Keyword::WITH,
            Keyword::OPTIONS,
            Keyword::PARTITIONED,
        ]) {
            Some(Keyword::STORED) => {
                parser.expect_keyword(Keyword::AS)?;
                options.push(CopyOption::Format(parser.parse_identifier()?));
            }
            Some(Keyword::WITH | Keyword::OPTIONS) => options_in_parentheses(parser, &mut options)?,
            Some(_) => return expected(parser, "no PARTITIONED BY: a COPY writes one file"),
            None => match parser.peek_token_ref().token {
                Token::LParen => options_in_parentheses(parser, &mut options)?,
                Token::EOF | Token::SemiColon => break,
                _ => {
                    return expected(
                        parser,
                        "options in parentheses, STORED AS or the end of the statement",
                    );
                }
            },
        }
    }
    Ok(Statement::Statement(Box::new(SqlStatement::Copy {
        source,
        to,
        target,
        options,
        legacy_options: Vec::new(),
        values: Vec::new(),
    })))
}

fn expected<T>(parser: &Parser<'_>, what: &str) -> Result<T, ParserError> {
    parser.expected_ref(what, parser.peek_token_ref())
}

fn options_in_parentheses(parser: &mut Parser<'_>, options: &mut Vec<CopyOption>) -> Result<(), ParserError> {
    parser.expect_token(&Token::LParen)?;
    loop {
        options.push(option(parser)?);
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    parser.expect_token(&Token::RParen).map(|_| ())
}

const KNOWN: &str = "one of the options format, header, delimiter, quote, escape, null";

/// `name value`, `name = value`, or a name alone that means true.
fn option(parser: &mut Parser<'_>) -> Result<CopyOption, ParserError> {
    let name = parser.peek_token_ref().clone();
    let word = match &name.token {
        Token::Word(word) => word.value.to_lowercase(),
        Token::SingleQuotedString(text) => text.to_lowercase(),
        _ => return parser.expected_ref(KNOWN, &name),
    };
    parser.advance_token();
    // `format.has_header` without quotes is three tokens.
    let word = if word == "format" && parser.consume_token(&Token::Period) {
        parser.parse_identifier()?.value.to_lowercase()
    } else {
        word.strip_prefix("format.").map(str::to_string).unwrap_or(word)
    };
    let _equals = parser.consume_token(&Token::Eq);
    Ok(match word.as_str() {
        "format" => CopyOption::Format(Ident::new(value(parser)?)),
        "header" | "has_header" => CopyOption::Header(boolean(parser)?),
        "delimiter" => CopyOption::Delimiter(character(parser)?),
        "quote" => CopyOption::Quote(character(parser)?),
        "escape" => CopyOption::Escape(character(parser)?),
        "null" | "null_value" => CopyOption::Null(value(parser)?),
        "encoding" => CopyOption::Encoding(value(parser)?),
        "freeze" => CopyOption::Freeze(boolean(parser)?),
        _ => return parser.expected_ref(KNOWN, &name),
    })
}

fn value(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let token = parser.next_token();
    match token.token {
        Token::Word(word) => Ok(word.value),
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => Ok(text),
        Token::Number(text, _) => Ok(text),
        _ => parser.expected("a value", token),
    }
}

fn character(parser: &mut Parser<'_>) -> Result<char, ParserError> {
    let token = parser.peek_token_ref().clone();
    let text = value(parser)?;
    let mut characters = text.chars();
    match (text.as_str(), characters.next(), characters.next()) {
        ("\\t", ..) => Ok('\t'),
        (_, Some(one), None) => Ok(one),
        _ => parser.expected("one character in single quotes", token),
    }
}

fn boolean(parser: &mut Parser<'_>) -> Result<bool, ParserError> {
    if matches!(parser.peek_token_ref().token, Token::Comma | Token::RParen) {
        return Ok(true);
    }
    let token = parser.peek_token_ref().clone();
    match value(parser)?.to_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => parser.expected("true or false", token),
    }
}
