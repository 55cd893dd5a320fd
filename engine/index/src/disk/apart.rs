//! Distances that are not negative, in the order of those of the metric from any one vector.
//!
//! What a kept link saves is told by a factor between distances, which needs a zero. L2 has one. Cosines are turned into
//! `1 - cos`. For inner products, every row gets one more number that makes all rows equally long (Bachrach et al., 2014):
//! queries have a zero there, so the nearest rows stay what they are, and rows among each other have a distance.
//!
//! ```text
//!   IP      r(x) = sqrt(longest² - |x|²)        longest² - <x, y> - r(x) r(y)   half the squared distance
//! ```

use rayon::prelude::*;

use crate::hnsw::{Companions, Distances, Points};
use crate::metric::Metric;

/// Rows with such distances.
#[derive(Debug)]
pub(crate) struct Apart<'a, P> {
    points: &'a P,
    /// Taken from every distance to make it at least 0.
    add: f32,
    /// `r` of every row under IP, else empty.
    rest: Vec<f32>,
}

impl<'a, P: Points> Apart<'a, P> {
    /// `members` are the rows that have a vector.
    pub(crate) fn new(metric: Metric, points: &'a P, members: &[u32]) -> Self {
        let (mut add, mut rest) = (0.0, Vec::new());
        match metric {
            Metric::L2 => {}
            Metric::Cosine => add = 1.0,
            Metric::Ip => {
                let square = |&row: &u32| (-points.row(row).one(row)).max(0.0);
                let squares: Vec<f32> = members.par_iter().with_min_len(1024).map(square).collect();
                add = squares
                    .iter()
                    .copied()
                    .filter(|square| square.is_finite())
                    .fold(0.0, f32::max);
                rest = vec![0.0; points.len()];
                for (&row, square) in members.iter().zip(squares) {
                    if let Some(slot) = rest.get_mut(row as usize) {
                        *slot = (add - square).max(0.0).sqrt();
                    }
                }
            }
        }
        Self { points, add, rest }
    }

    fn rest_of(&self, row: u32) -> f32 {
        self.rest.get(row as usize).copied().unwrap_or(0.0)
    }

    fn shift(&self, distance: f32, own: f32, row: u32) -> f32 {
        // The larger of a number and NaN is the number.
        (self.add + distance - own * self.rest_of(row)).max(0.0)
    }
}

/// Distances of one row.
pub(crate) struct ApartRow<'a, P: Points> {
    apart: &'a Apart<'a, P>,
    row: P::Row<'a>,
    rest: f32,
}

impl<P: Points> Distances for ApartRow<'_, P> {
    fn one(&self, row: u32) -> f32 {
        self.apart.shift(self.row.one(row), self.rest, row)
    }

    fn gather(&self, rows: &[u32], out: &mut [f32]) {
        self.row.gather(rows, out);
        for (slot, &row) in out.iter_mut().zip(rows) {
            *slot = self.apart.shift(*slot, self.rest, row);
        }
    }
}

/// Distances among some rows.
pub(crate) struct ApartCompanions<'a, P: Points> {
    apart: &'a Apart<'a, P>,
    inner: P::Companions<'a>,
    rows: Vec<u32>,
}

impl<P: Points> Companions for ApartCompanions<'_, P> {
    fn distances(&self, first: usize) -> Vec<f32> {
        let mut all = self.inner.distances(first);
        let own = self.rows.get(first..).unwrap_or_default();
        for (&row, distances) in own.iter().zip(all.chunks_exact_mut(self.rows.len().max(1))) {
            let rest = self.apart.rest_of(row);
            for (slot, &other) in distances.iter_mut().zip(&self.rows) {
                *slot = self.apart.shift(*slot, rest, other);
            }
        }
        all
    }
}

impl<P: Points> Points for Apart<'_, P> {
    type Row<'s>
        = ApartRow<'s, P>
    where
        Self: 's;
    type Companions<'s>
        = ApartCompanions<'s, P>
    where
        Self: 's;

    fn len(&self) -> usize {
        self.points.len()
    }

    fn row(&self, row: u32) -> ApartRow<'_, P> {
        ApartRow {
            apart: self,
            row: self.points.row(row),
            rest: self.rest_of(row),
        }
    }

    fn companions(&self, rows: &[u32]) -> ApartCompanions<'_, P> {
        ApartCompanions {
            apart: self,
            inner: self.points.companions(rows),
            rows: rows.to_vec(),
        }
    }

    fn fingerprint(&self, row: u32) -> u64 {
        self.points.fingerprint(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::scorer::Space;
    use crate::vectors::Vectors;

    #[test]
    fn inner_products_become_distances_of_equally_long_rows() {
        let (rows, dim) = (50, 6);
        let mut rng = Rng::new(2);
        let data: Vec<f32> = (0..rows * dim).map(|_| rng.normal()).collect();
        let vectors = Vectors::new(&data, dim).unwrap();
        let space = Space::new(Metric::Ip, vectors, None);
        let members: Vec<u32> = (0..rows as u32).collect();
        let apart = Apart::new(Metric::Ip, &space, &members);
        let square = |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>();
        let longest = vectors.data().chunks(dim).map(square).fold(0.0, f32::max);
        let longer = |row: u32| {
            let mut row = vectors.row(row as usize).to_vec();
            row.push((longest - square(&row)).max(0.0).sqrt());
            row
        };
        let companions = apart.companions(&members);
        for &a in &members {
            let of_batch = companions.distances(a as usize);
            let mut gathered = vec![0.0; rows];
            apart.row(a).gather(&members, &mut gathered);
            for &b in &members {
                let expected = Metric::L2.distance(&longer(a), &longer(b)) / 2.0;
                for found in [apart.row(a).one(b), gathered[b as usize], of_batch[b as usize]] {
                    assert!((found - expected).abs() < 1e-4, "{a} {b}: {found}, {expected}");
                    assert!(found >= 0.0);
                }
            }
        }
    }
}
