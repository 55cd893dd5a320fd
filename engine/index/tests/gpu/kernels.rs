//! Each kernel next to its twin in plain Rust, on a device that holds the same words.

use elanus_index::gpu::backend::{Backend, Comparison, ElementType, ListsOf, QueriesOf, RowsOf, Word};
use elanus_index::gpu::twin::Twin;

use crate::data::Rng;
use crate::device::lend;

const COMPARISONS: [Comparison; 4] = [
    Comparison::L2,
    Comparison::Ip,
    Comparison::Cosine,
    Comparison::L2Direct,
];

fn put<B: Backend, W: Word>(backend: &B, values: &[W]) -> B::Buffer {
    let mut buffer = backend.allocate(values.len().max(1)).unwrap();
    backend.write(&mut buffer, 0, values).unwrap();
    buffer
}

/// What a kernel is given: rows in words, queries and their terms in units.
pub struct Case {
    pub element: ElementType,
    pub comparison: Comparison,
    pub stride: usize,
    pub rows: Vec<u32>,
    pub queries: Vec<u32>,
    pub query_terms: Vec<u32>,
    pub bounds: Vec<f32>,
    pub allow: Option<Vec<u32>>,
    pub first: usize,
    pub count: usize,
    pub room: usize,
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_word()).collect()
}

/// Sorted lists of (distance bits, row), how many were counted, and the terms of the rows.
pub type Outcome = (Vec<Vec<(u32, u32)>>, Vec<u32>, Vec<u32>, u32);

pub fn run<B: Backend>(backend: &B, case: &Case) -> Outcome {
    let row_count = case.rows.len() / case.element.row_words(case.stride);
    let query_count = case.queries.len() / case.stride;
    let rows = put(backend, &case.rows);
    let mut terms = put(backend, &vec![0u32; row_count]);
    let mut largest = put(backend, &[0u32]);
    let stride = case.stride as u32;
    backend
        .row_terms(
            (case.element, case.comparison),
            &rows,
            row_count as u32,
            stride,
            &mut terms,
            &mut largest,
        )
        .unwrap();
    let allow = case.allow.as_ref().map(|allow| put(backend, allow));
    let mut lists = ListsOf {
        distances: backend.allocate(query_count * case.room).unwrap(),
        rows: backend.allocate(query_count * case.room).unwrap(),
        counts: put(backend, &vec![0u32; query_count]),
        room: case.room as u32,
    };
    let of_rows = RowsOf {
        element: case.element,
        data: &rows,
        terms: &terms,
        allow: allow.as_ref(),
        base: 1000,
    };
    let (queries, query_terms) = (put(backend, &case.queries), put(backend, &case.query_terms));
    let bounds = put(backend, &case.bounds);
    let of_queries = QueriesOf {
        data: &queries,
        terms: &query_terms,
        bounds: &bounds,
        count: query_count as u32,
        stride,
    };
    let (first, count) = (case.first as u32, case.count as u32);
    backend
        .candidates(case.comparison, &of_rows, first, count, &of_queries, &mut lists)
        .unwrap();
    let mut counts = vec![0u32; query_count];
    backend.read(&lists.counts, &mut counts).unwrap();
    let (distances, numbers) = read_lists(backend, &lists, query_count);
    let sorted = (0..query_count).map(|query| {
        let held = (counts[query] as usize).min(case.room);
        let pairs = (query * case.room..query * case.room + held).map(|at| (distances[at], numbers[at]));
        let mut pairs: Vec<(u32, u32)> = pairs.collect();
        pairs.sort_unstable_by_key(|pair| pair.1);
        pairs
    });
    let sorted = sorted.collect();
    let (mut row_terms, mut most) = (vec![0u32; row_count], [0u32]);
    backend.read(&terms, &mut row_terms).unwrap();
    backend.read(&largest, &mut most).unwrap();
    (sorted, counts, row_terms, most[0])
}

fn read_lists<B: Backend>(backend: &B, lists: &ListsOf<B::Buffer>, queries: usize) -> (Vec<u32>, Vec<u32>) {
    let places = queries * lists.room as usize;
    let (mut distances, mut rows) = (vec![0u32; places], vec![0u32; places]);
    backend.read(&lists.distances, &mut distances).unwrap();
    backend.read(&lists.rows, &mut rows).unwrap();
    (distances, rows)
}

/// Whole numbers, so that every sum is exact and the lists must be equal bit for bit; COSINE, which divides, rounds the same
/// way in both.
#[test]
fn candidates_are_those_of_the_twin() {
    let Some(lent) = lend() else { return };
    let mut rng = Rng(1);
    let mut case_number = 0;
    for query_count in [1, 3, 4, 5, 48, 49, 130] {
        for (row_count, stride) in [(1usize, 4usize), (127, 12), (300, 36), (140, 132)] {
            for comparison in COMPARISONS {
                case_number += 1;
                lent.set_seed(case_number % 4);
                let queries = rng.integers(query_count * stride);
                let square = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>();
                let query_terms = queries.chunks_exact(stride).map(|row| match comparison {
                    Comparison::Cosine => 1.0 / square(row).sqrt(),
                    Comparison::L2
                    | Comparison::Ip
                    | Comparison::L2Direct
                    | Comparison::Hamming
                    | Comparison::Jaccard => square(row),
                });
                let query_terms: Vec<f32> = query_terms.collect();
                let percent = [100, 60, 3, 0][case_number as usize % 4];
                let words = (0..row_count.div_ceil(32)).map(|_| {
                    (0..32).fold(0u32, |word, bit| {
                        word | u32::from(rng.below(100) < percent) << bit
                    })
                });
                let allow = (percent < 100).then(|| words.collect());
                let bounds = (0..query_count).map(|query| match (query % 3, comparison) {
                    (0, _) => f32::INFINITY,
                    (1, Comparison::Cosine) => 0.05,
                    (1, _) => 10.0,
                    _ => f32::NEG_INFINITY,
                });
                let bounds = bounds.collect();
                let first = rng.below(row_count);
                let case = Case {
                    element: ElementType::Float,
                    comparison,
                    stride,
                    rows: bits(&Rng(case_number).integers(row_count * stride)),
                    queries: bits(&queries),
                    query_terms: bits(&query_terms),
                    bounds,
                    allow,
                    first,
                    count: 1 + rng.below(row_count - first),
                    room: row_count,
                };
                let expected = run(&Twin::new(), &case);
                let got = run(&lent.device.backend, &case);
                assert_eq!(
                    got, expected,
                    "{comparison:?}, {query_count} queries, {row_count} rows x {stride}, {percent} % allowed"
                );
            }
        }
    }
}

/// A list that is too short counts what it lost, and holds no more than it has room for.
#[test]
fn lists_that_run_over_say_so() {
    let Some(lent) = lend() else { return };
    for query_count in [1usize, 3, 40, 60] {
        let case = Case {
            element: ElementType::Float,
            comparison: Comparison::Ip,
            stride: 4,
            rows: bits(&[1.0; 4 * 200]),
            queries: bits(&vec![1.0; 4 * query_count]),
            query_terms: vec![0; query_count],
            bounds: vec![f32::INFINITY; query_count],
            allow: None,
            first: 0,
            count: 200,
            room: 16,
        };
        let (lists, counts, _, _) = run(&lent.device.backend, &case);
        assert!(counts.iter().all(|&count| count == 200), "{counts:?}");
        assert!(lists.iter().all(|list| list.len() == 16));
    }
}

/// What overflows or is no number is infinitely near, for rows and queries alike; zero rows and tiny ones under COSINE.
#[test]
fn numbers_that_are_none_are_never_passed_over() {
    let Some(lent) = lend() else { return };
    let rows: Vec<f32> = [
        0.0,
        f32::MAX,
        -f32::MAX,
        1e-20,
        1e-30,
        f32::NAN,
        f32::INFINITY,
        1.0,
    ]
    .into_iter()
    .flat_map(|value| [value, -value, value, 0.0])
    .collect();
    for comparison in COMPARISONS {
        for query_count in [1, 4, 33, 64] {
            let queries: Vec<f32> = (0..query_count)
                .flat_map(|at| [at as f32, 1.0, f32::MAX, 0.0])
                .collect();
            let case = Case {
                element: ElementType::Float,
                comparison,
                stride: 4,
                rows: bits(&rows),
                queries: bits(&queries),
                query_terms: bits(&vec![f32::INFINITY; query_count]),
                bounds: vec![f32::NEG_INFINITY; query_count],
                allow: None,
                first: 0,
                count: 8,
                room: 8,
            };
            let (lists, _, terms, largest) = run(&lent.device.backend, &case);
            let (twin_lists, _, twin_terms, twin_largest) = run(&Twin::new(), &case);
            let is_nan = |word: u32| f32::from_bits(word).is_nan();
            for (got, expected) in terms.iter().zip(&twin_terms) {
                assert!(
                    got == expected || (is_nan(*got) && is_nan(*expected)),
                    "{comparison:?}"
                );
            }
            assert!(is_nan(largest) && is_nan(twin_largest));
            for (list, twin_list) in lists.iter().zip(&twin_lists) {
                let found = |list: &[(u32, u32)]| list.iter().any(|pair| pair.1 == 1005);
                assert!(
                    found(list) && found(twin_list),
                    "{comparison:?}: the row of no numbers"
                );
            }
        }
    }
}

/// Lists with ties, both infinities, repeated distances, and every relation of their length to `k`.
#[test]
fn selections_are_those_of_the_twin() {
    let Some(lent) = lend() else { return };
    let mut rng = Rng(3);
    for (round, (room, k)) in [
        (1usize, 1usize),
        (40, 1),
        (300, 10),
        (300, 299),
        (300, 300),
        (2000, 700),
        (33_000, 16_384),
    ]
    .into_iter()
    .enumerate()
    {
        lent.set_seed(round as u64);
        let queries = if room > 10_000 { 1 } else { 7 };
        let mut distances = Vec::new();
        let mut rows = Vec::new();
        for query in 0..queries {
            for at in 0..room {
                distances.push(match (query, rng.below(20)) {
                    // All equal; few values; any, in both signs.
                    (0, _) => 7.5,
                    (1, value) => value as f32,
                    (_, 0) => f32::INFINITY,
                    (_, 1) => f32::NEG_INFINITY,
                    (_, 2) => 0.0,
                    (_, 3) => -0.0,
                    _ => rng.normal() * 1e3,
                });
                rows.push((at * 7919 % room) as u32 | if query == 3 { 0x8000_0000 } else { 0 });
            }
        }
        let counts: Vec<u32> = (0..queries)
            .map(|query| {
                [
                    room,
                    room,
                    k.min(room),
                    k.saturating_sub(1),
                    0,
                    room / 2,
                    room + 5,
                ][query % 7] as u32
            })
            .collect();
        let twin = select(&Twin::new(), room, k, &distances, &rows, &counts);
        let got = select(&lent.device.backend, room, k, &distances, &rows, &counts);
        assert_eq!(got, twin, "k {k} of {room}");
    }
}

/// What a selection leaves: the lists, sorted, their bounds, and whether one had overflowed.
type Selected = (Vec<Vec<(u32, u32)>>, Vec<u32>, u32);

fn select<B: Backend>(
    backend: &B,
    room: usize,
    k: usize,
    distances: &[f32],
    rows: &[u32],
    counts: &[u32],
) -> Selected {
    let lists = ListsOf {
        distances: put(backend, distances),
        rows: put(backend, rows),
        counts: put(backend, counts),
        room: room as u32,
    };
    let mut best = ListsOf {
        distances: backend.allocate(counts.len() * k).unwrap(),
        rows: backend.allocate(counts.len() * k).unwrap(),
        counts: backend.allocate(counts.len()).unwrap(),
        room: k as u32,
    };
    let mut bounds = backend.allocate(counts.len()).unwrap();
    let mut overflow = put(backend, &[0u32]);
    let queries = counts.len() as u32;
    backend
        .select(&lists, queries, k as u32, &mut best, &mut bounds, &mut overflow)
        .unwrap();
    let (mut left, mut limits, mut lost) = (vec![0u32; counts.len()], vec![0u32; counts.len()], [0u32]);
    backend.read(&best.counts, &mut left).unwrap();
    backend.read(&bounds, &mut limits).unwrap();
    backend.read(&overflow, &mut lost).unwrap();
    let (found, numbers) = read_lists(backend, &best, counts.len());
    let sorted = left.iter().enumerate().map(|(query, &count)| {
        let held = query * k..query * k + count as usize;
        let mut pairs: Vec<(u32, u32)> = held.map(|at| (found[at], numbers[at])).collect();
        pairs.sort_unstable();
        pairs
    });
    (sorted.collect(), limits, lost[0])
}
