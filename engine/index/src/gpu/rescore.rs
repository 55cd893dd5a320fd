//! Exact distances of what a device proposes, on the processor.

use crate::neighbor::{Neighbor, TopK};

/// The best `k` of a query's candidates by their exact distances, which `exact` puts into as many places; `None` when the processor
/// should look: there are fewer than `wanted`, or numbers among them that a device and a processor may order differently.
pub(super) fn best_by(
    exact: impl FnOnce(&[u32], &mut [f32]),
    rows: &[u32],
    k: usize,
    wanted: usize,
) -> Option<Vec<Neighbor>> {
    let mut distances = vec![0.0; rows.len()];
    exact(rows, &mut distances);
    if !distances.iter().all(|distance| distance.is_finite()) {
        return None;
    }
    let mut top = TopK::new(k, rows.len());
    for (&row, &distance) in rows.iter().zip(&distances) {
        top.push(distance, row);
    }
    (top.len() >= wanted).then(|| top.into_sorted())
}
