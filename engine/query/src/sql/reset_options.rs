//! `ALTER TABLE t RESET (a, b)`, which the parser does not know: read as `ALTER TABLE t SET (a = NULL, b = NULL)`.

use std::borrow::Cow;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::offsets::tokens_of;

/// `text` with the RESET lists of its ALTER TABLE statements as SET lists; any other text as it is.
pub(super) fn as_set(text: &str) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    if !lower.contains("alter") || !lower.contains("reset") {
        return Cow::Borrowed(text);
    }
    // What has no tokens is for the parser to complain about.
    let Ok(tokens) = tokens_of(&PostgreSqlDialect {}, text) else {
        return Cow::Borrowed(text);
    };
    let mut out = String::with_capacity(text.len() + 32);
    let mut start = 0;
    let mut place = Place::Elsewhere;
    let mut before: Option<&Token> = None;
    for (offset, token) in &tokens {
        place = match (place, token) {
            (_, Token::SemiColon) => Place::Elsewhere,
            (Place::Elsewhere, token) if is(token, Keyword::ALTER) => Place::Alter,
            (Place::Alter, token) if is(token, Keyword::TABLE) => Place::Table,
            (Place::Alter, _) => Place::Elsewhere,
            (Place::Table, token) if is(token, Keyword::RESET) => Place::Reset(*offset),
            (Place::Reset(at), Token::LParen) => {
                out.push_str(text.get(start..at).unwrap_or_default());
                out.push_str("SET ");
                start = *offset;
                Place::List
            }
            (Place::Reset(_), _) => Place::Table,
            (Place::List, Token::Comma | Token::RParen) if before.is_some_and(is_name) => {
                out.push_str(text.get(start..*offset).unwrap_or_default());
                out.push_str(" = NULL");
                start = *offset;
                if matches!(token, Token::Comma) {
                    Place::List
                } else {
                    Place::Table
                }
            }
            (Place::List, Token::RParen) => Place::Table,
            (place, _) => place,
        };
        before = Some(token);
    }
    out.push_str(text.get(start..).unwrap_or_default());
    Cow::Owned(out)
}

/// Where in a statement a token is.
#[derive(Clone, Copy)]
enum Place {
    Elsewhere,
    /// After ALTER.
    Alter,
    /// In an ALTER TABLE.
    Table,
    /// After a RESET in one, which is at this offset.
    Reset(usize),
    /// In its list.
    List,
}

fn is(token: &Token, keyword: Keyword) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.keyword == keyword)
}

fn is_name(token: &Token) -> bool {
    matches!(token, Token::Word(_))
}

#[cfg(test)]
mod tests {
    use super::as_set;

    #[test]
    fn a_list_of_names_becomes_a_list_of_nulls() {
        assert_eq!(
            as_set(r#"ALTER TABLE t RESET (a, "b.c"); SELECT 1"#),
            r#"ALTER TABLE t SET (a = NULL, "b.c" = NULL); SELECT 1"#
        );
        assert_eq!(
            as_set("alter table t add x int, reset (a), drop y"),
            "alter table t add x int, SET (a = NULL), drop y"
        );
    }

    #[test]
    fn any_other_reset_stays() {
        for text in [
            "RESET elanus.exact; ALTER TABLE t ADD a INT",
            "ALTER TABLE t RENAME COLUMN reset TO alter_reset",
            "ALTER TABLE t ADD \"reset\" INT",
            "SELECT 'ALTER TABLE t RESET (a)'",
            "ALTER TABLE t RESET a",
        ] {
            assert_eq!(as_set(text), text);
        }
    }
}
