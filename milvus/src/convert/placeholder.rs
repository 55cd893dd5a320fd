//! Query vectors of a search.

use std::sync::Arc;

use arrow::array::{Array, FixedSizeListArray, Float32Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType as ArrowType, Field as ArrowField};
use elanus_collection::{DataType, Field, TextFunction};
use elanus_query::Queries;
use milvus::proto::common::{PlaceholderGroup, PlaceholderType};
use prost::Message;

use crate::convert::typed_vectors;
use crate::status::{Code, Error, Result};

/// Most query vectors of one search.
const MAX_QUERIES: usize = 16_384;

/// Query vectors of a search.
#[derive(Debug)]
pub(crate) struct QueryVectors {
    /// Number of vectors.
    pub nq: usize,
    /// The vectors, of the field's type.
    pub values: Queries,
}

/// Query vectors: `nq x dim`, row-major.
#[derive(Debug, PartialEq)]
struct Floats {
    nq: usize,
    values: Vec<f32>,
}

/// Reads the vectors of a placeholder group for a vector field. A field of lists is searched by lists; for a search of its
/// elements give a field of their type.
///
/// # Errors
/// When the bytes are not a placeholder group, hold another kind of query or another dimension.
pub(crate) fn vectors(bytes: &[u8], field: &Field) -> Result<QueryVectors> {
    let wanted = match &field.data_type {
        DataType::VectorArray { element } => return lists(bytes, field, element),
        DataType::Float16Vector { .. } => PlaceholderType::Float16Vector,
        DataType::BFloat16Vector { .. } => PlaceholderType::BFloat16Vector,
        DataType::Int8Vector { .. } => PlaceholderType::Int8Vector,
        DataType::BinaryVector { .. } => PlaceholderType::BinaryVector,
        DataType::SparseFloatVector => PlaceholderType::SparseFloatVector,
        other @ (DataType::FloatVector { .. }
        | DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::VarChar { .. }
        | DataType::Text
        | DataType::Json
        | DataType::Array { .. }
        | DataType::StructArray { .. }
        | DataType::TimestampTz
        | DataType::Geometry) => {
            let dim = other.dim().and_then(|dim| usize::try_from(dim).ok());
            let floats = float_vectors(bytes, &field.name, dim.unwrap_or(usize::MAX))?;
            return Ok(QueryVectors {
                nq: floats.nq,
                values: Queries::Floats(floats.values),
            });
        }
    };
    let (group, nq) = decode(bytes)?;
    let mut all: Vec<&[u8]> = Vec::with_capacity(nq);
    for placeholder in &group.placeholders {
        let kind = PlaceholderType::try_from(placeholder.r#type);
        if kind != Ok(wanted) {
            return Err(wrong_kind(
                kind.ok(),
                placeholder.r#type,
                &field.name,
                field.data_type.name(),
            ));
        }
        all.extend(placeholder.values.iter().map(Vec::as_slice));
    }
    let column = match typed_vectors::vector_bytes(&field.data_type) {
        None => typed_vectors::from_sparse(field, all.into_iter().map(Some))?,
        Some(width) => {
            if let Some(vector) = all.iter().find(|vector| vector.len() != width) {
                let dim = field.data_type.dim().unwrap_or(0);
                return Err(Error::new(
                    Code::Unexpected,
                    format!(
                        "vector dimension mismatch, expected vector size(byte) {width}, actual {}: field {} has {dim} dimensions",
                        vector.len(),
                        field.name
                    ),
                ));
            }
            let bytes = all.concat();
            check_finite(field, &bytes)?;
            typed_vectors::from_bytes(field, bytes, None)?
        }
    };
    Ok(QueryVectors {
        nq,
        values: Queries::Column(column),
    })
}

/// Embedding lists, one for each query: the bytes of its vectors, one after the other.
fn lists(bytes: &[u8], field: &Field, element: &DataType) -> Result<QueryVectors> {
    let wanted = if matches!(element, DataType::Float16Vector { .. }) {
        PlaceholderType::EmbListFloat16Vector
    } else if matches!(element, DataType::BFloat16Vector { .. }) {
        PlaceholderType::EmbListBFloat16Vector
    } else if matches!(element, DataType::Int8Vector { .. }) {
        PlaceholderType::EmbListInt8Vector
    } else if matches!(element, DataType::BinaryVector { .. }) {
        PlaceholderType::EmbListBinaryVector
    } else {
        PlaceholderType::EmbListFloatVector
    };
    let dim = element.dim().unwrap_or(0) as usize;
    let width = typed_vectors::vector_bytes(element).unwrap_or(dim * size_of::<f32>());
    let (group, nq) = decode(bytes)?;
    let (mut all, mut lengths) = (Vec::new(), Vec::with_capacity(nq));
    for placeholder in &group.placeholders {
        let kind = PlaceholderType::try_from(placeholder.r#type);
        if placeholder.element_level
            || kind.is_ok_and(|kind| !is_list(kind) && kind != PlaceholderType::VarChar)
        {
            return Err(Error::invalid(format!(
                "field {} has a metric of lists, which are searched by embedding lists: send an EmbeddingList, or index the field with a metric of vectors for element-level search",
                field.name
            )));
        }
        if kind != Ok(wanted) {
            return Err(wrong_kind(
                kind.ok(),
                placeholder.r#type,
                &field.name,
                element.name(),
            ));
        }
        for list in &placeholder.values {
            if list.is_empty() || width == 0 || list.len() % width != 0 {
                return Err(Error::new(
                    Code::Unexpected,
                    format!(
                        "vector dimension mismatch: an embedding list for {} has {} bytes, it is one or more vectors of {dim} dimensions, {width} bytes each",
                        field.name,
                        list.len()
                    ),
                ));
            }
            lengths.push(list.len() / width);
            all.extend_from_slice(list);
        }
    }
    let of_element = Field::new(&field.name, element.clone());
    let values = if let DataType::FloatVector { .. } = element {
        let (numbers, _) = all.as_chunks::<4>();
        let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        if let Some(bad) = numbers.iter().find(|value| !value.is_finite()) {
            return Err(not_finite(*bad, &field.name));
        }
        let ArrowType::FixedSizeList(item, size) = element.to_arrow() else {
            return Err(Error::unexpected("internal error: a float vector is no list"));
        };
        Arc::new(FixedSizeListArray::try_new(
            item,
            size,
            Arc::new(Float32Array::from(numbers)),
            None,
        )?)
    } else {
        check_finite(&of_element, &all)?;
        typed_vectors::from_bytes(&of_element, all, None)?
    };
    let item = Arc::new(ArrowField::new_list_field(values.data_type().clone(), true));
    let column = ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, None)?;
    Ok(QueryVectors {
        nq,
        values: Queries::Column(Arc::new(column)),
    })
}

/// Whether a query is a list of vectors.
fn is_list(kind: PlaceholderType) -> bool {
    matches!(
        kind,
        PlaceholderType::EmbListBinaryVector
            | PlaceholderType::EmbListFloatVector
            | PlaceholderType::EmbListFloat16Vector
            | PlaceholderType::EmbListBFloat16Vector
            | PlaceholderType::EmbListSparseFloatVector
            | PlaceholderType::EmbListInt8Vector
    )
}

fn not_finite(bad: f32, field: &str) -> Error {
    Error::invalid(format!(
        "value '{bad}' of a query vector for field {field} is not a number or infinity: only finite values are allowed"
    ))
}

/// Reads the texts of a placeholder group, for a field that `function` fills; `analyzer` is the one that the request names.
///
/// # Errors
/// When the bytes are not a placeholder group, hold vectors, or text that is not UTF-8.
pub(crate) fn texts(
    bytes: &[u8],
    field: &Field,
    function: &TextFunction,
    analyzer: Option<String>,
) -> Result<QueryVectors> {
    let (group, nq) = decode(bytes)?;
    let mut texts = Vec::with_capacity(nq);
    for placeholder in group.placeholders {
        if PlaceholderType::try_from(placeholder.r#type) != Ok(PlaceholderType::VarChar) {
            return Err(Error::invalid(format!(
                "please provide varchar/text for {} Function based search, field {} is filled by a function",
                function.kind.name(),
                field.name
            )));
        }
        for text in placeholder.values {
            let text = String::from_utf8(text)
                .map_err(|error| Error::invalid(format!("a query text is not UTF-8: {error}")))?;
            texts.push(text);
        }
    }
    Ok(QueryVectors {
        nq,
        values: Queries::Texts { texts, analyzer },
    })
}

/// Refuses NaN and infinities of 16-bit floats: those with all bits of the exponent.
fn check_finite(field: &Field, bytes: &[u8]) -> Result<()> {
    let exponent = match &field.data_type {
        DataType::Float16Vector { .. } => 0x7c00,
        DataType::BFloat16Vector { .. } => 0x7f80,
        DataType::SparseFloatVector
        | DataType::Int8Vector { .. }
        | DataType::BinaryVector { .. }
        | DataType::FloatVector { .. }
        | DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::VarChar { .. }
        | DataType::Text
        | DataType::Json
        | DataType::Array { .. }
        | DataType::StructArray { .. }
        | DataType::TimestampTz
        | DataType::Geometry
        | DataType::VectorArray { .. } => return Ok(()),
    };
    let (elements, _) = bytes.as_chunks::<2>();
    if elements
        .iter()
        .any(|element| u16::from_le_bytes(*element) & exponent == exponent)
    {
        return Err(Error::invalid(format!(
            "a query vector for field {} has an element that is not a number or infinity: only finite values are allowed",
            field.name
        )));
    }
    Ok(())
}

/// A placeholder group and the number of its vectors.
fn decode(bytes: &[u8]) -> Result<(PlaceholderGroup, usize)> {
    let group = PlaceholderGroup::decode(bytes).map_err(|e| {
        Error::invalid(format!(
            "the placeholder group of the search cannot be decoded: {e}"
        ))
    })?;
    let nq = group
        .placeholders
        .iter()
        .map(|placeholder| placeholder.values.len())
        .sum();
    if !(1..=MAX_QUERIES).contains(&nq) {
        return Err(wrong_nq(nq));
    }
    Ok((group, nq))
}

/// Reads the float vectors of a placeholder group for a field of `dim` elements.
///
/// # Errors
/// When the bytes are not a placeholder group, hold another kind of query or another dimension.
fn float_vectors(bytes: &[u8], field: &str, dim: usize) -> Result<Floats> {
    let (group, nq) = decode(bytes)?;
    // Not `nq * dim`: sixteen thousand empty vectors are a small message.
    let mut values = Vec::with_capacity(bytes.len() / size_of::<f32>());
    for placeholder in &group.placeholders {
        let kind = PlaceholderType::try_from(placeholder.r#type);
        if kind != Ok(PlaceholderType::FloatVector) {
            return Err(wrong_kind(kind.ok(), placeholder.r#type, field, "FloatVector"));
        }
        for vector in &placeholder.values {
            if vector.len() != dim * size_of::<f32>() {
                return Err(Error::new(
                    Code::Unexpected,
                    format!(
                        "vector dimension mismatch, expected vector size(byte) {}, actual {}: field {field} has {dim} dimensions, the query vector has {}",
                        dim * size_of::<f32>(),
                        vector.len(),
                        vector.len() / size_of::<f32>()
                    ),
                ));
            }
            let start = values.len();
            values.extend(vector.chunks_exact(4).map(|b| match b {
                [a, b, c, d] => f32::from_le_bytes([*a, *b, *c, *d]),
                _ => f32::NAN,
            }));
            if let Some(bad) = values.iter().skip(start).find(|value| !value.is_finite()) {
                return Err(not_finite(*bad, field));
            }
        }
    }
    Ok(Floats { nq, values })
}

/// The error of too few or too many query vectors.
pub(crate) fn wrong_nq(nq: usize) -> Error {
    Error::invalid(format!(
        "nq [{nq}] is invalid, nq (number of search vector per search request) should be in range [1, {MAX_QUERIES}], but got {nq}"
    ))
}

fn wrong_kind(kind: Option<PlaceholderType>, code: i32, field: &str, data_type: &str) -> Error {
    match kind {
        Some(PlaceholderType::VarChar) => Error::invalid(format!(
            "a text query needs a field that a BM25 function fills, field {field} is none; send vectors"
        )),
        Some(
            known @ (PlaceholderType::EmbListBinaryVector
            | PlaceholderType::EmbListFloatVector
            | PlaceholderType::EmbListFloat16Vector
            | PlaceholderType::EmbListBFloat16Vector
            | PlaceholderType::EmbListSparseFloatVector
            | PlaceholderType::EmbListInt8Vector),
        ) => Error::invalid(format!(
            "vector type must be the same, field {field} is a {data_type}, the query is an embedding list ({}): lists search vectors in arrays of structs that are indexed with a metric of lists (MAX_SIM)",
            known.as_str_name()
        )),
        Some(
            known @ (PlaceholderType::None
            | PlaceholderType::BinaryVector
            | PlaceholderType::FloatVector
            | PlaceholderType::Float16Vector
            | PlaceholderType::BFloat16Vector
            | PlaceholderType::SparseFloatVector
            | PlaceholderType::Int8Vector
            | PlaceholderType::Int64),
        ) => Error::invalid(format!(
            "vector type must be the same, field {field} is a {data_type}, the query is {}",
            known.as_str_name()
        )),
        None => Error::invalid(format!(
            "vector type must be the same, field {field} is a {data_type}, the query is of type {code}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use milvus::proto::common::PlaceholderValue;
    use proptest::prelude::*;

    use super::*;

    fn group(kind: PlaceholderType, vectors: &[Vec<f32>]) -> Vec<u8> {
        let values = vectors
            .iter()
            .map(|v| v.iter().flat_map(|x| x.to_le_bytes()).collect())
            .collect();
        let value = PlaceholderValue {
            tag: "$0".into(),
            r#type: kind as i32,
            values,
            element_level: false,
        };
        PlaceholderGroup {
            placeholders: vec![value],
        }
        .encode_to_vec()
    }

    proptest! {
        #[test]
        fn vectors_arrive_as_sent(vectors in proptest::collection::vec(proptest::collection::vec(-1e30_f32..1e30, 3), 1..20)) {
            let queries = float_vectors(&group(PlaceholderType::FloatVector, &vectors), "v", 3).unwrap();
            prop_assert_eq!(queries.nq, vectors.len());
            prop_assert_eq!(queries.values, vectors.concat());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = float_vectors(&bytes, "v", 4);
        }
    }

    #[test]
    fn mistakes_read_as_in_milvus() {
        let error = |kind, vectors: &[Vec<f32>]| {
            float_vectors(&group(kind, vectors), "v", 2)
                .unwrap_err()
                .to_string()
        };
        let float = PlaceholderType::FloatVector;
        assert!(
            error(float, &[vec![1.0; 3]])
                .starts_with("vector dimension mismatch, expected vector size(byte) 8, actual 12")
        );
        assert!(error(float, &[]).contains("should be in range [1, 16384], but got 0"));
        assert!(error(float, &[vec![f32::NAN, 0.0]]).contains("not a number"));
        let (dim, none) = (32_768, vec![Vec::new(); MAX_QUERIES]);
        let refused = float_vectors(&group(float, &none), "v", dim)
            .unwrap_err()
            .to_string();
        assert!(
            refused.starts_with("vector dimension mismatch, expected vector size(byte) 131072, actual 0")
        );
        assert!(error(PlaceholderType::VarChar, &[vec![1.0]]).starts_with("a text query needs a field"));
        assert!(error(PlaceholderType::BinaryVector, &[vec![1.0]]).contains("vector type must be the same"));
        assert!(
            error(PlaceholderType::EmbListFloatVector, &[vec![1.0]])
                .contains("the query is an embedding list (EmbListFloatVector)")
        );
    }

    #[test]
    fn lists_are_read_by_the_bytes_of_their_vectors() {
        let field = Field::new(
            "s[v]",
            DataType::VectorArray {
                element: Box::new(DataType::FloatVector { dim: 2 }),
            },
        );
        let read = |kind: PlaceholderType, lists: &[Vec<f32>]| vectors(&group(kind, lists), &field);
        let lists = PlaceholderType::EmbListFloatVector;
        let queries = read(lists, &[vec![1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0]]).unwrap();
        assert_eq!(queries.nq, 2);
        let Queries::Column(column) = queries.values else {
            panic!("not a column")
        };
        assert_eq!(column.data_type(), &field.data_type.to_arrow());
        let error = |kind: PlaceholderType, list: Vec<f32>| read(kind, &[list]).unwrap_err().to_string();
        assert!(error(lists, vec![1.0]).contains("one or more vectors of 2 dimensions, 8 bytes each"));
        assert!(error(lists, Vec::new()).contains("has 0 bytes"));
        assert!(error(lists, vec![f32::NAN, 1.0]).contains("not a number"));
        assert!(error(PlaceholderType::FloatVector, vec![1.0, 2.0]).contains("send an EmbeddingList"));
        assert!(
            error(PlaceholderType::EmbListInt8Vector, vec![1.0, 2.0])
                .contains("vector type must be the same")
        );
    }
}
