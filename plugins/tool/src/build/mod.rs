//! From a folder to a plugin: which language it is, and the compiler of that language.
//!
//! ```text
//!   Cargo.toml                     Rust        cargo
//!   reranker.py or functions.py    Python      componentize-py
//!   reranker.js or functions.js    JavaScript  componentize-qjs
//!   reranker.c or functions.c      C           clang and lld, without a C library
//! ```
//!
//! The name of the main file says which world it is written for. The contract and the SDKs of the three are part of this crate:
//! a project needs no copy of them.

mod c;
mod javascript;
mod python;
mod rust;
mod tools;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use elanus_plugins::{WIT_V1, World};
use tempfile::TempDir;

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
    /// Where cargo keeps what it has compiled; without one, where it does by itself.
    pub target_dir: Option<PathBuf>,
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

/// Builds the project in a folder. Cargo, which may take minutes, says on standard error what it does. The paths are those of the plugins: one, or for a workspace in Rust one per package.
///
/// # Errors
/// See [`BuildError`]; the text is for the author.
pub fn build(folder: &Path, options: &BuildOptions) -> Result<Vec<PathBuf>, BuildError> {
    // The compilers are run in folders of their own.
    let folder = &fs::canonicalize(folder).map_err(BuildError::file(folder))?;
    let project = Project::find(folder)?;
    let build = match project.language {
        Language::Rust => return rust::build(folder, options),
        Language::Python => python::build,
        Language::JavaScript => javascript::build,
        Language::C => c::build,
    };
    if !options.packages.is_empty() {
        return Err(BuildError::Project(format!(
            "packages are chosen in workspaces of Rust, and {} is a project in {}",
            folder.display(),
            project.language
        )));
    }
    let output = match &options.output {
        Some(output) => std::path::absolute(output).map_err(BuildError::file(output))?,
        None => {
            let name = folder
                .file_name()
                .map_or_else(|| "plugin".into(), |name| name.to_string_lossy());
            folder.join(format!("{name}.wasm"))
        }
    };
    let bytes = build(&project, options)?;
    fs::write(&output, bytes).map_err(BuildError::file(&output))?;
    Ok(vec![output])
}

/// What is in a folder.
#[derive(Debug)]
struct Project {
    folder: PathBuf,
    language: Language,
    /// The file named after its world; of a project in Rust its `Cargo.toml`.
    main: PathBuf,
    world: World,
}

/// The files that make a folder a project. The worlds of Rust are those of the macro in its source.
const MAIN_FILES: [(&str, Language, World); 7] = [
    ("Cargo.toml", Language::Rust, World::Reranker),
    ("reranker.py", Language::Python, World::Reranker),
    ("functions.py", Language::Python, World::Udf),
    ("reranker.js", Language::JavaScript, World::Reranker),
    ("functions.js", Language::JavaScript, World::Udf),
    ("reranker.c", Language::C, World::Reranker),
    ("functions.c", Language::C, World::Udf),
];

impl Project {
    fn find(folder: &Path) -> Result<Self, BuildError> {
        let found: Vec<_> = MAIN_FILES
            .into_iter()
            .filter(|(name, ..)| folder.join(name).is_file())
            .collect();
        match found.as_slice() {
            [(name, language, world)] => Ok(Self {
                folder: folder.to_owned(),
                language: *language,
                main: folder.join(name),
                world: *world,
            }),
            [] => {
                let names: Vec<&str> = MAIN_FILES.iter().map(|(name, ..)| *name).collect();
                Err(BuildError::Project(format!(
                    "{} is no project of a plugin: it has none of {}",
                    folder.display(),
                    names.join(", ")
                )))
            }
            several => {
                let names: Vec<&str> = several.iter().map(|(name, ..)| *name).collect();
                Err(BuildError::Project(format!(
                    "{} has {}: a folder has one plugin, a plugin one world",
                    folder.display(),
                    names.join(" and ")
                )))
            }
        }
    }

    /// The world that this is built for.
    fn world_name(&self, options: &BuildOptions) -> String {
        let ending = if options.with_rights { "-with-rights" } else { "" };
        format!("{}{ending}", self.world.name())
    }
}

/// A folder for one build, with the contract in `wit/` and the given files; gone when it is dropped.
fn workshop(files: &[(&str, &str)]) -> Result<TempDir, BuildError> {
    let folder = TempDir::new().map_err(BuildError::file(&std::env::temp_dir()))?;
    let wit = WIT_V1.iter().map(|(name, text)| (format!("wit/{name}"), *text));
    let others = files.iter().map(|(name, text)| ((*name).to_owned(), *text));
    for (name, text) in wit.chain(others) {
        let path = folder.path().join(name);
        let parent = path.parent().unwrap_or(folder.path());
        fs::create_dir_all(parent).map_err(BuildError::file(parent))?;
        fs::write(&path, text).map_err(BuildError::file(&path))?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[&str]) -> Result<Project, String> {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(folder.path().join(file), "").unwrap();
        }
        Project::find(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_project_is_known_by_its_files() {
        let project = found(&["functions.py", "README.md"]).unwrap();
        assert_eq!((project.language, project.world), (Language::Python, World::Udf));
        assert_eq!(found(&["Cargo.toml"]).unwrap().language, Language::Rust);
        let error = found(&["README.md"]).unwrap_err();
        assert!(
            error.contains("it has none of Cargo.toml, reranker.py"),
            "{error}"
        );
        let error = found(&["reranker.js", "functions.js"]).unwrap_err();
        assert!(
            error.contains("has reranker.js and functions.js: a folder has one plugin"),
            "{error}"
        );
    }
}
