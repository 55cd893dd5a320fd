//! The grammar of filters: no text makes the parser panic, hang or overflow the stack, and what parses is the same tree
//! after printing and parsing again.
//!
//! The parser's modules are taken in by their paths, because the crate that they belong to builds all of DataFusion.

#![no_main]
#![allow(dead_code, reason = "the parts that serve the compiler of expressions")]

// The one thing that the grammar takes from another crate.
extern crate self as elanus_udfs;

#[path = "../../engine/filter/src/ast.rs"]
mod ast;
#[path = "../../engine/filter/src/error.rs"]
mod error;
#[path = "../../engine/filter/src/literal.rs"]
mod literal;
#[path = "../../udfs/src/membership/kind.rs"]
pub mod membership;
#[path = "../../engine/filter/src/parser/mod.rs"]
mod parser;
#[path = "../../engine/filter/src/printer.rs"]
mod printer;
#[path = "../../engine/filter/src/token.rs"]
mod token;

use error::FilterError;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match parser::parse(text) {
        Ok(tree) => {
            let printed = tree.to_string();
            match parser::parse(&printed) {
                Ok(again) => assert_eq!(again, tree, "{text:?} printed as {printed:?}"),
                Err(issue) => panic!(
                    "{text:?} printed as {printed:?}: {}",
                    FilterError::new(&printed, *issue)
                ),
            }
        }
        Err(issue) => {
            let error = FilterError::new(text, *issue);
            assert!(error.to_string().starts_with("cannot parse expression: "));
            assert!(error.line() > 0 && error.column() > 0);
            assert!(!error.excerpt().is_empty());
        }
    }
});
