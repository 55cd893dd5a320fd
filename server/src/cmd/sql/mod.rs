//! `elanus sql`: statements on a data directory or a server, from the command line, a file, a pipe or a person.
//!
//! | file | what |
//! |---|---|
//! | `backend` | where statements run: an engine in this process, or a server over Flight SQL |
//! | `shell` | the prompt: history, completion, statements of several lines |
//! | `commands` | `\d`, `\timing` and the other commands that are not SQL |
//! | `output` | results as a table, CSV, JSON or Arrow |

mod backend;
mod commands;
mod output;
mod progress;
mod shell;

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use elanus_collection::access::Credentials;
use elanus_query::{DEFAULT_DATABASE, SqlOutput, check_syntax, split};

use crate::settings::{PASSWORD, Password};
use crate::{console, logging};
pub use backend::Backend;
use output::{Format, Printer};

/// Options of `elanus sql`.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// Data directory to open in this process; created when it does not exist
    #[arg(
        long,
        env = "ELANUS_DATA",
        value_name = "DIR",
        required_unless_present = "connect"
    )]
    pub data: Option<String>,
    /// Server to connect to, such as grpc://127.0.0.1:31337; wins over a data directory
    #[arg(long, env = "ELANUS_CONNECT", value_name = "URI")]
    pub connect: Option<String>,
    #[command(flatten)]
    pub user: UserArgs,
    /// Statements, separated by semicolons: they run one after the other until one fails, and the result of each is printed
    #[arg(
        short = 'c',
        long = "command",
        value_name = "STATEMENTS",
        conflicts_with = "file"
    )]
    pub command: Option<String>,
    /// File with statements; - is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How results are printed; arrow is an IPC stream of the last result
    #[arg(
        long,
        env = "ELANUS_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub format: Format,
    /// Database that unqualified names mean
    #[arg(long, env = "ELANUS_DATABASE", value_name = "NAME", default_value = DEFAULT_DATABASE)]
    pub database: String,
    /// Folder of dictionaries for the tokenizer lindera of a data directory that is opened in this process, such as DIR/ipadic
    #[arg(long, env = "ELANUS_ANALYZER_DICTIONARIES", value_name = "DIR")]
    pub analyzer_dictionaries: Option<PathBuf>,
    /// What to log to standard error: a level, or target=level pairs
    #[arg(long, env = "ELANUS_LOG", value_name = "FILTER", default_value = "warn")]
    pub log: String,
}

/// As whom to connect to a server that asks.
#[derive(Debug, Args)]
pub struct UserArgs {
    /// User to connect to a server as; the password is in the variable ELANUS_PASSWORD, in a file, or typed
    #[arg(long, env = "ELANUS_USER", value_name = "NAME")]
    user: Option<String>,
    /// File whose first line is the password of the user
    #[arg(long, env = "ELANUS_PASSWORD_FILE", value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
}

impl UserArgs {
    /// The name, and the password that was given or is asked for; nothing without a name.
    ///
    /// # Errors
    /// There is a name and no password, and nobody who could type one.
    pub fn credentials(&self) -> anyhow::Result<Option<Credentials>> {
        let Some(user) = &self.user else { return Ok(None) };
        let given = Password::read(self.password_file.as_deref(), PASSWORD)?;
        let password = given.map_or_else(|| Password::ask(user), |given| Ok(Some(given)))?;
        let password = password.with_context(|| {
            format!("--user {user} needs a password: in the variable {PASSWORD}, in the file that --password-file names, or typed")
        })?;
        Ok(Some(Credentials {
            user: user.clone(),
            password: password.text().to_owned(),
        }))
    }
}

/// Runs statements, or a prompt when there are none and a person is there.
///
/// # Errors
/// The directory is in use by a server or damaged, the server cannot be reached, a statement fails, or
/// the results cannot be written.
pub async fn run(arguments: SqlArgs) -> anyhow::Result<()> {
    logging::start(&arguments.log)?;
    let script = script(&arguments)?;
    if let Some(folder) = &arguments.analyzer_dictionaries {
        elanus_text::set_dictionaries(folder);
    }
    let backend = match (&arguments.connect, &arguments.data) {
        (Some(uri), _) => {
            let user = arguments.user.credentials()?;
            Backend::connect(uri, &arguments.database, user.as_ref()).await?
        }
        (None, Some(data)) => Backend::open(data, &arguments.database).await?,
        (None, None) => anyhow::bail!("give a data directory with --data or a server with --connect"),
    };
    let Some(script) = script else {
        return Box::pin(shell::run(backend, arguments.format)).await;
    };
    let mut backend = backend;
    let mut results = Vec::new();
    let outcome = Box::pin(run_script(&mut backend, &script, &mut results)).await;
    // Closed before the results are shown, so that whoever reads them can open the directory.
    backend.close().await;
    let printer = Printer::new(arguments.format, false);
    printer.print_all(&results)?;
    outcome
}

/// The statements that were given; `None` when a person is to type them.
fn script(arguments: &SqlArgs) -> anyhow::Result<Option<String>> {
    let from_pipe = || {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read statements from standard input")?;
        Ok(Some(text))
    };
    match (&arguments.command, &arguments.file) {
        (Some(text), _) => Ok(Some(text.clone())),
        (None, Some(path)) if path.as_os_str() == "-" => from_pipe(),
        (None, Some(path)) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))
            .map(Some),
        (None, None) if std::io::stdin().is_terminal() => Ok(None),
        (None, None) => from_pipe(),
    }
}

async fn run_script(backend: &mut Backend, script: &str, results: &mut Vec<SqlOutput>) -> anyhow::Result<()> {
    // A mistake in the syntax of any statement is found before the first one runs.
    check_syntax(script)?;
    let statements = split(script);
    let last = (!statements.rest.is_empty()).then_some(statements.rest);
    for statement in statements.complete.into_iter().chain(last) {
        let waiting = progress::Waiting::start(backend, statement);
        let result = backend.run(statement).await;
        drop(waiting);
        results.push(result?);
    }
    Ok(())
}

/// A statement's result as a table with its number of rows, or how many rows it changed.
///
/// # Errors
/// A value that cannot be shown.
pub fn render(result: &SqlOutput) -> anyhow::Result<String> {
    output::table(result, false)
}

/// Prints something for the person at the prompt.
fn say(text: impl std::fmt::Display) {
    console::line(text);
}
