//! Users, roles and what they may do, in the forms of PostgreSQL.
//!
//! ```text
//!   CREATE USER [IF NOT EXISTS] name [WITH] PASSWORD '..'        ALTER USER name [WITH] PASSWORD '..'
//!   DROP USER [IF EXISTS] name, ..
//!   CREATE ROLE [IF NOT EXISTS] name                             DROP ROLE [IF EXISTS] name, .. [CASCADE]
//!   GRANT role, .. TO user, ..                                   REVOKE role, .. FROM user, ..
//!   GRANT privilege, .. ON place TO role, ..                     REVOKE privilege, .. ON place FROM role, ..
//!
//!   place:  [TABLE | COLLECTION] [database.]name | database.* | * | ALL TABLES IN SCHEMA database | SCHEMA database
//! ```
//!
//! Privileges are those of Milvus, in any case; `SELECT` stands for Query and Search, `UPDATE` for Upsert, and `ALL` for
//! CollectionAdmin. The parser does not know these forms with these privileges, so they are parsed here, into calls:
//! `CALL change_users('{..}')`. No message here has a word of the text, which may be a password in the wrong place.

use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};
use elanus_collection::Grant;
use elanus_collection::access::{ANY, Need, Privilege, ROOT, group_names};
use serde_json::{Value as Json, json};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    Statement as SqlStatement, Value, ValueWithSpan,
};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::Router;
use super::create_table::normalized;
use crate::access::SessionUser;
use crate::error::{QueryError, Result};

const CALL: &str = "change_users";

/// The query behind `SHOW USERS`.
pub(super) const SHOW_USERS: &str = "SELECT * FROM elanus_catalog.users ORDER BY 1";
/// The query behind `SHOW ROLES`.
pub(super) const SHOW_ROLES: &str = "SELECT * FROM elanus_catalog.roles ORDER BY 1";
/// The query behind `SHOW GRANTS`.
pub(super) const SHOW_GRANTS: &str = "SELECT * FROM elanus_catalog.grants ORDER BY 1, 3, 4, 2";

fn is_word(token: &Token, wanted: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

/// Whether one of them comes next.
pub(super) fn is_next(parser: &DFParser<'_>) -> bool {
    let is = |nth, word: &str| is_word(&parser.parser.peek_nth_token_ref(nth).token, word);
    let object = |nth| is(nth, "user") || is(nth, "role");
    is(0, "grant") || is(0, "revoke") || ((is(0, "create") || is(0, "drop") || is(0, "alter")) && object(1))
}

fn wrong<T>(what: &str) -> Result<T, ParserError> {
    Err(ParserError::ParserError(format!("expected: {what}")))
}

fn take(parser: &mut Parser<'_>, word: &str) -> bool {
    let is_next = is_word(&parser.peek_token_ref().token, word);
    if is_next {
        parser.next_token();
    }
    is_next
}

fn names(parser: &mut Parser<'_>, what: &str) -> Result<Vec<String>, ParserError> {
    let mut names = vec![name(parser, what)?];
    while parser.consume_token(&Token::Comma) {
        names.push(name(parser, what)?);
    }
    Ok(names)
}

fn name(parser: &mut Parser<'_>, what: &str) -> Result<String, ParserError> {
    match parser.parse_identifier() {
        Ok(name) => Ok(normalized(&name)),
        Err(_) => wrong(what),
    }
}

/// Parses it.
///
/// # Errors
/// What is missing.
pub(super) fn parse(parser: &mut DFParser<'_>) -> Result<Statement, ParserError> {
    let parser: &mut Parser<'_> = &mut parser.parser;
    let given = if take(parser, "grant") {
        granted(parser, true)?
    } else if take(parser, "revoke") {
        granted(parser, false)?
    } else {
        object(parser)?
    };
    if !matches!(parser.peek_token_ref().token, Token::EOF | Token::SemiColon) {
        return wrong("the end of the statement");
    }
    let argument = Expr::Value(Value::SingleQuotedString(given.to_string()).with_empty_span());
    let call = Function {
        name: ObjectName::from(vec![Ident::new(CALL)]),
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

/// CREATE, ALTER and DROP.
fn object(parser: &mut Parser<'_>) -> Result<Json, ParserError> {
    let verb = ["create", "alter", "drop"]
        .into_iter()
        .find(|verb| take(parser, verb));
    let is_user = take(parser, "user");
    if !is_user && !take(parser, "role") {
        return wrong("USER or ROLE");
    }
    match (verb, is_user) {
        (Some("create"), true) => {
            let tolerant = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
            let name = name(parser, "the name of a user")?;
            Ok(
                json!({"do": "create user", "names": [name], "password": password(parser)?, "tolerant": tolerant}),
            )
        }
        (Some("create"), false) => {
            let tolerant = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
            let name = name(parser, "the name of a role")?;
            Ok(json!({"do": "create role", "names": [name], "tolerant": tolerant}))
        }
        (Some("alter"), true) => {
            let name = name(parser, "the name of a user")?;
            Ok(json!({"do": "alter user", "names": [name], "password": password(parser)?}))
        }
        (Some("drop"), _) => {
            let tolerant = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
            let names = names(parser, "a name")?;
            let what = if is_user { "drop user" } else { "drop role" };
            let cascade = !is_user && take(parser, "cascade");
            Ok(json!({"do": what, "names": names, "tolerant": tolerant, "cascade": cascade}))
        }
        _ => wrong("CREATE, DROP or ALTER USER, CREATE or DROP ROLE"),
    }
}

fn password(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    take(parser, "with");
    if !take(parser, "password") {
        return wrong("PASSWORD and a text in quotes");
    }
    match parser.next_token().token {
        Token::SingleQuotedString(text) => Ok(text),
        _ => wrong("a text in quotes after PASSWORD"),
    }
}

fn granted(parser: &mut Parser<'_>, grants: bool) -> Result<Json, ParserError> {
    let mut what = vec![bare_name(parser)?];
    while parser.consume_token(&Token::Comma) {
        what.push(bare_name(parser)?);
    }
    if matches!(what.as_slice(), [(all, false)] if all.eq_ignore_ascii_case("all")) {
        take(parser, "privileges");
    }
    let place = if take(parser, "on") {
        Some(place(parser)?)
    } else {
        None
    };
    let (word, to) = if grants {
        ("to", "TO and a name")
    } else {
        ("from", "FROM and a name")
    };
    if !take(parser, word) {
        return wrong(if place.is_some() {
            to
        } else {
            "ON and what the privilege is on, or TO or FROM and a user"
        });
    }
    take(parser, "role");
    let to = names(parser, to)?;
    let Some((database, collection)) = place else {
        let lower = |(name, quoted): (String, bool)| if quoted { name } else { name.to_lowercase() };
        let roles: Vec<String> = what.into_iter().map(lower).collect();
        return Ok(
            json!({"do": if grants { "add to role" } else { "remove from role" }, "roles": roles, "names": to}),
        );
    };
    let privileges: Vec<String> = what
        .into_iter()
        .flat_map(|(name, _)| privileges_of(&name))
        .collect();
    Ok(json!({
        "do": if grants { "grant" } else { "revoke" },
        "privileges": privileges,
        "database": database,
        "collection": collection,
        "names": to,
    }))
}

/// A name as it was written, and whether in quotes.
fn bare_name(parser: &mut Parser<'_>) -> Result<(String, bool), ParserError> {
    match parser.next_token().token {
        Token::Word(word) => Ok((word.value, word.quote_style.is_some())),
        _ => wrong("a privilege or a role"),
    }
}

/// The privileges and groups that a name stands for, as they are called.
fn privileges_of(name: &str) -> Vec<String> {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "select" => return vec!["Query".to_owned(), "Search".to_owned()],
        "update" => return vec!["Upsert".to_owned()],
        "all" => return vec!["CollectionAdmin".to_owned()],
        _ => {}
    }
    let known = Privilege::ALL
        .iter()
        .map(|privilege| privilege.name())
        .chain(group_names());
    let mut known = known.filter(|known| known.eq_ignore_ascii_case(name));
    vec![known.next().unwrap_or(name).to_owned()]
}

/// A database, if one is named, and a collection; `*` for all of them.
fn place(parser: &mut Parser<'_>) -> Result<(Option<String>, String), ParserError> {
    let what =
        "what the privilege is on: a table, database.*, *, SCHEMA database, or ALL TABLES IN SCHEMA database";
    if parser.consume_token(&Token::Mul) {
        if parser.consume_token(&Token::Period) && !parser.consume_token(&Token::Mul) {
            return wrong(what);
        }
        return Ok((Some(ANY.to_owned()), ANY.to_owned()));
    }
    let schema = |parser: &mut Parser<'_>| take(parser, "schema") || take(parser, "database");
    if is_word(&parser.peek_token_ref().token, "all")
        && is_word(&parser.peek_nth_token_ref(1).token, "tables")
    {
        parser.next_token();
        parser.next_token();
        if !take(parser, "in") || !schema(parser) {
            return wrong("IN SCHEMA and the name of a database");
        }
        return Ok((Some(name(parser, what)?), ANY.to_owned()));
    }
    let named = |parser: &Parser<'_>| matches!(parser.peek_nth_token_ref(1).token, Token::Word(_));
    if named(parser) && schema(parser) {
        return Ok((Some(name(parser, what)?), ANY.to_owned()));
    }
    let is_followed = !is_word(&parser.peek_nth_token_ref(1).token, "to")
        && !is_word(&parser.peek_nth_token_ref(1).token, "from");
    if is_followed && named(parser) {
        let _kind = take(parser, "table") || take(parser, "collection");
    }
    let first = name(parser, what)?;
    if !parser.consume_token(&Token::Period) {
        return Ok((None, first));
    }
    if parser.consume_token(&Token::Mul) {
        return Ok((Some(first), ANY.to_owned()));
    }
    Ok((Some(first), name(parser, what)?))
}

/// Whether a call is one that [`parse`] gave.
pub(super) fn is_ours(call: &Function) -> bool {
    call.name.to_string() == CALL
}

fn argument(call: &Function) -> Option<Json> {
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

/// A statement as it may be shown: one about users without what it says.
pub(crate) fn without_password(statement: &Statement) -> String {
    match statement {
        Statement::Statement(inner) => match inner.as_ref() {
            SqlStatement::Call(call) if is_ours(call) => {
                let given = argument(call).unwrap_or_default();
                let names = texts(&given, "names").join(", ");
                format!("{} {names} ..", text(&given, "do").to_uppercase())
            }
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}

fn text(given: &Json, key: &str) -> String {
    given
        .get(key)
        .and_then(Json::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn texts(given: &Json, key: &str) -> Vec<String> {
    let texts = given.get(key).and_then(Json::as_array).into_iter().flatten();
    texts.filter_map(Json::as_str).map(str::to_owned).collect()
}

/// What running a call needs.
pub(super) fn needs_of(call: &Function, session: &SessionContext) -> Vec<Need> {
    let given = argument(call).unwrap_or_default();
    let privilege = match text(&given, "do").as_str() {
        // Everybody may change their own.
        "alter user" => {
            let user = SessionUser::of(session);
            let is_own = user.is_some_and(|user| texts(&given, "names") == [user.name.as_ref()]);
            return if is_own {
                Vec::new()
            } else {
                vec![Need::cluster(Privilege::UpdateUser)]
            };
        }
        "create user" | "create role" => Privilege::CreateOwnership,
        "drop user" | "drop role" => Privilege::DropOwnership,
        "grant" | "revoke" | "add to role" | "remove from role" => Privilege::ManageOwnership,
        _ => return vec![Need::Admin("this statement")],
    };
    vec![Need::cluster(privilege)]
}

impl Router<'_> {
    /// Runs what [`parse`] gave.
    pub(super) async fn change_users(&self, call: &Function) -> Result<()> {
        let Some(given) = argument(call) else {
            return Err(QueryError::Unsupported(format!("CALL {CALL}")));
        };
        let tolerant = given.get("tolerant").and_then(Json::as_bool) == Some(true);
        let cascade = given.get("cascade").and_then(Json::as_bool) == Some(true);
        let (names, password) = (texts(&given, "names"), text(&given, "password"));
        let what = text(&given, "do");
        let missing = |kind: &str, name: &str| QueryError::Plan(format!("there is no {kind} '{name}'"));
        let all = self.collections;
        for name in &names {
            match what.as_str() {
                "create user" if tolerant && all.user(name).is_some() => {}
                "create user" => all.create_user(name, &password, "").await?,
                "alter user" => all.change_password(name, &password).await?,
                "drop user" => {
                    if !all.drop_user(name).await? && !tolerant {
                        return Err(missing("user", name));
                    }
                }
                "create role" if tolerant && all.has_role(name) => {}
                "create role" => all.create_role(name, "").await?,
                "drop role" => {
                    if !all.drop_role(name, cascade).await? && !tolerant {
                        return Err(missing("role", name));
                    }
                }
                "add to role" | "remove from role" => {
                    for role in texts(&given, "roles") {
                        all.change_membership(name, &role, what == "add to role").await?;
                    }
                }
                "grant" | "revoke" => self.change_grants(name, &given, what == "grant").await?,
                other => return Err(QueryError::Unsupported(format!("CALL {CALL} to {other}"))),
            }
        }
        Ok(())
    }

    async fn change_grants(&self, role: &str, given: &Json, grants: bool) -> Result<()> {
        let database = given.get("database").and_then(Json::as_str);
        let grantor = SessionUser::of(self.session);
        for privilege in texts(given, "privileges") {
            let grant = Grant {
                role: role.to_owned(),
                database: database.map_or_else(|| self.database(), str::to_owned),
                collection: text(given, "collection"),
                privilege,
                grantor: grantor
                    .as_ref()
                    .map_or(ROOT, |user| user.name.as_ref())
                    .to_owned(),
            };
            if grants {
                self.collections.grant(grant).await?;
            } else {
                self.collections.revoke(grant).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{check_syntax, parse_one};

    #[test]
    fn statements_are_shown_without_passwords() {
        for (sql, shown) in [
            ("CREATE USER ann PASSWORD 'Secret-1'", "CREATE USER ann .."),
            ("alter user \"Ann\" with password 'Secret-1'", "ALTER USER Ann .."),
            ("DROP USER IF EXISTS ann, bob", "DROP USER ann, bob .."),
            ("GRANT Query ON docs TO reader", "GRANT reader .."),
        ] {
            assert_eq!(without_password(&parse_one(sql).unwrap()), shown);
        }
    }

    #[test]
    fn mistakes_are_told_without_passwords() {
        for sql in [
            "CREATE USER ann 'Secret-1'",
            "CREATE USER ann PASSWORD \"Secret-1\"",
            "CREATE USER ann PASSWORD 'x' 'Secret-1'",
            "CREATE USER 'Secret-1'",
            "ALTER USER ann 'Secret-1'",
        ] {
            let error = check_syntax(sql).unwrap_err().to_string();
            assert!(error.contains("expected") && !error.contains("Secret"), "{error}");
        }
    }

    #[test]
    fn places_are_read_as_in_postgresql() {
        for (on, database, collection) in [
            ("docs", Json::Null, "docs"),
            ("TABLE docs", Json::Null, "docs"),
            ("collection d.docs", json!("d"), "docs"),
            ("table", Json::Null, "table"),
            ("d.*", json!("d"), "*"),
            ("*", json!("*"), "*"),
            ("*.*", json!("*"), "*"),
            ("SCHEMA d", json!("d"), "*"),
            ("DATABASE d", json!("d"), "*"),
            ("ALL TABLES IN SCHEMA d", json!("d"), "*"),
        ] {
            let statement = parse_one(&format!("GRANT select, createindex ON {on} TO r")).unwrap();
            let Statement::Statement(inner) = &statement else {
                panic!()
            };
            let SqlStatement::Call(call) = inner.as_ref() else {
                panic!()
            };
            let given = argument(call).unwrap();
            assert_eq!(given["database"], database, "{on}");
            assert_eq!(given["collection"], json!(collection), "{on}");
            assert_eq!(given["privileges"], json!(["Query", "Search", "CreateIndex"]));
        }
    }
}
