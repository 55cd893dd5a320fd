//! `elanus sql`: statements on a data directory, without a server.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use clap::Args;
use elanus_query::SqlOutput;

use crate::server::{Database, Limits};
use crate::{console, logging};

/// Options of `elanus sql`.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// Data directory; created when it does not exist
    #[arg(long, env = "ELANUS_DATA", value_name = "DIR")]
    pub data: String,
    /// The statement, or several separated by semicolons: they run one after the other until one fails, and the result of
    /// each is printed
    #[arg(short = 'c', long = "command", value_name = "STATEMENT")]
    pub command: String,
    /// Database that unqualified names mean
    #[arg(long, env = "ELANUS_DATABASE", value_name = "NAME", default_value = "default")]
    pub database: String,
    /// What to log to standard error: a level, or target=level pairs
    #[arg(long, env = "ELANUS_LOG", value_name = "FILTER", default_value = "warn")]
    pub log: String,
}

/// Runs the statements and prints the result of each.
///
/// # Errors
/// The directory is in use by a server or damaged, a statement fails, or the results cannot be written.
pub async fn run(arguments: SqlArgs) -> anyhow::Result<()> {
    logging::start(&arguments.log)?;
    let database = Database::open(&arguments.data, &Limits::default())
        .await
        .map_err(explain_lock)?;
    let mut outputs = Vec::new();
    let outcome = match database.engine.session(&arguments.database) {
        Ok(session) => {
            let engine = &database.engine;
            Box::pin(engine.sql_each(&session, &arguments.command, |output| outputs.push(output))).await
        }
        Err(error) => Err(error),
    };
    // Closed before the results are shown, so that whoever reads them can open the directory.
    database.close().await;
    for output in &outputs {
        for line in render(output)? {
            console::result(&line)?;
        }
    }
    Ok(outcome?)
}

/// A statement's result as a table with its number of rows, or how many rows it changed.
///
/// # Errors
/// A value that cannot be shown.
pub fn render(output: &SqlOutput) -> anyhow::Result<Vec<String>> {
    if let Some(affected) = output.affected {
        return Ok(vec![format!("{} affected", counted(affected))]);
    }
    if output.schema.fields().is_empty() {
        return Ok(vec!["OK".to_owned()]);
    }
    let options = FormatOptions::default().with_null("NULL");
    let rows: usize = output.batches.iter().map(RecordBatch::num_rows).sum();
    // The header is that of the first batch, so that there must be one.
    let empty = [RecordBatch::new_empty(SchemaRef::clone(&output.schema))];
    let batches = if output.batches.is_empty() {
        &empty[..]
    } else {
        &output.batches[..]
    };
    let table = pretty_format_batches_with_options(batches, &options)?;
    Ok(vec![table.to_string(), format!("({})", counted(rows as u64))])
}

fn counted(rows: u64) -> String {
    if rows == 1 {
        "1 row".to_owned()
    } else {
        format!("{rows} rows")
    }
}

/// A locked directory most often means that a server is up: say what to do.
fn explain_lock(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<elanus_storage::Error>() {
        Some(elanus_storage::Error::Locked { .. }) => {
            anyhow::anyhow!("{error}; stop that process, or send the statement to it as a client")
        }
        _other => error,
    }
}
