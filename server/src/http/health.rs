//! Is the server ready? One state per part, set by whoever starts and stops it, read by `/healthz`.

use parking_lot::Mutex;
use serde_json::json;

/// State of one part, with Milvus' numbers (`common.StateCode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not ready yet: recovery runs.
    Initializing = 0,
    /// Answers requests.
    Healthy = 1,
    /// Drains: finishes what runs, takes nothing new.
    Stopping = 4,
}

/// The parts of the server and their states.
#[derive(Debug, Default)]
pub struct Health {
    parts: Mutex<Vec<(&'static str, State)>>,
}

/// One look at all parts.
pub struct Report {
    /// Every part is healthy.
    pub healthy: bool,
    /// The plain answer.
    pub text: String,
    /// The answer for those who ask for JSON.
    pub json: serde_json::Value,
}

impl Health {
    /// Sets the state of a part, adding it when it is new.
    pub fn set(&self, name: &'static str, state: State) {
        let mut parts = self.parts.lock();
        match parts.iter_mut().find(|(part, _)| *part == name) {
            Some((_, old)) => *old = state,
            None => parts.push((name, state)),
        }
    }

    /// Sets the state of every part.
    pub fn set_all(&self, state: State) {
        for (_, old) in self.parts.lock().iter_mut() {
            *old = state;
        }
    }

    /// What `/healthz` answers.
    pub fn report(&self) -> Report {
        let parts = self.parts.lock();
        let healthy = parts.iter().filter(|(_, state)| *state == State::Healthy).count();
        let all = healthy == parts.len() && !parts.is_empty();
        let text = if all {
            "OK".to_owned()
        } else {
            format!("Not all components are healthy, {healthy}/{}", parts.len())
        };
        let detail: Vec<_> = parts
            .iter()
            .map(|(name, state)| json!({"name": name, "code": *state as i32}))
            .collect();
        Report {
            healthy: all,
            json: json!({"state": text, "detail": detail}),
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn healthy_only_when_every_part_is() {
        let health = Health::default();
        assert!(!health.report().healthy, "nothing has started");
        health.set("storage", State::Healthy);
        health.set("milvus", State::Initializing);
        let report = health.report();
        assert!(!report.healthy);
        assert_eq!(report.text, "Not all components are healthy, 1/2");
        health.set("milvus", State::Healthy);
        let report = health.report();
        assert!(report.healthy);
        assert_eq!(
            report.json.to_string(),
            r#"{"state":"OK","detail":[{"name":"storage","code":1},{"name":"milvus","code":1}]}"#
        );
        health.set_all(State::Stopping);
        assert!(!health.report().healthy);
    }
}
