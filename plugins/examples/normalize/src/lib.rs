//! A SQL function that brings texts into a form to compare: lower case, without accents, with single blanks.

use elanus_plugin::{Argument, Error, Functions, Kind, Library, Output, Signature};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

struct Normalize;

impl Functions for Normalize {
    fn describe() -> Library {
        let signature = Signature::new(
            "normalize_text",
            &[("text", Kind::Text)],
            Kind::Text,
            "Lower case, without accents, with single blanks.",
        );
        Library {
            name: "normalize".to_owned(),
            version: "1.0.0".to_owned(),
            functions: vec![signature],
        }
    }

    fn invoke(_: usize, arguments: &[Argument], rows: usize) -> Result<Output, Error> {
        match arguments {
            [text] if text.is_constant() => {
                let normal = normalize(text.text()?.get(0));
                Ok(Output::text((0..rows).map(|_| normal.as_str())))
            }
            [text] => Ok(Output::text(text.text()?.iter().map(normalize))),
            _ => Err(Error::Internal(format!("{} arguments", arguments.len()))),
        }
    }
}

/// Unicode's compatibility decomposition without its combining marks, in lower case.
fn normalize(text: &str) -> String {
    let plain: String = text
        .nfkd()
        .filter(|character| !is_combining_mark(*character))
        .collect();
    let lower = plain.to_lowercase();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

elanus_plugin::functions!(Normalize);
