//! Vector files: one column as an uncompressed Arrow IPC file, its buffers 64-byte aligned, so that a mapping of the
//! file is the array.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, make_array};
use arrow::buffer::Buffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef, Schema};
use arrow::ipc::convert::{IpcSchemaEncoder, fb_to_schema};
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::writer::{
    DictionaryTracker, EncodedData, FileWriter, IpcDataGenerator, IpcWriteOptions, write_message,
};
use arrow::ipc::{
    self, Block, FieldNode, FooterBuilder, MessageBuilder, MessageHeader, MetadataVersion,
    RecordBatchBuilder, root_as_footer,
};
use bytes::Bytes;
use flatbuffers::FlatBufferBuilder;
use object_store::PutPayload;

use crate::codec::shared;
use crate::error::{Error, Result};

/// Alignment of the buffers in the file: a cache line and the widest SIMD register.
const ALIGNMENT: usize = 64;

/// First and last bytes of an Arrow file.
const MAGIC: [u8; 6] = *b"ARROW1";

/// A message of no bytes.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

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

/// The file of one column, whose rows are those of `pieces` one after the other. Where they are vectors of a fixed width
/// without nulls, the file refers to their values and nothing is copied.
pub(crate) fn encode(field: &FieldRef, pieces: &[ArrayRef]) -> Result<PutPayload> {
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
    let schema = Schema::new(vec![Arc::clone(field)]);
    if let Some(values) = pieces.iter().map(values_of).collect::<Option<Vec<Buffer>>>() {
        let rows = pieces.iter().map(|piece| piece.len()).sum();
        return refer(&schema, rows, values, &options);
    }
    let arrays: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
    let column = compact(&concat(&arrays)?)?;
    let capacity = column.get_array_memory_size() + 4096;
    let batch = RecordBatch::try_new(Arc::new(schema), vec![column])?;
    let mut writer =
        FileWriter::try_new_with_options(Vec::with_capacity(capacity), batch.schema_ref(), options)?;
    writer.write(&batch)?;
    writer.finish()?;
    Ok(writer.into_inner()?.into())
}

/// The values of vectors of a fixed width without nulls, and of nothing else.
fn values_of(vectors: &ArrayRef) -> Option<Buffer> {
    let (values, width) = if let Some(lists) = vectors.as_fixed_size_list_opt() {
        let values = lists.values();
        (values.to_data(), values.data_type().primitive_width()?)
    } else {
        let width = vectors.as_fixed_size_binary_opt()?.value_length();
        (vectors.to_data(), usize::try_from(width).ok()?)
    };
    if vectors.null_count() > 0 || values.null_count() > 0 {
        return None;
    }
    let buffer = values.buffers().first()?;
    Some(buffer.slice_with_length(values.offset() * width, values.len() * width))
}

/// The file of `rows` vectors whose values are those of `pieces`, as [`FileWriter`] lays one out. Only what is around
/// them is made here.
fn refer(schema: &Schema, rows: usize, pieces: Vec<Buffer>, options: &IpcWriteOptions) -> Result<PutPayload> {
    let length: usize = pieces.iter().map(Buffer::len).sum();
    let mut head = MAGIC.to_vec();
    pad(&mut head);
    let message = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
        schema,
        &mut DictionaryTracker::new(true),
        options,
    );
    write_message(&mut head, message, options)?;
    let start = head.len();
    let message = EncodedData {
        ipc_message: batch_message(schema, rows, length),
        arrow_data: Vec::new(),
    };
    let (metadata_length, _) = write_message(&mut head, message, options)?;

    let mut tail = vec![0; length.next_multiple_of(ALIGNMENT) - length];
    let block = Block::new(
        signed(start),
        i32::try_from(metadata_length).unwrap_or(i32::MAX),
        signed(length + tail.len()),
    );
    tail.extend(END_OF_STREAM);
    let footer = footer(schema, block);
    tail.extend_from_slice(&footer);
    tail.extend(i32::try_from(footer.len()).unwrap_or(i32::MAX).to_le_bytes());
    tail.extend(MAGIC);
    let values = pieces.into_iter().map(shared);
    Ok(std::iter::once(head.into())
        .chain(values)
        .chain([tail.into()])
        .collect())
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// The metadata of a batch of `rows` vectors without nulls, whose values take `length` bytes.
fn batch_message(schema: &Schema, rows: usize, length: usize) -> Vec<u8> {
    let absent = ipc::Buffer::new(0, 0);
    let values = ipc::Buffer::new(0, signed(length));
    let node = |length: usize| FieldNode::new(signed(length), 0);
    let (nodes, buffers) = if let DataType::FixedSizeList(_, dim) = schema.field(0).data_type() {
        let elements = rows * usize::try_from(*dim).unwrap_or(0);
        (vec![node(rows), node(elements)], vec![absent, absent, values])
    } else {
        (vec![node(rows)], vec![absent, values])
    };
    let mut builder = FlatBufferBuilder::new();
    let nodes = builder.create_vector(&nodes);
    let buffers = builder.create_vector(&buffers);
    let mut batch = RecordBatchBuilder::new(&mut builder);
    batch.add_length(signed(rows));
    batch.add_nodes(nodes);
    batch.add_buffers(buffers);
    let batch = batch.finish().as_union_value();
    let mut message = MessageBuilder::new(&mut builder);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::RecordBatch);
    message.add_bodyLength(signed(length.next_multiple_of(ALIGNMENT)));
    message.add_header(batch);
    let message = message.finish();
    builder.finish(message, None);
    builder.finished_data().to_vec()
}

fn footer(schema: &Schema, block: Block) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let dictionaries = builder.create_vector::<Block>(&[]);
    let batches = builder.create_vector(&[block]);
    let schema = IpcSchemaEncoder::new().schema_to_fb_offset(&mut builder, schema);
    let mut footer = FooterBuilder::new(&mut builder);
    footer.add_version(MetadataVersion::V5);
    footer.add_schema(schema);
    footer.add_dictionaries(dictionaries);
    footer.add_recordBatches(batches);
    let footer = footer.finish();
    builder.finish(footer, None);
    builder.finished_data().to_vec()
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
