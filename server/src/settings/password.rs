//! Passwords: from a variable or a file, since everybody on a machine sees the command lines of its processes.

use std::fmt;
use std::io::IsTerminal;
use std::path::Path;

use anyhow::Context;

/// Where the first password of `root` may be.
pub const ROOT_PASSWORD: &str = "ELANUS_ROOT_PASSWORD";
/// Where the password of `elanus sql` may be.
pub const PASSWORD: &str = "ELANUS_PASSWORD";

/// A password, which is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    /// The first line of a file, or else a variable; nothing when there is neither.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(file: Option<&Path>, variable: &str) -> anyhow::Result<Option<Self>> {
        let Some(file) = file else {
            return Ok(std::env::var(variable)
                .ok()
                .filter(|text| !text.is_empty())
                .map(Self));
        };
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the password file {}", file.display()))?;
        Ok(text.lines().next().map(|line| Self(line.to_owned())))
    }

    /// Asks the person at the terminal, who types unseen; nothing when nobody is there, or when nothing is typed.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub fn ask(user: &str) -> anyhow::Result<Option<Self>> {
        if !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let typed = rpassword::prompt_password(format!("Password for user {user}: "))
            .context("cannot read a password from the terminal")?;
        Ok((!typed.is_empty()).then_some(Self(typed)))
    }

    /// What it is.
    pub fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_file_is_the_password_and_is_not_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "Secret-1\n# the password\n").unwrap();
        let read = Password::read(Some(file.path()), "NO_SUCH_VARIABLE")
            .unwrap()
            .unwrap();
        assert_eq!(read.text(), "Secret-1");
        assert!(!format!("{read:?}").contains("Secret"));
        assert_eq!(Password::read(None, "NO_SUCH_VARIABLE").unwrap(), None);
        let error = Password::read(Some(Path::new("/nonexistent/p")), PASSWORD).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/p"), "{error}");
    }
}
