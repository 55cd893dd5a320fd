//! Handlers, one file per family of calls. Those that wait have the shape
//! `async fn(&Door, &Context, Request) -> Result<Reply>`, the others `fn(&Door, &Context, &Request)`.

pub(crate) mod alias;
pub(crate) mod analyzer;
pub(crate) mod answer;
pub(crate) mod collection;
pub(crate) mod compaction;
pub(crate) mod database;
pub(crate) mod dml;
pub(crate) mod file_resource;
pub(crate) mod flush;
pub(crate) mod hybrid;
pub(crate) mod index;
pub(crate) mod load;
pub(crate) mod misc;
pub(crate) mod partition;
pub(crate) mod query;
pub(crate) mod schema;
pub(crate) mod search;
mod search_ids;
pub(crate) mod users;

use crate::status::{Error, Result};

/// A namespace would keep rows of one collection apart; without any, naming one is a mistake.
pub(crate) fn refuse_namespace(namespace: Option<&str>) -> Result<()> {
    match namespace {
        None | Some("") => Ok(()),
        Some(name) => Err(Error::unsupported(format!("namespaces (namespace={name})"))),
    }
}
