//! What clients ask before they ask for rows: capabilities, types, catalogs, tables, keys.

mod capabilities;
pub(crate) mod catalog;
mod types;

use arrow_flight::sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption};
use elanus_query::{CATALOG, IngestMode};
use flight_tonic::Status;

pub(crate) use capabilities::sql_info;
pub(crate) use types::type_info;

/// What an ingest is to do about its table.
pub(crate) fn ingest_mode(command: &CommandStatementIngest) -> Result<IngestMode, Status> {
    if command.temporary {
        return Err(Status::unimplemented("not supported: temporary tables"));
    }
    match command.catalog.as_deref() {
        None | Some("" | CATALOG) => {}
        Some(other) => {
            return Err(Status::not_found(format!(
                "catalog '{other}' not found; the only one is '{CATALOG}'"
            )));
        }
    }
    if let Some(option) = command.options.keys().next() {
        return Err(Status::unimplemented(format!(
            "not supported: ingest option {option}"
        )));
    }
    let options = command
        .table_definition_options
        .as_ref()
        .ok_or_else(|| Status::invalid_argument("the ingest does not say what to do about its table"))?;
    match (options.if_not_exist(), options.if_exists()) {
        (TableNotExistOption::Create, TableExistsOption::Fail) => Ok(IngestMode::Create),
        (TableNotExistOption::Fail, TableExistsOption::Append) => Ok(IngestMode::Append),
        (TableNotExistOption::Create, TableExistsOption::Append) => Ok(IngestMode::CreateAppend),
        (TableNotExistOption::Create, TableExistsOption::Replace) => Ok(IngestMode::Replace),
        (absent, present) => Err(Status::invalid_argument(format!(
            "an ingest that does '{}' for an absent and '{}' for a present table is not one of create, append, replace",
            absent.as_str_name(),
            present.as_str_name()
        ))),
    }
}
