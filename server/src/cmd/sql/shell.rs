//! The prompt: history, completion, statements of several lines.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Instant;

use arrow::array::{Array, AsArray};
use elanus_query::split;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};

use super::backend::Backend;
use super::commands::{self, Next};
use super::output::{Format, Printer};
use super::progress::Waiting;
use super::say;

/// Most lines of history.
const HISTORY: usize = 10_000;

/// A session with a person.
pub(super) struct Shell {
    backend: Backend,
    pub printer: Printer,
    pub timing: bool,
}

/// Reads statements until the person leaves.
pub(super) async fn run(backend: Backend, format: Format) -> anyhow::Result<()> {
    let mut shell = Shell {
        backend,
        printer: Printer::new(format, true),
        timing: false,
    };
    let config = rustyline::Config::builder()
        .max_history_size(HISTORY)?
        .auto_add_history(false)
        .build();
    let mut editor: Editor<Words, FileHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Words::default()));
    let history = history_file();
    if let Some(file) = &history {
        // None yet: the first session of this person.
        let _absent = editor.load_history(file);
    }
    say(format_args!(
        "elanus {} on {}; \\? for help",
        env!("CARGO_PKG_VERSION"),
        shell.backend.describe()
    ));
    let outcome = shell.converse(&mut editor).await;
    if let Some(file) = &history
        && let Err(error) = editor.save_history(file)
    {
        tracing::warn!(%error, file = %file.display(), "the history is not kept");
    }
    shell.backend.close().await;
    outcome
}

impl Shell {
    async fn converse(&mut self, editor: &mut Editor<Words, FileHistory>) -> anyhow::Result<()> {
        let mut pending = String::new();
        self.learn(editor).await;
        loop {
            let prompt = if pending.is_empty() {
                "elanus> "
            } else {
                "   ...> "
            };
            let line = match editor.readline(prompt) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => {
                    pending.clear();
                    continue;
                }
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if pending.is_empty() && line.trim_start().starts_with('\\') {
                editor.add_history_entry(line.trim())?;
                match commands::run(self, line.trim()).await {
                    Ok(Next::Prompt) => {}
                    Ok(Next::Leave) => return Ok(()),
                    Err(error) => say(format_args!("error: {error:#}")),
                }
                continue;
            }
            pending.push_str(&line);
            pending.push('\n');
            let statements = split(&pending);
            if !statements.rest.is_empty() {
                continue;
            }
            if !pending.trim().is_empty() && !has_password(&pending) {
                editor.add_history_entry(pending.trim())?;
            }
            let mut defines = false;
            for statement in &statements.complete {
                if let Err(error) = self.statement(statement).await {
                    say(format_args!("error: {error:#}"));
                    break;
                }
                defines |= is_definition(statement);
            }
            pending.clear();
            if defines {
                self.learn(editor).await;
            }
        }
    }

    /// Runs one statement and prints its result.
    pub async fn statement(&mut self, statement: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        let waiting = Waiting::start(&self.backend, statement);
        let result = self.backend.run(statement).await;
        drop(waiting);
        let took = started.elapsed();
        self.printer.print(&result?)?;
        if self.timing {
            say(format_args!("time: {:.3} ms", took.as_secs_f64() * 1e3));
        }
        Ok(())
    }

    /// Runs the statements of a text.
    pub async fn script(&mut self, text: &str) -> anyhow::Result<()> {
        let statements = split(text);
        let last = (!statements.rest.is_empty()).then_some(statements.rest);
        for statement in statements.complete.into_iter().chain(last) {
            self.statement(statement).await?;
        }
        Ok(())
    }

    /// The database of unqualified names.
    pub async fn database(&mut self) -> anyhow::Result<String> {
        let shown = self.backend.run("SHOW datafusion.catalog.default_schema").await?;
        let value = shown
            .batches
            .first()
            .and_then(|batch| batch.column_by_name("value"));
        let value = value.and_then(|column| column.as_string_opt::<i32>());
        Ok(value
            .filter(|values| !values.is_empty())
            .map_or_else(String::new, |values| values.value(0).to_owned()))
    }

    /// Takes the names of tables and columns for completion.
    async fn learn(&mut self, editor: &mut Editor<Words, FileHistory>) {
        const NAMES: &str = "SELECT table_name FROM information_schema.tables \
             UNION SELECT column_name FROM information_schema.columns";
        let names = match self.backend.run(NAMES).await {
            Ok(result) => result.batches,
            Err(error) => {
                tracing::debug!(%error, "no names to complete");
                return;
            }
        };
        if let Some(words) = editor.helper_mut() {
            words.names.clear();
            for batch in &names {
                let column = batch
                    .columns()
                    .first()
                    .and_then(|column| column.as_string_opt::<i32>());
                words
                    .names
                    .extend(column.into_iter().flatten().flatten().map(str::to_owned));
            }
            words.names.sort_unstable();
            words.names.dedup();
        }
    }
}

fn is_definition(statement: &str) -> bool {
    let first = statement.split_whitespace().next().unwrap_or_default();
    ["CREATE", "DROP", "ALTER", "USE"]
        .iter()
        .any(|word| first.eq_ignore_ascii_case(word))
}

/// Whether a text may hold a password, as `CREATE USER .. PASSWORD '..'` does; it is not kept in the history.
fn has_password(text: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .any(|word| word.eq_ignore_ascii_case("password"))
}

fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")))?;
    let folder = state.join("elanus");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

/// Words that Tab completes.
#[derive(Default)]
struct Words {
    names: Vec<String>,
}

const KEYWORDS: [&str; 51] = [
    "ANALYZE", "AND", "AS", "ASC", "BETWEEN", "BIGINT", "BY", "CASE", "COPY", "COUNT", "CREATE", "DEFAULT",
    "DELETE", "DESC", "DESCRIBE", "EXTERNAL", "DISTINCT", "DOUBLE", "DROP", "ELSE", "END", "EXISTS",
    "EXPLAIN", "FROM", "GROUP", "HAVING", "INDEX", "INSERT", "INTEGER", "INTO", "JOIN", "LIKE", "LIMIT",
    "NOT", "NULL", "OFFSET", "ORDER", "PRIMARY", "SELECT", "SET", "SHOW", "TABLE", "USING", "VALUES",
    "VARCHAR", "VECTOR", "WHERE", "WITH", "UNION", "VACUUM", "VIEW",
];

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let before = line.get(..position).unwrap_or_default();
        let start = before
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
            .map_or(0, |at| {
                at + before
                    .get(at..)
                    .and_then(|rest| rest.chars().next())
                    .map_or(1, char::len_utf8)
            });
        let word = before.get(start..).unwrap_or_default();
        if word.is_empty() {
            return Ok((position, Vec::new()));
        }
        let begins = |candidate: &str| {
            candidate
                .get(..word.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(word))
        };
        let in_case = |keyword: &str| {
            if word.chars().all(|c| !c.is_uppercase()) {
                keyword.to_lowercase()
            } else {
                keyword.to_owned()
            }
        };
        let keywords = KEYWORDS
            .iter()
            .filter(|keyword| begins(keyword))
            .map(|keyword| in_case(keyword));
        let names = self.names.iter().filter(|name| begins(name)).cloned();
        Ok((start, names.chain(keywords).collect()))
    }
}

impl Helper for Words {}
impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Borrowed(prompt)
    }
}
impl Validator for Words {}
