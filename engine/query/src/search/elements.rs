//! Search of elements: the vectors of lists one by one. A row is found once for each of its vectors that is near.
//!
//! ```text
//!   rows that may be found, and of their elements those that element_filter leaves
//!     -> the nearest elements -> (unit, row, element, distance)
//! ```

use std::sync::Arc;

use datafusion::error::DataFusionError;
use elanus_index::{SearchStats, VectorRef};

use super::{Hit, SearchSpec, Target, Totals};
use crate::predicate::Predicate;
use crate::resources::Resources;

/// Gives every target the elements that the predicates leave, where they have something to say of elements.
pub(crate) async fn restrict_elements(
    targets: &mut [Target],
    spec: &SearchSpec,
    predicates: &[Arc<Predicate>],
    resources: &Resources,
) -> Result<(), DataFusionError> {
    if !spec.elements {
        return Ok(());
    }
    for filter in predicates.iter().filter_map(|predicate| predicate.elements()) {
        for target in targets.iter_mut() {
            let bits = filter.bits(&target.unit, &spec.field, resources).await?;
            target.elements = Some(match target.elements.take() {
                None => bits,
                Some(before) => {
                    let mut both = before.as_ref().clone();
                    both.and(&bits);
                    Arc::new(both)
                }
            });
        }
    }
    Ok(())
}

/// At most so many hits of one query can there be: rows, or elements where these are searched.
pub(crate) fn findable(targets: &[Target], spec: &SearchSpec) -> usize {
    let of_target = |target: &Target| {
        if !spec.elements {
            let rows = target.selection.count(&target.unit);
            return usize::try_from(rows).unwrap_or(usize::MAX);
        }
        let lists = target.unit.lists(&spec.field);
        lists.map_or(0, |lists| lists.elements().len())
    };
    targets.iter().map(of_target).sum()
}

/// The hits of a query in a unit.
pub(super) fn search(
    target: &Target,
    spec: &SearchSpec,
    query: VectorRef<'_>,
    totals: &mut Totals,
) -> Result<Vec<Hit>, elanus_collection::Error> {
    let Target { number, unit, .. } = target;
    let allowed = unit.allow(&spec.field, target.selection.bits())?;
    let mut stats = SearchStats::default();
    let found = unit.search_elements(
        &spec.field,
        spec.metric,
        query,
        spec.k,
        &spec.params,
        (&allowed, target.elements.as_deref()),
        spec.exact,
        &mut stats,
    )?;
    totals.add(&stats);
    let hit = |near: elanus_index::ElementNeighbor| Hit {
        unit: *number,
        row: near.row,
        element: Some(near.element),
        distance: Some(near.distance),
    };
    Ok(found.into_iter().map(hit).collect())
}
