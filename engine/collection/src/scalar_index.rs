//! Scalar indexes of segments: what one is built from, and asking one.
//!
//! An index is of the values of a column, of the terms of its texts, as an analyzer makes them, or of where its shapes are.
//!
//! An index is of the values that a segment was written with; of rows with newer values ([`crate::overlay`]) it says
//! nothing, which [`Unit::ask`] takes care of.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::{
    DataType as ArrowType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use elanus_geometry::Shape;
use elanus_index::scalar::{
    ColumnIndex, Extent, ExtentColumn, ExtentIndex, GramLengths, ScalarColumn, ScalarIndex, Values, Verdict,
};
use elanus_index::{Bitset, BuildError, BuildOptions};
use elanus_text::Analyzer;

use crate::error::{Error, Result};
use crate::json_values::{Found, JsonCast};
use crate::unit::Unit;

/// A build is looked at for cancellation each time after so many texts.
const ROWS_BETWEEN_LOOKS: usize = 1_024;

/// What a definition of a scalar index asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScalarBuild {
    /// Whether parts of texts are indexed, and which.
    pub grams: Option<GramLengths>,
    /// Parameters of the analyzer whose terms are indexed instead of the texts.
    pub analyzer: Option<String>,
    /// Where in JSON the values are, if they are in JSON.
    pub json: Option<JsonCast>,
}

/// What is indexed: a column, the terms of its texts, or a place in its JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexTarget {
    /// Name of the column.
    pub field: String,
    /// Parameters of the analyzer, when it is the terms.
    pub analyzer: Option<String>,
    /// The place in JSON.
    pub json: Option<JsonPlace>,
}

/// A place in a JSON column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPlace {
    /// JSON pointer; empty is the whole value.
    pub pointer: String,
    /// Whether the elements of an array there are meant, and not the value itself.
    pub elements: bool,
    /// Whether text there counts as the number that it begins with.
    pub numbers_in_texts: bool,
}

impl From<&JsonCast> for JsonPlace {
    fn from(cast: &JsonCast) -> Self {
        Self {
            pointer: cast.pointer.clone(),
            elements: cast.elements(),
            numbers_in_texts: cast.numbers_in_texts(),
        }
    }
}

/// A scalar index of a unit.
#[derive(Debug, Clone)]
pub(crate) struct ScalarField {
    /// Name of the index.
    pub name: Arc<str>,
    /// Stored name of the field.
    pub field: String,
    /// Parameters of the analyzer, of an index of terms.
    pub analyzer: Option<Arc<str>>,
    /// The place in JSON.
    pub json: Option<JsonPlace>,
    pub index: Arc<ColumnIndex>,
}

/// Builds the index of a column.
///
/// # Errors
/// [`Error::IndexBuild`] for a column of a type that has none, and what the build says.
pub(crate) fn build(
    build: &ScalarBuild,
    column: &ArrayRef,
    options: &BuildOptions<'_>,
) -> Result<ColumnIndex> {
    let failed = |error: BuildError| Error::IndexBuild(error.to_string());
    if let Some(shapes) = column.as_binary_opt::<i32>() {
        let column = extents(shapes, options)?;
        return ExtentIndex::build(column, options)
            .map(ColumnIndex::from)
            .map_err(failed);
    }
    of_values(build, column, options).map(ColumnIndex::from)
}

/// Builds the index of a column of values that have an order.
fn of_values(build: &ScalarBuild, column: &ArrayRef, options: &BuildOptions<'_>) -> Result<ScalarIndex> {
    let failed = |error: BuildError| Error::IndexBuild(error.to_string());
    if let (Some(cast), Some(texts)) = (&build.json, column.as_string_opt::<i32>()) {
        let found = Found::of(texts, cast);
        return ScalarIndex::build(found.column(), build.grams, options).map_err(failed);
    }
    let rows = column.len();
    let nulls = Bitset::from_fn(rows, |row| column.is_null(row));
    if let Some(params) = &build.analyzer {
        let terms = Terms::of(params, column, options)?;
        let column = ScalarColumn {
            rows,
            values: terms.values(),
            nulls,
            others: Bitset::new(rows),
        };
        return ScalarIndex::build(column, None, options).map_err(failed);
    }
    let values = match column.as_list_opt::<i32>() {
        None => values(column, &|row| row as u32),
        Some(lists) => {
            let mut row_of = vec![u32::MAX; lists.values().len()];
            for (row, bounds) in lists.value_offsets().windows(2).enumerate() {
                if let [start, end] = bounds
                    && lists.is_valid(row)
                    && let Some(elements) = row_of.get_mut(*start as usize..*end as usize)
                {
                    elements.fill(row as u32);
                }
            }
            values(lists.values(), &|element| {
                row_of.get(element).copied().unwrap_or(u32::MAX)
            })
        }
    };
    let values = values
        .ok_or_else(|| Error::IndexBuild(format!("a column of type {} has no index", column.data_type())))?;
    let column = ScalarColumn {
        rows,
        values,
        nulls,
        others: Bitset::new(rows),
    };
    ScalarIndex::build(column, build.grams, options).map_err(failed)
}

/// Where the shapes of a column are.
fn extents(shapes: &BinaryArray, options: &BuildOptions<'_>) -> Result<ExtentColumn> {
    let rows = shapes.len();
    let mut column = ExtentColumn {
        rows,
        extents: Vec::with_capacity(rows),
        nulls: Bitset::from_fn(rows, |row| shapes.is_null(row)),
        others: Bitset::new(rows),
    };
    for (row, bytes) in shapes.iter().enumerate() {
        if row % ROWS_BETWEEN_LOOKS == 0 && options.progress.cancelled() {
            return Err(Error::IndexBuild(BuildError::Cancelled.to_string()));
        }
        match bytes.map(Shape::from_wkb) {
            None => {}
            Some(Err(_)) => column.others.set(row),
            Some(Ok(shape)) => {
                if let Some((min, max)) = shape.bounds() {
                    let bulge = shape.bulge();
                    column.extents.push((Extent { min, max, bulge }, row as u32));
                }
            }
        }
    }
    Ok(column)
}

/// The distinct terms of a column of texts, and which row has which.
struct Terms {
    places: HashMap<String, u32>,
    pairs: Vec<(u32, u32)>,
}

impl Terms {
    fn of(params: &str, column: &ArrayRef, options: &BuildOptions<'_>) -> Result<Self> {
        let analyzer = Analyzer::parse(params).map_err(|error| Error::IndexBuild(error.to_string()))?;
        let texts = column.as_string_opt::<i32>().ok_or_else(|| {
            Error::IndexBuild(format!("a column of type {} has no terms", column.data_type()))
        })?;
        let (mut places, mut pairs) = (HashMap::<String, u32>::new(), Vec::new());
        for (row, text) in texts.iter().enumerate() {
            if row % ROWS_BETWEEN_LOOKS == 0 && options.progress.cancelled() {
                return Err(Error::IndexBuild(BuildError::Cancelled.to_string()));
            }
            for token in text.map(|text| analyzer.tokens(text)).unwrap_or_default() {
                let next = places.len() as u32;
                let place = *places.entry(token.text).or_insert(next);
                pairs.push((place, row as u32));
            }
        }
        Ok(Self { places, pairs })
    }

    fn values(&self) -> Values<'_> {
        let mut texts = vec![""; self.places.len()];
        for (text, place) in &self.places {
            if let Some(slot) = texts.get_mut(*place as usize) {
                *slot = text;
            }
        }
        Values::Terms {
            texts,
            pairs: self.pairs.clone(),
        }
    }
}

/// The values of an array that are not NULL, each with its row; `u32::MAX` is none.
fn values<'a>(array: &'a ArrayRef, row_of: &dyn Fn(usize) -> u32) -> Option<Values<'a>> {
    macro_rules! of {
        ($array:expr, $convert:expr) => {{
            let array = $array;
            let there = (0..array.len()).filter(|place| array.is_valid(*place));
            let rows = there.map(|place| ($convert(array.value(place)), row_of(place)));
            rows.filter(|(_, row)| *row != u32::MAX).collect()
        }};
    }
    let data_type = array.data_type();
    if let Some(array) = array.as_string_opt::<i32>() {
        return Some(Values::Texts(of!(array, |value| value)));
    }
    if let Some(array) = array.as_boolean_opt() {
        return Some(Values::Ints(of!(array, i64::from)));
    }
    if let Some(array) = array.as_primitive_opt::<Int64Type>() {
        return Some(Values::Ints(of!(array, |value| value)));
    }
    if let Some(array) = array.as_primitive_opt::<Int32Type>() {
        return Some(Values::Ints(of!(array, i64::from)));
    }
    if let Some(array) = array.as_primitive_opt::<Int16Type>() {
        return Some(Values::Ints(of!(array, i64::from)));
    }
    if let Some(array) = array.as_primitive_opt::<Int8Type>() {
        return Some(Values::Ints(of!(array, i64::from)));
    }
    if let Some(array) = array.as_primitive_opt::<Float64Type>() {
        return Some(Values::Floats(of!(array, |value| value)));
    }
    if let Some(array) = array.as_primitive_opt::<Float32Type>() {
        return Some(Values::Floats(of!(array, f64::from)));
    }
    if matches!(data_type, ArrowType::Timestamp(TimeUnit::Microsecond, _)) {
        let array = array.as_primitive_opt::<TimestampMicrosecondType>()?;
        return Some(Values::Ints(of!(array, |value| value)));
    }
    None
}

impl Unit {
    /// Whether there is a scalar index on this here.
    pub fn has_scalar_index(&self, target: &IndexTarget) -> bool {
        self.scalar_field(target).is_some()
    }

    /// What the scalar index on `target` says of each row, and the name of the index. `None` when there is no index, or
    /// `question` gets no answer from it. Nothing is known of rows whose value was updated.
    pub fn ask(
        &self,
        target: &IndexTarget,
        question: impl FnOnce(&ColumnIndex) -> Option<Verdict>,
    ) -> Option<(Verdict, Arc<str>)> {
        let scalar = self.scalar_field(target)?;
        let mut verdict = question(&scalar.index)?;
        for row in self.over().overlay.rows_of(&scalar.field) {
            verdict.doubt(row as usize);
        }
        Some((verdict, Arc::clone(&scalar.name)))
    }
}
