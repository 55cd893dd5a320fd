//! The kernels of product codes next to their twins: codewords, tables and scans.

use elanus_index::Metric;
use elanus_index::gpu::backend::{
    Backend, BooksOf, GROUP, InvertedOf, ListsOf, NO_ROW, ProbesOf, QueriesOf, TablesOf,
};
use elanus_index::gpu::twin::Twin;

use crate::data::{METRICS, Rng};
use crate::device::lend;
use crate::list_kernels::put;

/// Groups, dimensions of a group, bits.
type Shape = (usize, usize, u32);

/// Few and many bits, a last word that is not full, and more groups than a block has tables for.
const SHAPES: [Shape; 6] = [
    (1, 3, 1),
    (5, 2, 4),
    (9, 1, 3),
    (6, 3, 5),
    (13, 2, 8),
    (150, 1, 8),
];

struct Case {
    shape: Shape,
    stride: usize,
    books: Vec<f32>,
    norms: Vec<f32>,
    mean: Vec<f32>,
}

impl Case {
    fn new((parts, width, bits): Shape, rng: &mut Rng) -> Self {
        let (stride, words) = ((parts * width).next_multiple_of(4), 1usize << bits);
        let books = rng.normals(parts * width * words);
        let mut norms = vec![0.0f32; parts * words];
        for (part, book) in books.chunks_exact(width * words).enumerate() {
            for column in book.chunks_exact(words) {
                for (norm, word) in norms[part * words..].iter_mut().zip(column) {
                    *norm += word * word;
                }
            }
        }
        let mut mean = rng.normals(parts * width);
        mean.resize(stride, 0.0);
        Self {
            shape: (parts, width, bits),
            stride,
            books,
            norms,
            mean,
        }
    }

    fn rows(&self, count: usize, rng: &mut Rng) -> Vec<f32> {
        let dim = self.shape.0 * self.shape.1;
        let mut rows = Vec::new();
        for _ in 0..count {
            rows.extend(rng.normals(dim));
            rows.resize(rows.len().next_multiple_of(self.stride), 0.0);
        }
        rows
    }

    fn of<'a, B>(&self, (data, norms): (&'a B, &'a B)) -> BooksOf<'a, B> {
        let (parts, width, bits) = self.shape;
        BooksOf {
            data,
            norms,
            parts: parts as u32,
            width: width as u32,
            bits,
        }
    }
}

fn codes<B: Backend>(backend: &B, case: &Case, rows: &[f32]) -> Vec<u32> {
    let count = rows.len() / case.stride;
    let pitch = case.shape.0.next_multiple_of(4);
    let (data, norms) = (put(backend, &case.books), put(backend, &case.norms));
    let mut codes = put(backend, &vec![0u32; count * pitch / 4]);
    let (count_of, stride) = (count as u32, case.stride as u32);
    let books = case.of((&data, &norms));
    backend
        .nearest_words(
            &put(backend, rows),
            count_of,
            stride,
            &books,
            pitch as u32,
            &mut codes,
        )
        .unwrap();
    let mut words = vec![0; count * pitch / 4];
    backend.read(&codes, &mut words).unwrap();
    words
}

#[test]
fn codewords_are_those_of_the_twin() {
    let Some(lent) = lend() else { return };
    let mut rng = Rng(31);
    for (turn, shape) in SHAPES.into_iter().enumerate() {
        lent.set_seed(turn as u64);
        let case = Case::new(shape, &mut rng);
        for count in [1, 33, 70] {
            let rows = case.rows(count, &mut rng);
            let expected = codes(&Twin::new(), &case, &rows);
            assert_eq!(codes(&lent.device.backend, &case, &rows), expected, "{shape:?}");
        }
    }
}

struct Queries<B> {
    data: B,
    bounds: B,
    count: usize,
    stride: usize,
}

impl<B> Queries<B> {
    fn of(&self) -> QueriesOf<'_, B> {
        QueriesOf {
            data: &self.data,
            terms: &self.bounds,
            bounds: &self.bounds,
            count: self.count as u32,
            stride: self.stride as u32,
        }
    }
}

fn tables<B: Backend>(backend: &B, case: &Case, queries: &Queries<B::Buffer>) -> TablesOf<B::Buffer> {
    let (data, norms) = (put(backend, &case.books), put(backend, &case.norms));
    let books = case.of((&data, &norms));
    let mut tables = TablesOf {
        bytes: backend.allocate(queries.count * books.table_words()).unwrap(),
        lines: backend.allocate(2 * queries.count).unwrap(),
        lows: backend.allocate(queries.count * case.shape.0).unwrap(),
    };
    let mean = put(backend, &case.mean);
    backend
        .code_tables(&queries.of(), &mean, &books, &mut tables)
        .unwrap();
    tables
}

/// Bytes and lines.
fn read_tables<B: Backend>(backend: &B, case: &Case, rows: &[f32]) -> (Vec<u32>, Vec<u32>) {
    let count = rows.len() / case.stride;
    let queries = Queries {
        data: put(backend, rows),
        bounds: put(backend, &vec![f32::INFINITY; count]),
        count,
        stride: case.stride,
    };
    let tables = tables(backend, case, &queries);
    let unused = put(backend, &[0u32]);
    let words = case.of((&unused, &unused)).table_words();
    let (mut bytes, mut lines) = (vec![0; count * words], vec![0; 2 * count]);
    backend.read(&tables.bytes, &mut bytes).unwrap();
    backend.read(&tables.lines, &mut lines).unwrap();
    (bytes, lines)
}

/// Of any numbers, bit for bit; the largest entry of all is 255.
#[test]
fn tables_are_those_of_the_twin() {
    let Some(lent) = lend() else { return };
    let mut rng = Rng(32);
    for (turn, shape) in SHAPES.into_iter().enumerate() {
        lent.set_seed(turn as u64);
        let case = Case::new(shape, &mut rng);
        let mut rows = case.rows(4, &mut rng);
        // A query that is the mean has products of nothing.
        rows[..case.stride].copy_from_slice(&case.mean);
        let expected = read_tables(&Twin::new(), &case, &rows);
        let got = read_tables(&lent.device.backend, &case, &rows);
        assert_eq!(got, expected, "{shape:?}");
        assert_eq!(f32::from_bits(got.1[0]), 0.0);
        let bytes = got.0.iter().flat_map(|word| word.to_le_bytes());
        assert_eq!(bytes.max(), Some(255), "{shape:?}");
    }
}

type Scanned = (Vec<Vec<(u32, u32)>>, Vec<u32>, Vec<u32>);

/// Lists of rows `0..` with codes of random bits, scanned for three queries.
struct Scan {
    metric: Metric,
    codes: Vec<u32>,
    adds: Vec<f32>,
    bases: Vec<f32>,
    numbers: Vec<u32>,
    starts: Vec<u32>,
    queries: Vec<f32>,
    allow: Option<Vec<u32>>,
}

fn scan<B: Backend>(backend: &B, case: &Case, scan: &Scan) -> Scanned {
    let bounds = [f32::INFINITY, 2.0, f32::NEG_INFINITY];
    let (count, lists) = (bounds.len(), scan.starts.len() - 1);
    let queries = Queries {
        data: put(backend, &scan.queries),
        bounds: put(backend, &bounds),
        count,
        stride: case.stride,
    };
    let tables = tables(backend, case, &queries);
    let (data, norms) = (put(backend, &case.books), put(backend, &case.norms));
    let (codes, adds) = (put(backend, &scan.codes), put(backend, &scan.adds));
    let (numbers, starts) = (put(backend, &scan.numbers), put(backend, &scan.starts));
    let allow = scan.allow.as_ref().map(|words| put(backend, words));
    let inverted = InvertedOf {
        data: &codes,
        terms: &adds,
        numbers: &numbers,
        starts: &starts,
        allow: allow.as_ref(),
        longest: scan
            .starts
            .windows(2)
            .map(|span| span[1] - span[0])
            .max()
            .unwrap(),
    };
    // Each query begins elsewhere, and leaves its first list out.
    let probes: Vec<u32> = (0..count)
        .flat_map(|query| (0..lists).map(move |list| ((list + query) % lists) as u32))
        .collect();
    let probes = put(backend, &probes);
    let probes = ProbesOf {
        lists: &probes,
        room: lists as u32,
        first: 1,
        count: lists as u32 - 1,
    };
    let room = scan.numbers.len();
    let mut seen = put(backend, &vec![0u32; count]);
    let mut found = ListsOf {
        distances: backend.allocate(count * room).unwrap(),
        rows: backend.allocate(count * room).unwrap(),
        counts: put(backend, &vec![0u32; count]),
        room: room as u32,
    };
    backend
        .scan_codes(
            scan.metric,
            (&inverted, &put(backend, &scan.bases), &case.of((&data, &norms))),
            (&queries.of(), &tables),
            &probes,
            &mut seen,
            &mut found,
        )
        .unwrap();
    let (mut distances, mut rows) = (vec![0u32; count * room], vec![0u32; count * room]);
    let (mut counts, mut looked_at) = (vec![0u32; count], vec![0u32; count]);
    backend.read(&found.distances, &mut distances).unwrap();
    backend.read(&found.rows, &mut rows).unwrap();
    backend.read(&found.counts, &mut counts).unwrap();
    backend.read(&seen, &mut looked_at).unwrap();
    let of_query = |(query, &held): (usize, &u32)| {
        let held = query * room..query * room + held as usize;
        let mut pairs: Vec<(u32, u32)> = held.map(|at| (rows[at], distances[at])).collect();
        pairs.sort_unstable();
        pairs
    };
    (
        counts.iter().enumerate().map(of_query).collect(),
        counts,
        looked_at,
    )
}

/// Lists of lengths around that of a group, one of them for several blocks, with and without a filter.
#[test]
fn scans_of_codes_are_those_of_the_twin() {
    let Some(lent) = lend() else { return };
    let sizes = [3usize, 0, 32, 33, 700];
    let mut rng = Rng(33);
    for (turn, shape) in SHAPES.into_iter().enumerate() {
        let case = Case::new(shape, &mut rng);
        let (parts, _, bits) = shape;
        let per_word = if bits <= 4 { 8 } else { 4 };
        let (mut numbers, mut starts) = (Vec::new(), vec![0]);
        for (list, size) in sizes.into_iter().enumerate() {
            let first: usize = sizes[..list].iter().sum();
            numbers.extend((first..first + size).map(|row| row as u32));
            numbers.resize(numbers.len().next_multiple_of(GROUP), NO_ROW);
            starts.push((numbers.len() / GROUP) as u32);
        }
        let words = parts.div_ceil(per_word);
        let mut codes = vec![0u32; words * numbers.len()];
        for place in 0..numbers.len() {
            for part in 0..parts {
                let at = (place / GROUP * words + part / per_word) * GROUP + place % GROUP;
                codes[at] |= (rng.below(1 << bits) as u32) << (part % per_word * (32 / per_word));
            }
        }
        for (metric, percent) in METRICS.into_iter().zip([100, 30, 100]) {
            lent.set_seed((turn % 3) as u64);
            let allow = (0..771usize.div_ceil(32)).map(|_| {
                (0..32).fold(0u32, |word, bit| {
                    word | u32::from(rng.below(100) < percent) << bit
                })
            });
            let allow: Vec<u32> = allow.collect();
            let scanned = Scan {
                metric,
                codes: codes.clone(),
                adds: rng.normals(numbers.len()),
                // Distances from the bases are sums of whole numbers, in whatever order.
                bases: rng.integers(sizes.len() * case.stride),
                numbers: numbers.clone(),
                starts: starts.clone(),
                queries: rng.integers(3 * case.stride),
                allow: (percent < 100).then_some(allow),
            };
            let expected = scan(&Twin::new(), &case, &scanned);
            let got = scan(&lent.device.backend, &case, &scanned);
            assert_eq!(got, expected, "{metric} {shape:?}");
            assert!(
                percent < 100 || (got.1[0] == got.2[0] && got.2[0] >= 765),
                "{:?}",
                got.2
            );
            assert_eq!(got.1[2], 0);
        }
    }
}
