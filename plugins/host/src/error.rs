//! What can go wrong with a plugin, and at which moment of its life.

use std::fmt;
use std::time::Duration;

/// A plugin failed: which one, at what, and why. The text is fit for the user whose query it ends.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("plugin {plugin} failed {stage}: {failure}")]
pub struct PluginError {
    /// Name and version as the plugin states them; before it could, the start of its digest.
    pub plugin: String,
    /// What was going on.
    pub stage: Stage,
    /// Why it failed.
    pub failure: Failure,
}

/// The moments of a plugin's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// The file is read, compiled and looked at.
    Load,
    /// An instance is made.
    Start,
    /// The plugin says what it is.
    Describe,
    /// Parameters are compared with the declared ones and handed over.
    Configure,
    /// Candidates are put into another order.
    Rerank,
    /// The function of this name is called.
    Invoke(String),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load => f.write_str("to load"),
            Self::Start => f.write_str("to start"),
            Self::Describe => f.write_str("to describe itself"),
            Self::Configure => f.write_str("to take its parameters"),
            Self::Rerank => f.write_str("to rerank"),
            Self::Invoke(function) => write!(f, "in function {function}"),
        }
    }
}

/// Why a plugin failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The bytes are not a plugin that this host can run.
    #[error("{0}")]
    NotAPlugin(String),
    /// The plugin imports what was not granted to it.
    #[error("{0}")]
    Denied(String),
    /// The plugin describes itself in a way that the host does not accept.
    #[error("its description is not accepted: {0}")]
    Description(String),
    /// WebAssembly trapped; the instance is gone.
    #[error("it trapped: {0}")]
    Trap(String),
    /// The time ran out; the instance is gone.
    #[error("it took longer than {} ms, which its deadline or start_deadline allows", .0.as_millis())]
    Deadline(Duration),
    /// More memory, tables or instances than allowed were asked for; the instance is gone.
    #[error("{0}")]
    Memory(String),
    /// What the plugin returned is not an answer; the instance is gone.
    #[error("its answer is not accepted: {0}")]
    Answer(String),
    /// The plugin itself refused, for instance a parameter's value.
    #[error("{0}")]
    Refused(Refusal),
    /// Parameters do not fit the declared ones.
    #[error("{0}")]
    Parameter(String),
    /// The host was asked for a call that does not fit the plugin's description.
    #[error("{0}")]
    Request(String),
    /// As many instances as allowed are at work.
    #[error("too many plugins are at work: {0}")]
    Busy(String),
    /// The host itself failed.
    #[error("{0}")]
    Host(String),
}

impl Failure {
    /// Whether the instance that failed so may serve another call.
    pub(crate) fn keeps_instance(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Parameter(_) | Self::Request(_) => true,
            Self::NotAPlugin(_)
            | Self::Denied(_)
            | Self::Description(_)
            | Self::Trap(_)
            | Self::Deadline(_)
            | Self::Memory(_)
            | Self::Answer(_)
            | Self::Busy(_)
            | Self::Host(_) => false,
        }
    }
}

/// An error that a plugin returned, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An argument or a parameter has a value that it does not take.
    #[error("invalid argument: {0}")]
    InvalidArgument(String),
    /// Something that it does not do.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// Its own fault.
    #[error("{0}")]
    Internal(String),
}

impl Refusal {
    /// The longest text that is carried on, in bytes.
    const LONGEST: usize = 1024;

    /// A text from a plugin as it may appear in a log or a message: bounded, and without control characters.
    pub(crate) fn presentable(text: &str) -> String {
        let mut end = text.len().min(Self::LONGEST);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let kept = text.get(..end).unwrap_or_default();
        let mut shown: String = kept
            .chars()
            .map(|character| if character.is_control() { ' ' } else { character })
            .collect();
        if end < text.len() {
            shown.push_str(" ..");
        }
        shown
    }
}
