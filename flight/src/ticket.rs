//! What a ticket says. It names a pinned result of this server, and carries the statement itself, so
//! that a result of one part can still be computed when the pinned one is gone.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow_flight::Ticket;
use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use flight_prost::Message;
use flight_tonic::Status;

use crate::status::malformed;

/// One part of one result.
#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "::flight_prost")]
pub(crate) struct Part {
    /// Which result.
    #[prost(uint64, tag = "1")]
    pub result_high: u64,
    #[prost(uint64, tag = "2")]
    pub result_low: u64,
    /// Which part of it, from 0.
    #[prost(uint32, tag = "3")]
    pub part: u32,
    /// How many parts there are.
    #[prost(uint32, tag = "4")]
    pub parts: u32,
    /// The statement; empty for an answer without rows.
    #[prost(string, tag = "5")]
    pub sql: String,
    /// Database that its unqualified names mean.
    #[prost(string, tag = "6")]
    pub database: String,
    /// Settings of the session that differ from the defaults.
    #[prost(map = "string, string", tag = "7")]
    pub settings: HashMap<String, String>,
    /// Bound values as an Arrow IPC stream; empty when there are none.
    #[prost(bytes = "bytes", tag = "8")]
    pub values: bytes::Bytes,
    /// Whether the ticket does not carry all, so that the result cannot be computed again.
    #[prost(bool, tag = "9")]
    pub once: bool,
}

impl Part {
    /// The part's result.
    pub fn result(&self) -> u128 {
        (u128::from(self.result_high) << 64) | u128::from(self.result_low)
    }

    /// Names the result.
    pub fn set_result(&mut self, id: u128) {
        self.result_high = u64::try_from(id >> 64).unwrap_or(0);
        self.result_low = u64::try_from(id & u128::from(u64::MAX)).unwrap_or(0);
    }

    /// As a ticket of Flight SQL.
    pub fn ticket(&self) -> Ticket {
        let statement = TicketStatementQuery {
            statement_handle: self.encode_to_vec().into(),
        };
        Ticket::new(statement.as_any().encode_to_vec())
    }

    /// Reads the handle in a ticket.
    pub fn read(handle: &[u8]) -> Result<Self, Status> {
        let part = Self::decode(handle).map_err(|e| malformed("the ticket", e))?;
        if part.parts == 0 {
            return Err(malformed("the ticket", "it names no result"));
        }
        Ok(part)
    }
}

/// Values as an IPC stream.
pub(crate) fn write_values(values: &RecordBatch) -> Result<bytes::Bytes, Status> {
    let write = || {
        let mut writer = StreamWriter::try_new(Vec::new(), &values.schema())?;
        writer.write(values)?;
        writer.into_inner()
    };
    write()
        .map(Into::into)
        .map_err(|e| Status::internal(format!("cannot write the bound values: {e}")))
}

/// Values from an IPC stream.
pub(crate) fn read_values(bytes: &[u8]) -> Result<Option<RecordBatch>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let read = || {
        let reader = StreamReader::try_new(bytes, None)?;
        let schema = reader.schema();
        concat_batches(&schema, &reader.collect::<Result<Vec<_>, _>>()?)
    };
    read().map(Some).map_err(|e| malformed("the ticket", e))
}
