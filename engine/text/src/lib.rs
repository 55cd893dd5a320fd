#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
//! Analyzers: text becomes terms, as the `analyzer_params` of a field say.
//!
//! ```text
//!   "The Databases, running"
//!      tokenizer standard   The | Databases | running
//!      filter lowercase     the | databases | running
//!      filter stemmer       the | databas   | run
//!      filter stop                databas   | run        a token keeps its place: databas is at 1, run at 2
//! ```
//!
//! Names, parameters and defaults are those of Milvus. This crate knows text alone: nothing of rows, columns or indexes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`analyzer`] | an analyzer from its parameters: built-in, or tokenizer and filters |
//! | `tokenizer` | text to tokens |
//! | `filter` | tokens to tokens |
//! | `char_group`, `lindera` | the tokenizers of these names |
//! | `language` | the language that a text is in |
//! | [`highlight`] | pieces of a text around the terms of a query |
//! | [`matching`] | whether a text has the terms or the phrase of a query |
//! | [`minhash`] | signatures of texts, for duplicates |
//! | `number` | the number that a text is |
//! | [`terms`] | what BM25 counts: the numbers of terms, and their counts in a text |
//! | [`word_files`] | words in registered files |

pub mod analyzer;
mod char_group;
mod error;
mod filter;
pub mod highlight;
mod language;
mod lindera;
pub mod matching;
pub mod minhash;
mod number;
mod params;
mod segments;
pub mod terms;
mod token;
mod tokenizer;
pub mod word_files;

pub use analyzer::Analyzer;
pub use error::AnalyzerError;
pub use lindera::set_dictionaries;
pub use matching::{TextMatcher, TextTest};
pub use minhash::{Hashed, MinHashFunction, ShingleHash};
pub use number::leading_number;
pub use terms::{Counts, counts, term_number};
pub use token::Token;
