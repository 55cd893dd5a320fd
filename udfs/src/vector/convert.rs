//! Values as vectors of a type, and vectors as text.
//!
//! | type | text | other input |
//! |---|---|---|
//! | `VECTOR(n)`, `HALFVEC(n)`, `BFLOAT16_VECTOR(n)` | `'[1, 2.5]'` | lists of numbers, vectors of numbers; rounded to the nearest |
//! | `INT8_VECTOR(n)` | `'[1, -2]'` | lists of numbers, vectors of numbers; whole and in range |
//! | `BIT(n)` | `'10110001'` | none |
//! | `SPARSEVEC` | `'{1: 0.5, 7: 2}'`, pgvector's `'{1:0.5,7:2}/9'` | none |
//!
//! The indexes of a sparse vector are kept as they are written. In pgvector's form they run from 1 to the number behind
//! the slash, and are checked against it.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, Float16Array, Float32Array,
    Int8Array, ListArray, StringArray, StructArray, UInt32Array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float16Type, Float64Type};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use elanus_index::VectorRef;
use elanus_index::kernels::narrow::{bfloat16_to_f32, f32_to_bfloat16};

use super::kind::{VectorKind, sparse_fields};
use super::typed::{TypedColumn, numbers};
use crate::arguments::is_text;

/// Largest index of a sparse vector.
const MAX_INDEX: u32 = u32::MAX - 1;

/// Whether values of a type can be made vectors of `kind`.
pub fn converts(kind: VectorKind, from: &Field) -> bool {
    let data_type = from.data_type();
    if is_text(data_type) || *data_type == DataType::Null {
        return true;
    }
    match (VectorKind::of(from), kind) {
        (Some(from), to) if from.is_like(to) => true,
        (Some(VectorKind::Bit(_) | VectorKind::Sparse), _) | (_, VectorKind::Bit(_) | VectorKind::Sparse) => {
            false
        }
        (
            Some(VectorKind::Float(_) | VectorKind::Half(_) | VectorKind::BFloat16(_) | VectorKind::Int8(_)),
            _,
        ) => true,
        (None, _) => matches!(
            data_type,
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
                if item.data_type().is_numeric() || *item.data_type() == DataType::Null
        ),
    }
}

/// `input`, which is of vector type `from` if it is of one, as vectors of `kind`. With `or_null` a value that is no such
/// vector becomes NULL.
///
/// # Errors
/// A value that is no such vector, or of another dimension; the text says what was given and what is allowed.
pub fn to_vectors(
    kind: VectorKind,
    from: Option<VectorKind>,
    input: &ArrayRef,
    or_null: bool,
) -> Result<ArrayRef> {
    let mut rows = Rows::new(kind, input.len());
    let source = Source::new(from, input)?;
    for row in 0..input.len() {
        let element = match source.row(kind, row) {
            Err(_) if or_null => None,
            element => element?,
        };
        match element.map(|element| rows.push(element)) {
            Some(Ok(())) => {}
            Some(Err(error)) if !or_null => return Err(error),
            Some(Err(_)) | None => rows.push_null(),
        }
    }
    rows.finish()
}

/// One value as read: numbers, bits, or elements of a sparse vector.
enum Value {
    Numbers(Vec<f32>),
    Bits(Vec<bool>),
    Sparse(Vec<(u32, f32)>),
}

/// Where values are read from.
enum Source<'a> {
    Text(StringArray),
    Vectors(TypedColumn),
    Lists(&'a ArrayRef),
    Nothing,
}

impl<'a> Source<'a> {
    fn new(from: Option<VectorKind>, input: &'a ArrayRef) -> Result<Self> {
        if let Some(from) = from {
            let column = TypedColumn::new(from, Some(from), &ColumnarValue::Array(Arc::clone(input)))?;
            return Ok(Self::Vectors(column));
        }
        if is_text(input.data_type()) {
            let texts = cast(input, &DataType::Utf8)?;
            return Ok(Self::Text(texts.as_string::<i32>().clone()));
        }
        if *input.data_type() == DataType::Null {
            return Ok(Self::Nothing);
        }
        Ok(Self::Lists(input))
    }

    fn row(&self, kind: VectorKind, row: usize) -> Result<Option<Value>> {
        match self {
            Self::Nothing => Ok(None),
            Self::Text(texts) if texts.is_null(row) => Ok(None),
            Self::Text(texts) => {
                let text = texts.value(row);
                match kind {
                    VectorKind::Bit(_) => parse_bits(text).map(Value::Bits),
                    VectorKind::Sparse => parse_sparse(text).map(Value::Sparse),
                    VectorKind::Float(_)
                    | VectorKind::Half(_)
                    | VectorKind::BFloat16(_)
                    | VectorKind::Int8(_) => parse_numbers(text).map(Value::Numbers),
                }
                .map(Some)
            }
            Self::Vectors(column) => match column.row(row) {
                None => Ok(None),
                Some(VectorRef::Bits(bytes)) => Ok(Some(Value::Bits(bits_of(bytes).collect()))),
                Some(VectorRef::Sparse(vector)) => {
                    let pairs = vector.indices().iter().zip(vector.values());
                    Ok(Some(Value::Sparse(
                        pairs.map(|(index, value)| (*index, *value)).collect(),
                    )))
                }
                Some(vector) => Ok(numbers(vector).map(Value::Numbers)),
            },
            Self::Lists(input) => {
                if input.is_null(row) {
                    return Ok(None);
                }
                let elements = if let Some(lists) = input.as_list_opt::<i32>() {
                    lists.value(row)
                } else if let Some(lists) = input.as_list_opt::<i64>() {
                    lists.value(row)
                } else if let Some(lists) = input.as_fixed_size_list_opt() {
                    lists.value(row)
                } else {
                    return exec_err!("cannot make a {kind} from {}", input.data_type());
                };
                list_numbers(kind, &elements).map(|numbers| Some(Value::Numbers(numbers)))
            }
        }
    }
}

fn list_numbers(kind: VectorKind, elements: &ArrayRef) -> Result<Vec<f32>> {
    if !elements.data_type().is_numeric() && *elements.data_type() != DataType::Null {
        return exec_err!(
            "cannot make a {kind} from elements of type {}",
            elements.data_type()
        );
    }
    if elements.null_count() > 0 || *elements.data_type() == DataType::Null && !elements.is_empty() {
        return exec_err!("a vector cannot have NULL elements");
    }
    let wide = cast(elements, &DataType::Float64)?;
    let wide = wide.as_primitive::<Float64Type>();
    let narrow: Vec<f32> = wide.values().iter().map(|value| *value as f32).collect();
    // A whole number that 32 bits cannot hold is out of the range of 8 bits as well.
    match wide
        .values()
        .iter()
        .zip(&narrow)
        .find(|(_, value)| !value.is_finite())
    {
        Some((value, _)) => exec_err!("an element of a vector is {value}: it must be finite in 32 bits"),
        None => Ok(narrow),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

fn parse_numbers(text: &str) -> Result<Vec<f32>> {
    let inside = text
        .trim()
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let Some(inside) = inside else {
        return exec_err!(
            "'{}' is not a vector; a vector is written '[1, 2, 3]'",
            shown(text)
        );
    };
    if inside.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut numbers = Vec::new();
    for number in inside.split(',') {
        let number = number.trim();
        match number.parse::<f32>() {
            Ok(value) if value.is_finite() => numbers.push(value),
            Ok(_) => {
                return exec_err!(
                    "'{number}' in '{}' is not finite; a vector is written '[1, 2, 3]'",
                    shown(text)
                );
            }
            Err(_) => {
                return exec_err!(
                    "'{number}' in '{}' is not a number; a vector is written '[1, 2, 3]'",
                    shown(text)
                );
            }
        }
    }
    Ok(numbers)
}

fn parse_bits(text: &str) -> Result<Vec<bool>> {
    let mut bits = Vec::with_capacity(text.len());
    for digit in text.trim().chars() {
        match digit {
            '0' => bits.push(false),
            '1' => bits.push(true),
            other => {
                return exec_err!(
                    "'{other}' in '{}' is no bit; bits are written '10110001'",
                    shown(text)
                );
            }
        }
    }
    Ok(bits)
}

/// The bytes of bits in text, the last one filled up with zeros, and the number of bits.
pub(crate) fn bits_of_text(text: &str) -> Result<(Vec<u8>, usize)> {
    let bits = parse_bits(text)?;
    let byte = |bits: &[bool]| bits.iter().fold(0u8, |byte, bit| byte << 1 | u8::from(*bit));
    Ok((bits.chunks(8).map(byte).collect(), bits.len()))
}

fn parse_sparse(text: &str) -> Result<Vec<(u32, f32)>> {
    let form = "a sparse vector is written '{1: 0.5, 7: 2}'";
    let text = text.trim();
    let (braces, dim) = match text.rsplit_once('/') {
        Some((braces, dim)) => match dim.trim().parse::<u32>() {
            Ok(dim) => (braces.trim_end(), Some(dim)),
            Err(_) => return exec_err!("'{}' is no dimension in '{}'; {form}", dim.trim(), shown(text)),
        },
        None => (text, None),
    };
    let Some(inside) = braces.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return exec_err!("'{}' is not a sparse vector; {form}", shown(text));
    };
    let mut elements: Vec<(u32, f32)> = Vec::new();
    for element in inside.split(',').filter(|_| !inside.trim().is_empty()) {
        let parts = element
            .split_once(':')
            .map(|(index, value)| (index.trim().trim_matches('"'), value.trim()));
        let Some((index, value)) = parts else {
            return exec_err!(
                "'{}' in '{}' is no index: value; {form}",
                element.trim(),
                shown(text)
            );
        };
        let Some(index) = index.parse::<u32>().ok().filter(|index| *index <= MAX_INDEX) else {
            return exec_err!(
                "'{index}' in '{}' is no index: allowed are 0 to {MAX_INDEX}; {form}",
                shown(text)
            );
        };
        if let Some(dim) = dim
            && !(1..=dim).contains(&index)
        {
            return exec_err!(
                "index {index} in '{}' is out of range: with a dimension allowed are 1 to {dim}",
                shown(text)
            );
        }
        match value.parse::<f32>() {
            Ok(number) if number.is_finite() => elements.push((index, number)),
            Ok(_) | Err(_) => {
                return exec_err!("'{value}' in '{}' is no finite number; {form}", shown(text));
            }
        }
    }
    elements.sort_by_key(|(index, _)| *index);
    if let Some([(index, _), _]) = elements.array_windows::<2>().find(|[a, b]| a.0 == b.0) {
        return exec_err!("index {index} is twice in '{}'", shown(text));
    }
    Ok(elements)
}

/// Vectors as they are put together.
struct Rows {
    kind: VectorKind,
    valid: Vec<bool>,
    numbers: Vec<f32>,
    bytes: Vec<u8>,
    ends: Vec<i32>,
    indices: Vec<u32>,
}

impl Rows {
    fn new(kind: VectorKind, rows: usize) -> Self {
        Self {
            kind,
            valid: Vec::with_capacity(rows),
            numbers: Vec::new(),
            bytes: Vec::new(),
            ends: vec![0],
            indices: Vec::new(),
        }
    }

    fn push(&mut self, value: Value) -> Result<()> {
        let length = match &value {
            Value::Numbers(numbers) => numbers.len(),
            Value::Bits(bits) => bits.len(),
            Value::Sparse(_) => 0,
        };
        if self.kind.dim().is_some_and(|dim| dim != length) {
            let wanted = self.kind.dim().unwrap_or(0);
            return exec_err!("expected a vector of dimension {wanted}, got one of {length}");
        }
        match (self.kind, value) {
            (VectorKind::Bit(_), Value::Bits(bits)) => {
                self.bytes.extend(
                    bits.chunks(8)
                        .map(|byte| byte.iter().fold(0u8, |byte, bit| byte << 1 | u8::from(*bit))),
                );
            }
            (VectorKind::Sparse, Value::Sparse(elements)) => {
                let (indices, values): (Vec<u32>, Vec<f32>) = elements.into_iter().unzip();
                self.indices.extend(indices);
                self.numbers.extend(values);
            }
            (VectorKind::Int8(_), Value::Numbers(numbers)) => {
                let out = numbers
                    .iter()
                    .find(|number| number.fract() != 0.0 || !(-128.0..=127.0).contains(*number));
                if let Some(number) = out {
                    return exec_err!(
                        "{number} is no element of an INT8_VECTOR: allowed are whole numbers from -128 to 127"
                    );
                }
                self.bytes
                    .extend(numbers.iter().map(|number| (*number as i8).cast_unsigned()));
            }
            (VectorKind::BFloat16(_), Value::Numbers(numbers)) => {
                for number in numbers {
                    let bits = f32_to_bfloat16(number);
                    self.finite(number, bfloat16_to_f32(bits))?;
                    self.bytes.extend(bits.to_le_bytes());
                }
            }
            (VectorKind::Half(_), Value::Numbers(numbers)) => {
                /// The largest number that rounds to a finite half.
                const LIMIT: f32 = 65_520.0;
                if let Some(number) = numbers.iter().find(|number| number.abs() >= LIMIT) {
                    self.finite(*number, f32::INFINITY)?;
                }
                self.numbers.extend(numbers);
            }
            (VectorKind::Float(_), Value::Numbers(numbers)) => self.numbers.extend(numbers),
            (kind, Value::Numbers(_) | Value::Bits(_) | Value::Sparse(_)) => {
                return exec_err!("the value cannot be made a {kind}");
            }
        }
        self.end(true)
    }

    fn finite(&self, number: f32, rounded: f32) -> Result<()> {
        if rounded.is_finite() {
            return Ok(());
        }
        exec_err!("{number} is out of the range of an element of {}", self.kind)
    }

    fn push_null(&mut self) {
        let dim = self.kind.dim().unwrap_or(0);
        match self.kind {
            VectorKind::Bit(_) => self.bytes.extend(std::iter::repeat_n(0, dim / 8)),
            VectorKind::Int8(_) => self.bytes.extend(std::iter::repeat_n(0, dim)),
            VectorKind::BFloat16(_) => self.bytes.extend(std::iter::repeat_n(0, dim * 2)),
            VectorKind::Float(_) | VectorKind::Half(_) => self.numbers.extend(std::iter::repeat_n(0.0, dim)),
            VectorKind::Sparse => {}
        }
        // A null row adds no element, so it cannot be too long.
        self.valid.push(false);
        self.ends.push(self.ends.last().copied().unwrap_or(0));
    }

    fn end(&mut self, valid: bool) -> Result<()> {
        self.valid.push(valid);
        let Ok(end) = i32::try_from(self.indices.len()) else {
            return exec_err!("sparse vectors of more than {} elements at once", i32::MAX);
        };
        self.ends.push(end);
        Ok(())
    }

    fn finish(self) -> Result<ArrayRef> {
        let nulls = NullBuffer::from(self.valid);
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let list = |values: ArrayRef, dim: i32| -> Result<ArrayRef> {
            let item = Arc::new(Field::new_list_field(values.data_type().clone(), false));
            Ok(Arc::new(FixedSizeListArray::try_new(
                item,
                dim,
                values,
                nulls.clone(),
            )?))
        };
        let bytes = |bytes: Vec<u8>, width: i32| -> Result<ArrayRef> {
            let bytes = Buffer::from_vec(bytes);
            Ok(Arc::new(FixedSizeBinaryArray::try_new(
                width,
                bytes,
                nulls.clone(),
            )?))
        };
        match self.kind {
            VectorKind::Float(dim) => list(Arc::new(Float32Array::from(self.numbers)), dim),
            VectorKind::Half(dim) => {
                let floats: ArrayRef = Arc::new(Float32Array::from(self.numbers));
                let halves: Float16Array = cast(&floats, &DataType::Float16)?
                    .as_primitive::<Float16Type>()
                    .clone();
                list(Arc::new(halves), dim)
            }
            VectorKind::Int8(dim) => {
                let values = self.bytes.into_iter().map(u8::cast_signed);
                list(Arc::new(Int8Array::from_iter_values(values)), dim)
            }
            VectorKind::BFloat16(dim) => bytes(self.bytes, dim.saturating_mul(2)),
            VectorKind::Bit(dim) => bytes(self.bytes, dim / 8),
            VectorKind::Sparse => {
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(UInt32Array::from(self.indices)),
                    Arc::new(Float32Array::from(self.numbers)),
                ];
                let elements = StructArray::try_new(sparse_fields(), columns, None)?;
                let item = Arc::new(Field::new_list_field(elements.data_type().clone(), false));
                let offsets = OffsetBuffer::new(self.ends.into());
                Ok(Arc::new(ListArray::try_new(
                    item,
                    offsets,
                    Arc::new(elements),
                    nulls,
                )?))
            }
        }
    }
}

fn bits_of(bytes: &[u8]) -> impl Iterator<Item = bool> {
    bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1))
}

/// Vectors of `kind` as the text that [`to_vectors`] reads back.
///
/// # Errors
/// When the value is not of that kind.
pub fn to_text(kind: VectorKind, value: &ColumnarValue) -> Result<ColumnarValue> {
    let rows = match value {
        ColumnarValue::Array(array) => array.len(),
        ColumnarValue::Scalar(_) => 1,
    };
    let column = TypedColumn::new(kind, Some(kind), value)?;
    let texts: StringArray = (0..rows).map(|row| column.row(row).map(text_of)).collect();
    if column.is_single() {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?));
    }
    Ok(ColumnarValue::Array(Arc::new(texts)))
}

fn text_of(vector: VectorRef<'_>) -> String {
    match vector {
        VectorRef::Bits(bytes) => bits_of(bytes).map(|bit| if bit { '1' } else { '0' }).collect(),
        VectorRef::Sparse(vector) => {
            let elements = vector.indices().iter().zip(vector.values());
            enclosed(
                '{',
                elements.map(|(index, value)| format!("{index}:{value}")),
                '}',
            )
        }
        VectorRef::List(elements) => {
            let elements = (0..elements.len()).map(|index| text_of(elements.element(index)));
            enclosed('[', elements, ']')
        }
        other @ (VectorRef::Floats(_)
        | VectorRef::Halves(_)
        | VectorRef::BFloat16s(_)
        | VectorRef::Int8s(_)
        | VectorRef::Terms(_)) => enclosed(
            '[',
            numbers(other).unwrap_or_default().iter().map(ToString::to_string),
            ']',
        ),
    }
}

fn enclosed(open: char, elements: impl Iterator<Item = String>, close: char) -> String {
    let mut text = String::from(open);
    for (place, element) in elements.enumerate() {
        let comma = if place > 0 { "," } else { "" };
        // Writing to a String does not fail.
        let _ = write!(text, "{comma}{element}");
    }
    text.push(close);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(kind: VectorKind, texts: &[&str]) -> Result<Vec<String>> {
        let input: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let vectors = to_vectors(kind, None, &input, false)?;
        assert_eq!(vectors.data_type(), &kind.data_type());
        match to_text(kind, &ColumnarValue::Array(vectors))? {
            ColumnarValue::Array(texts) => Ok(texts
                .as_string::<i32>()
                .iter()
                .flatten()
                .map(ToString::to_string)
                .collect()),
            ColumnarValue::Scalar(scalar) => Ok(vec![scalar.to_string()]),
        }
    }

    #[test]
    fn text_is_read_and_written() {
        for (kind, text, expected) in [
            (VectorKind::Half(2), "[1, 0.1]", "[1,0.099975586]"),
            (VectorKind::BFloat16(2), "[1, 0.1]", "[1,0.100097656]"),
            (VectorKind::Int8(3), "[-128, 0, 127]", "[-128,0,127]"),
            (VectorKind::Bit(16), "1000000000000001", "1000000000000001"),
            (VectorKind::Sparse, "{7: 2, 1: 0.5}", "{1:0.5,7:2}"),
            (VectorKind::Sparse, "{1:0.5,3:2}/5", "{1:0.5,3:2}"),
            (VectorKind::Sparse, r#"{"0": 1}"#, "{0:1}"),
            (VectorKind::Sparse, "{}", "{}"),
        ] {
            assert_eq!(texts(kind, &[text]).unwrap(), [expected], "{kind}");
        }
    }

    #[test]
    fn mistakes_say_what_is_allowed() {
        for (kind, text, what) in [
            (
                VectorKind::Half(2),
                "[1]",
                "expected a vector of dimension 2, got one of 1",
            ),
            (
                VectorKind::Half(1),
                "[70000]",
                "70000 is out of the range of an element of HALFVEC(1)",
            ),
            (VectorKind::BFloat16(1), "[3.4e38]", "out of the range"),
            (VectorKind::Int8(1), "[128]", "whole numbers from -128 to 127"),
            (VectorKind::Int8(1), "[1.5]", "whole numbers from -128 to 127"),
            (VectorKind::Bit(8), "10a", "'a' in '10a' is no bit"),
            (
                VectorKind::Bit(8),
                "101",
                "expected a vector of dimension 8, got one of 3",
            ),
            (VectorKind::Sparse, "[1]", "is not a sparse vector"),
            (VectorKind::Sparse, "{6:1}/5", "allowed are 1 to 5"),
            (VectorKind::Sparse, "{0:1}/5", "allowed are 1 to 5"),
            (VectorKind::Sparse, "{1:1,1:2}", "index 1 is twice"),
            (
                VectorKind::Sparse,
                "{4294967295:1}",
                "allowed are 0 to 4294967294",
            ),
            (VectorKind::Sparse, "{1:nan}", "no finite number"),
            (VectorKind::Sparse, "{1}", "no index: value"),
            (VectorKind::Sparse, "{1:1}/x", "'x' is no dimension"),
        ] {
            let error = texts(kind, &[text]).unwrap_err().to_string();
            assert!(error.contains(what), "{kind} {text}: {error}");
        }
    }

    #[test]
    fn what_is_no_vector_can_become_null() {
        let input: ArrayRef = Arc::new(StringArray::from(vec![Some("[1]"), None, Some("[1,2]")]));
        for kind in [
            VectorKind::Half(2),
            VectorKind::BFloat16(2),
            VectorKind::Int8(2),
            VectorKind::Float(2),
        ] {
            let vectors = to_vectors(kind, None, &input, true).unwrap();
            assert_eq!((vectors.len(), vectors.null_count()), (3, 2), "{kind}");
        }
        assert_eq!(
            to_vectors(VectorKind::Sparse, None, &input, true)
                .unwrap()
                .null_count(),
            3
        );
    }
}
