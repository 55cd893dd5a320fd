//! Kernels of sparse vectors: two ascending lists of indexes, walked together.
//!
//! Sums are in `f64`: a row has few elements, and their order differs from row to row.

use std::cmp::Ordering;

use crate::typed::SparseVector;

/// Calls `pair` for every index of either side, with 0 where a side has none.
#[inline]
fn walk(a: SparseVector<'_>, b: SparseVector<'_>, mut pair: impl FnMut(f64, f64)) {
    let (mut i, mut j) = (0, 0);
    loop {
        match (a.get(i), b.get(j)) {
            (Some((left, x)), Some((right, y))) => match left.cmp(&right) {
                Ordering::Less => {
                    pair(f64::from(x), 0.0);
                    i += 1;
                }
                Ordering::Greater => {
                    pair(0.0, f64::from(y));
                    j += 1;
                }
                Ordering::Equal => {
                    pair(f64::from(x), f64::from(y));
                    i += 1;
                    j += 1;
                }
            },
            (Some((_, x)), None) => {
                pair(f64::from(x), 0.0);
                i += 1;
            }
            (None, Some((_, y))) => {
                pair(0.0, f64::from(y));
                j += 1;
            }
            (None, None) => return,
        }
    }
}

/// Inner product.
pub(crate) fn dot(a: SparseVector<'_>, b: SparseVector<'_>) -> f64 {
    let mut sum = 0.0;
    walk(a, b, |x, y| sum += x * y);
    sum
}

/// Squared Euclidean distance.
pub(crate) fn l2(a: SparseVector<'_>, b: SparseVector<'_>) -> f64 {
    let mut sum = 0.0;
    walk(a, b, |x, y| sum += (x - y) * (x - y));
    sum
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn sparse() -> impl Strategy<Value = BTreeMap<u32, f32>> {
        prop::collection::btree_map(prop_oneof![0u32..40, Just(u32::MAX - 1)], -1e6f32..1e6, 0..30)
    }

    proptest! {
        #[test]
        fn merging_equals_looking_up(a in sparse(), b in sparse()) {
            let lists = |map: &BTreeMap<u32, f32>| -> (Vec<u32>, Vec<f32>) { map.iter().map(|(i, v)| (*i, *v)).unzip() };
            let (left, right) = (lists(&a), lists(&b));
            let left = SparseVector::new(&left.0, &left.1).unwrap();
            let right = SparseVector::new(&right.0, &right.1).unwrap();
            let value = |map: &BTreeMap<u32, f32>, index: &u32| map.get(index).map_or(0.0, |value| f64::from(*value));
            let indexes: std::collections::BTreeSet<u32> = a.keys().chain(b.keys()).copied().collect();
            let pairs: Vec<(f64, f64)> = indexes.iter().map(|index| (value(&a, index), value(&b, index))).collect();
            let expected: f64 = pairs.iter().map(|(x, y)| x * y).sum();
            prop_assert!((dot(left, right) - expected).abs() <= 1e-3);
            let expected: f64 = pairs.iter().map(|(x, y)| (x - y) * (x - y)).sum();
            prop_assert!((l2(left, right) - expected).abs() <= 1e-9 * expected);
        }
    }
}
