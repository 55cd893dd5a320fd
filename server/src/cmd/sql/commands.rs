//! Commands of the prompt that are not SQL. They start with a backslash, as in psql.

use super::output::Format;
use super::say;
use super::shell::Shell;
use clap::ValueEnum;

/// Name, arguments, what it does.
const COMMANDS: [(&str, &str, &str); 9] = [
    (
        "\\d",
        "[TABLE]",
        "tables and views of the database, or columns and indexes of one table",
    ),
    ("\\l", "", "databases"),
    ("\\c", "DATABASE", "work in another database"),
    ("\\di", "", "indexes, and how far their builds are"),
    ("\\timing", "", "tell how long statements take, or stop telling"),
    ("\\f", "table|csv|json", "how results are printed"),
    ("\\i", "FILE", "run the statements of a file"),
    ("\\?", "", "this list"),
    ("\\q", "", "leave (also Ctrl-D)"),
];

/// What the prompt does after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Prompt,
    Leave,
}

/// Runs one command line.
pub(super) async fn run(shell: &mut Shell, line: &str) -> anyhow::Result<Next> {
    let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = argument.trim().trim_end_matches(';').trim();
    match (command, argument) {
        ("\\q", "") => return Ok(Next::Leave),
        ("\\?", "") => help(),
        ("\\d" | "\\dt", "") => {
            let database = shell.database().await?;
            let tables = format!(
                "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = {} ORDER BY 1",
                quoted(&database)
            );
            shell.statement(&tables).await?;
        }
        ("\\d", table) => describe(shell, table).await?,
        ("\\l", "") => shell.statement("SHOW DATABASES").await?,
        ("\\c", database) if !database.is_empty() => {
            let name = format!("\"{}\"", database.trim_matches('"').replace('"', "\"\""));
            shell.statement(&format!("USE {name}")).await?;
        }
        ("\\di", "") => shell.statement("SELECT * FROM elanus_catalog.indexes").await?,
        ("\\timing", "") => {
            shell.timing = !shell.timing;
            say(if shell.timing {
                "timing is on"
            } else {
                "timing is off"
            });
        }
        ("\\f", format) => match Format::from_str(format, true) {
            Ok(Format::Arrow) | Err(_) => say("\\f takes table, csv or json"),
            Ok(format) => shell.printer.format = format,
        },
        ("\\i", file) if !file.is_empty() => {
            let text =
                std::fs::read_to_string(file).map_err(|e| anyhow::anyhow!("cannot read {file}: {e}"))?;
            shell.script(&text).await?;
        }
        _ => say(format_args!("unknown command {line}; \\? lists the commands")),
    }
    Ok(Next::Prompt)
}

fn help() {
    say("Statements end with a semicolon and may have several lines. Commands:");
    for (name, arguments, what) in COMMANDS {
        say(format_args!("  {:<22} {what}", format!("{name} {arguments}")));
    }
}

async fn describe(shell: &mut Shell, table: &str) -> anyhow::Result<()> {
    shell.statement(&format!("DESCRIBE {table}")).await?;
    // A name as it is written in SQL: unquoted ones are lower case.
    let (database, table) = match table.split_once('.') {
        Some((database, table)) => (plain(database), plain(table)),
        None => (shell.database().await?, plain(table)),
    };
    let indexes = format!(
        "SELECT index, column, type, metric, indexed_rows, total_rows, state FROM elanus_catalog.indexes \
         WHERE database = {} AND collection = {}",
        quoted(&database),
        quoted(&table)
    );
    shell.statement(&indexes).await
}

fn plain(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) => inside.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
