//! The kernels of lists next to their twins: nearest rows, means, and scans.

use elanus_index::gpu::backend::{
    Backend, Comparison, ElementType, GROUP, InvertedOf, ListsOf, NO_ROW, ProbesOf, QueriesOf, RowsOf, Word,
};
use elanus_index::gpu::twin::Twin;

use crate::data::Rng;
use crate::device::lend;
use crate::typed_kernels::{query_term, vector};

pub fn put<B: Backend, W: Word>(backend: &B, values: &[W]) -> B::Buffer {
    let mut buffer = backend.allocate(values.len().max(1)).unwrap();
    backend.write(&mut buffer, 0, values).unwrap();
    buffer
}

fn nearest<B: Backend>(
    backend: &B,
    comparison: Comparison,
    rows: &[f32],
    queries: &[f32],
    stride: usize,
) -> Vec<u32> {
    let (row_count, query_count) = (rows.len() / stride, queries.len() / stride);
    let terms = |rows: &B::Buffer, count: usize| {
        let (mut terms, mut largest) = (put(backend, &vec![0u32; count]), put(backend, &[0u32]));
        let (count, stride) = (count as u32, stride as u32);
        backend
            .row_terms(
                (ElementType::Float, comparison),
                rows,
                count,
                stride,
                &mut terms,
                &mut largest,
            )
            .unwrap();
        terms
    };
    let (rows, queries) = (put(backend, rows), put(backend, queries));
    let (row_terms, query_terms) = (terms(&rows, row_count), terms(&queries, query_count));
    let mut words = vec![u32::MAX; 2 * query_count];
    let mut keys = put(backend, &words);
    let of_rows = RowsOf {
        element: ElementType::Float,
        data: &rows,
        terms: &row_terms,
        allow: None,
        base: 0,
    };
    let of_queries = QueriesOf {
        data: &queries,
        terms: &query_terms,
        bounds: &query_terms,
        count: query_count as u32,
        stride: stride as u32,
    };
    backend
        .nearest(comparison, &of_rows, row_count as u32, &of_queries, &mut keys)
        .unwrap();
    backend.read(&keys, &mut words).unwrap();
    words
}

/// Whole numbers, of which many are equally near: the first row counts.
#[test]
fn nearest_rows_are_those_of_the_twin() {
    let Some(lent) = lend() else { return };
    let mut rng = Rng(11);
    let comparisons = [Comparison::L2, Comparison::Ip, Comparison::L2Direct];
    for (turn, (rows, queries, stride)) in [(1, 1, 4), (3, 200, 4), (127, 129, 12), (260, 140, 20)]
        .into_iter()
        .enumerate()
    {
        lent.set_seed(turn as u64);
        let (base, asked) = (rng.integers(rows * stride), rng.integers(queries * stride));
        for comparison in comparisons {
            let expected = nearest(&Twin::new(), comparison, &base, &asked, stride);
            let got = nearest(&lent.device.backend, comparison, &base, &asked, stride);
            assert_eq!(got, expected, "{comparison:?}, {rows} rows, {queries} queries");
        }
    }
}

fn means<B: Backend>(
    backend: &B,
    rows: &[f32],
    weights: &[f32],
    members: &[u32],
    offsets: &[u32],
    stride: usize,
) -> Vec<u32> {
    let lists = offsets.len() - 1;
    let mut means = put(backend, &vec![7.0f32; lists * stride]);
    backend
        .list_means(
            (&put(backend, rows), &put(backend, weights)),
            (&put(backend, members), &put(backend, offsets)),
            lists as u32,
            stride as u32,
            &mut means,
        )
        .unwrap();
    let mut words = vec![0u32; lists * stride];
    backend.read(&means, &mut words).unwrap();
    words
}

/// In 64 bits and in the order of the list: the same bits, of any numbers.
#[test]
fn means_are_those_of_the_twin_and_of_empty_lists_stay() {
    let Some(lent) = lend() else { return };
    let mut rng = Rng(12);
    for stride in [4, 36, 300] {
        let (rows, weights) = (rng.normals(50 * stride), rng.normals(50));
        let members: Vec<u32> = (0..50).map(|row| row * 7 % 50).collect();
        let offsets = [0, 0, 1, 30, 30, 50];
        let expected = means(&Twin::new(), &rows, &weights, &members, &offsets, stride);
        let got = means(&lent.device.backend, &rows, &weights, &members, &offsets, stride);
        assert_eq!(got, expected);
        assert_eq!(f32::from_bits(got[0]), 7.0, "the first list is empty");
        let first = members[0] as usize * stride;
        assert_eq!(
            f32::from_bits(got[stride]),
            rows[first] * weights[members[0] as usize]
        );
    }
}

/// Lists of rows `0..`, interleaved.
struct Inverted {
    data: Vec<u32>,
    terms: Vec<u32>,
    numbers: Vec<u32>,
    starts: Vec<u32>,
}

impl Inverted {
    /// `rows` are the words of each row, and its term.
    fn new(rows: &[(Vec<u32>, u32)], words: usize, sizes: &[usize]) -> Self {
        let (mut numbers, mut starts, mut next) = (Vec::new(), vec![0], 0u32);
        for &size in sizes {
            numbers.extend(next..next + size as u32);
            numbers.resize(numbers.len().next_multiple_of(GROUP), NO_ROW);
            starts.push((numbers.len() / GROUP) as u32);
            next += size as u32;
        }
        let mut data = vec![0; numbers.len() * words];
        let mut terms = vec![0; numbers.len().max(1)];
        for (place, &row) in numbers.iter().enumerate().filter(|place| *place.1 != NO_ROW) {
            let (row, term) = &rows[row as usize];
            terms[place] = *term;
            for (at, &word) in row.iter().enumerate() {
                let chunk = place / GROUP * (words / 4) + at / 4;
                data[4 * (chunk * GROUP + place % GROUP) + at % 4] = word;
            }
        }
        Self {
            data,
            terms,
            numbers,
            starts,
        }
    }
}

/// What a scan is given besides the lists.
struct Scan {
    of: (ElementType, Comparison),
    stride: usize,
    queries: Vec<u32>,
    terms: Vec<u32>,
    bounds: Vec<f32>,
    probes: Vec<u32>,
    first: u32,
    count: u32,
    allow: Option<Vec<u32>>,
    room: usize,
}

/// Sorted lists of (row, distance bits), how many were counted, and how many were seen.
type Scanned = (Vec<Vec<(u32, u32)>>, Vec<u32>, Vec<u32>);

fn scan<B: Backend>(backend: &B, inverted: &Inverted, scan: &Scan) -> Scanned {
    let queries = scan.bounds.len();
    let (data, terms) = (put(backend, &inverted.data), put(backend, &inverted.terms));
    let (numbers, starts) = (put(backend, &inverted.numbers), put(backend, &inverted.starts));
    let allow = scan.allow.as_ref().map(|words| put(backend, words));
    let longest = inverted.starts.windows(2).map(|span| span[1] - span[0]).max();
    let of_lists = InvertedOf {
        data: &data,
        terms: &terms,
        numbers: &numbers,
        starts: &starts,
        allow: allow.as_ref(),
        longest: longest.unwrap(),
    };
    let (vectors, query_terms) = (put(backend, &scan.queries), put(backend, &scan.terms));
    let (bounds, probes) = (put(backend, &scan.bounds), put(backend, &scan.probes));
    let of_queries = QueriesOf {
        data: &vectors,
        terms: &query_terms,
        bounds: &bounds,
        count: queries as u32,
        stride: scan.stride as u32,
    };
    let of_probes = ProbesOf {
        lists: &probes,
        room: (scan.probes.len() / queries) as u32,
        first: scan.first,
        count: scan.count,
    };
    let mut seen = put(backend, &vec![0u32; queries]);
    let mut lists = ListsOf {
        distances: backend.allocate(queries * scan.room).unwrap(),
        rows: backend.allocate(queries * scan.room).unwrap(),
        counts: put(backend, &vec![0u32; queries]),
        room: scan.room as u32,
    };
    backend
        .scan_lists(scan.of, &of_lists, &of_queries, &of_probes, &mut seen, &mut lists)
        .unwrap();
    let places = queries * scan.room;
    let (mut distances, mut rows) = (vec![0u32; places], vec![0u32; places]);
    let (mut counts, mut looked_at) = (vec![0u32; queries], vec![0u32; queries]);
    backend.read(&lists.distances, &mut distances).unwrap();
    backend.read(&lists.rows, &mut rows).unwrap();
    backend.read(&lists.counts, &mut counts).unwrap();
    backend.read(&seen, &mut looked_at).unwrap();
    let found = counts.iter().enumerate().map(|(query, &count)| {
        let held = query * scan.room..query * scan.room + (count as usize).min(scan.room);
        let mut pairs: Vec<(u32, u32)> = held.map(|at| (rows[at], distances[at])).collect();
        pairs.sort_unstable();
        pairs
    });
    (found.collect(), counts, looked_at)
}

/// How lists of a type are scanned.
fn comparisons(element: ElementType) -> &'static [Comparison] {
    match element {
        ElementType::Float | ElementType::Half | ElementType::BFloat16 => {
            &[Comparison::L2Direct, Comparison::Ip, Comparison::Cosine]
        }
        ElementType::Int8 => &[Comparison::L2, Comparison::Ip, Comparison::Cosine],
        ElementType::Bit => &[Comparison::Hamming, Comparison::Jaccard],
    }
}

/// Lists of every length around that of a group, one long enough for several blocks; rows that end in the middle of 16 bytes. A row
/// that is as near as the bound is found, whatever the type.
#[test]
fn scans_of_every_type_are_those_of_the_twin() {
    let Some(lent) = lend() else { return };
    let sizes = [0usize, 1, 31, 32, 33, 64, 1100, 5];
    let total = sizes.iter().sum::<usize>();
    let mut rng = Rng(13);
    let mut case_number = 0;
    for element in ElementType::ALL {
        for stride in [4usize, 12, 20] {
            for &comparison in comparisons(element) {
                let term = |units: &[u32]| match units.iter().all(|&unit| unit << 1 == 0) {
                    true => 0,
                    false => query_term(element, comparison, units),
                };
                let mut row = || {
                    let (words, units) = vector(&mut rng, element, stride);
                    (words, term(&units))
                };
                let rows: Vec<(Vec<u32>, u32)> = (0..total).map(|_| row()).collect();
                let inverted = Inverted::new(&rows, element.list_words(stride), &sizes);
                for queries in [1usize, 3] {
                    case_number += 1;
                    lent.set_seed(case_number % 4);
                    let asked: Vec<Vec<u32>> = (0..queries)
                        .map(|_| vector(&mut rng, element, stride).1)
                        .collect();
                    let percent = [100, 40, 2][case_number as usize % 3];
                    let words = (0..total.div_ceil(32)).map(|_| {
                        (0..32).fold(0u32, |word, bit| {
                            word | u32::from(rng.below(100) < percent) << bit
                        })
                    });
                    let words: Vec<u32> = words.collect();
                    let probes =
                        (0..queries).flat_map(|query| (0..8).map(move |list| (list * 3 + query as u32) % 8));
                    let mut case = Scan {
                        of: (element, comparison),
                        stride,
                        terms: asked.iter().map(|units| term(units)).collect(),
                        queries: asked.concat(),
                        bounds: (0..queries)
                            .map(|query| [f32::INFINITY, 0.1, f32::NEG_INFINITY][query % 3])
                            .collect(),
                        probes: probes.collect(),
                        first: 1,
                        count: 7,
                        allow: (percent < 100).then_some(words),
                        room: total,
                    };
                    let what =
                        format!("{element:?} {comparison:?}, {queries} queries x {stride}, {percent} %");
                    let expected = scan(&Twin::new(), &inverted, &case);
                    let got = scan(&lent.device.backend, &inverted, &case);
                    assert_eq!(got, expected, "{what}");
                    assert!(percent < 100 || got.2[0] > 1000, "the long list was looked at");
                    let (row, bound) = got.0[0][got.0[0].len() / 2];
                    case.bounds[0] = f32::from_bits(bound);
                    let expected = scan(&Twin::new(), &inverted, &case);
                    let got = scan(&lent.device.backend, &inverted, &case);
                    assert_eq!(got, expected, "{what}, with a bound");
                    assert!(got.0[0].contains(&(row, bound)), "{what}, with a bound");
                }
            }
        }
    }
}
