//! Vector files: one column as an uncompressed Arrow IPC file, its buffers 64-byte aligned, so that a mapping of the
//! file is the array.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, FieldRef, Schema};
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use arrow::ipc::{MetadataVersion, root_as_footer};
use bytes::Bytes;

use crate::error::{Error, Result};

/// Alignment of the buffers in the file: a cache line and the widest SIMD register.
const ALIGNMENT: usize = 64;

/// Length of the footer's end: its length and the closing magic.
const FOOTER_TAIL: usize = 10;

/// True for columns that go to a vector file: fixed-size lists of fixed-width numbers, bytes of a fixed width (bits and
/// bfloat16s), lists of indexes and values (sparse vectors), and lists of structs with a vector among their fields, as a whole.
/// No scalar has unsigned indexes, so no other list of structs is taken for a sparse vector.
pub(crate) fn is_vector(data_type: &DataType) -> bool {
    let is_list =
        |list: &DataType| matches!(list, DataType::FixedSizeList(item, _) if item.data_type().is_primitive());
    let is_sparse = |list: &DataType| {
        let DataType::List(item) = list else { return false };
        let DataType::Struct(fields) = item.data_type() else {
            return false;
        };
        let types = fields.iter().map(|field| field.data_type());
        types.eq([&DataType::UInt32, &DataType::Float32])
    };
    let is_dense = |vector: &DataType| is_list(vector) || matches!(vector, DataType::FixedSizeBinary(_));
    let has_vectors = |list: &DataType| {
        let DataType::List(item) = list else { return false };
        let DataType::Struct(fields) = item.data_type() else {
            return false;
        };
        fields.iter().any(|field| is_dense(field.data_type()))
    };
    is_dense(data_type) || is_sparse(data_type) || has_vectors(data_type)
}

/// The file of one column.
pub(crate) fn encode(field: &FieldRef, column: &ArrayRef) -> Result<Vec<u8>> {
    let schema = Arc::new(Schema::new(vec![Arc::clone(field)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![compact(column)?])?;
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
    let capacity = column.get_array_memory_size() + 4096;
    let mut writer = FileWriter::try_new_with_options(Vec::with_capacity(capacity), &schema, options)?;
    writer.write(&batch)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
}

/// A column that starts at its buffers' start: a slice of a larger batch must not drag the rest into the file.
fn compact(column: &ArrayRef) -> Result<ArrayRef> {
    let data = column.to_data();
    if data.offset() == 0 {
        return Ok(Arc::clone(column));
    }
    let mut growable = arrow::array::MutableArrayData::new(vec![&data], false, data.len());
    growable.try_extend(0, 0, data.len())?;
    Ok(make_array(growable.freeze()))
}

/// The column of a file whose checksum was verified. The array shares the bytes; nothing is copied when they are
/// aligned, which a mapping always is.
///
/// # Errors
/// [`Error::Corrupt`] when the bytes are not one such column of `rows` rows.
pub(crate) fn decode(path: &str, bytes: &Bytes, field: &str, rows: usize) -> Result<ArrayRef> {
    let corrupt = |what: String| Error::corrupt(path, what);
    let arrow_error = |error: arrow::error::ArrowError| Error::corrupt(path, error.to_string());
    let len = bytes.len();
    let tail_start = len
        .checked_sub(FOOTER_TAIL)
        .ok_or_else(|| corrupt(format!("{len} bytes are no Arrow file")))?;
    let tail: Option<[u8; FOOTER_TAIL]> = bytes.get(tail_start..).and_then(|tail| tail.try_into().ok());
    let tail = tail.ok_or_else(|| corrupt("no footer".to_owned()))?;
    let footer_len = read_footer_length(tail).map_err(arrow_error)?;
    let footer_start = tail_start
        .checked_sub(footer_len)
        .ok_or_else(|| corrupt(format!("a footer of {footer_len} bytes in a file of {len}")))?;
    let footer_bytes = bytes
        .get(footer_start..tail_start)
        .ok_or_else(|| corrupt("no footer".to_owned()))?;
    let footer = root_as_footer(footer_bytes).map_err(|error| corrupt(error.to_string()))?;
    let schema = footer
        .schema()
        .ok_or_else(|| corrupt("a footer without schema".to_owned()))?;
    let schema = Arc::new(fb_to_schema(schema));
    let batches = footer.recordBatches();
    let block = match batches {
        Some(batches) if batches.len() == 1 => batches.get(0),
        Some(_) | None => return Err(corrupt("not exactly one record batch".to_owned())),
    };
    let start = usize::try_from(block.offset()).ok();
    let metadata_len = usize::try_from(block.metaDataLength()).ok();
    let body_len = usize::try_from(block.bodyLength()).ok();
    let end = start
        .zip(metadata_len)
        .zip(body_len)
        .and_then(|((start, metadata_len), body_len)| start.checked_add(metadata_len)?.checked_add(body_len));
    let range = match (start, end) {
        (Some(start), Some(end)) if end <= footer_start => start..end,
        _ => return Err(corrupt("a record batch outside of the file".to_owned())),
    };
    let buffer = Buffer::from(bytes.slice(range));
    let decoder = FileDecoder::new(schema, footer.version());
    let batch = decoder
        .read_record_batch(block, &buffer)
        .map_err(arrow_error)?
        .ok_or_else(|| corrupt("an empty record batch".to_owned()))?;
    let column = batch
        .column_by_name(field)
        .filter(|column| is_vector(column.data_type()))
        .ok_or_else(|| corrupt(format!("no vector column {field}")))?;
    if column.len() != rows {
        return Err(corrupt(format!("{} rows, expected {rows}", column.len())));
    }
    Ok(Arc::clone(column))
}
