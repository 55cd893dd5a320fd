//! Update files: newer values of single rows, laid over the columns of a segment.
//!
//! A sealed envelope around one Arrow IPC stream per column, each with its length in front. A stream has one batch of
//! two columns: the row offsets, ascending and distinct, and the values, under the column's name.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt32Type;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::{BufMut, Bytes};

use crate::codec::{Cursor, seal, unseal};
use crate::error::{Error, Result};

const MAGIC: [u8; 8] = *b"ELANUPD1";

/// The file of these columns.
pub(crate) fn encode(columns: &[RecordBatch]) -> Result<Bytes> {
    let mut body = Vec::new();
    for column in columns {
        let mut stream = Vec::with_capacity(column.get_array_memory_size() + 4_096);
        let mut writer = StreamWriter::try_new(&mut stream, column.schema_ref())?;
        writer.write(column)?;
        writer.finish()?;
        drop(writer);
        body.put_u64_le(stream.len() as u64);
        body.extend_from_slice(&stream);
    }
    Ok(seal(MAGIC, &body))
}

/// The columns of a file for a segment of `rows` rows.
///
/// # Errors
/// [`Error::Corrupt`] when the bytes are not `count` values of such rows.
pub(crate) fn decode(path: &str, bytes: Bytes, rows: u32, count: u64) -> Result<Vec<RecordBatch>> {
    let corrupt = |what: String| Error::corrupt(path, what);
    let body = unseal(path, MAGIC, bytes)?;
    let mut cursor = Cursor::new(body);
    let mut columns = Vec::new();
    let mut values = 0;
    while cursor.remaining() > 0 {
        let stream = cursor
            .u64()
            .and_then(|len| cursor.take(usize::try_from(len).ok()?))
            .ok_or_else(|| corrupt("a column of updates ends early".to_owned()))?;
        let mut reader = StreamReader::try_new(stream.as_ref(), None)
            .map_err(|error| corrupt(format!("updates: {error}")))?;
        let column = reader
            .next()
            .transpose()
            .map_err(|error| corrupt(format!("updates: {error}")))?
            .ok_or_else(|| corrupt("a column of updates without values".to_owned()))?;
        let offsets = column
            .columns()
            .first()
            .and_then(|offsets| offsets.as_primitive_opt::<UInt32Type>())
            .filter(|_| column.num_columns() == 2)
            .ok_or_else(|| corrupt("a column of updates is not row offsets and values".to_owned()))?;
        let ascending = offsets.values().is_sorted_by(|left, right| left < right);
        if !ascending || offsets.values().last().is_some_and(|last| *last >= rows) {
            return Err(corrupt(format!(
                "offsets of updated rows are not ascending and below {rows}"
            )));
        }
        values += column.num_rows() as u64;
        columns.push(column);
    }
    if values != count {
        return Err(corrupt(format!(
            "{values} updated values, the manifest says {count}"
        )));
    }
    Ok(columns)
}
