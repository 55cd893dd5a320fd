//! What authors of plugins do before anyone loads their work: build it, measure it. To look at what is wrong with a
//! file is [`elanus_plugins::check`], and to sign it [`elanus_plugins::SigningKey`].
//!
//! The server needs none of this: it is kept apart from the crate that runs plugins.
//!
//! | function | what it does |
//! |---|---|
//! | [`build()`] | a folder with a project in Rust, Python, JavaScript or C becomes a plugin's file |
//! | [`bench()`] | calls of a loaded plugin with drawn candidates or rows: how many a second, how long, how much memory |
//! | [`parameters()`] | the parameters of a reranker from a JSON object |

mod bench;
mod build;

pub use bench::{BenchOptions, Measured, bench, parameters};
pub use build::{BuildError, BuildOptions, Language, build};
