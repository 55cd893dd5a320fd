//! `ELANUS_*` variables that look like a misspelt option. They are only warned about: an orchestrator may set variables
//! of this prefix for reasons of its own (`ELANUS_SERVICE_HOST` for a service that is called `elanus`, say).

use clap::CommandFactory;

use super::password::{PASSWORD, ROOT_PASSWORD};
use crate::cli::Cli;

/// A variable this close to a known one (Jaro-Winkler over what follows the prefix, 1 is equal) is a spelling mistake.
const SIMILAR: f64 = 0.9;
const PREFIX: &str = "ELANUS_";

/// Logs a warning for every variable of the process that is almost the name of an option.
pub fn warn_about_misspelt() {
    let command = Cli::command();
    let known: Vec<String> = command
        .get_subcommands()
        .flat_map(|command| command.get_arguments())
        .filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned))
        .chain([PASSWORD, ROOT_PASSWORD].map(str::to_owned))
        .collect();
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if let Some(nearest) = misspelt(&name, &known) {
            tracing::warn!("the environment variable {name} means nothing here: is it {nearest}?");
        }
    }
}

/// The known variable that `name` almost is.
fn misspelt<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let rest = name.strip_prefix(PREFIX)?;
    if known.iter().any(|known| known == name) {
        return None;
    }
    known
        .iter()
        .map(|known| {
            (
                strsim::jaro_winkler(rest, known.trim_start_matches(PREFIX)),
                known.as_str(),
            )
        })
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_misses_are_reported() {
        let known = ["ELANUS_DATA", "ELANUS_MILVUS_ADDR", "ELANUS_HTTP_ADDR"].map(str::to_owned);
        assert_eq!(misspelt("ELANUS_MILVUS_ADR", &known), Some("ELANUS_MILVUS_ADDR"));
        assert_eq!(misspelt("ELANUS_MILVUS_ADDR", &known), None);
        assert_eq!(misspelt("ELANUS_SERVICE_HOST", &known), None);
        assert_eq!(misspelt("ELANUS_PORT_19530_TCP", &known), None);
        assert_eq!(misspelt("PATH", &known), None);
    }
}
