//! `WITH (memory = '64MB', deadline = '50ms', rights = 'log', ..)`: limits and rights of a plugin, as statements give them.

use std::collections::BTreeMap;
use std::time::Duration;

use elanus_plugins::{Limits, Rights};

use crate::error::{QueryError, Result, did_you_mean};
use crate::memory::bytes_of;

/// What can be set.
const SETTINGS: [&str; 6] = ["memory", "deadline", "start_deadline", "rows", "rights", "reuse"];
/// The least and the most memory of an instance, in bytes: a page of WebAssembly, and what the host can give.
const MEMORY: std::ops::RangeInclusive<u64> = 1 << 16..=1 << 30;
/// The longest time of a call.
const LONGEST: Duration = Duration::from_secs(60);

/// Limits and rights as `settings` say, the defaults otherwise.
///
/// # Errors
/// A setting that there is not, a value out of range.
pub(super) fn limits_and_rights(settings: &BTreeMap<String, String>) -> Result<(Limits, Rights)> {
    let (mut limits, mut rights) = (Limits::default(), Rights::default());
    for (name, text) in settings {
        let wrong = |allowed: &str| {
            QueryError::InvalidParameter(format!("{name} = '{text}' of a plugin: allowed are {allowed}"))
        };
        match name.as_str() {
            "memory" => {
                let bytes = bytes_of(text).filter(|bytes| MEMORY.contains(bytes));
                let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
                limits.memory = bytes.ok_or_else(|| wrong("64KiB to 1GiB, such as '64MB'"))?;
            }
            "deadline" => {
                limits.deadline = duration(text).ok_or_else(|| wrong("1ms to 60s, such as '50ms'"))?;
            }
            "start_deadline" => {
                limits.start_deadline = duration(text).ok_or_else(|| wrong("1ms to 60s, such as '1s'"))?;
            }
            "rows" => {
                let rows = text.parse().ok().filter(|rows| (1..=1 << 24).contains(rows));
                limits.rows = rows.ok_or_else(|| wrong("1 to 16777216"))?;
            }
            "rights" => {
                rights = text
                    .parse()
                    .map_err(|_| wrong("clock, random, log, with commas between"))?;
            }
            "reuse" => {
                limits.reuse = match text.to_ascii_lowercase().as_str() {
                    "true" | "on" => true,
                    "false" | "off" => false,
                    _ => return Err(wrong("true, false")),
                };
            }
            other => {
                let known = did_you_mean(other, &SETTINGS, "settings");
                return Err(QueryError::InvalidParameter(format!(
                    "a plugin has no setting '{other}'{known}"
                )));
            }
        }
    }
    limits.idle_memory = limits.idle_memory.min(limits.memory);
    Ok((limits, rights))
}

/// `50ms`, `1.5s`; within what is allowed.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s')?, 1.0),
    };
    let seconds = number.trim().parse::<f64>().ok()? * unit;
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    (Duration::from_millis(1)..=LONGEST)
        .contains(&time)
        .then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<(Limits, Rights), String> {
        let settings = pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        limits_and_rights(&settings.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_change_limits_and_rights() {
        let (limits, rights) = read(&[
            ("memory", "16MiB"),
            ("deadline", "1.5s"),
            ("start_deadline", "20ms"),
            ("rows", "100"),
            ("rights", "log, clock"),
            ("reuse", "FALSE"),
        ])
        .unwrap();
        assert_eq!((limits.memory, limits.rows, limits.reuse), (16 << 20, 100, false));
        assert_eq!(limits.deadline, Duration::from_millis(1500));
        assert_eq!(limits.start_deadline, Duration::from_millis(20));
        assert!(rights.log && rights.clock && !rights.random);
        assert_eq!(read(&[]).unwrap(), (Limits::default(), Rights::default()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, text, what) in [
            ("memory", "1 apple", "64KiB to 1GiB"),
            ("memory", "2GiB", "64KiB to 1GiB"),
            ("deadline", "50", "1ms to 60s"),
            ("deadline", "2h", "1ms to 60s"),
            ("deadline", "-1s", "1ms to 60s"),
            ("rows", "0", "1 to 16777216"),
            ("rights", "files", "clock, random, log"),
            ("reuse", "maybe", "true, false"),
            ("memroy", "1MB", "did you mean memory?"),
        ] {
            let error = read(&[(name, text)]).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
