//! Compilers: where they are, and what they say when they fail.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{BuildError, Language};

/// A program that a build needs.
pub(super) struct Tool {
    /// As it is called on the command line.
    pub(super) name: &'static str,
    /// Names the program when it is elsewhere, or called otherwise.
    pub(super) variable: &'static str,
    pub(super) language: Language,
    /// How to get it.
    pub(super) advice: &'static str,
}

impl Tool {
    /// The program that the environment names, or that is in one of `folders`, or on the path.
    pub(super) fn find(&self, folders: &[PathBuf]) -> Result<PathBuf, BuildError> {
        if let Some(named) = std::env::var_os(self.variable).filter(|named| !named.is_empty()) {
            return Ok(named.into());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        folders
            .iter()
            .cloned()
            .chain(std::env::split_paths(&path))
            .map(|folder| folder.join(self.name))
            .find(|program| program.is_file())
            .ok_or_else(|| self.missing())
    }

    /// A command of the program, in a folder.
    pub(super) fn command(&self, folders: &[PathBuf], directory: &Path) -> Result<Command, BuildError> {
        let mut command = Command::new(self.find(folders)?);
        command.current_dir(directory);
        Ok(command)
    }

    pub(super) fn missing(&self) -> BuildError {
        BuildError::Missing {
            tool: self.name.to_owned(),
            language: self.language,
            advice: format!("{} (or name the program in {})", self.advice, self.variable),
        }
    }

    /// Runs a command of this program to its end, and lets whoever waits see what it says on the way. The output is what it
    /// wrote for programs, on its standard output.
    pub(super) fn run_shown(&self, command: &mut Command) -> Result<Output, BuildError> {
        let output = self.output(command.stderr(Stdio::inherit()))?;
        if output.status.success() {
            return Ok(output);
        }
        Err(BuildError::Failed {
            tool: self.name.to_owned(),
            output: format!("what it said is above; it ended with {}", output.status),
        })
    }

    fn output(&self, command: &mut Command) -> Result<Output, BuildError> {
        command.output().map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                self.missing()
            } else {
                BuildError::file(Path::new(command.get_program()))(error)
            }
        })
    }

    /// Runs a command of this program to its end. What it says is kept to itself, unless it fails.
    pub(super) fn run(&self, command: &mut Command) -> Result<Output, BuildError> {
        let output = self.output(command)?;
        if output.status.success() {
            return Ok(output);
        }
        let said = [&output.stdout, &output.stderr]
            .map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned())
            .join("\n");
        Err(BuildError::Failed {
            tool: self.name.to_owned(),
            output: match said.trim() {
                "" => format!("it ended with {}", output.status),
                // Frames of the compiler say nothing to the author.
                said => said
                    .split("Stack backtrace:")
                    .next()
                    .unwrap_or_default()
                    .trim_end()
                    .to_owned(),
            },
        })
    }
}

/// The last words of a command that succeeded, as lines.
pub(super) fn lines(output: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(output)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Whether a file name ends so.
pub(super) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().and_then(OsStr::to_str) == Some(extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELL: Tool = Tool {
        name: "sh",
        variable: "ELANUS_NO_SUCH_VARIABLE",
        language: Language::Rust,
        advice: "it is everywhere",
    };

    fn shell(script: &str) -> Command {
        let mut command = SHELL.command(&[], Path::new("/")).unwrap();
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_compiler_writes_for_programs_is_not_shown_to_people() {
        let error = SHELL
            .run_shown(&mut shell("echo artifact; exit 3"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("sh failed:") && error.contains("exit status: 3"),
            "{error}"
        );
        assert!(!error.contains("artifact"), "{error}");
        let output = SHELL.run_shown(&mut shell("echo artifact")).unwrap();
        assert_eq!(lines(&output.stdout), ["artifact"]);
        let error = SHELL
            .run(&mut shell("echo words; exit 3"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("words"), "{error}");
    }
}
