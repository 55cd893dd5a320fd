//! Ties: every row that is as near as the `k`-th, for sort keys behind the distance to choose from.

use elanus_index::{AnyMetric, Metric, VectorRef};

use super::{Hit, MAX_NEIGHBOURS, SearchSpec, Target, Totals, search_unit};

/// Hits asked for beyond `k` at first.
const MORE: usize = 16;

/// Whether SQL shows one distance for both hits.
fn is_tie(metric: AnyMetric, a: &Hit, b: &Hit) -> bool {
    let shown = |distance: f32| {
        // Of all distances only this one loses digits on its way to a number of SQL.
        if metric == Metric::Cosine {
            1.0 - f64::from(metric.score(distance))
        } else {
            f64::from(distance)
        }
    };
    match (a.distance, b.distance) {
        (Some(a), Some(b)) => (a.is_nan() && b.is_nan()) || shown(a) == shown(b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// How many of these hits, best first, are as near as the `k`-th or nearer.
pub(super) fn count(metric: AnyMetric, hits: &[Hit], k: usize) -> usize {
    match k.checked_sub(1).and_then(|last| hits.get(last)) {
        Some(last) => hits.partition_point(|hit| hit.by_distance(last).is_lt() || is_tie(metric, hit, last)),
        None => hits.len().min(k),
    }
}

/// The `k` best hits of a unit and those that tie with the last of them.
pub(super) fn search(
    target: &Target,
    spec: &SearchSpec,
    query: Option<VectorRef<'_>>,
    totals: &mut Totals,
) -> Result<Vec<Hit>, elanus_collection::Error> {
    let rows = target.unit.rows() as usize;
    let mut wider = SearchSpec {
        k: spec.k.saturating_add(MORE),
        ..spec.clone()
    };
    loop {
        // A list this long is no work for a graph.
        wider.exact = spec.exact || wider.k > MAX_NEIGHBOURS;
        let mut hits = search_unit(target, &wider, query, totals)?;
        let ties = count(spec.metric, &hits, spec.k);
        // Fewer than asked for are all that there are.
        if ties < hits.len() || hits.len() < wider.k || wider.k >= rows {
            hits.truncate(ties);
            return Ok(hits);
        }
        wider.k = wider.k.saturating_mul(4).min(rows.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(distances: &[Option<f32>]) -> Vec<Hit> {
        let hit = |(row, distance): (usize, &Option<f32>)| Hit {
            unit: 0,
            row: row as u32,
            element: None,
            distance: *distance,
        };
        distances.iter().enumerate().map(hit).collect()
    }

    #[test]
    fn all_that_are_as_near_as_the_last_count() {
        let l2 = AnyMetric::from(Metric::L2);
        let some = hits(&[Some(0.0), Some(1.0), Some(1.0), Some(1.0), Some(2.0), None, None]);
        let counts: Vec<usize> = (0..9).map(|k| count(l2, &some, k)).collect();
        assert_eq!(counts, [0, 1, 4, 4, 4, 5, 7, 7, 7]);
        let undefined = hits(&[Some(1.0), Some(f32::NAN), Some(f32::NAN), None]);
        assert_eq!(count(l2, &undefined, 2), 3);
    }

    #[test]
    fn angles_that_look_the_same_tie() {
        let cosine = AnyMetric::from(Metric::Cosine);
        // as similarities a thousandth of a rounding error apart
        let some = hits(&[Some(-2e-20), Some(-1e-20), Some(0.5)]);
        assert_eq!(count(cosine, &some, 1), 2);
        assert_eq!(count(AnyMetric::from(Metric::Ip), &some, 1), 1);
    }
}
