//! From a folder to a plugin: which language it is, and the compiler of that language.
//!
//! ```text
//!   Cargo.toml    Rust    cargo
//! ```

mod rust;
mod tools;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// How to build.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// The file to write; without one, `NAME.wasm` in the folder, and for Rust the file that cargo writes.
    pub output: Option<PathBuf>,
    /// Whether the plugin may ask for the clock, for random numbers and for the log (the worlds `-with-rights`). Rust and C
    /// do not need it: there, a plugin imports what it calls. In Python and JavaScript a plugin built so needs all three.
    pub with_rights: bool,
    /// Packages of a workspace in Rust, all if there are none.
    pub packages: Vec<String>,
}

/// The languages that there is an SDK for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `plugins/sdk/rust`.
    Rust,
    /// `plugins/sdk/python`.
    Python,
    /// `plugins/sdk/js`.
    JavaScript,
    /// `plugins/sdk/c`.
    C,
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::JavaScript => "JavaScript",
            Self::C => "C",
        })
    }
}

/// Why there is no plugin.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder is no project of a known kind, or of several.
    #[error("{0}")]
    Project(String),
    /// A compiler is not installed.
    #[error("{tool} is needed to build plugins in {language}, and is not there: {advice}")]
    Missing {
        /// The program.
        tool: String,
        /// What it is for.
        language: Language,
        /// How to get it.
        advice: String,
    },
    /// A compiler ran and failed; `output` is what it said.
    #[error("{tool} failed:\n{output}")]
    Failed {
        /// The program.
        tool: String,
        /// Its words.
        output: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {error}", path = .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl BuildError {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File { path, error }
    }
}

/// Builds the project in a folder. The paths are those of the plugins: one, or for a workspace in Rust one per package.
///
/// # Errors
/// See [`BuildError`]; the text is for the author.
pub fn build(folder: &Path, options: &BuildOptions) -> Result<Vec<PathBuf>, BuildError> {
    // The compilers are run in folders of their own.
    let folder = &fs::canonicalize(folder).map_err(BuildError::file(folder))?;
    if !folder.join("Cargo.toml").is_file() {
        return Err(BuildError::Project(format!(
            "{} is no project of a plugin: it has no Cargo.toml",
            folder.display()
        )));
    }
    rust::build(folder, options)
}
