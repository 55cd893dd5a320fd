//! What scalar indexes answer of a filter.
//!
//! ```text
//!   price < 10 AND (color = 'red' OR note LIKE '%x%')
//!
//!   And ─ Test price: below 10        index of price            -> verdict      no index on note: its part is open,
//!      └─ Or ─ Test color: one of red   index of color            -> verdict      anything may come of it
//!            └─ Test note: by value     index of note, if any     -> verdict
//! ```
//!
//! A filter is brought once into this form ([`lower`]); each unit with indexes is then asked ([`IndexFilter::ask`]) for
//! its [`Verdict`]: rows where the filter is sure to be true, and rows where it may be. Only the latter are evaluated. The
//! verdict is right whatever is indexed, as parts that nothing answers may be anything.
//!
//! A condition on a single column that is no plain test (`LIKE`, regular expressions, functions) is evaluated on the
//! distinct values of its column instead of on its rows, when they are few or the index has few candidates.
//!
//! Of shapes an index knows where they are at most ([`shapes`]): the rows of which the shape may be there stay open.

mod json;
mod like;
mod lower;
mod report;
mod shapes;
mod text;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType as ArrowType, SchemaRef};
use datafusion::physical_plan::PhysicalExpr;
use elanus_collection::{IndexTarget, Unit};
use elanus_index::scalar::{ColumnIndex, Distinct, ScalarIndex, ScalarTest, Verdict};
use elanus_text::matching::is_close;

pub(crate) use self::report::IndexUse;
use self::shapes::Place;

/// Conditions are evaluated on distinct values when there are at most this part of the rows of them.
const FEW_VALUES: usize = 4;

/// A filter as far as indexes may answer it.
#[derive(Debug)]
pub(crate) enum IndexFilter {
    /// A test of one column, or of one place in JSON.
    Test {
        target: IndexTarget,
        question: Question,
        /// The condition, for reports.
        text: String,
    },
    /// The same in each row.
    Constant(Option<bool>),
    Not(Box<Self>),
    IsTrue(Box<Self>),
    IsNull(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
    /// No index answers this.
    Open,
}

/// What an index is asked.
#[derive(Debug)]
pub(crate) enum Question {
    /// A test of the value.
    Test(ScalarTest),
    /// A condition that is evaluated on values.
    Values(ValueCondition),
    /// Whether one of the terms is so close to one of these.
    Close { wanted: Vec<String>, distance: usize },
    /// Whether the shape may be there.
    Place(Place),
}

/// A condition on a single column.
#[derive(Debug)]
pub(crate) struct ValueCondition {
    /// Over the one column of `schema`.
    expr: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    /// Texts that a value must have in it for the condition to be true; else it is false.
    pieces: Vec<String>,
}

impl IndexFilter {
    /// Whether there is anything to ask.
    fn asks(&self) -> bool {
        match self {
            Self::Test { .. } => true,
            Self::Constant(_) | Self::Open => false,
            Self::Not(part) | Self::IsTrue(part) | Self::IsNull(part) => part.asks(),
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::asks),
        }
    }

    /// Whether a unit has an index for any of the tests.
    pub fn applies_to(&self, unit: &Unit) -> bool {
        match self {
            Self::Test { target, .. } => unit.has_scalar_index(target),
            Self::Constant(_) | Self::Open => false,
            Self::Not(part) | Self::IsTrue(part) | Self::IsNull(part) => part.applies_to(unit),
            Self::And(parts) | Self::Or(parts) => parts.iter().any(|part| part.applies_to(unit)),
        }
    }

    /// What the filter is in each row, deleted ones included; `None` when the indexes say nothing about it. Adds to `used`
    /// what they were asked.
    pub fn ask(&self, unit: &Unit, used: &mut Vec<(Arc<str>, String)>) -> Option<Verdict> {
        let rows = unit.rows() as usize;
        match self {
            Self::Test {
                target,
                question,
                text,
            } => {
                let (verdict, index) = unit.ask(target, |index| question.answer(index))?;
                used.push((index, text.clone()));
                Some(verdict)
            }
            Self::Constant(value) => Some(Verdict::constant(rows, *value)),
            Self::Open => None,
            Self::Not(part) => part.ask(unit, used).map(Verdict::negated),
            Self::IsTrue(part) => part.ask(unit, used).map(Verdict::is_true),
            Self::IsNull(part) => part.ask(unit, used).map(Verdict::is_null),
            Self::And(parts) => joined(parts, unit, used, Verdict::and),
            Self::Or(parts) => joined(parts, unit, used, Verdict::or),
        }
    }
}

/// The verdicts of all parts together; parts without one may be anything.
fn joined(
    parts: &[IndexFilter],
    unit: &Unit,
    used: &mut Vec<(Arc<str>, String)>,
    join: fn(Verdict, Verdict) -> Verdict,
) -> Option<Verdict> {
    let verdicts: Vec<_> = parts.iter().filter_map(|part| part.ask(unit, used)).collect();
    let open = verdicts.len() < parts.len();
    let together = verdicts.into_iter().reduce(join)?;
    Some(if open {
        join(together, Verdict::anything(unit.rows() as usize))
    } else {
        together
    })
}

impl Question {
    fn answer(&self, index: &ColumnIndex) -> Option<Verdict> {
        match (self, index) {
            (Self::Test(test), ColumnIndex::Values(index)) => index.answer(test),
            (Self::Values(condition), ColumnIndex::Values(index)) => condition.answer(index),
            (Self::Close { wanted, distance }, ColumnIndex::Values(index)) => close(wanted, *distance, index),
            (Self::Place(place), ColumnIndex::Extents(index)) => {
                Some(index.answer(|extent| place.may_have(extent)))
            }
            (Self::Test(ScalarTest::Null), ColumnIndex::Extents(index)) => Some(index.answer_null()),
            (Self::Place(_), ColumnIndex::Values(_))
            | (Self::Test(_) | Self::Values(_) | Self::Close { .. }, ColumnIndex::Extents(_)) => None,
        }
    }
}

/// Rows with a term that is close to one of those wanted.
fn close(wanted: &[String], distance: usize, index: &ScalarIndex) -> Option<Verdict> {
    let Distinct::Texts(terms) = index.distinct(None)? else {
        return None;
    };
    let passes = |term: &[u8]| {
        let term = std::str::from_utf8(term).unwrap_or_default();
        wanted.iter().any(|wanted| is_close(wanted, term, distance))
    };
    let codes = terms.iter().enumerate().filter(|(_, term)| passes(term));
    let codes: Vec<_> = codes.map(|(code, _)| (code, Some(true))).collect();
    Some(index.answer_by_code(&codes, None))
}

impl ValueCondition {
    /// Evaluates the condition on the values of an index. `None` when they are too many, or one of them makes it fail:
    /// that one may be in deleted rows only.
    fn answer(&self, index: &ScalarIndex) -> Option<Verdict> {
        let candidates = if self.pieces.is_empty() {
            None
        } else {
            index.texts_with(&self.pieces)
        };
        let count = candidates.as_ref().map_or(index.distinct_count(), Vec::len);
        if count > index.rows() / FEW_VALUES {
            return None;
        }
        let wanted = self.schema.field(0).data_type();
        // An index on a place in JSON may be of values of another type, which say nothing about those of this one.
        let values: ArrayRef = match index.distinct(candidates.as_deref())? {
            Distinct::Ints(_) if *wanted == ArrowType::Utf8 => return None,
            Distinct::Ints(values) => Arc::new(Int64Array::from(values)),
            Distinct::Texts(_) if *wanted != ArrowType::Utf8 => return None,
            Distinct::Texts(values) => {
                let texts: Result<Vec<&str>, _> = values.into_iter().map(std::str::from_utf8).collect();
                Arc::new(StringArray::from(texts.ok()?))
            }
        };
        let values = cast(&values, wanted).ok()?;
        // The last one tells of rows without a value.
        let values = concat(&[values.as_ref(), new_null_array(wanted, 1).as_ref()]).ok()?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), vec![values]).ok()?;
        let outcomes = self
            .expr
            .evaluate(&batch)
            .ok()?
            .into_array(batch.num_rows())
            .ok()?;
        let outcomes = outcomes.as_any().downcast_ref::<BooleanArray>()?;
        let outcome = |place: usize| outcomes.is_valid(place).then(|| outcomes.value(place));
        let of_codes: Vec<_> = match &candidates {
            None => (0..count).map(|code| (code, outcome(code))).collect(),
            Some(codes) => codes
                .iter()
                .enumerate()
                .map(|(place, code)| (*code, outcome(place)))
                .collect(),
        };
        Some(index.answer_by_code(&of_codes, outcome(count)))
    }
}
