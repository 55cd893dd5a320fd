//! How far a statement is, for a person who waits for it.

use std::time::Duration;

use arrow::array::AsArray;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::backend::Backend;

/// How long a statement runs before anything is said about it.
const PATIENCE: Duration = Duration::from_millis(700);
/// How often it is asked how far it is.
const PROGRESS: Duration = Duration::from_millis(200);

/// Characters by which a statement is found among those that run.
const RECOGNISED: usize = 100;

/// Shows that a statement is running, once it takes longer than expected, and how far it or an index build is.
pub(super) struct Waiting(tokio::task::JoinHandle<()>, ProgressBar);

impl Waiting {
    pub fn start(backend: &Backend, statement: &str) -> Self {
        let bar = ProgressBar::new_spinner();
        bar.set_draw_target(ProgressDrawTarget::hidden());
        let (shown, mut beside, query) = (bar.clone(), backend.beside(), query(statement));
        let task = tokio::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            shown.set_draw_target(ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} running for {elapsed} {msg}") {
                shown.set_style(style);
            }
            shown.enable_steady_tick(Duration::from_millis(100));
            loop {
                match beside.rows(&query).await {
                    Ok(rows) => {
                        let columns = rows.iter().filter_map(|batch| batch.columns().first());
                        let lines = columns
                            .filter_map(|column| column.as_string_opt::<i32>())
                            .flatten();
                        shown.set_message(lines.flatten().collect::<Vec<_>>().join(", "));
                    }
                    // The statement itself tells what is wrong.
                    Err(error) => tracing::debug!(%error, "no progress to show"),
                }
                tokio::time::sleep(PROGRESS).await;
            }
        });
        Self(task, bar)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.abort();
        self.1.finish_and_clear();
    }
}

/// What tells, a line in a row, how far the statement and all index builds are.
fn query(statement: &str) -> String {
    let head: String = statement.chars().take(RECOGNISED).collect();
    let head = head.replace('\'', "''");
    format!(
        "SELECT concat(rows_done, ' rows') FROM elanus_catalog.queries \
         WHERE rows_done IS NOT NULL AND left(statement, {RECOGNISED}) = '{head}' \
         UNION ALL \
         SELECT concat('index ', \"index\", ': ', indexed_rows, ' of ', total_rows, ' rows') \
         FROM elanus_catalog.indexes WHERE state = 'in progress' AND total_rows > 0"
    )
}
