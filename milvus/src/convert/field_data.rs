//! Columns of Insert and Upsert as an Arrow batch.
//!
//! Wire columns of nullable fields (and of fields with a default value) are *compact*: `valid_data`
//! has one flag per row, the data array only the values that are there. They are spread out here.
//! Vectors without nulls are moved, not copied: the decoded floats become the Arrow buffer.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, ListArray, PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType as ArrowType, Field as ArrowField, Schema};
use chrono_tz::Tz;
use elanus_collection::{CollectionSchema, DYNAMIC_FIELD, DataType, Field};
use milvus::proto::schema::field_data::Field as WireField;
use milvus::proto::schema::scalar_field::Data;
use milvus::proto::schema::{FieldData, ScalarField, VectorField, vector_field};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

use crate::convert::time;
use crate::status::{Error, Result};

/// The rows of a request.
///
/// Columns are matched by name, in any order; what may be left out is for the collection layer to
/// say. `zone` is where TIMESTAMPTZ text without an offset is.
///
/// # Errors
/// When a column does not fit its field: wrong kind of values, dimension, number of rows.
pub(crate) fn batch_from_wire(
    schema: &CollectionSchema,
    fields: Vec<FieldData>,
    num_rows: u32,
    zone: Tz,
) -> Result<RecordBatch> {
    if num_rows == 0 {
        return Err(Error::expected(
            "num_rows should be greater than 0",
            "invalid num_rows",
            0,
        ));
    }
    let rows = usize::try_from(num_rows).unwrap_or(usize::MAX);
    let mut names = HashSet::with_capacity(fields.len());
    let mut arrow_fields = Vec::with_capacity(fields.len());
    let mut columns = Vec::with_capacity(fields.len());
    for data in fields {
        let name = if data.is_dynamic {
            DYNAMIC_FIELD
        } else {
            data.field_name.as_str()
        };
        let Some(field) = schema.field(name) else {
            return Err(unknown_field(schema, &data));
        };
        if !names.insert(field.id) {
            return Err(Error::invalid(format!(
                "duplicated field data of field {name}: each field is sent once"
            )));
        }
        let column = column_from_wire(schema, field, data, rows, zone)?;
        arrow_fields.push(ArrowField::new(&field.name, column.data_type().clone(), true));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::new(Schema::new(arrow_fields)),
        columns,
        &options,
    )?)
}

fn unknown_field(schema: &CollectionSchema, data: &FieldData) -> Error {
    if data.is_dynamic || data.field_name == DYNAMIC_FIELD {
        return Error::invalid("without dynamic schema enabled, the field name cannot be set to $meta");
    }
    let known: Vec<_> = schema
        .fields
        .iter()
        .filter(|field| !field.dynamic)
        .map(|field| field.name.as_str())
        .collect();
    Error::invalid(format!(
        "field {} not exist in the schema; fields are {}",
        data.field_name,
        known.join(", ")
    ))
}

fn column_from_wire(
    schema: &CollectionSchema,
    field: &Field,
    data: FieldData,
    rows: usize,
    zone: Tz,
) -> Result<ArrayRef> {
    let mut valid = data.valid_data;
    let payload = match data.field {
        Some(WireField::Scalars(mut scalars)) => {
            if valid.is_empty() {
                valid = std::mem::take(&mut scalars.valid_data);
            }
            Some(WireField::Scalars(scalars))
        }
        Some(WireField::Vectors(mut vectors)) => {
            if valid.is_empty() {
                valid = std::mem::take(&mut vectors.valid_data);
            }
            Some(WireField::Vectors(vectors))
        }
        other => other,
    };
    let nulls = Nulls::of(field, valid, rows)?;
    match (&field.data_type, payload) {
        (_, Some(WireField::StructArrays(_))) => Err(Error::unsupported(format!(
            "struct array data of field {}",
            field.name
        ))),
        (DataType::FloatVector { dim }, Some(WireField::Vectors(vectors))) => {
            vectors_from_wire(field, *dim, vectors, &nulls)
        }
        // A field of nulls only may come without any payload.
        (DataType::FloatVector { dim }, None) => {
            vectors_from_wire(field, *dim, VectorField::default(), &nulls)
        }
        (_, Some(WireField::Scalars(scalars))) => {
            scalars_from_wire(schema, field, scalars.data, &nulls, zone)
        }
        (_, None) => scalars_from_wire(schema, field, None, &nulls, zone),
        (_, Some(WireField::Vectors(_))) => Err(mismatch(field, "vector")),
    }
}

/// Which rows of a column are there.
struct Nulls {
    rows: usize,
    /// `None`: every row.
    valid: Option<Vec<bool>>,
}

impl Nulls {
    fn of(field: &Field, valid: Vec<bool>, rows: usize) -> Result<Self> {
        if valid.is_empty() {
            return Ok(Self { rows, valid: None });
        }
        if valid.len() != rows {
            return Err(Error::expected(
                format!("the length of valid_data of field({}) is wrong", field.name),
                rows,
                valid.len(),
            ));
        }
        if valid.iter().all(|valid| *valid) {
            return Ok(Self { rows, valid: None });
        }
        if !field.nullable && field.default.is_none() {
            return Err(Error::invalid(format!(
                "field {} is not nullable and has no default value, but some of its values are null",
                field.name
            )));
        }
        Ok(Self {
            rows,
            valid: Some(valid),
        })
    }

    /// Values that the wire carries.
    fn present(&self) -> usize {
        self.valid
            .as_ref()
            .map_or(self.rows, |valid| valid.iter().filter(|valid| **valid).count())
    }

    /// Checks the number of values that came.
    fn check(&self, field: &Field, given: usize) -> Result<()> {
        let wanted = self.present();
        if given == wanted {
            return Ok(());
        }
        if self.valid.is_some() {
            return Err(Error::expected(
                format!(
                    "the length of field({}) is wrong: data of a column with nulls holds only the values that are there",
                    field.name
                ),
                wanted,
                given,
            ));
        }
        Err(Error::expected(
            format!(
                "the num_rows ({given}) of field ({}) is not equal to passed num_rows ({})",
                field.name, self.rows
            ),
            self.rows,
            given,
        ))
    }

    /// Spreads compact values over all rows.
    fn spread<T: Clone + Default>(&self, values: Vec<T>) -> Vec<T> {
        let Some(valid) = &self.valid else { return values };
        let mut values = values.into_iter();
        valid
            .iter()
            .map(|valid| {
                if *valid {
                    values.next().unwrap_or_default()
                } else {
                    T::default()
                }
            })
            .collect()
    }

    fn buffer(&self) -> Option<NullBuffer> {
        self.valid.clone().map(NullBuffer::from)
    }
}

fn mismatch(field: &Field, given: &str) -> Error {
    let wanted = field.data_type.name();
    Error::expected(
        format!(
            "the data of field {} is of another type than the field ({wanted})",
            field.name
        ),
        format!("{wanted} array"),
        format!("{given} array"),
    )
}

fn vectors_from_wire(field: &Field, dim: u32, vectors: VectorField, nulls: &Nulls) -> Result<ArrayRef> {
    let given_dim = vectors.dim;
    let values = match vectors.data {
        Some(vector_field::Data::FloatVector(floats)) => floats.data,
        None => Vec::new(),
        Some(vector_field::Data::BinaryVector(_)) => return Err(mismatch(field, "BinaryVector")),
        Some(vector_field::Data::Float16Vector(_)) => return Err(mismatch(field, "Float16Vector")),
        Some(vector_field::Data::Bfloat16Vector(_)) => return Err(mismatch(field, "BFloat16Vector")),
        Some(vector_field::Data::SparseFloatVector(_)) => return Err(mismatch(field, "SparseFloatVector")),
        Some(vector_field::Data::Int8Vector(_)) => return Err(mismatch(field, "Int8Vector")),
        Some(vector_field::Data::VectorArray(_)) => return Err(mismatch(field, "ArrayOfVector")),
    };
    let width = usize::try_from(dim).unwrap_or(usize::MAX).max(1);
    if values.len() % width != 0 {
        return Err(Error::invalid(format!(
            "the length({}) of float data should divide the dim({dim}): every vector of field {} must have {dim} elements, got {given_dim}",
            values.len(),
            field.name
        )));
    }
    if given_dim != i64::from(dim) && !values.is_empty() {
        return Err(Error::expected(
            format!(
                "the dim ({given_dim}) of field data({}) is not equal to schema dim ({dim})",
                field.name
            ),
            dim,
            given_dim,
        ));
    }
    nulls.check(field, values.len() / width)?;
    let values = match &nulls.valid {
        None => values,
        Some(valid) => {
            let mut spread = vec![0.0; nulls.rows * width];
            let present = spread
                .chunks_exact_mut(width)
                .zip(valid)
                .filter(|(_, valid)| **valid);
            for ((to, _), from) in present.zip(values.chunks_exact(width)) {
                to.copy_from_slice(from);
            }
            spread
        }
    };
    let ArrowType::FixedSizeList(item, size) = field.data_type.to_arrow() else {
        return Err(mismatch(field, "FloatVector"));
    };
    let values = Arc::new(Float32Array::from(values));
    Ok(Arc::new(FixedSizeListArray::try_new(
        item,
        size,
        values,
        nulls.buffer(),
    )?))
}

fn primitive<T: ArrowPrimitiveType>(
    field: &Field,
    values: Vec<T::Native>,
    nulls: &Nulls,
) -> Result<PrimitiveArray<T>>
where
    T::Native: Default,
{
    nulls.check(field, values.len())?;
    Ok(PrimitiveArray::try_new(
        ScalarBuffer::from(nulls.spread(values)),
        nulls.buffer(),
    )?)
}

/// Narrows the 32-bit integers of the wire.
fn narrow<N: TryFrom<i32> + bounds::Bounds>(field: &Field, values: Vec<i32>) -> Result<Vec<N>> {
    values
        .into_iter()
        .map(|value| {
            N::try_from(value).map_err(|_| {
                Error::invalid(format!(
                    "the value {value} of field {} is out of range: {} <= value <= {}",
                    field.name,
                    N::LOW,
                    N::HIGH
                ))
            })
        })
        .collect()
}

mod bounds {
    /// Range of a narrow integer, for messages.
    pub(super) trait Bounds {
        const LOW: i32;
        const HIGH: i32;
    }

    impl Bounds for i8 {
        const LOW: i32 = i8::MIN as i32;
        const HIGH: i32 = i8::MAX as i32;
    }

    impl Bounds for i16 {
        const LOW: i32 = i16::MIN as i32;
        const HIGH: i32 = i16::MAX as i32;
    }
}

fn scalars_from_wire(
    schema: &CollectionSchema,
    field: &Field,
    data: Option<Data>,
    nulls: &Nulls,
    zone: Tz,
) -> Result<ArrayRef> {
    let Some(data) = data else {
        // Nothing at all: only right when every row is null.
        nulls.check(field, 0)?;
        return Ok(arrow::array::new_null_array(
            &field.data_type.to_arrow(),
            nulls.rows,
        ));
    };
    Ok(match (&field.data_type, data) {
        (DataType::Bool, Data::BoolData(values)) => {
            nulls.check(field, values.data.len())?;
            Arc::new(BooleanArray::new(
                nulls.spread(values.data).into(),
                nulls.buffer(),
            ))
        }
        (DataType::Int8, Data::IntData(values)) => Arc::new(primitive::<arrow::datatypes::Int8Type>(
            field,
            narrow::<i8>(field, values.data)?,
            nulls,
        )?),
        (DataType::Int16, Data::IntData(values)) => Arc::new(primitive::<arrow::datatypes::Int16Type>(
            field,
            narrow::<i16>(field, values.data)?,
            nulls,
        )?),
        (DataType::Int32, Data::IntData(values)) => Arc::new(primitive::<arrow::datatypes::Int32Type>(
            field,
            values.data,
            nulls,
        )?),
        (DataType::Int64, Data::LongData(values)) => Arc::new(primitive::<arrow::datatypes::Int64Type>(
            field,
            values.data,
            nulls,
        )?),
        (DataType::Float, Data::FloatData(values)) => Arc::new(primitive::<arrow::datatypes::Float32Type>(
            field,
            values.data,
            nulls,
        )?),
        (DataType::Double, Data::DoubleData(values)) => Arc::new(primitive::<arrow::datatypes::Float64Type>(
            field,
            values.data,
            nulls,
        )?),
        (DataType::VarChar { .. }, Data::StringData(values)) => {
            nulls.check(field, values.data.len())?;
            texts(&values.data, nulls)
        }
        (DataType::Json, Data::JsonData(values)) => {
            nulls.check(field, values.data.len())?;
            json(schema, field, &values.data, nulls)?
        }
        (DataType::TimestampTz, Data::TimestamptzData(values)) => {
            Arc::new(instants(field, values.data, nulls)?)
        }
        (DataType::TimestampTz, Data::StringData(values)) => {
            let micros = values
                .data
                .iter()
                .map(|text| time::parse(text, zone))
                .collect::<Result<Vec<_>>>()?;
            Arc::new(instants(field, micros, nulls)?)
        }
        (DataType::Array { element, .. }, Data::ArrayData(values)) => {
            nulls.check(field, values.data.len())?;
            array(field, element, values.data, nulls)?
        }
        (_, other) => return Err(mismatch(field, kind(&other))),
    })
}

/// The wire name of a column's values.
fn kind(data: &Data) -> &'static str {
    match data {
        Data::BoolData(_) => "bool",
        Data::IntData(_) => "int32",
        Data::LongData(_) => "int64",
        Data::FloatData(_) => "float",
        Data::DoubleData(_) => "double",
        Data::StringData(_) => "string",
        Data::BytesData(_) => "bytes",
        Data::ArrayData(_) => "array",
        Data::JsonData(_) => "json",
        Data::GeometryData(_) | Data::GeometryWktData(_) => "geometry",
        Data::TimestamptzData(_) => "timestamptz",
        Data::MolData(_) | Data::MolSmilesData(_) => "mol",
        Data::DateData(_) => "date",
        Data::TimeData(_) => "time",
    }
}

fn instants(field: &Field, micros: Vec<i64>, nulls: &Nulls) -> Result<TimestampMicrosecondArray> {
    Ok(primitive::<arrow::datatypes::TimestampMicrosecondType>(field, micros, nulls)?.with_timezone("UTC"))
}

fn texts(values: &[String], nulls: &Nulls) -> ArrayRef {
    let bytes = values.iter().map(String::len).sum();
    let mut builder = StringBuilder::with_capacity(nulls.rows, bytes);
    match &nulls.valid {
        None => values.iter().for_each(|value| builder.append_value(value)),
        Some(valid) => {
            let mut values = values.iter();
            for valid in valid {
                builder.append_option(if *valid { values.next() } else { None });
            }
        }
    }
    Arc::new(builder.finish())
}

fn json(schema: &CollectionSchema, field: &Field, values: &[Vec<u8>], nulls: &Nulls) -> Result<ArrayRef> {
    let texts_of = values
        .iter()
        .enumerate()
        .map(|(at, bytes)| {
            let text = std::str::from_utf8(bytes).map_err(|_| {
                Error::invalid(format!(
                    "JSON value {at} of field {} is not UTF-8 text",
                    field.name
                ))
            })?;
            if field.dynamic && !matches!(text, "{}" | "") {
                check_dynamic_keys(schema, text)?;
            }
            Ok(if field.dynamic && text.is_empty() {
                "{}"
            } else {
                text
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let mut present = texts_of.into_iter();
    let rows = (0..nulls.rows).map(|row| match &nulls.valid {
        Some(valid) if !valid.get(row).copied().unwrap_or(false) => None,
        Some(_) | None => present.next(),
    });
    Ok(Arc::new(rows.collect::<StringArray>()))
}

/// The keys of a dynamic object must not hide a field of the schema.
fn check_dynamic_keys(schema: &CollectionSchema, text: &str) -> Result<()> {
    struct Keys<'a>(&'a CollectionSchema);

    impl<'de> Visitor<'de> for Keys<'_> {
        type Value = Option<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut clash = None;
            while let Some((key, IgnoredAny)) = map.next_entry::<std::borrow::Cow<'_, str>, IgnoredAny>()? {
                if clash.is_none() && self.0.field(&key).is_some() {
                    clash = Some(key.into_owned());
                }
            }
            Ok(clash)
        }
    }

    let mut reader = serde_json::Deserializer::from_str(text);
    match reader.deserialize_map(Keys(schema)) {
        Ok(None) => Ok(()),
        Ok(Some(key)) if key == DYNAMIC_FIELD => Err(Error::invalid(
            "cannot set key to $meta, it is the dynamic field itself",
        )),
        Ok(Some(key)) => Err(Error::invalid(format!(
            "dynamic field name cannot include the static field name: {key}"
        ))),
        Err(error) => Err(Error::invalid(format!(
            "the dynamic field must be a JSON object: {error}"
        ))),
    }
}

fn array(field: &Field, element: &DataType, rows: Vec<ScalarField>, nulls: &Nulls) -> Result<ArrayRef> {
    let rows = nulls.spread(rows);
    let mut lengths = Vec::with_capacity(rows.len());
    let item = Field {
        nullable: false,
        default: None,
        ..Field::new(&field.name, element.clone())
    };
    macro_rules! gather {
        ($variant:ident, $finish:expr) => {{
            let mut all = Vec::new();
            for row in rows {
                match row.data {
                    Some(Data::$variant(values)) => {
                        lengths.push(values.data.len());
                        all.extend(values.data);
                    }
                    None => lengths.push(0),
                    Some(other) => return Err(mismatch(field, kind(&other))),
                }
            }
            let values: ArrayRef = Arc::new($finish(all));
            values
        }};
    }
    let values = match element {
        DataType::Bool => gather!(BoolData, BooleanArray::from),
        DataType::Int8 => {
            let all = gather_ints(field, rows, &mut lengths)?;
            Arc::new(Int8Array::from(narrow::<i8>(&item, all)?)) as ArrayRef
        }
        DataType::Int16 => {
            let all = gather_ints(field, rows, &mut lengths)?;
            Arc::new(Int16Array::from(narrow::<i16>(&item, all)?)) as ArrayRef
        }
        DataType::Int32 => gather!(IntData, Int32Array::from),
        DataType::Int64 => gather!(LongData, Int64Array::from),
        DataType::Float => gather!(FloatData, Float32Array::from),
        DataType::Double => gather!(DoubleData, Float64Array::from),
        DataType::VarChar { .. } => gather!(StringData, StringArray::from),
        DataType::Json | DataType::Array { .. } | DataType::TimestampTz | DataType::FloatVector { .. } => {
            return Err(mismatch(field, element.name()));
        }
    };
    let ArrowType::List(item) = field.data_type.to_arrow() else {
        return Err(mismatch(field, "array"));
    };
    Ok(Arc::new(ListArray::try_new(
        item,
        OffsetBuffer::from_lengths(lengths),
        values,
        nulls.buffer(),
    )?))
}

fn gather_ints(field: &Field, rows: Vec<ScalarField>, lengths: &mut Vec<usize>) -> Result<Vec<i32>> {
    let mut all = Vec::new();
    for row in rows {
        match row.data {
            Some(Data::IntData(values)) => {
                lengths.push(values.data.len());
                all.extend(values.data);
            }
            None => lengths.push(0),
            Some(other) => return Err(mismatch(field, kind(&other))),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float32Type, Int64Type};
    use milvus::proto::schema::{self as wire};

    use super::*;

    fn schema() -> CollectionSchema {
        let mut city = Field::new("city", DataType::VarChar { max_length: 10 });
        city.default = Some("rome".into());
        let mut schema = CollectionSchema::new(vec![
            Field::new("id", DataType::Int64).primary(),
            Field::new("n", DataType::Int8).nullable(),
            city,
            Field::new("at", DataType::TimestampTz).nullable(),
            Field::new(
                "tags",
                DataType::Array {
                    element: Box::new(DataType::Int16),
                    max_capacity: 4,
                },
            )
            .nullable(),
            Field::new("doc", DataType::Json).nullable(),
            Field::new("v", DataType::FloatVector { dim: 2 }).nullable(),
        ])
        .with_dynamic_field();
        schema.validate().unwrap();
        schema
    }

    fn scalar(name: &str, data: Data, valid: &[bool]) -> FieldData {
        FieldData {
            field_name: name.into(),
            field: Some(WireField::Scalars(ScalarField {
                data: Some(data),
                valid_data: Vec::new(),
            })),
            valid_data: valid.to_vec(),
            ..Default::default()
        }
    }

    fn ids(data: Vec<i64>) -> FieldData {
        scalar("id", Data::LongData(wire::LongArray { data }), &[])
    }

    fn floats(dim: i64, data: Vec<f32>, valid: &[bool]) -> FieldData {
        let data = vector_field::Data::FloatVector(wire::FloatArray { data });
        FieldData {
            field_name: "v".into(),
            field: Some(WireField::Vectors(VectorField {
                dim,
                data: Some(data),
                ..Default::default()
            })),
            valid_data: valid.to_vec(),
            ..Default::default()
        }
    }

    fn run(fields: Vec<FieldData>, rows: u32) -> Result<RecordBatch> {
        batch_from_wire(&schema(), fields, rows, chrono_tz::UTC)
    }

    fn error(fields: Vec<FieldData>, rows: u32) -> String {
        run(fields, rows).unwrap_err().to_string()
    }

    #[test]
    fn floats_are_moved_not_copied() {
        let values = vec![1.0_f32, 2.0, 3.0, 4.0];
        let address = values.as_ptr();
        let batch = run(vec![ids(vec![1, 2]), floats(2, values, &[])], 2).unwrap();
        let list = batch.column_by_name("v").unwrap().as_fixed_size_list();
        assert_eq!(
            list.values().as_primitive::<Float32Type>().values().as_ptr(),
            address
        );
    }

    #[test]
    fn compact_columns_are_spread_over_the_rows() {
        let valid = [false, true, false, true];
        let tags = Data::ArrayData(wire::ArrayArray {
            data: vec![
                ScalarField {
                    data: Some(Data::IntData(wire::IntArray { data: vec![1, 2] })),
                    ..Default::default()
                },
                ScalarField::default(),
            ],
            ..Default::default()
        });
        let batch = run(
            vec![
                ids(vec![1, 2, 3, 4]),
                scalar("n", Data::IntData(wire::IntArray { data: vec![7, -8] }), &valid),
                scalar(
                    "city",
                    Data::StringData(wire::StringArray {
                        data: vec!["oslo".into(), "bern".into()],
                    }),
                    &valid,
                ),
                scalar("tags", tags, &valid),
                scalar(
                    "doc",
                    Data::JsonData(wire::JsonArray {
                        data: vec![b"1".to_vec(), b"[]".to_vec()],
                    }),
                    &valid,
                ),
                floats(2, vec![1., 2., 3., 4.], &valid),
            ],
            4,
        )
        .unwrap();
        for name in ["n", "city", "tags", "doc", "v"] {
            let column = batch.column_by_name(name).unwrap();
            let present: Vec<_> = (0..4).map(|row| column.is_valid(row)).collect();
            assert_eq!(present, valid, "{name}");
        }
        assert_eq!(
            batch.column_by_name("city").unwrap().as_string::<i32>().value(3),
            "bern"
        );
        let vectors = batch.column_by_name("v").unwrap().as_fixed_size_list();
        assert_eq!(vectors.value(3).as_primitive::<Float32Type>().values(), &[3., 4.]);
        assert_eq!(
            batch
                .column_by_name("tags")
                .unwrap()
                .as_list::<i32>()
                .value_length(1),
            2
        );
    }

    #[test]
    fn a_column_of_nulls_may_come_empty() {
        let none = [false, false];
        let mut city = scalar("city", Data::StringData(wire::StringArray::default()), &none);
        city.field = None;
        let batch = run(vec![ids(vec![1, 2]), city, floats(0, vec![], &none)], 2).unwrap();
        assert_eq!(batch.column_by_name("city").unwrap().null_count(), 2);
        assert_eq!(batch.column_by_name("v").unwrap().null_count(), 2);
        assert_eq!(
            batch
                .column_by_name("id")
                .unwrap()
                .as_primitive::<Int64Type>()
                .values(),
            &[1, 2]
        );
    }

    #[test]
    fn newer_clients_put_the_flags_beside_the_values() {
        let mut n = scalar("n", Data::IntData(wire::IntArray { data: vec![5] }), &[]);
        let Some(WireField::Scalars(scalars)) = &mut n.field else {
            panic!("not scalars")
        };
        scalars.valid_data = vec![true, false];
        let batch = run(vec![ids(vec![1, 2]), n], 2).unwrap();
        assert_eq!(batch.column_by_name("n").unwrap().null_count(), 1);
    }

    #[test]
    fn wrong_dimensions_read_as_in_milvus() {
        assert!(
            error(vec![floats(3, vec![0.; 3], &[])], 1)
                .starts_with("the length(3) of float data should divide the dim(2)")
        );
        assert_eq!(
            error(vec![floats(4, vec![0.; 4], &[])], 1),
            "the dim (4) of field data(v) is not equal to schema dim (2): invalid parameter[expected=2][actual=4]"
        );
        assert!(
            error(vec![floats(2, vec![0.; 4], &[])], 1)
                .starts_with("the num_rows (2) of field (v) is not equal to passed num_rows (1)")
        );
    }

    #[test]
    fn wrong_rows_types_and_fields_are_named() {
        assert!(error(vec![ids(vec![1])], 0).contains("num_rows should be greater than 0"));
        assert!(error(vec![ids(vec![1])], 2).contains("[expected=2][actual=1]"));
        let text = scalar(
            "id",
            Data::StringData(wire::StringArray {
                data: vec!["x".into()],
            }),
            &[],
        );
        assert!(
            error(vec![text], 1).contains("the data of field id is of another type than the field (Int64)")
        );
        let unknown = scalar("nope", Data::BoolData(wire::BoolArray { data: vec![true] }), &[]);
        assert!(error(vec![unknown], 1).contains("field nope not exist"));
        let wide = scalar("n", Data::IntData(wire::IntArray { data: vec![300] }), &[]);
        assert!(error(vec![wide], 1).contains("-128 <= value <= 127"));
        assert!(error(vec![ids(vec![1]), ids(vec![1])], 1).contains("duplicated"));
        let short = scalar(
            "n",
            Data::IntData(wire::IntArray { data: vec![1, 2] }),
            &[true, false],
        );
        assert!(error(vec![short], 2).contains("the length of field(n) is wrong"));
        let flags = scalar("n", Data::IntData(wire::IntArray { data: vec![1] }), &[true]);
        assert!(error(vec![flags], 2).contains("the length of valid_data of field(n) is wrong"));
        let null = scalar(
            "id",
            Data::LongData(wire::LongArray { data: vec![1] }),
            &[true, false],
        );
        assert!(error(vec![null], 2).contains("not nullable"));
    }

    #[test]
    fn dynamic_keys_cannot_hide_fields() {
        let dynamic = |text: &str| {
            let mut data = scalar(
                "",
                Data::JsonData(wire::JsonArray {
                    data: vec![text.as_bytes().to_vec()],
                }),
                &[],
            );
            data.is_dynamic = true;
            data
        };
        let batch = run(vec![dynamic(r#"{"color": "red"}"#)], 1).unwrap();
        assert_eq!(
            batch.column_by_name("$meta").unwrap().as_string::<i32>().value(0),
            r#"{"color": "red"}"#
        );
        assert!(error(vec![dynamic(r#"{"city": "oslo"}"#)], 1).contains("static field name: city"));
        assert!(error(vec![dynamic(r#"{"$meta": {}}"#)], 1).contains("cannot set key to $meta"));
        assert!(error(vec![dynamic("[1]")], 1).contains("must be a JSON object"));
    }

    #[test]
    fn instants_come_as_text_or_microseconds() {
        let text = scalar(
            "at",
            Data::StringData(wire::StringArray {
                data: vec!["1970-01-01T00:00:01Z".into()],
            }),
            &[],
        );
        let number = scalar(
            "at",
            Data::TimestamptzData(wire::TimestamptzArray {
                data: vec![1_000_000],
            }),
            &[],
        );
        let column = |data| run(vec![data], 1).unwrap().column(0).to_data();
        assert_eq!(column(text), column(number));
    }
}
