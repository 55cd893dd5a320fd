//! The query vectors of one search, of the type of the searched column.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::filter;
use datafusion::common::ScalarValue;
use elanus_collection::{DataType, VectorColumn};
use elanus_index::VectorRef;
use elanus_udfs::vector::{VectorKind, to_vector_lists, to_vectors};

use crate::error::{QueryError, Result};
use crate::request::Queries;
use crate::sql::struct_fields::kind_of;
use crate::sql::vector_text::vector_of_scalar;
use crate::text_queries::TextQueries;

/// Query vectors that have been checked against the column.
#[derive(Debug, Clone)]
pub(crate) enum QueryVectors {
    /// One query that is NULL: every distance is undefined.
    Null,
    /// 32-bit floats, row-major.
    Floats {
        /// All elements.
        values: Arc<[f32]>,
        /// Elements of a vector.
        dim: usize,
    },
    /// Vectors of another type.
    Column(VectorColumn),
    /// Texts to search counted terms for.
    Texts(TextQueries),
}

impl QueryVectors {
    /// The query vectors of a request.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] when they are not `nq` vectors of the field's type and dimension.
    pub fn of_request(field: &str, data_type: &DataType, queries: &Queries, nq: usize) -> Result<Self> {
        let dim = data_type.dim().map_or(0, |dim| dim as usize);
        match (data_type, queries) {
            (DataType::FloatVector { .. }, Queries::Floats(values)) => {
                if nq.checked_mul(dim) != Some(values.len()) {
                    return Err(QueryError::InvalidParameter(format!(
                        "{nq} query vectors of dimension {} given, field '{field}' has dimension {dim}",
                        values.len() / nq.max(1),
                    )));
                }
                Ok(Self::Floats {
                    values: Arc::from(values.as_slice()),
                    dim,
                })
            }
            (_, Queries::Column(array)) if !matches!(data_type, DataType::FloatVector { .. }) => {
                let column = VectorColumn::new(data_type, array)?;
                if array.len() != nq || array.null_count() > 0 {
                    return Err(QueryError::InvalidParameter(format!(
                        "{} query vectors given for {nq} queries, {} of them NULL",
                        array.len(),
                        array.null_count()
                    )));
                }
                Ok(Self::Column(column))
            }
            (_, Queries::Texts { .. }) => Err(QueryError::InvalidParameter(format!(
                "a text query needs a field that a BM25 function fills, field '{field}' is none"
            ))),
            (_, Queries::Floats(_)) => Err(QueryError::InvalidParameter(format!(
                "query vectors of 32-bit floats given, field '{field}' is {}",
                data_type.name()
            ))),
            (_, Queries::Column(array)) => Err(QueryError::InvalidParameter(format!(
                "query vectors of type {} given, field '{field}' is {}",
                array.data_type(),
                data_type.name()
            ))),
        }
    }

    /// The query vector that an expression of SQL came to.
    ///
    /// # Errors
    /// When the value is not a vector of the column's type, or of another dimension.
    pub fn of_scalar(column: &str, data_type: &DataType, value: &ScalarValue) -> Result<Self> {
        if let DataType::FloatVector { dim } = data_type {
            let dim = *dim as usize;
            return Ok(match vector_of_scalar(value, column, dim)? {
                Some(vector) => Self::Floats {
                    values: Arc::from(vector),
                    dim,
                },
                None => Self::Null,
            });
        }
        if value.is_null() {
            return Ok(Self::Null);
        }
        Self::of_array(column, data_type, &value.to_array()?)
    }

    /// Vectors of another type than 32-bit floats, none of them NULL.
    fn of_array(column: &str, data_type: &DataType, given: &ArrayRef) -> Result<Self> {
        let no_vector = || QueryError::Internal(format!("column '{column}' is no vector"));
        if let DataType::VectorArray { element } = data_type {
            let lists = to_vector_lists(kind_of(element).ok_or_else(no_vector)?, given)?;
            if lists.offsets().lengths().any(|vectors| vectors == 0) {
                return Err(QueryError::InvalidParameter(format!(
                    "a query of the lists of '{column}' has at least one vector, got none"
                )));
            }
            let lists: ArrayRef = Arc::new(lists);
            return Ok(Self::Column(VectorColumn::new(data_type, &lists)?));
        }
        let kind = kind_of(data_type).ok_or_else(no_vector)?;
        let array: ArrayRef = if given.data_type() == &kind.data_type() {
            Arc::clone(given)
        } else {
            to_vectors(kind, VectorKind::of_type(given.data_type()), given, false)?
        };
        Ok(Self::Column(VectorColumn::new(data_type, &array)?))
    }

    /// The queries one by one.
    ///
    /// # Errors
    /// An internal one only: the column was checked.
    pub fn all(&self) -> Result<Vec<Option<VectorRef<'_>>>> {
        Ok(match self {
            Self::Null => vec![None],
            Self::Floats { values, dim } => values
                .chunks_exact((*dim).max(1))
                .map(|vector| Some(VectorRef::Floats(vector)))
                .collect(),
            Self::Texts(texts) => texts.all().map(Some).collect(),
            Self::Column(column) => {
                let vectors = column.vectors()?;
                (0..vectors.len()).map(|row| Some(vectors.row(row))).collect()
            }
        })
    }
}

/// A query vector in each row of a column; rows may be NULL.
#[derive(Debug, Clone)]
pub(crate) struct QueryColumn {
    vectors: QueryVectors,
    /// Whether there is a vector in the row.
    valid: Vec<bool>,
}

impl QueryColumn {
    /// The vectors that an expression of SQL came to, for a searched column of this type.
    ///
    /// # Errors
    /// As [`QueryVectors::of_scalar`].
    pub fn new(column: &str, data_type: &DataType, array: &ArrayRef) -> Result<Self> {
        let nulls = array.logical_nulls();
        let valid: Vec<bool> = (0..array.len())
            .map(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)))
            .collect();
        if !valid.contains(&true) {
            let vectors = QueryVectors::Null;
            return Ok(Self { vectors, valid });
        }
        let given = match nulls {
            Some(_) => filter(array, &BooleanArray::from(valid.clone()))?,
            None => Arc::clone(array),
        };
        let vectors = match data_type {
            DataType::FloatVector { dim } => {
                let dim = *dim as usize;
                let mut values = Vec::with_capacity(given.len() * dim);
                for row in 0..given.len() {
                    let value = ScalarValue::try_from_array(&given, row)?;
                    values.extend(vector_of_scalar(&value, column, dim)?.unwrap_or_default());
                }
                QueryVectors::Floats {
                    values: values.into(),
                    dim,
                }
            }
            _ => QueryVectors::of_array(column, data_type, &given)?,
        };
        Ok(Self { vectors, valid })
    }

    /// The queries one by one, `None` for NULL.
    ///
    /// # Errors
    /// As [`QueryVectors::all`].
    pub fn all(&self) -> Result<Vec<Option<VectorRef<'_>>>> {
        let mut vectors = self.vectors.all()?.into_iter();
        let next = |valid: &bool| if *valid { vectors.next().flatten() } else { None };
        Ok(self.valid.iter().map(next).collect())
    }
}
