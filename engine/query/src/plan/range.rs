//! Ranges of distances: `WHERE v <-> q < 0.3` as a part of the search that is ordered by the same distance.
//!
//! ```text
//!   WHERE price < 5 AND v <-> q < 0.3 ORDER BY v <-> q LIMIT 10
//!
//!   Sort: v <-> q, fetch=10                                Sort: v <-> q, fetch=10
//!     TableScan: docs, filter=price < 5 AND v <-> q < 0.3  =>  VectorSearch: k=10, range=[v <-> q < 0.3]
//!                                                                TableScan: docs, filter=price < 5
//! ```
//!
//! As a filter the condition is computed for every row, as a range an index passes over the rows beyond it. The range is
//! one of the numbers that the index compares, of which SQL shows others: the root of the square, one minus the
//! similarity. What SQL shows grows with what the index compares, so of all 32-bit floats there is a last one for which
//! the condition holds, and it is found by halving: the range has the very rows that the condition lets through.
//!
//! Only conditions with a far end become ranges: without one, rows without a distance would be in it (SQL puts NaN after
//! all numbers).

use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, ExprSchemable, Operator};
use elanus_index::{AnyMetric, Metric, Window};

use super::distance::{Distance, is_repeatable, unaliased};

/// A condition on the distance that a search is ordered by.
struct Bound<'a> {
    /// The distance is .. than the limit.
    op: Operator,
    limit: &'a Expr,
    /// Whether what is compared grows the other way than the distance.
    descending: bool,
}

impl<'a> Bound<'a> {
    /// Reads `filter`; `distance_of` says of an expression which distance it is.
    fn of(
        filter: &'a Expr,
        searched: &Distance,
        distance_of: impl Fn(&Expr) -> Option<Distance>,
    ) -> Option<Self> {
        let Expr::BinaryExpr(comparison) = unaliased(filter) else {
            return None;
        };
        let is_searched = |expr: &Expr| {
            distance_of(expr).filter(|distance| {
                distance.metric == searched.metric
                    && distance.column == searched.column
                    && distance.sub_field == searched.sub_field
                    && distance.elements == searched.elements
                    && unaliased(&distance.query) == unaliased(&searched.query)
            })
        };
        let (op, distance, limit) = match (is_searched(&comparison.left), is_searched(&comparison.right)) {
            (Some(distance), None) => (comparison.op, distance, comparison.right.as_ref()),
            (None, Some(distance)) => (comparison.op.swap()?, distance, comparison.left.as_ref()),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        let is_order = matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq);
        is_order.then_some(Self {
            op,
            limit,
            descending: distance.descending,
        })
    }

    /// Whether it says how far a row may be.
    fn is_far_end(&self) -> bool {
        matches!(self.op, Operator::Lt | Operator::LtEq) != self.descending
    }

    /// Whether a row at this distance fulfils it.
    fn holds(&self, metric: AnyMetric, distance: f32, limit: f64) -> bool {
        let value = shown(metric, self.descending, distance);
        // As SQL compares numbers.
        let order = value.total_cmp(&limit);
        match self.op {
            Operator::Lt => order.is_lt(),
            Operator::LtEq => order.is_le(),
            Operator::Gt => order.is_gt(),
            _ => order.is_ge(),
        }
    }
}

/// What SQL shows for a distance that an index compares.
fn shown(metric: AnyMetric, descending: bool, distance: f32) -> f64 {
    if metric == Metric::L2 {
        f64::from(distance).sqrt()
    } else if metric == Metric::Cosine || metric.minhash().is_some() {
        1.0 - f64::from(metric.score(distance))
    } else if descending {
        f64::from(metric.score(distance))
    } else {
        // Not `-0`, as the function.
        f64::from(distance) + 0.0
    }
}

/// Takes the conditions out of `filters` that are a range of the distance `searched`, when they have a far end.
pub(super) fn take_range(
    filters: Vec<Expr>,
    searched: &Distance,
    schema: &DFSchema,
    distance_of: impl Fn(&Expr) -> Option<Distance>,
) -> (Vec<Expr>, Vec<Expr>) {
    let is_bound = |filter: &Expr| {
        Bound::of(filter, searched, &distance_of).is_some_and(|bound| is_number(bound.limit, schema))
    };
    let filters = filters.into_iter().flat_map(split_conjunction_owned);
    let (range, others): (Vec<Expr>, Vec<Expr>) = filters.partition(is_bound);
    let far =
        |filter: &Expr| Bound::of(filter, searched, &distance_of).is_some_and(|bound| bound.is_far_end());
    match range.iter().any(far) {
        true => (range, others),
        false => (Vec::new(), others.into_iter().chain(range).collect()),
    }
}

/// Whether the expression is a number that is known when a statement is planned and its parameters have values.
fn is_number(limit: &Expr, schema: &DFSchema) -> bool {
    let has_subquery = limit.exists(|expr| Ok(matches!(expr, Expr::ScalarSubquery(_))));
    let is_double = matches!(limit.get_type(schema), Ok(DataType::Float64));
    !limit.any_column_refs() && is_repeatable(limit) && is_double && matches!(has_subquery, Ok(false))
}

/// The distances that fulfil all of some conditions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Range {
    /// Those of the window.
    Window(Window),
    /// None at all.
    Nothing,
    /// Every one that is a number.
    Numbers,
}

impl Range {
    /// Of the conditions that [`take_range`] has found; `value` gives what a limit is.
    pub fn of(
        range: &[Expr],
        searched: &Distance,
        distance_of: impl Fn(&Expr) -> Option<Distance>,
        value: impl Fn(&Expr) -> Result<ScalarValue>,
    ) -> Result<Self> {
        let lowest = if searched.metric == Metric::L2 {
            0.0
        } else {
            f32::NEG_INFINITY
        };
        let (mut first, mut last) = (lowest, f32::INFINITY);
        for condition in range {
            // Once a parameter has its value there may be nothing left to compare.
            if let Expr::Literal(decided, _) = unaliased(condition) {
                match decided {
                    ScalarValue::Boolean(Some(true)) => continue,
                    _ => return Ok(Self::Nothing),
                }
            }
            let Some(bound) = Bound::of(condition, searched, &distance_of) else {
                return internal_err!("{condition} is no range of distances");
            };
            let limit = match value(bound.limit)? {
                ScalarValue::Float64(Some(limit)) => limit,
                _ => return Ok(Self::Nothing),
            };
            let holds = |distance: f32| bound.holds(searched.metric, distance, limit);
            if bound.is_far_end() {
                if !holds(lowest) {
                    return Ok(Self::Nothing);
                }
                last = last.min(last_of(lowest, holds));
            } else {
                if !holds(f32::INFINITY) {
                    return Ok(Self::Nothing);
                }
                if !holds(lowest) {
                    first = first.max(last_of(lowest, |distance| !holds(distance)).next_up());
                }
            }
        }
        if first > last {
            return Ok(Self::Nothing);
        }
        let open = |end: f32| end.is_infinite() || end == lowest;
        let near = (!open(first)).then_some(first);
        let far = (last < f32::INFINITY).then(|| last.next_up());
        Ok(match (near, far) {
            (None, None) => Self::Numbers,
            (near, far) => Self::Window(Window::new(near, far)),
        })
    }
}

/// The last float from `lowest` up to infinity for which `holds`, which is so for `lowest` and, from some float on, no more.
fn last_of(lowest: f32, holds: impl Fn(f32) -> bool) -> f32 {
    let (mut yes, mut no) = (place(lowest), place(f32::INFINITY));
    if holds(f32::INFINITY) {
        return f32::INFINITY;
    }
    while i64::from(no) - i64::from(yes) > 1 {
        let middle = i32::midpoint(yes, no);
        if holds(float(middle)) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    float(yes)
}

/// The place of a float in the order of all floats.
fn place(value: f32) -> i32 {
    let bits = value.to_bits().cast_signed();
    bits ^ ((bits >> 31).cast_unsigned() >> 1).cast_signed()
}

/// The float at a place.
fn float(place: i32) -> f32 {
    let bits = place ^ ((place >> 31).cast_unsigned() >> 1).cast_signed();
    f32::from_bits(bits.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use elanus_index::BitMetric;

    use super::*;

    #[test]
    fn places_are_in_the_order_of_floats() {
        let floats = [
            f32::NEG_INFINITY,
            -2.5,
            -f32::MIN_POSITIVE,
            -0.0,
            0.0,
            1e-40,
            1.0,
            f32::INFINITY,
        ];
        assert!(floats.is_sorted_by(|a, b| place(*a) < place(*b)));
        assert!(
            floats
                .iter()
                .all(|value| float(place(*value)).to_bits() == value.to_bits())
        );
    }

    #[test]
    fn the_last_distance_is_that_of_the_condition() {
        let metrics: [(AnyMetric, f32); 4] = [
            (Metric::L2.into(), 0.0),
            (Metric::Cosine.into(), f32::NEG_INFINITY),
            (Metric::Ip.into(), f32::NEG_INFINITY),
            (BitMetric::Hamming.into(), f32::NEG_INFINITY),
        ];
        for (metric, lowest) in metrics {
            for limit in [0.3, 1.0, 2.0_f64.sqrt(), 1e-9, 7.25, f64::from(0.1_f32)] {
                for op in [Operator::Lt, Operator::LtEq] {
                    let limit_expr = Expr::default();
                    let bound = Bound {
                        op,
                        limit: &limit_expr,
                        descending: false,
                    };
                    let last = last_of(lowest, |distance| bound.holds(metric, distance, limit));
                    assert!(bound.holds(metric, last, limit), "{metric} {op} {limit}");
                    assert!(
                        !bound.holds(metric, last.next_up(), limit),
                        "{metric} {op} {limit}"
                    );
                }
            }
        }
    }
}
