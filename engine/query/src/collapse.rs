//! Collapse: the hits of a search of elements become one hit for each row, before they are fused with those of other searches.
//!
//! ```text
//!   (row 1, element 0) 0.9   (row 2, element 3) 0.8   (row 1, element 4) 0.7      sum:  row 1 1.6, row 2 0.8
//! ```
//!
//! Only hits count that the search has returned: an element of the row that was not found adds nothing.

use std::collections::HashMap;
use std::fmt;

use elanus_collection::split_sub_field_name;
use elanus_index::AnyMetric;

use crate::error::{QueryError, Result};
use crate::search::Hit;

/// One score of a row out of those of its elements. By default the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Collapse {
    /// The best one.
    #[default]
    Max,
    /// The sum of all.
    Sum,
    /// The mean of all.
    Avg,
    /// The sum of the best so many.
    TopSum(usize),
    /// The mean of the best so many.
    TopAvg(usize),
}

impl fmt::Display for Collapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Sum => f.write_str("sum"),
            Self::Avg => f.write_str("avg"),
            Self::TopSum(count) => write!(f, "topk_sum({count})"),
            Self::TopAvg(count) => write!(f, "topk_avg({count})"),
        }
    }
}

impl Collapse {
    /// # Errors
    /// [`QueryError::InvalidParameter`] for none of the best, and for a sum of distances: more elements would make a row worse.
    pub(crate) fn check(self, metric: AnyMetric) -> Result<()> {
        let invalid = |reason: String| Err(QueryError::InvalidParameter(reason));
        match self {
            Self::TopSum(0) | Self::TopAvg(0) => {
                invalid("element_scope.collapse: topk must be at least 1, got 0".into())
            }
            Self::Sum | Self::TopSum(_) if !metric.larger_is_better() => invalid(format!(
                "element_scope.collapse: a sum needs a metric of which larger is better, got {metric}; allowed are max, avg, topk_avg"
            )),
            Self::Max | Self::Sum | Self::Avg | Self::TopSum(_) | Self::TopAvg(_) => Ok(()),
        }
    }

    /// One hit for each row of `hits`, which come best first; best first again, equals by their addresses.
    pub(crate) fn rows(self, hits: &[Hit]) -> Vec<Hit> {
        let mut rows: HashMap<(u32, u32), Vec<f64>> = HashMap::new();
        for hit in hits {
            let distance = f64::from(hit.distance.unwrap_or(f32::NAN));
            rows.entry((hit.unit, hit.row)).or_default().push(distance);
        }
        let mut collapsed: Vec<Hit> = rows
            .into_iter()
            .map(|((unit, row), distances)| {
                #[expect(clippy::cast_possible_truncation, reason = "a distance is a float")]
                let distance = Some(self.of(&distances) as f32);
                Hit {
                    unit,
                    row,
                    element: None,
                    distance,
                }
            })
            .collect();
        collapsed.sort_unstable_by(Hit::total);
        collapsed
    }

    /// Out of distances, nearest first. Scores are distances or these negated, and so are their sums and means.
    fn of(self, distances: &[f64]) -> f64 {
        let best = |count: usize| distances.get(..count).unwrap_or(distances);
        let sum = |of: &[f64]| of.iter().sum::<f64>();
        #[expect(clippy::cast_precision_loss, reason = "a row has few elements")]
        let mean = |of: &[f64]| sum(of) / of.len().max(1) as f64;
        match self {
            Self::Max => distances.first().copied().unwrap_or(f64::NAN),
            Self::Sum => sum(distances),
            Self::Avg => mean(distances),
            Self::TopSum(count) => sum(best(count)),
            Self::TopAvg(count) => mean(best(count)),
        }
    }
}

/// A search of a hybrid one, as far as its elements go.
pub(crate) struct ArmElements<'a> {
    /// Searched column.
    pub field: &'a str,
    /// Metric of its distances.
    pub metric: AnyMetric,
    /// Whether elements are searched.
    pub elements: bool,
    /// How they become rows, when the request says so.
    pub collapse: Option<Collapse>,
}

/// How the hits of each search become rows, `None` for those that stay as they are. Elements stay elements when every search
/// is of elements of the same structs; else they are collapsed.
///
/// # Errors
/// [`QueryError::InvalidParameter`] for a collapse of what is not collapsed, or that goes not with the metric.
pub(crate) fn collapses(arms: &[ArmElements<'_>]) -> Result<Vec<Option<Collapse>>> {
    let stay = same_structs(arms);
    let of_arm = |arm: &ArmElements<'_>| match (arm.elements && !stay, arm.collapse) {
        (true, collapse) => {
            let collapse = collapse.unwrap_or_default();
            collapse.check(arm.metric)?;
            Ok(Some(collapse))
        }
        (false, None) => Ok(None),
        (false, Some(_)) => Err(QueryError::InvalidParameter(format!(
            "element_scope is for searches of elements that a hybrid search brings together by rows; that of '{}' {}",
            arm.field,
            if arm.elements {
                "stays one of elements, as all are of the same structs"
            } else {
                "is no search of elements"
            }
        ))),
    };
    arms.iter().map(of_arm).collect()
}

/// Whether every search is one of elements, and all of the same structs.
pub(crate) fn same_structs(arms: &[ArmElements<'_>]) -> bool {
    let structs = |arm: &ArmElements<'_>| {
        let name = split_sub_field_name(arm.field).map(|(field, _)| field.to_string());
        name.filter(|_| arm.elements)
    };
    let first = arms.first().and_then(structs);
    first.is_some() && arms.iter().all(|arm| structs(arm) == first)
}

#[cfg(test)]
mod tests {
    use elanus_index::Metric;

    use super::*;

    fn hits(of: &[(u32, u32, f32)]) -> Vec<Hit> {
        let hit = |(row, element, distance): &(u32, u32, f32)| Hit {
            unit: 0,
            row: *row,
            element: Some(*element),
            distance: Some(*distance),
        };
        of.iter().map(hit).collect()
    }

    #[test]
    fn rows_come_once_by_what_their_elements_come_to() {
        // Of inner products: distances are negated scores.
        let found = hits(&[
            (1, 0, -9.0),
            (2, 3, -8.0),
            (2, 1, -7.0),
            (2, 0, -3.0),
            (1, 5, -1.0),
        ]);
        let rows = |collapse: Collapse| {
            let rows = collapse.rows(&found);
            assert!(rows.iter().all(|hit| hit.element.is_none()));
            let pair = |hit: &Hit| (hit.row, hit.distance.unwrap());
            rows.iter().map(pair).collect::<Vec<_>>()
        };
        assert_eq!(rows(Collapse::Max), [(1, -9.0), (2, -8.0)]);
        assert_eq!(rows(Collapse::Sum), [(2, -18.0), (1, -10.0)]);
        assert_eq!(rows(Collapse::Avg), [(2, -6.0), (1, -5.0)]);
        assert_eq!(rows(Collapse::TopSum(2)), [(2, -15.0), (1, -10.0)]);
        assert_eq!(rows(Collapse::TopAvg(2)), [(2, -7.5), (1, -5.0)]);
        assert_eq!(rows(Collapse::TopAvg(1)), [(1, -9.0), (2, -8.0)]);
    }

    #[test]
    fn elements_of_the_same_structs_stay_and_others_are_collapsed() {
        let arm = |field: &'static str, collapse: Option<Collapse>| ArmElements {
            field,
            metric: Metric::L2.into(),
            elements: field.contains('['),
            collapse,
        };
        let together = |arms: &[ArmElements<'_>]| collapses(arms).unwrap();
        assert_eq!(together(&[arm("s[a]", None), arm("s[b]", None)]), [None, None]);
        assert_eq!(
            together(&[arm("s[a]", None), arm("t[a]", Some(Collapse::Avg))]),
            [Some(Collapse::Max), Some(Collapse::Avg)]
        );
        assert_eq!(
            together(&[arm("v", None), arm("s[a]", None)]),
            [None, Some(Collapse::Max)]
        );
        let reason = |arms: &[ArmElements<'_>]| collapses(arms).unwrap_err().to_string();
        let same = reason(&[arm("s[a]", Some(Collapse::Max)), arm("s[b]", None)]);
        assert!(same.contains("'s[a]' stays one of elements"), "{same}");
        let plain = reason(&[arm("v", Some(Collapse::Max)), arm("s[a]", None)]);
        assert!(plain.contains("'v' is no search of elements"), "{plain}");
        let sum = reason(&[arm("v", None), arm("s[a]", Some(Collapse::Sum))]);
        assert!(
            sum.contains("a sum needs a metric of which larger is better, got L2"),
            "{sum}"
        );
        let none = reason(&[arm("v", None), arm("s[a]", Some(Collapse::TopAvg(0)))]);
        assert!(none.contains("topk must be at least 1"), "{none}");
    }
}
