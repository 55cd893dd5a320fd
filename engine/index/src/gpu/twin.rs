//! The kernels in plain Rust: what they are tested against, and a device for tests of everything above them.

use std::ops::Range;

use super::backend::{
    Backend, BooksOf, Comparison, ElementType, GROUP, GraphOf, InvertedOf, LinksOf, ListsOf, MarksOf, NO_ROW,
    ProbesOf, QueriesOf, RowsOf, TablesOf, WalkOf, Word,
};
use super::error::GpuError;
use super::twin_codes;
use super::twin_links;
use super::twin_units::{compared, passes, row_term};
use super::twin_walk::walk_query;
use crate::metric::Metric;
use crate::neighbor::Neighbor;

/// Stands in for a device.
#[derive(Debug)]
pub struct Twin {
    multiprocessors: u32,
}

impl Default for Twin {
    fn default() -> Self {
        Self { multiprocessors: 1 }
    }
}

impl Twin {
    /// A twin of the smallest device.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that says that it has so many multiprocessors; 0 do not take several walks for a query to be busy.
    pub fn with_multiprocessors(multiprocessors: u32) -> Self {
        Self { multiprocessors }
    }
}

pub(super) fn outside(what: &'static str) -> GpuError {
    GpuError::Driver {
        what,
        reason: "a range leaves its buffer".to_owned(),
    }
}

pub(super) fn dot(a: &[u32], b: &[u32]) -> f32 {
    let products = a
        .iter()
        .zip(b)
        .map(|(&a, &b)| f32::from_word(a) * f32::from_word(b));
    products.sum()
}

pub(super) fn squared_differences(a: &[u32], b: &[u32]) -> f32 {
    let differences = a
        .iter()
        .zip(b)
        .map(|(&a, &b)| f32::from_word(a) - f32::from_word(b));
    differences.map(|difference| difference * difference).sum()
}

/// A distance from what was summed over the dimensions; what is no number counts as nearest.
pub(super) fn distance(comparison: Comparison, sum: f32, query_term: f32, row_term: f32) -> f32 {
    let distance = match comparison {
        Comparison::L2 => (query_term + row_term) - 2.0 * sum,
        Comparison::Ip | Comparison::Hamming | Comparison::Jaccard => 0.0 - sum,
        Comparison::Cosine => 0.0 - sum * query_term * row_term,
        Comparison::L2Direct => sum,
    };
    if distance.is_nan() {
        f32::NEG_INFINITY
    } else {
        distance
    }
}

impl Backend for Twin {
    type Buffer = Vec<u32>;

    fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    fn allocate(&self, words: usize) -> Result<Vec<u32>, GpuError> {
        // No number, and no row: what is read before it is written shows.
        Ok(vec![u32::MAX; words])
    }

    fn write<W: Word>(&self, to: &mut Vec<u32>, at: usize, values: &[W]) -> Result<(), GpuError> {
        let room = to
            .get_mut(at..at + values.len())
            .ok_or_else(|| outside("write"))?;
        for (word, value) in room.iter_mut().zip(values) {
            *word = value.to_word();
        }
        Ok(())
    }

    fn write_beside<W: Word>(&self, to: &mut Vec<u32>, at: usize, values: &[W]) -> Result<(), GpuError> {
        self.write(to, at, values)
    }

    fn read<W: Word>(&self, from: &Vec<u32>, values: &mut [W]) -> Result<(), GpuError> {
        let words = from.get(..values.len()).ok_or_else(|| outside("read"))?;
        for (value, &word) in values.iter_mut().zip(words) {
            *value = W::from_word(word);
        }
        Ok(())
    }

    fn copy(&self, from: &Vec<u32>, to: &mut Vec<u32>) -> Result<(), GpuError> {
        if from.len() != to.len() {
            return Err(outside("copy"));
        }
        to.copy_from_slice(from);
        Ok(())
    }

    fn row_terms(
        &self,
        (element, comparison): (ElementType, Comparison),
        rows: &Vec<u32>,
        count: u32,
        stride: u32,
        terms: &mut Vec<u32>,
        largest: &mut Vec<u32>,
    ) -> Result<(), GpuError> {
        let largest = largest.first_mut().ok_or_else(|| outside("row_terms"))?;
        let rows = rows.chunks_exact(element.row_words(stride as usize));
        for (row, term) in rows.take(count as usize).zip(terms.iter_mut()) {
            let square;
            (*term, square) = row_term(element, comparison, row);
            *largest = (*largest).max(square);
        }
        Ok(())
    }

    fn candidates(
        &self,
        comparison: Comparison,
        rows: &RowsOf<'_, Vec<u32>>,
        first: u32,
        count: u32,
        queries: &QueriesOf<'_, Vec<u32>>,
        lists: &mut ListsOf<Vec<u32>>,
    ) -> Result<(), GpuError> {
        let stride = queries.stride as usize;
        let words = rows.element.row_words(stride);
        for query in 0..queries.count as usize {
            let vector = queries.data.get(query * stride..(query + 1) * stride);
            let query_term = queries.terms.get(query);
            let (vector, &query_term) = vector.zip(query_term).ok_or_else(|| outside("candidates"))?;
            let bound = term(queries.bounds, query);
            for row in first as usize..(first + count) as usize {
                let allowed = |allow: &Vec<u32>| {
                    allow
                        .get(row / 32)
                        .is_some_and(|word| word >> (row % 32) & 1 == 1)
                };
                if !rows.allow.is_none_or(allowed) {
                    continue;
                }
                let stored = rows.data.get(row * words..(row + 1) * words);
                let stored = stored.zip(rows.terms.get(row));
                let (stored, &row_term) = stored.ok_or_else(|| outside("candidates"))?;
                let of = (rows.element, comparison);
                let found = compared(of, (vector, query_term), (stored, row_term));
                if passes(rows.element, found, bound) {
                    append(lists, query, found, rows.base + row as u32)?;
                }
            }
        }
        Ok(())
    }

    fn select(
        &self,
        lists: &ListsOf<Vec<u32>>,
        queries: u32,
        k: u32,
        best: &mut ListsOf<Vec<u32>>,
        bounds: &mut Vec<u32>,
        overflow: &mut Vec<u32>,
    ) -> Result<(), GpuError> {
        let room = lists.room as usize;
        for query in 0..queries as usize {
            let count = lists.counts.get(query).copied().unwrap_or(0) as usize;
            if count > room
                && let Some(overflow) = overflow.first_mut()
            {
                *overflow = 1;
            }
            let held = query * room..query * room + count.min(room);
            let (distances, rows) = (lists.distances.get(held.clone()), lists.rows.get(held));
            let (distances, rows) = distances.zip(rows).ok_or_else(|| outside("select"))?;
            let pairs = distances.iter().zip(rows);
            let mut all: Vec<Neighbor> = pairs
                .map(|(&distance, &row)| Neighbor {
                    distance: f32::from_word(distance),
                    row,
                })
                .collect();
            all.sort();
            all.truncate(k as usize);
            let full = all.len() == k as usize;
            let worst = all
                .last()
                .filter(|_| full)
                .map_or(f32::INFINITY, |last| last.distance);
            let (counts, bounds) = (best.counts.get_mut(query), bounds.get_mut(query));
            let (count, bound) = counts.zip(bounds).ok_or_else(|| outside("select"))?;
            *count = 0;
            *bound = worst.to_word();
            for neighbor in all {
                append(best, query, neighbor.distance, neighbor.row)?;
            }
        }
        Ok(())
    }

    fn nearest(
        &self,
        comparison: Comparison,
        rows: &RowsOf<'_, Vec<u32>>,
        count: u32,
        queries: &QueriesOf<'_, Vec<u32>>,
        nearest: &mut Vec<u32>,
    ) -> Result<(), GpuError> {
        let stride = queries.stride as usize;
        let stored = rows.data.chunks_exact(stride).zip(rows.terms.iter());
        let vectors = queries.data.chunks_exact(stride).zip(queries.terms.iter());
        let vectors = vectors.take(queries.count as usize);
        for ((vector, &query_term), key) in vectors.zip(nearest.chunks_exact_mut(2)) {
            for (row, (stored, &row_term)) in stored.clone().take(count as usize).enumerate() {
                let of = (ElementType::Float, comparison);
                let found = Neighbor {
                    distance: compared(of, (vector, query_term), (stored, row_term)),
                    row: row as u32,
                };
                if found.key() < u64::from(key[1]) << 32 | u64::from(key[0]) {
                    key.copy_from_slice(&[found.key() as u32, (found.key() >> 32) as u32]);
                }
            }
        }
        Ok(())
    }

    fn list_means(
        &self,
        (rows, weights): (&Vec<u32>, &Vec<u32>),
        (members, offsets): (&Vec<u32>, &Vec<u32>),
        lists: u32,
        stride: u32,
        means: &mut Vec<u32>,
    ) -> Result<(), GpuError> {
        let stride = stride as usize;
        let spans = offsets.windows(2).take(lists as usize);
        for (span, mean) in spans.zip(means.chunks_exact_mut(stride)) {
            let members = members.get(span[0] as usize..span[1] as usize);
            let members = members.ok_or_else(|| outside("list_means"))?;
            if members.is_empty() {
                continue;
            }
            for (at, mean) in mean.iter_mut().enumerate() {
                let mut sum = 0.0f64;
                for &row in members {
                    let value = rows
                        .get(row as usize * stride + at)
                        .zip(weights.get(row as usize));
                    let (&value, &weight) = value.ok_or_else(|| outside("list_means"))?;
                    sum += f64::from(f32::from_word(value) * f32::from_word(weight));
                }
                *mean = ((sum / members.len() as f64) as f32).to_word();
            }
        }
        Ok(())
    }

    fn scan_lists(
        &self,
        of: (ElementType, Comparison),
        inverted: &InvertedOf<'_, Vec<u32>>,
        queries: &QueriesOf<'_, Vec<u32>>,
        probes: &ProbesOf<'_, Vec<u32>>,
        seen: &mut Vec<u32>,
        lists: &mut ListsOf<Vec<u32>>,
    ) -> Result<(), GpuError> {
        let (element, comparison) = of;
        let words = element.list_words(queries.stride as usize);
        scan(inverted, queries, probes, (seen, lists), |place| {
            let at = if comparison.has_row_terms() { place.at } else { 0 };
            let row = row_of(inverted.data, place.at, words);
            let terms = queries.terms.get(place.query).zip(inverted.terms.get(at));
            let (row, (&query_term, &row_term)) = row.zip(terms).ok_or_else(|| outside("scan_lists"))?;
            Ok(compared(of, (place.vector, query_term), (&row, row_term)))
        })
    }

    fn nearest_words(
        &self,
        rows: &Vec<u32>,
        count: u32,
        stride: u32,
        books: &BooksOf<'_, Vec<u32>>,
        pitch: u32,
        codes: &mut Vec<u32>,
    ) -> Result<(), GpuError> {
        twin_codes::nearest_words(rows, (count, stride), books, pitch, codes)
    }

    fn code_tables(
        &self,
        queries: &QueriesOf<'_, Vec<u32>>,
        mean: &Vec<u32>,
        books: &BooksOf<'_, Vec<u32>>,
        tables: &mut TablesOf<Vec<u32>>,
    ) -> Result<(), GpuError> {
        twin_codes::code_tables(queries, mean, books, tables)
    }

    fn scan_codes(
        &self,
        metric: Metric,
        coded: (&InvertedOf<'_, Vec<u32>>, &Vec<u32>, &BooksOf<'_, Vec<u32>>),
        queries: (&QueriesOf<'_, Vec<u32>>, &TablesOf<Vec<u32>>),
        probes: &ProbesOf<'_, Vec<u32>>,
        seen: &mut Vec<u32>,
        lists: &mut ListsOf<Vec<u32>>,
    ) -> Result<(), GpuError> {
        twin_codes::scan_codes(metric, coded, queries, probes, seen, lists)
    }

    fn count_detours(
        &self,
        links: &LinksOf<'_, Vec<u32>>,
        of: Range<u32>,
        detours: &mut Vec<u32>,
    ) -> Result<(), GpuError> {
        twin_links::count_detours(links, of, detours)
    }

    fn best_links(
        &self,
        links: &LinksOf<'_, Vec<u32>>,
        of: Range<u32>,
        detours: &Vec<u32>,
        kept: u32,
        best: &mut Vec<u32>,
    ) -> Result<(), GpuError> {
        twin_links::best_links(links, of, detours, kept, best)
    }

    fn reverse_links(
        &self,
        links: &LinksOf<'_, Vec<u32>>,
        of: Range<u32>,
        room: u32,
        reverse: &mut Vec<u32>,
    ) -> Result<(), GpuError> {
        twin_links::reverse_links(links, of, room, reverse)
    }

    fn join_links(
        &self,
        links: &LinksOf<'_, Vec<u32>>,
        of: Range<u32>,
        reverse: &Vec<u32>,
        room: u32,
        joined: &mut Vec<u32>,
    ) -> Result<(), GpuError> {
        twin_links::join_links(links, of, reverse, room, joined)
    }

    fn walk_graph(
        &self,
        comparison: Comparison,
        graph: &GraphOf<'_, Vec<u32>>,
        queries: &QueriesOf<'_, Vec<u32>>,
        walk: WalkOf,
        marks: &mut MarksOf<Vec<u32>>,
        lists: &mut ListsOf<Vec<u32>>,
    ) -> Result<(), GpuError> {
        let stride = queries.stride as usize;
        let vectors = queries.data.chunks_exact(stride).zip(queries.terms.iter());
        let vectors = vectors.take(queries.count as usize).enumerate();
        for ((query, (vector, &term)), scored) in vectors.zip(marks.scored.iter_mut()) {
            let found = &mut |distance, row| append(lists, query, distance, row);
            *scored += walk_query(comparison, graph, (vector, term), walk, found)?;
        }
        Ok(())
    }
}

/// The bits of a number; no number where there is none.
pub(super) fn term(terms: &[u32], at: usize) -> f32 {
    f32::from_word(terms.get(at).copied().unwrap_or(u32::MAX))
}

/// A place of a list that a query looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) query: usize,
    pub(super) vector: &'a [u32],
    pub(super) list: u32,
    pub(super) at: usize,
}

/// Looks at the places of all lists that queries ask for, and appends what is within their bounds.
pub(super) fn scan(
    inverted: &InvertedOf<'_, Vec<u32>>,
    queries: &QueriesOf<'_, Vec<u32>>,
    probes: &ProbesOf<'_, Vec<u32>>,
    (seen, lists): (&mut [u32], &mut ListsOf<Vec<u32>>),
    distance: impl Fn(Place<'_>) -> Result<f32, GpuError>,
) -> Result<(), GpuError> {
    let stride = queries.stride as usize;
    for query in 0..queries.count as usize {
        let vector = queries.data.get(query * stride..(query + 1) * stride);
        let first = query * probes.room as usize + probes.first as usize;
        let probed = probes.lists.get(first..first + probes.count as usize);
        let (vector, probed) = vector.zip(probed).ok_or_else(|| outside("scan lists"))?;
        for &list in probed {
            let span = inverted.starts.get(list as usize..list as usize + 2);
            let span = span.ok_or_else(|| outside("scan lists"))?;
            for at in span[0] as usize * GROUP..span[1] as usize * GROUP {
                let number = inverted.numbers.get(at).copied().unwrap_or(NO_ROW);
                let bit = |allow: &Vec<u32>| {
                    let word = allow.get(number as usize / 32);
                    word.is_some_and(|word| word >> (number % 32) & 1 == 1)
                };
                if number == NO_ROW || !inverted.allow.is_none_or(bit) {
                    continue;
                }
                *seen.get_mut(query).ok_or_else(|| outside("scan lists"))? += 1;
                let found = distance(Place {
                    query,
                    vector,
                    list,
                    at,
                })?;
                if found <= term(queries.bounds, query) {
                    append(lists, query, found, number)?;
                }
            }
        }
    }
    Ok(())
}

/// The words of the row at a place of interleaved groups.
fn row_of(data: &[u32], place: usize, words: usize) -> Option<Vec<u32>> {
    let (group, lane) = (place / GROUP, place % GROUP);
    let mut row = Vec::with_capacity(words);
    for chunk in 0..words / 4 {
        let at = 4 * ((group * (words / 4) + chunk) * GROUP + lane);
        row.extend_from_slice(data.get(at..at + 4)?);
    }
    Some(row)
}

pub(super) fn append(
    lists: &mut ListsOf<Vec<u32>>,
    query: usize,
    distance: f32,
    row: u32,
) -> Result<(), GpuError> {
    let room = lists.room as usize;
    let count = lists.counts.get_mut(query).ok_or_else(|| outside("append"))?;
    let place = *count as usize;
    *count += 1;
    if place < room {
        let at = query * room + place;
        let places = lists.distances.get_mut(at).zip(lists.rows.get_mut(at));
        let (to_distance, to_row) = places.ok_or_else(|| outside("append"))?;
        (*to_distance, *to_row) = (distance.to_word(), row);
    }
    Ok(())
}
