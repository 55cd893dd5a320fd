//! Columns of other Arrow types, which cross to plugins and back as an Arrow IPC stream of one column.
//!
//! What a plugin returns is anybody's bytes: the stream is checked before its buffers are believed. A compressed one is refused,
//! since the lengths that it announces are taken at their word when it is unpacked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::compute::{can_cast_types, cast, concat};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::ipc::{MessageHeader, root_as_message};
use datafusion::common::{Result, exec_datafusion_err, exec_err};

/// Before every message stands this and the length of its head.
const CONTINUATION: [u8; 4] = [0xFF; 4];

/// The Arrow type of this name; none when it names none.
pub(super) fn named(name: &str) -> Option<DataType> {
    name.parse().ok()
}

/// Whether columns of one type are such of the other, names of items and what may be NULL in them aside.
pub(super) fn alike(left: &DataType, right: &DataType) -> bool {
    use DataType::{FixedSizeList, LargeList, List, Struct};
    let items = |left: &FieldRef, right: &FieldRef| alike(left.data_type(), right.data_type());
    match (left, right) {
        (List(left), List(right)) | (LargeList(left), LargeList(right)) => items(left, right),
        (FixedSizeList(left, dim), FixedSizeList(right, other)) => dim == other && items(left, right),
        (Struct(left), Struct(right)) => {
            let pairs = || left.iter().zip(right);
            left.len() == right.len()
                && pairs().all(|(left, right)| left.name() == right.name() && items(left, right))
        }
        (left, right) => left == right,
    }
}

/// Whether a value of type `given` can be handed over as `wanted`: of the same type, a number for a number, or NULL.
pub(super) fn fits(given: &DataType, wanted: &DataType) -> bool {
    let numbers = given.is_numeric() && wanted.is_numeric();
    can_cast_types(given, wanted) && (alike(given, wanted) || numbers || *given == DataType::Null)
}

/// `array` as a stream of one column of this type.
///
/// # Errors
/// Values that do not fit the type.
pub(super) fn write(array: &ArrayRef, data_type: &DataType) -> Result<Vec<u8>> {
    let array = cast(array, data_type)?;
    let schema = Arc::new(Schema::new(vec![Field::new("column", data_type.clone(), true)]));
    let options = RecordBatchOptions::new().with_row_count(Some(array.len()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), vec![array], &options)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

/// The one column of a stream, which has `rows` rows of this type.
///
/// # Errors
/// Bytes that are no such stream.
pub(super) fn read(bytes: &[u8], data_type: &DataType, rows: usize) -> Result<ArrayRef> {
    check_messages(bytes)?;
    // The reader checks buffers against their types; whatever it should trip over stays here.
    let read = catch_unwind(AssertUnwindSafe(|| column(bytes, data_type)));
    let column = match read {
        Ok(column) => column?,
        Err(_) => return exec_err!("a plugin returned bytes that are no Arrow stream"),
    };
    if column.len() != rows {
        return exec_err!(
            "a plugin returned an Arrow stream of {} rows, not {rows}",
            column.len()
        );
    }
    Ok(column)
}

fn column(bytes: &[u8], data_type: &DataType) -> Result<ArrayRef> {
    let wrong = |error: arrow::error::ArrowError| {
        exec_datafusion_err!("a plugin returned bytes that are no Arrow stream: {error}")
    };
    let reader = StreamReader::try_new(bytes, None).map_err(wrong)?;
    let schema = reader.schema();
    let [field] = schema.fields().as_ref() else {
        return exec_err!(
            "a plugin returned an Arrow stream of {} columns, not of 1",
            schema.fields().len()
        );
    };
    if !alike(field.data_type(), data_type) {
        return exec_err!(
            "a plugin returned an Arrow stream of {}, its signature says {data_type}",
            field.data_type()
        );
    }
    let mut parts = Vec::new();
    for batch in reader {
        parts.extend(batch.map_err(wrong)?.columns().first().cloned());
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let column = match parts.as_slice() {
        [] => new_empty_array(data_type),
        parts => concat(parts)?,
    };
    // Names of items are the signature's.
    Ok(cast(&column, data_type)?)
}

/// Walks over the messages of a stream.
fn check_messages(bytes: &[u8]) -> Result<()> {
    let wrong = || exec_datafusion_err!("a plugin returned bytes that are no Arrow stream");
    let mut rest = bytes;
    while !rest.is_empty() {
        let (start, after) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
        if *start != CONTINUATION {
            return Err(wrong());
        }
        let (length, after) = after.split_first_chunk::<4>().ok_or_else(wrong)?;
        let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| wrong())?;
        if length == 0 {
            return Ok(());
        }
        let (head, after) = after.split_at_checked(length).ok_or_else(wrong)?;
        let message = root_as_message(head).map_err(|_| wrong())?;
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => message
                .header_as_dictionary_batch()
                .and_then(|batch| batch.data()),
            _ => None,
        };
        if batch.is_some_and(|batch| batch.compression().is_some()) {
            return exec_err!("a plugin returned a compressed Arrow stream; it must not be compressed");
        }
        let body = usize::try_from(message.bodyLength()).map_err(|_| wrong())?;
        rest = after.split_at_checked(body).ok_or_else(wrong)?.1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Int32Array, ListArray, StringArray};
    use arrow::datatypes::Int32Type;
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::IpcWriteOptions;
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    fn decimals() -> (ArrayRef, DataType) {
        let array = Decimal128Array::from(vec![Some(125), None, Some(-7)]);
        let array: ArrayRef = Arc::new(array.with_precision_and_scale(10, 2).unwrap());
        (array, named("Decimal128(10, 2)").unwrap())
    }

    #[test]
    fn columns_come_back_as_they_went() {
        let (array, data_type) = decimals();
        let bytes = write(&array, &data_type).unwrap();
        assert_eq!(&read(&bytes, &data_type, 3).unwrap(), &array);
        // Slices begin where they begin; integers become what is wanted.
        let bytes = write(&array.slice(1, 2), &data_type).unwrap();
        assert_eq!(&read(&bytes, &data_type, 2).unwrap(), &array.slice(1, 2));
        let integers: ArrayRef = Arc::new(Int32Array::from(vec![3]));
        assert!(fits(integers.data_type(), &data_type) && !fits(&DataType::Utf8, &data_type));
        let bytes = write(&integers, &data_type).unwrap();
        assert_eq!(read(&bytes, &data_type, 1).unwrap().data_type(), &data_type);
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None]), None]);
        let lists: ArrayRef = Arc::new(lists);
        let of_lists = DataType::new_list(DataType::Int32, false);
        assert!(alike(lists.data_type(), &of_lists));
        let of_lists = DataType::new_list(DataType::Int32, true);
        let bytes = write(&lists, &of_lists).unwrap();
        assert_eq!(&read(&bytes, &of_lists, 2).unwrap(), &lists);
    }

    #[test]
    fn what_is_no_such_column_is_refused_in_words() {
        let (array, data_type) = decimals();
        let good = write(&array, &data_type).unwrap();
        let error = |bytes: &[u8], rows| read(bytes, &data_type, rows).unwrap_err().to_string();
        assert!(error(&good, 4).contains("of 3 rows, not 4"));
        assert!(error(b"garbage!", 3).contains("no Arrow stream"));
        assert!(error(b"", 3).contains("no Arrow stream"));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
        let other = write(&texts, &DataType::Utf8).unwrap();
        assert!(error(&other, 3).contains("of Utf8, its signature says Decimal128(10, 2)"));
        let schema = Arc::new(Schema::new(vec![Field::new("a", data_type.clone(), true); 2]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(&array), array]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        writer.write(&batch).unwrap();
        assert!(error(&writer.into_inner().unwrap(), 3).contains("of 2 columns, not of 1"));
        let packed = IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::LZ4_FRAME))
            .unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, packed).unwrap();
        writer.write(&batch).unwrap();
        assert!(error(&writer.into_inner().unwrap(), 3).contains("must not be compressed"));
    }

    proptest! {
        #[test]
        fn damaged_streams_are_errors_or_columns(at in any::<u16>(), with in any::<u8>(), cut in any::<bool>()) {
            let (array, data_type) = decimals();
            let mut bytes = write(&array, &data_type).unwrap();
            let at = usize::from(at) % bytes.len();
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] = with;
            }
            if let Ok(column) = read(&bytes, &data_type, 3) {
                prop_assert!(column.len() == 3 && column.data_type() == &data_type);
            }
        }
    }
}
