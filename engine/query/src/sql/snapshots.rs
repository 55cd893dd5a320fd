//! `CREATE SNAPSHOT [IF NOT EXISTS] name ON t`, `DROP SNAPSHOT [IF EXISTS] name ON t`: keeping the rows of now under a name.
//!
//! The parser knows neither, so they are parsed here, into calls: `CALL create_snapshot(t, 'name', if_not_exists)`.

use datafusion::sql::parser::{DFParser, Statement};
use elanus_collection::SnapshotRef;
use elanus_collection::access::Privilege;
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

const CREATE: &str = "create_snapshot";
const DROP: &str = "drop_snapshot";

/// Whether one of the two comes next.
pub(super) fn is_next(parser: &DFParser<'_>) -> bool {
    let token = |nth| &parser.parser.peek_nth_token_ref(nth).token;
    let begins =
        matches!(token(0), Token::Word(word) if matches!(word.keyword, Keyword::CREATE | Keyword::DROP));
    begins && is_snapshot(token(1))
}

fn is_snapshot(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("snapshot"))
}

/// Parses it.
///
/// # Errors
/// What is wrong, with its position.
pub(super) fn parse(parser: &mut DFParser<'_>) -> Result<Statement, ParserError> {
    let parser: &mut Parser<'_> = &mut parser.parser;
    let creates = parser.parse_keyword(Keyword::CREATE);
    // DROP and SNAPSHOT.
    if !creates {
        parser.expect_keyword(Keyword::DROP)?;
    }
    parser.next_token();
    let (function, tolerant) = if creates {
        let words = [Keyword::IF, Keyword::NOT, Keyword::EXISTS];
        (CREATE, parser.parse_keywords(&words))
    } else {
        (DROP, parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]))
    };
    let name = normalized(&parser.parse_identifier()?);
    parser.expect_keyword(Keyword::ON)?;
    let table = parser.parse_object_name(false)?;
    let parts = table
        .0
        .iter()
        .filter_map(|part| part.as_ident().cloned())
        .collect();
    let value = |value: Value| Expr::Value(value.with_empty_span());
    let arguments = [
        Expr::CompoundIdentifier(parts),
        value(Value::SingleQuotedString(name)),
        value(Value::Boolean(tolerant)),
    ];
    let arguments = arguments.map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)));
    let call = Function {
        name: ObjectName::from(vec![Ident::new(function)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    };
    Ok(Statement::Statement(Box::new(SqlStatement::Call(call))))
}

/// The privilege that a call needs on its table; `None` for one that is not of ours.
pub(super) fn privilege_of(call: &Function) -> Option<Privilege> {
    match call.name.to_string().as_str() {
        CREATE => Some(Privilege::CreateSnapshot),
        DROP => Some(Privilege::DropSnapshot),
        _ => None,
    }
}

impl Router<'_> {
    /// Runs what [`parse`] gave.
    pub(super) async fn snapshot(&self, call: &Function) -> Result<()> {
        let function = call.name.to_string();
        let (Some((table, name, tolerant)), CREATE | DROP) = (arguments(call), function.as_str()) else {
            return Err(QueryError::Unsupported(format!("CALL {function}")));
        };
        let (database, table) = self.written_table(&table)?;
        let collection = match self.collections.collection(&database, &table) {
            Ok(collection) => collection,
            Err(elanus_collection::Error::CollectionNotFound { .. }) => {
                return Err(self.unknown_table(&database, &table));
            }
            Err(error) => return Err(error.into()),
        };
        let is_there = collection.snapshot_info(&SnapshotRef::Name(name.clone())).is_ok();
        if function == DROP {
            if is_there || !tolerant {
                collection.drop_snapshot(&name).await?;
            }
            return Ok(());
        }
        if is_there && tolerant {
            return Ok(());
        }
        // Its indexes are those of its segments at that moment: none is built for it later.
        collection.flush().await?;
        collection.settle().await?;
        collection.create_snapshot(&name).await?;
        Ok(())
    }
}

fn arguments(call: &Function) -> Option<(ObjectName, String, bool)> {
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    let mut values = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value),
        _ => None,
    });
    let table = match values.next()?? {
        Expr::Identifier(name) => vec![name.clone()],
        Expr::CompoundIdentifier(parts) => parts.clone(),
        _ => return None,
    };
    let value = |expr: &Expr| match expr {
        Expr::Value(ValueWithSpan { value, .. }) => Some(value.clone()),
        _ => None,
    };
    let (Value::SingleQuotedString(name), Value::Boolean(tolerant)) =
        (value(values.next()??)?, value(values.next()??)?)
    else {
        return None;
    };
    Some((ObjectName::from(table), name, tolerant))
}
