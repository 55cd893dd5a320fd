//! Taking a text apart at its semicolons, for whoever sends statements one by one.

use sqlparser::tokenizer::Token;

use super::offsets::offsets_of;

/// The statements of a text that end with a semicolon, and what follows the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statements<'a> {
    /// Without their semicolons; never blank.
    pub complete: Vec<&'a str>,
    /// The beginning of another one; empty when there is none.
    pub rest: &'a str,
}

/// Splits at semicolons outside strings, names and comments; comments between statements are left out. A text that ends inside one of these is
/// all `rest`.
pub fn split(text: &str) -> Statements<'_> {
    let meaningful = |token: &Token| !matches!(token, Token::Whitespace(_));
    let Ok(tokens) = offsets_of(text, meaningful) else {
        return Statements {
            complete: Vec::new(),
            rest: text,
        };
    };
    let mut complete = Vec::new();
    let mut start = None;
    for token in tokens {
        let ends = text.as_bytes().get(token) == Some(&b';');
        match (start, ends) {
            (None, false) => start = Some(token),
            (Some(first), true) => {
                complete.push(text.get(first..token).unwrap_or_default().trim_end());
                start = None;
            }
            (None, true) | (Some(_), false) => {}
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
    fn an_open_string_is_not_finished() {
        assert_eq!(split("SELECT 1; SELECT 'a;").complete, Vec::<&str>::new());
    }
}
