//! What a plugin may ask of the host beside computing: nothing, unless it is granted by name.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker};

use crate::component::PACKAGE;
use crate::error::Refusal;
use crate::sandbox::State;

/// The rights of a plugin; none by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// To know the time.
    pub clock: bool,
    /// To draw random numbers.
    pub random: bool,
    /// To write to the host's log.
    pub log: bool,
}

impl Rights {
    /// Every right there is.
    pub const ALL: Self = Self {
        clock: true,
        random: true,
        log: true,
    };

    /// Whether all of these are among them.
    pub(crate) fn cover(self, needed: Self) -> bool {
        (self.clock || !needed.clock) && (self.random || !needed.random) && (self.log || !needed.log)
    }

    /// Whether the right of that name is granted; nothing when there is no such right.
    pub(crate) fn granted(self, name: &str) -> Option<bool> {
        match name {
            "clock" => Some(self.clock),
            "random" => Some(self.random),
            "log" => Some(self.log),
            _ => None,
        }
    }
}

impl FromStr for Rights {
    type Err = String;

    /// Reads names separated by commas: `clock, log`. An empty text grants nothing.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rights = Self::default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let right = match name {
                "clock" => &mut rights.clock,
                "random" => &mut rights.random,
                "log" => &mut rights.log,
                _ => return Err(format!("there is no right '{name}', only clock, random, log")),
            };
            *right = true;
        }
        Ok(rights)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(self.clock, "clock"), (self.random, "random"), (self.log, "log")];
        let names: Vec<&str> = all
            .into_iter()
            .filter_map(|(granted, name)| granted.then_some(name))
            .collect();
        f.write_str(&names.join(", "))
    }
}

#[expect(
    dead_code,
    reason = "guests make them: the derived code reads a number into one"
)]
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
enum Level {
    #[component(name = "error")]
    Error,
    #[component(name = "warn")]
    Warn,
    #[component(name = "info")]
    Info,
    #[component(name = "debug")]
    Debug,
}

/// Offers what is granted, and nothing else.
pub(crate) fn offer(linker: &mut Linker<State>, rights: Rights) -> wasmtime::Result<()> {
    let interface = |name: &str| format!("{PACKAGE}/{name}@{}", crate::component::VERSION);
    if rights.clock {
        linker
            .instance(&interface("clock"))?
            .func_wrap("now", |_: StoreContextMut<'_, State>, (): ()| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Ok((u64::try_from(now.as_millis()).unwrap_or(u64::MAX),))
            })?;
    }
    if rights.random {
        linker
            .instance(&interface("random"))?
            .func_wrap("next", |mut store: StoreContextMut<'_, State>, (): ()| {
                Ok((store.data_mut().random(),))
            })?;
    }
    if rights.log {
        linker.instance(&interface("log"))?.func_wrap(
            "write",
            |mut store: StoreContextMut<'_, State>, (level, message): (Level, String)| {
                store.data_mut().log.write(level, &message);
                Ok(())
            },
        )?;
    }
    Ok(())
}

/// The lines of one call.
#[derive(Debug)]
pub(crate) struct Log {
    plugin: String,
    limit: usize,
    left: usize,
    dropped: u64,
}

impl Log {
    pub(crate) fn new(plugin: String, limit: usize) -> Self {
        Self {
            plugin,
            limit,
            left: limit,
            dropped: 0,
        }
    }

    pub(crate) fn begin(&mut self) {
        self.left = self.limit;
    }

    pub(crate) fn rename(&mut self, plugin: &str) {
        plugin.clone_into(&mut self.plugin);
    }

    /// Whether the plugin has written something in this call.
    pub(crate) fn has_lines(&self) -> bool {
        self.left < self.limit
    }

    /// Reports what was dropped since the last time.
    pub(crate) fn finish(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            tracing::warn!(target: "elanus::plugin", plugin = self.plugin, dropped, "lines over the limit");
        }
    }

    fn write(&mut self, level: Level, message: &str) {
        let shown = Refusal::presentable(message);
        // An empty line costs something too.
        let Some(left) = self.left.checked_sub(shown.len() + 1) else {
            self.left = 0;
            self.dropped += 1;
            return;
        };
        self.left = left;
        let plugin = self.plugin.as_str();
        match level {
            Level::Error => tracing::error!(target: "elanus::plugin", plugin, "{shown}"),
            Level::Warn => tracing::warn!(target: "elanus::plugin", plugin, "{shown}"),
            Level::Info => tracing::info!(target: "elanus::plugin", plugin, "{shown}"),
            Level::Debug => tracing::debug!(target: "elanus::plugin", plugin, "{shown}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_by_name() {
        let rights: Rights = "clock, log".parse().unwrap();
        assert_eq!(
            rights,
            Rights {
                clock: true,
                random: false,
                log: true
            }
        );
        assert_eq!(rights.to_string(), "clock, log");
        assert!(Rights::ALL.cover(rights) && rights.cover(rights) && !Rights::default().cover(rights));
        assert_eq!("".parse::<Rights>().unwrap(), Rights::default());
        assert!(
            "network"
                .parse::<Rights>()
                .unwrap_err()
                .contains("only clock, random, log")
        );
    }

    #[test]
    fn a_log_ends_at_its_limit_and_starts_afresh() {
        let mut log = Log::new("p".to_owned(), 10);
        log.write(Level::Info, "12345");
        log.write(Level::Info, "12345");
        log.write(Level::Info, "");
        assert_eq!((log.left, log.dropped), (0, 2));
        log.finish();
        log.begin();
        assert!(!log.has_lines());
        log.write(Level::Info, "12345");
        assert_eq!((log.left, log.dropped), (4, 0));
        assert!(log.has_lines());
    }
}
