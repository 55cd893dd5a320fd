//! What is done with the bytes of an index that may be damaged: they are opened as the engine opens them and asked all
//! that it asks. Nothing may panic, answers must have the right shape, and memory must not be out of proportion.
//!
//! The tests of damage and the fuzz target share this file.

use std::ops::Bound;

use bytes::Bytes;
use elanus_index::scalar::{ColumnIndex, Extent, Key, ScalarIndex, ScalarTest, Verdict};
use elanus_index::{
    AnyIndex, AnyMetric, Bitset, Bm25, Bm25Query, DiskSearch, Elements, Metric, Neighbor, Rows, SearchParams,
    SearchStats, SparseVector, SparseVectors, VectorLists, VectorRef, Vectors, VectorsRef, Window,
    search_elements,
};

use crate::counting::largest;

const HEADER: usize = 64;
const PAGE: usize = 4096;
/// Code of the kind that has sealed blocks after its arrays.
const DISK: u8 = 13;
/// Codes of the metrics of lists, whose first array is a blob.
const OF_LISTS: std::ops::RangeInclusive<u8> = 6..=10;
/// Memory beyond a multiple of the blob that anything may take.
const SPARE: usize = 1 << 20;
/// Numbers of stored vectors that a blob is searched with; one that says more is searched with others, which it must notice.
const MOST_NUMBERS: usize = 1 << 15;

fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(bytes.get(at..at.checked_add(width)?)?);
    usize::try_from(u64::from_le_bytes(wide)).ok()
}

/// Writes right checksums over whatever there is, so that readers come to what is behind them. The blocks of an index on disk
/// and the blob within that of lists are sealed as well.
pub fn reseal(blob: &mut [u8]) {
    reseal_to(blob, 2);
}

fn reseal_to(blob: &mut [u8], depth: usize) {
    if blob.len() < HEADER {
        return;
    }
    let said = number(blob, 48, 8).and_then(|body| body.checked_add(HEADER));
    let end = match said {
        Some(end) if blob[12] == DISK && end <= blob.len() => end,
        _ => blob.len(),
    };
    blob[48..56].copy_from_slice(&((end - HEADER) as u64).to_le_bytes());
    if blob[12] == DISK {
        let tail = end.next_multiple_of(PAGE).min(blob.len());
        for block in blob[tail..].chunks_exact_mut(PAGE) {
            let sum = crc32c::crc32c(&block[..PAGE - 4]);
            block[PAGE - 4..].copy_from_slice(&sum.to_le_bytes());
        }
    }
    if depth > 0
        && OF_LISTS.contains(&blob[13])
        && let (Some(start), Some(bytes)) = (number(blob, HEADER, 8), number(blob, HEADER + 8, 8))
        && start >= HEADER + 16
        && let Some(inner) = start.checked_add(bytes).and_then(|end| blob.get_mut(start..end))
    {
        reseal_to(inner, depth - 1);
    }
    let body = crc32c::crc32c(&blob[HEADER..end]);
    blob[56..60].copy_from_slice(&body.to_le_bytes());
    let header = crc32c::crc32c(&blob[..60]);
    blob[60..64].copy_from_slice(&header.to_le_bytes());
}

/// Fails when `work`, which has to do with so many bytes, takes memory out of proportion to them.
fn within_proportion<T>(what: &str, bytes: usize, work: impl FnOnce() -> T) -> T {
    let (done, taken) = largest(work);
    let most = 4 * bytes + SPARE;
    assert!(taken <= most, "{what} {bytes} bytes takes {taken} at once");
    done
}

/// Opens and asks an index, of vectors or of a column; whether it could be opened.
pub fn read(blob: &[u8]) -> bool {
    let vectors = within_proportion("opening", blob.len(), || {
        AnyIndex::open(Bytes::copy_from_slice(blob))
    });
    if let Ok(index) = &vectors {
        ask(index, blob);
    }
    // Bytes that are not aligned are copied, numbers and all.
    let shifted: Vec<u8> = std::iter::once(0).chain(blob.iter().copied()).collect();
    let again = within_proportion("opening", blob.len(), || {
        AnyIndex::open(Bytes::from(shifted).slice(1..))
    });
    assert_eq!(vectors.is_ok(), again.is_ok(), "where the bytes lie matters");
    let column = within_proportion("opening", blob.len(), || {
        ColumnIndex::open(Bytes::copy_from_slice(blob))
    });
    if let Ok(index) = &column {
        within_proportion("asking", blob.len(), || ask_column(index));
    }
    vectors.is_ok() || column.is_ok()
}

/// [`read`] for the index in a file, which is opened without reading all of it.
pub fn read_file(path: &std::path::Path, blob: &[u8]) -> bool {
    let index = within_proportion("opening a file of", blob.len(), || AnyIndex::open_file(path));
    if let Ok(index) = &index {
        ask(index, blob);
    }
    index.is_ok()
}

/// Whether the index reads its file while it is searched.
pub fn belongs_in_file(blob: &[u8]) -> bool {
    AnyIndex::belongs_in_file(blob)
}

/// What numbers a blob says it is of.
struct Shape {
    /// Of the type of elements.
    element: u8,
    dim: usize,
    rows: usize,
}

fn shape_of(blob: &[u8]) -> Shape {
    Shape {
        element: blob.get(14).copied().unwrap_or(0),
        dim: number(blob, 16, 4).unwrap_or(0),
        rows: number(blob, 24, 8).unwrap_or(0),
    }
}

/// Stored vectors, the same for every blob of a shape.
#[derive(Default)]
struct Stored {
    floats: Vec<f32>,
    shorts: Vec<u16>,
    bytes: Vec<u8>,
    ints: Vec<i8>,
    offsets: Vec<i32>,
    terms: Vec<u32>,
    weights: Vec<f32>,
}

impl Stored {
    fn dense(&mut self, element: u8, dim: usize, rows: usize) -> Option<VectorsRef<'_>> {
        let numbers = || (0..dim * rows).map(|at| ((at * 37 % 101) as f32 - 50.0) / 16.0);
        match element {
            0 => {
                self.floats = numbers().collect();
                Vectors::new(&self.floats, dim).ok().map(VectorsRef::Floats)
            }
            1 => {
                self.shorts = (0..dim * rows)
                    .map(|at| 0x3000 + (at * 37 % 4096) as u16)
                    .collect();
                Rows::new(&self.shorts, dim).ok().map(VectorsRef::Halves)
            }
            2 => {
                self.shorts = numbers().map(|value| (value.to_bits() >> 16) as u16).collect();
                Rows::new(&self.shorts, dim).ok().map(VectorsRef::BFloat16s)
            }
            3 => {
                self.ints = (0..dim * rows).map(|at| (at * 37 % 251) as u8 as i8).collect();
                Rows::new(&self.ints, dim).ok().map(VectorsRef::Int8s)
            }
            _ => {
                self.bytes = (0..dim / 8 * rows).map(|at| (at * 37 % 251) as u8).collect();
                Rows::new(&self.bytes, dim / 8).ok().map(VectorsRef::Bits)
            }
        }
    }

    fn sparse(&mut self, rows: usize) -> Option<VectorsRef<'_>> {
        const OF_ROW: usize = 3;
        self.offsets = (0..=rows).map(|row| (row * OF_ROW) as i32).collect();
        self.terms = (0..rows)
            .flat_map(|row| [row % 5, 5 + row % 7, 12 + row % 9].map(|term| term as u32))
            .collect();
        self.weights = (0..rows * OF_ROW).map(|at| (1 + at % 4) as f32).collect();
        let rows = SparseVectors::new(&self.offsets, &self.terms, &self.weights);
        rows.ok().map(VectorsRef::Sparse)
    }
}

fn ask(index: &AnyIndex, blob: &[u8]) {
    let mut shape = shape_of(blob);
    assert_eq!(index.rows(), shape.rows, "rows of the header");
    let written = index.serialize();
    assert!(
        AnyIndex::open(Bytes::from(written)).is_ok(),
        "what was opened is written so that it cannot be opened"
    );
    assert!(index.memory_bytes() < usize::MAX / 2);
    // A query is made as well, also where there is no row.
    let numbers = |shape: &Shape| shape.dim.max(8).saturating_mul(shape.rows.max(1));
    let too_many = |shape: &Shape| numbers(shape) > MOST_NUMBERS;
    if too_many(&shape) {
        (shape.dim, shape.rows) = (8, 5);
    }
    let mut stored = Stored::default();
    if let AnyMetric::MaxSim(_) = index.metric() {
        let inner = number(blob, HEADER, 8).and_then(|start| blob.get(start..));
        let mut of_elements = inner.map_or(shape_of(blob), shape_of);
        if too_many(&of_elements) {
            (of_elements.dim, of_elements.rows) = (8, 5);
        }
        let Shape { element, dim, rows } = of_elements;
        let offsets: Vec<i32> = (0..=shape.rows)
            .map(|row| (row * rows / shape.rows.max(1)) as i32)
            .collect();
        let elements = stored.dense(element, dim, rows).and_then(Elements::of);
        if let Some(elements) = elements
            && let Ok(lists) = VectorLists::new(&offsets, elements)
        {
            let query = VectorRef::List(elements.slice(0, 2.min(rows)));
            search_all(index, VectorsRef::Lists(lists), query, blob);
        }
        return;
    }
    if index.as_sparse().is_some() {
        let Some(vectors) = stored.sparse(shape.rows) else {
            return;
        };
        let weights = SparseVector::new(&[1, 6, 13, 40], &[1.0, 0.5, 2.0, 1.0]);
        let weights = weights.unwrap_or(SparseVector::empty());
        let bm25 = Bm25 {
            k1: 1.2,
            b: 0.75,
            mean_length: 6.0,
        };
        let query = match index.metric() {
            AnyMetric::Bm25 => VectorRef::Terms(Bm25Query { weights, bm25 }),
            AnyMetric::Numbers(_) | AnyMetric::Bits(_) | AnyMetric::MaxSim(_) => VectorRef::Sparse(weights),
        };
        search_all(index, vectors, query, blob);
        return;
    }
    let Some(vectors) = stored.dense(shape.element, shape.dim, shape.rows) else {
        return;
    };
    let mut room = Stored::default();
    let Some(queries) = room.dense(shape.element, shape.dim, 1) else {
        return;
    };
    let query = queries.row(0);
    search_all(index, vectors, query, blob);
    let offsets: Vec<i32> = (0..=vectors.len() / 2).map(|row| row as i32 * 2).collect();
    if let Some(elements) = Elements::of(vectors)
        && let Ok(lists) = VectorLists::new(&offsets, elements)
    {
        let (params, stats) = (SearchParams::default(), &mut SearchStats::default());
        let found = search_elements(Some(index), index.metric(), lists, query, 4, &params, None, stats);
        assert!(found.is_ok_and(|found| found.len() <= 4));
    }
}

/// The first array of a blob: bits of the rows with a vector; none when all have one.
fn valid_of(blob: &[u8]) -> Option<&[u8]> {
    let (start, bytes) = (number(blob, HEADER, 8)?, number(blob, HEADER + 8, 8)?);
    let words = blob.get(start..start.checked_add(bytes)?)?;
    (!words.is_empty()).then_some(words)
}

/// Nearest rows, with a filter and without, within a window and in batches.
fn search_all(index: &AnyIndex, vectors: VectorsRef<'_>, query: VectorRef<'_>, blob: &[u8]) {
    let rows = vectors.len();
    let of_lists = matches!(index, AnyIndex::Lists(_));
    let valid = if of_lists { None } else { valid_of(blob) };
    let bytes = blob.len() + 4 * vectors.row_cost() * rows;
    let allow = Bitset::from_fn(rows, |row| row % 3 != 1);
    let few = Bitset::from_fn(rows, |row| row % 16 == 5);
    // Short enough that graphs of some ten rows are walked.
    let quick = SearchParams {
        ef: Some(4),
        disk: DiskSearch {
            search_list: Some(4),
            ..DiskSearch::default()
        },
        nprobe: Some(1),
        refine_k: Some(2.0),
        reorder_k: Some(20),
        rbq_bits_query: Some(4),
        ..SearchParams::default()
    };
    let windows = [Window::new(None, Some(1.0)), Window::new(Some(-3.0), Some(40.0))];
    let of = |within| SearchParams {
        within,
        ..SearchParams::default()
    };
    let searches = [
        (1, quick, None),
        (
            1,
            SearchParams {
                within: windows[0],
                ..quick
            },
            None,
        ),
        (3, quick, None),
        (10, quick, Some(&allow)),
        (10, SearchParams::default(), Some(&few)),
        (rows + 3, SearchParams::default(), None),
        (10, of(windows[0]), None),
        (rows.min(20), of(windows[1]), Some(&allow)),
        (0, quick, None),
    ];
    for (k, params, allow) in searches {
        within_proportion("searching", bytes, || {
            let stats = &mut SearchStats::default();
            let found = index.search(vectors, query, k, &params, allow, stats);
            check(&found.unwrap_or_default(), rows, k, params.within, allow, valid);
        });
    }
    let stats = &mut SearchStats::default();
    // By another metric, that of bands or none of the index.
    let other = AnyMetric::from(Metric::Ip);
    let _ = index.search_by(other, vectors, query, 3, &quick, None, stats);
    if let (AnyIndex::Dense(index), VectorsRef::Floats(vectors)) = (index, vectors) {
        let queries = vectors.data().get(..vectors.dim() * 3).unwrap_or(&[]);
        let Ok(queries) = Vectors::new(queries, vectors.dim()) else {
            return;
        };
        let found = within_proportion("searching", bytes, || {
            index.search_batch(vectors, queries, 5, &quick, Some(&allow), stats)
        });
        assert_eq!(found.len(), queries.len());
        for found in found {
            check(&found, rows, 5, Window::default(), Some(&allow), valid);
        }
    }
}

fn check(
    found: &[Neighbor],
    rows: usize,
    k: usize,
    within: Window,
    allow: Option<&Bitset>,
    valid: Option<&[u8]>,
) {
    assert!(found.len() <= k, "{} rows, asked for {k}", found.len());
    assert!(found.is_sorted(), "best first");
    let mut seen = Bitset::new(rows);
    for neighbor in found {
        let row = neighbor.row as usize;
        assert!(row < rows, "row {row} of {rows}");
        assert!(!seen.get(row), "row {row} twice");
        assert!(
            allow.is_none_or(|allow| allow.get(row)),
            "row {row} is not allowed"
        );
        let has_vector = |words: &[u8]| words.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1);
        assert!(valid.is_none_or(has_vector), "row {row} has no vector");
        assert!(within.contains(neighbor.distance) || neighbor.distance.is_nan());
        seen.set(row);
    }
}

fn ask_column(index: &ColumnIndex) {
    let written = index.serialize();
    assert!(
        ColumnIndex::open(Bytes::from(written)).is_ok(),
        "what was opened is written so that it cannot be opened"
    );
    assert!(index.memory_bytes() < usize::MAX / 2);
    match index {
        ColumnIndex::Values(index) => ask_values(index),
        ColumnIndex::Extents(index) => {
            let wanted = Extent {
                min: [0.0, 0.0],
                max: [5.0, 5.0],
                bulge: 0.0,
            };
            let verdicts = [
                index.answer(|extent| extent.meets(&wanted)),
                index.answer(|_| true),
                index.answer_null(),
            ];
            let rows = verdicts[0].yes.len();
            verdicts
                .into_iter()
                .for_each(|verdict| check_verdict(verdict, rows));
        }
    }
}

fn check_verdict(verdict: Verdict, rows: usize) {
    for set in [&verdict.yes, &verdict.no, &verdict.unknown] {
        assert_eq!(set.len(), rows);
        assert!(set.iter().all(|row| row < rows));
    }
    assert_eq!(verdict.and(Verdict::anything(rows)).negated().open().len(), rows);
}

fn ask_values(index: &ScalarIndex) {
    let rows = index.rows();
    let text = |text: &str| Key::Text(text.to_owned());
    let mut tests = vec![
        ScalarTest::Any,
        ScalarTest::Null,
        ScalarTest::Prefix("a".to_owned()),
        ScalarTest::Prefix(String::new()),
        ScalarTest::Range(Bound::Unbounded, Bound::Unbounded),
    ];
    for (low, high) in [
        (Key::Int(-3), Key::Int(40)),
        (Key::Float(f64::NEG_INFINITY), Key::Float(7.5)),
        (text("b"), text("dd")),
    ] {
        tests.push(ScalarTest::In(vec![low.clone(), high.clone()]));
        tests.push(ScalarTest::Range(
            Bound::Excluded(low.clone()),
            Bound::Included(high.clone()),
        ));
        tests.push(ScalarTest::Range(
            Bound::Included(high.clone()),
            Bound::Excluded(low.clone()),
        ));
        tests.push(ScalarTest::AtLeast {
            weights: vec![(low, 1), (high, u32::MAX)],
            least: 2,
        });
    }
    for test in &tests {
        if let Some(verdict) = index.answer(test) {
            check_verdict(verdict, rows);
        }
    }
    let count = index.distinct_count();
    let codes = [
        (0, Some(true)),
        (count / 2, None),
        (count.saturating_sub(1), Some(true)),
    ];
    check_verdict(index.answer_by_code(&codes[..count.min(1)], Some(false)), rows);
    check_verdict(index.answer_by_code(&codes, None), rows);
    let _ = index.distinct(None);
    if count > 0 {
        let _ = index.distinct(Some(&[0, count - 1]));
    }
    if let Some(codes) = index.texts_with(&["abc".to_owned(), "xy".to_owned()]) {
        assert!(codes.iter().all(|&code| code < count));
        let _ = index.distinct(Some(&codes));
    }
}
