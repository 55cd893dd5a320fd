//! Options of a session over Flight: which there are, how they travel, how a ticket keeps them.
//!
//! `arrow-flight` does not generate the messages of session options; they are written here from
//! Flight's protocol definition.

use std::collections::HashMap;

use datafusion::config::ExtensionOptions;
use datafusion::prelude::SessionContext;
use elanus_query::{CATALOG, ElanusSettings, Engine};
use flight_prost::{Message, Oneof};
use flight_tonic::Status;

use crate::status;

/// The option that names the database.
const SCHEMA: &str = "schema";
/// The option that names the only catalog.
const CATALOG_OPTION: &str = "catalog";
/// DataFusion's own options that change what a query answers.
const CARRIED: [&str; 1] = ["datafusion.execution.time_zone"];

#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "::flight_prost")]
pub(crate) struct SetRequest {
    #[prost(map = "string, message", tag = "1")]
    pub options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "::flight_prost")]
pub(crate) struct SetResult {
    /// The options that were not set, and why.
    #[prost(map = "string, message", tag = "1")]
    pub errors: HashMap<String, SetError>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "::flight_prost")]
pub(crate) struct SetError {
    /// 1: unknown name, 2: not a value of this option, 3: cannot be set.
    #[prost(int32, tag = "1")]
    pub value: i32,
}

#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "::flight_prost")]
pub(crate) struct GetResult {
    #[prost(map = "string, message", tag = "1")]
    pub options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "::flight_prost")]
pub(crate) struct CloseResult {
    /// 1: closed.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

impl CloseResult {
    pub fn closed() -> Self {
        Self { status: 1 }
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "::flight_prost")]
pub(crate) struct OptionValue {
    #[prost(oneof = "OptionKind", tags = "1, 2, 3, 4, 5")]
    pub kind: Option<OptionKind>,
}

#[derive(Clone, PartialEq, Oneof)]
#[prost(prost_path = "::flight_prost")]
pub(crate) enum OptionKind {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Texts(Texts),
}

#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "::flight_prost")]
pub(crate) struct Texts {
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

/// Sets what can be set; the others are in the result.
pub(crate) fn set(engine: &Engine, session: &SessionContext, request: &SetRequest) -> SetResult {
    const UNKNOWN_NAME: i32 = 1;
    const BAD_VALUE: i32 = 2;
    let mut errors = HashMap::new();
    for (name, value) in &request.options {
        let text = match &value.kind {
            Some(OptionKind::Text(text)) => Some(text.clone()),
            Some(OptionKind::Bool(value)) => Some(value.to_string()),
            Some(OptionKind::Int(value)) => Some(value.to_string()),
            Some(OptionKind::Double(value)) => Some(value.to_string()),
            Some(OptionKind::Texts(texts)) => Some(texts.values.join(",")),
            None => default_of(name),
        };
        let outcome = match (name.as_str(), text) {
            (CATALOG_OPTION, Some(text)) if text == CATALOG => Ok(()),
            (CATALOG_OPTION, _) => Err(BAD_VALUE),
            (SCHEMA, Some(text)) => use_database(engine, session, &text).map_err(|_| BAD_VALUE),
            (SCHEMA, None) => Err(BAD_VALUE),
            (name, Some(text)) if is_known(session, name) => put(session, name, &text).map_err(|_| BAD_VALUE),
            _ => Err(UNKNOWN_NAME),
        };
        if let Err(value) = outcome {
            errors.insert(name.clone(), SetError { value });
        }
    }
    SetResult { errors }
}

/// The options of a session: database, catalog and our settings.
pub(crate) fn get(session: &SessionContext) -> GetResult {
    let mut options: HashMap<String, String> = ours(session).collect();
    options.insert(SCHEMA.to_string(), database(session));
    options.insert(CATALOG_OPTION.to_string(), CATALOG.to_string());
    let options = options.into_iter().map(|(name, text)| {
        let kind = Some(OptionKind::Text(text));
        (name, OptionValue { kind })
    });
    GetResult {
        options: options.collect(),
    }
}

/// The database of unqualified names.
pub(crate) fn database(session: &SessionContext) -> String {
    session
        .state_ref()
        .read()
        .config_options()
        .catalog
        .default_schema
        .clone()
}

/// Settings that are not at their defaults, for a ticket.
pub(crate) fn changed(session: &SessionContext) -> HashMap<String, String> {
    let defaults: HashMap<String, String> = named(ElanusSettings::default().entries()).collect();
    let mut changed: HashMap<String, String> = ours(session)
        .filter(|(name, value)| defaults.get(name) != Some(value))
        .collect();
    let state = session.state_ref();
    let state = state.read();
    if let Some(zone) = &state.config_options().execution.time_zone {
        for name in CARRIED {
            changed.insert(name.to_string(), zone.clone());
        }
    }
    changed
}

/// Sets what [`changed`] told.
pub(crate) async fn restore(
    engine: &Engine,
    session: &SessionContext,
    settings: &HashMap<String, String>,
) -> Result<(), Status> {
    for (name, value) in settings {
        if CARRIED.contains(&name.as_str()) {
            // Functions such as now() hear of it by this way only.
            let set = format!("SET {name} = '{}'", value.replace('\'', "''"));
            engine.sql_in(session, &set).await.map_err(status::of)?;
        } else if is_known(session, name) {
            put(session, name, value)?;
        } else {
            return Err(Status::invalid_argument(format!(
                "the ticket has the unknown setting {name}"
            )));
        }
    }
    Ok(())
}

fn use_database(engine: &Engine, session: &SessionContext, name: &str) -> Result<(), Status> {
    engine
        .collections()
        .database(name)
        .map_err(|e| status::of(e.into()))?;
    put(session, "datafusion.catalog.default_schema", name)
}

fn put(session: &SessionContext, name: &str, value: &str) -> Result<(), Status> {
    session
        .state_ref()
        .write()
        .config_mut()
        .options_mut()
        .set(name, value)
        .map_err(|e| status::of(e.into()))
}

fn is_known(session: &SessionContext, name: &str) -> bool {
    ours(session).any(|(known, _)| known == name)
}

fn ours(session: &SessionContext) -> impl Iterator<Item = (String, String)> + use<> {
    let state = session.state_ref();
    let state = state.read();
    let settings = ElanusSettings::of(state.config_options());
    named(settings.entries())
}

fn named(entries: Vec<datafusion::config::ConfigEntry>) -> impl Iterator<Item = (String, String)> {
    entries.into_iter().map(|entry| {
        let name = format!("elanus.{}", entry.key);
        (name, entry.value.unwrap_or_default())
    })
}

fn default_of(name: &str) -> Option<String> {
    named(ElanusSettings::default().entries())
        .find(|(known, _)| known == name)
        .map(|(_, value)| value)
}
