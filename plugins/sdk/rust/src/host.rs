//! What a plugin may ask of the host, each with the right of that name. A plugin that calls one of these is loaded only
//! if the right is granted; one that does not, needs none.

use crate::bindings::reranker::elanus::plugin::{clock, log, random};

pub use log::Level;

/// Milliseconds since 1970 (UTC). Right `clock`.
pub fn now() -> u64 {
    clock::now()
}

/// 64 random bits, not for secrets. Right `random`.
pub fn random() -> u64 {
    random::next()
}

/// Writes a line to the server's log. Right `log`.
pub fn log(level: Level, message: &str) {
    log::write(level, message);
}

/// From now on the message of a panic goes to the server's log, which otherwise knows only that there was one. Call it in
/// [`Reranker::new`](crate::Reranker::new) while a plugin is being written. The log is the standard error of `elanus serve`. Right
/// `log`: register the plugin `WITH (rights = 'log')`.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| log::write(Level::Error, &panic.to_string())));
}
