//! `CREATE RERANKER`, `CREATE FUNCTION .. LANGUAGE WASM`, `CREATE FUNCTIONS`, and `DROP` of them: plugins under names.
//!
//! ```text
//!   CREATE [OR REPLACE] RERANKER name FROM 'file' [WITH (setting = value, ..)]
//!   CREATE [OR REPLACE] FUNCTION name [([arg] type, ..) RETURNS type] [IMMUTABLE | STABLE | VOLATILE]
//!          LANGUAGE WASM AS 'file' [, 'function in it'] [WITH (..)]
//!   CREATE [OR REPLACE] FUNCTIONS FROM 'file' [WITH (..)]           every function of the file, under its own name
//!   DROP RERANKER [IF EXISTS] name, ..
//!   DROP FUNCTION [IF EXISTS] name, ..
//! ```
//!
//! `CREATE FUNCTION` has the form that PostgreSQL has for functions in C: a file, and the name in it if it differs. What is
//! said of arguments, result and volatility is compared with what the plugin says. They are parsed here, into calls:
//! `CALL create_plugin('{..}')`.

use std::collections::BTreeMap;

use bytes::Bytes;
use datafusion::sql::parser::{DFParser, Statement};
use elanus_collection::{Collections, PluginKind};
use serde_json::json;
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    Statement as SqlStatement, Value, ValueWithSpan,
};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::Router;
use super::create_table::normalized;
use crate::error::{QueryError, Result};
use crate::plan::table_function::is_search;
use crate::plugins::{Declared, MAX_PLUGIN_BYTES, Names, Registration};

const CREATE: &str = "create_plugin";
const DROP: &str = "drop_plugin";

/// How a path begins that is the digest of an uploaded file.
const UPLOADED: &str = "sha256:";

/// Whether one of them comes next.
pub(super) fn is_next(parser: &DFParser<'_>) -> bool {
    let token = |nth| &parser.parser.peek_nth_token_ref(nth).token;
    let is = |nth, word: &str| is_word(token(nth), word);
    match (is(0, "create"), is(0, "drop")) {
        (true, _) if is(1, "or") && is(2, "replace") => object(token(3)).is_some(),
        (true, _) | (_, true) => object(token(1)).is_some(),
        _ => false,
    }
}

fn is_word(token: &Token, wanted: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Object {
    Reranker,
    Function,
    /// All functions of a file.
    Functions,
}

fn object(token: &Token) -> Option<Object> {
    [
        ("reranker", Object::Reranker),
        ("function", Object::Function),
        ("functions", Object::Functions),
    ]
    .into_iter()
    .find_map(|(word, object)| is_word(token, word).then_some(object))
}

/// Parses it.
///
/// # Errors
/// What is wrong, with its position.
pub(super) fn parse(parser: &mut DFParser<'_>) -> Result<Statement, ParserError> {
    let parser: &mut Parser<'_> = &mut parser.parser;
    let creates = parser.parse_keyword(Keyword::CREATE);
    if !creates {
        parser.expect_keyword(Keyword::DROP)?;
    }
    let replace = creates && parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    let Some(object) = object(&parser.next_token().token) else {
        return parser.expected("RERANKER or FUNCTION", parser.peek_token());
    };
    let (function, argument) = match (creates, object) {
        (true, _) => (CREATE, created(parser, object, replace)?),
        (false, Object::Functions) => {
            return parser.expected("FUNCTION and a name", parser.peek_token());
        }
        (false, _) => (DROP, dropped(parser, object)?),
    };
    let argument = Expr::Value(Value::SingleQuotedString(argument.to_string()).with_empty_span());
    let call = Function {
        name: ObjectName::from(vec![Ident::new(function)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    };
    Ok(Statement::Statement(Box::new(SqlStatement::Call(call))))
}

fn dropped(parser: &mut Parser<'_>, object: Object) -> Result<serde_json::Value, ParserError> {
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let names = parser.parse_comma_separated(|parser| parser.parse_identifier())?;
    let names: Vec<String> = names.iter().map(normalized).collect();
    Ok(json!({"reranker": object == Object::Reranker, "names": names, "if_exists": if_exists}))
}

fn created(parser: &mut Parser<'_>, object: Object, replace: bool) -> Result<serde_json::Value, ParserError> {
    let mut clauses = Clauses::default();
    if object != Object::Functions {
        clauses.name = Some(normalized(&parser.parse_identifier()?));
    }
    match object {
        Object::Reranker | Object::Functions => {
            parser.expect_keyword(Keyword::FROM)?;
            clauses.path = Some(parser.parse_literal_string()?);
            if parser.parse_keyword(Keyword::WITH) {
                clauses.settings = Some(settings(parser)?);
            }
        }
        Object::Function => {
            if parser.consume_token(&Token::LParen) {
                clauses.arguments = Some(argument_types(parser)?);
            }
            while clauses.next(parser)? {}
            if clauses.language.is_none() {
                return parser.expected("LANGUAGE WASM", parser.peek_token());
            }
        }
    }
    let Some(path) = &clauses.path else {
        return parser.expected("AS and the path of a file", parser.peek_token());
    };
    Ok(json!({
        "reranker": object == Object::Reranker,
        "name": clauses.name,
        "symbol": clauses.symbol,
        "language": clauses.language,
        "path": path,
        "settings": clauses.settings.unwrap_or_default(),
        "replace": replace,
        "arguments": clauses.arguments,
        "returns": clauses.returns,
        "volatility": clauses.volatility,
    }))
}

/// The clauses of CREATE FUNCTION, in any order.
#[derive(Debug, Default)]
struct Clauses {
    name: Option<String>,
    path: Option<String>,
    symbol: Option<String>,
    arguments: Option<Vec<String>>,
    returns: Option<String>,
    volatility: Option<&'static str>,
    settings: Option<BTreeMap<String, String>>,
    language: Option<String>,
}

impl Clauses {
    /// Reads a clause, unless the statement ends here.
    fn next(&mut self, parser: &mut Parser<'_>) -> Result<bool, ParserError> {
        let token = parser.peek_token().token;
        let is = |word: &str| is_word(&token, word);
        let volatility = ["immutable", "stable", "volatile"]
            .into_iter()
            .find(|word| is(word));
        if is("returns") && self.returns.is_none() {
            parser.next_token();
            self.returns = Some(parser.parse_data_type()?.to_string());
        } else if is("language") && self.language.is_none() {
            parser.next_token();
            self.language = Some(parser.parse_identifier()?.value);
        } else if is("as") && self.path.is_none() {
            parser.next_token();
            self.path = Some(parser.parse_literal_string()?);
            if parser.consume_token(&Token::Comma) {
                self.symbol = Some(parser.parse_literal_string()?);
            }
        } else if is("with") && self.settings.is_none() {
            parser.next_token();
            self.settings = Some(settings(parser)?);
        } else if let (Some(volatility), None) = (volatility, self.volatility) {
            parser.next_token();
            self.volatility = Some(volatility);
        } else if matches!(token, Token::EOF | Token::SemiColon) {
            return Ok(false);
        } else {
            return parser.expected(
                "one of RETURNS, IMMUTABLE, STABLE, VOLATILE, LANGUAGE WASM, AS, WITH",
                parser.peek_token(),
            );
        }
        Ok(true)
    }
}

/// `double precision, other bigint)`, names left out of what is given.
fn argument_types(parser: &mut Parser<'_>) -> Result<Vec<String>, ParserError> {
    let mut types = Vec::new();
    if parser.consume_token(&Token::RParen) {
        return Ok(types);
    }
    loop {
        // A word and a type, or a type alone.
        let named = parser.maybe_parse(|parser| {
            parser.parse_identifier()?;
            parser.parse_data_type()
        })?;
        let data_type = match named {
            Some(data_type) => data_type,
            None => parser.parse_data_type()?,
        };
        types.push(data_type.to_string());
        if parser.consume_token(&Token::RParen) {
            return Ok(types);
        }
        parser.expect_token(&Token::Comma)?;
    }
}

/// `(memory = '64MB', reuse = false)`.
fn settings(parser: &mut Parser<'_>) -> Result<BTreeMap<String, String>, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let pairs = parser.parse_comma_separated(|parser| {
        let name = normalized(&parser.parse_identifier()?);
        parser.expect_token(&Token::Eq)?;
        let value = parser.next_token();
        let value = match value.token {
            Token::SingleQuotedString(text) | Token::Number(text, _) => text,
            Token::Word(word) => word.value,
            _ => return parser.expected("the value of a setting", value),
        };
        Ok((name, value))
    })?;
    parser.expect_token(&Token::RParen)?;
    let mut settings = BTreeMap::new();
    for (name, value) in pairs {
        if settings.contains_key(&name) {
            return Err(ParserError::ParserError(format!("{name} is given twice")));
        }
        settings.insert(name, value);
    }
    Ok(settings)
}

/// Whether a call is one that [`parse`] gave.
pub(super) fn is_ours(call: &Function) -> bool {
    [CREATE, DROP].contains(&call.name.to_string().as_str())
}

impl Router<'_> {
    /// Runs what [`parse`] gave.
    pub(super) async fn plugin(&self, call: &Function) -> Result<()> {
        let function = call.name.to_string();
        let Some(given) = argument(call) else {
            return Err(QueryError::Unsupported(format!("CALL {function}")));
        };
        let kind = match given.get("reranker").and_then(serde_json::Value::as_bool) {
            Some(true) => PluginKind::Reranker,
            Some(false) | None => PluginKind::Function,
        };
        if function == DROP {
            return self.drop_plugins(kind, &given).await;
        }
        self.create_plugin(kind, &given).await
    }

    async fn drop_plugins(&self, kind: PluginKind, given: &serde_json::Value) -> Result<()> {
        let plugins = &self.resources.plugins;
        plugins.check_registration()?;
        let if_exists = given.get("if_exists").and_then(serde_json::Value::as_bool) == Some(true);
        let names: Vec<&str> = given
            .get("names")
            .and_then(serde_json::Value::as_array)
            .map_or_else(Vec::new, |names| {
                names.iter().filter_map(serde_json::Value::as_str).collect()
            });
        let missing = names
            .iter()
            .find(|name| self.collections.plugin(kind, name).is_none());
        if let (Some(name), false) = (missing, if_exists) {
            return Err(QueryError::Plan(format!(
                "there is no {} '{name}' of a plugin",
                kind.name()
            )));
        }
        for name in names {
            plugins.remove(self.collections, kind, name).await?;
        }
        Ok(())
    }

    async fn create_plugin(&self, kind: PluginKind, given: &serde_json::Value) -> Result<()> {
        let language = given.get("language").and_then(serde_json::Value::as_str);
        if let Some(other) = language.filter(|language| !language.eq_ignore_ascii_case("wasm")) {
            return Err(QueryError::Unsupported(format!(
                "functions in the LANGUAGE {other}; those of plugins are there, in the LANGUAGE WASM"
            )));
        }
        self.resources.plugins.check_registration()?;
        let text = |name: &str| {
            given
                .get(name)
                .and_then(serde_json::Value::as_str)
                .map(str::to_owned)
        };
        let path = text("path").unwrap_or_default();
        let settings = given.get("settings").and_then(serde_json::Value::as_object);
        let settings = settings.into_iter().flatten();
        let settings =
            settings.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
        let arguments = given
            .get("arguments")
            .and_then(serde_json::Value::as_array)
            .map(|types| {
                let types = types.iter().filter_map(serde_json::Value::as_str);
                types.map(str::to_owned).collect()
            });
        let wanted = Registration {
            kind,
            names: text("name").map(|name| Names {
                name,
                symbol: text("symbol"),
            }),
            settings: settings.collect(),
            replace: given.get("replace").and_then(serde_json::Value::as_bool) == Some(true),
            declared: Declared {
                arguments,
                returns: text("returns"),
                volatility: text("volatility"),
            },
            path,
        };
        let bytes = self.plugin_file(self.collections, &wanted.path).await?;
        let state = self.session.state();
        let is_taken = |name: &str| {
            kind == PluginKind::Function
                && (state.scalar_functions().contains_key(name)
                    || state.aggregate_functions().contains_key(name)
                    || state.window_functions().contains_key(name)
                    || state.table_functions().contains_key(name)
                    || is_search(&ObjectName::from(vec![Ident::new(name)])))
        };
        self.resources
            .plugins
            .register(self.collections, wanted, bytes, is_taken)
            .await?;
        Ok(())
    }

    /// The file that a path means: one that was uploaded (`sha256:..`), an object in the data directory (a relative path), or a
    /// file in a folder that statements may use (an absolute one).
    async fn plugin_file(&self, collections: &Collections, path: &str) -> Result<Bytes> {
        if let Some(digest) = path.strip_prefix(UPLOADED) {
            return Ok(collections.uploaded_plugin(digest).await?);
        }
        if std::path::Path::new(path).is_absolute() || path.contains("://") {
            return self.resources.files.read(path, MAX_PLUGIN_BYTES).await;
        }
        match collections.read_stored_file(path, MAX_PLUGIN_BYTES).await {
            Err(elanus_collection::Error::FileNotFound { path }) => Err(QueryError::Execution(format!(
                "there is no file '{path}' in the data directory; an absolute path is that of a file elsewhere"
            ))),
            read => Ok(read?),
        }
    }
}

fn argument(call: &Function) -> Option<serde_json::Value> {
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(ValueWithSpan { value, .. })))] =
        list.args.as_slice()
    else {
        return None;
    };
    match value {
        Value::SingleQuotedString(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}
