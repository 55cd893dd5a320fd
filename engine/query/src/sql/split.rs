//! Taking a text apart at its semicolons, for whoever sends statements one by one.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::Token;

use super::offsets::tokens_of;

/// The statements of a text that end with a semicolon, and what follows the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statements<'a> {
    /// Without their semicolons; never blank.
    pub complete: Vec<&'a str>,
    /// The beginning of another one; empty when there is none.
    pub rest: &'a str,
}

/// Splits at semicolons outside strings, names and comments; comments between statements are left out.
/// A text that ends inside one of these is all `rest`; one that has a character which belongs to no
/// token is one statement, for the parser to refuse.
pub fn split(text: &str) -> Statements<'_> {
    let tokens = match tokens_of(&PostgreSqlDialect {}, text) {
        Ok(tokens) => tokens,
        Err(error) => {
            let open = error.message.starts_with("Unterminated")
                || error.message.contains("Expected close delimiter");
            let open = open || error.message.contains("Unexpected EOF");
            let text = text.trim();
            return Statements {
                complete: if open || text.is_empty() {
                    Vec::new()
                } else {
                    vec![text]
                },
                rest: if open { text } else { "" },
            };
        }
    };
    let mut complete = Vec::new();
    let mut start = None;
    for (offset, token) in tokens {
        match (start, token) {
            (None, Token::SemiColon) => {}
            (None, _) => start = Some(offset),
            (Some(first), Token::SemiColon) => {
                complete.push(text.get(first..offset).unwrap_or_default().trim_end());
                start = None;
            }
            (Some(_), _) => {}
        }
    }
    Statements {
        complete,
        rest: start.and_then(|first| text.get(first..)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_strings_names_and_comments_do_not_end_a_statement() {
        let text = "SELECT ';é' AS \"a;b\"; -- no; \n;/* ; */ SELECT 2;\n SELECT 3";
        let split = split(text);
        assert_eq!(split.complete, ["SELECT ';é' AS \"a;b\"", "SELECT 2"]);
        assert_eq!(split.rest, "SELECT 3");
    }

    #[test]
    fn an_open_string_name_or_comment_is_not_finished() {
        for text in [
            "SELECT 1; SELECT 'a;",
            "SELECT \"a;",
            "SELECT 1 /* ;",
            "SELECT $$a;",
        ] {
            assert_eq!(split(text).complete, Vec::<&str>::new(), "{text}");
            assert_eq!(split(text).rest, text);
        }
    }
}
