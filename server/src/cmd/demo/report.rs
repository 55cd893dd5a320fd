//! How the demo talks: numbered headings, indented text, what each step took.

use std::time::Instant;

use crate::console;

/// Prints steps and counts them.
pub struct Report {
    started: Instant,
    steps: usize,
}

impl Report {
    /// Starts the clock.
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            steps: 0,
        }
    }

    /// A new step.
    pub fn heading(&mut self, text: &str) {
        self.steps += 1;
        console::line(format_args!("\n{}. {text}", self.steps));
    }

    /// Text of the step, indented.
    pub fn text(&self, text: impl AsRef<str>) {
        for line in text.as_ref().lines() {
            console::line(format_args!("   {line}").to_string().trim_end());
        }
    }

    /// A statement as the user would type it.
    pub fn statement(&self, sql: &str) {
        self.text(format!("sql> {}", sql.trim().replace('\n', "\n     ")));
    }

    /// Says what happened and how long it took since `since`.
    pub fn done(&self, what: impl AsRef<str>, since: Instant) {
        let took = since.elapsed().as_secs_f64() * 1000.0;
        self.text(format!("{} ({took:.1} ms)", what.as_ref()));
    }

    /// The last line.
    pub fn finish(self) {
        let seconds = self.started.elapsed().as_secs_f64();
        console::line(format_args!(
            "\n{} steps, all results as expected, {seconds:.2} s",
            self.steps
        ));
    }
}
