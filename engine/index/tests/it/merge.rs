//! Indexes built out of those of parts of their rows.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use elanus_index::{
    AnyIndex, AnyMetric, Bitset, BuildError, BuildOptions, BuildParams, GONE, GraphCode, IndexPart, Merged,
    Metric, Progress, ScalarFormat, SearchParams, SearchStats, Vectors, VectorsRef, Window, exact_search_any,
};

use crate::data::{FAMILIES, Mixture, Rng, graph, recall};
use crate::typed_index::Column;

const DIM: usize = 64;
const ROWS: usize = 3_000;
const QUERIES: usize = 50;
const K: usize = 10;
const HNSW: BuildParams = BuildParams::Hnsw {
    m: 8,
    ef_construction: 60,
};

/// Rows in parts, and what is left of them in one.
struct Case {
    parts: Vec<Vec<f32>>,
    maps: Vec<Vec<u32>>,
    merged: Vec<f32>,
}

impl Case {
    /// Parts of so many rows, of which `gone` percent are gone.
    fn new(base: &[f32], sizes: &[usize], gone: usize) -> Self {
        let mut rng = Rng(5);
        let mut rows = base.chunks_exact(DIM);
        let mut case = Self {
            parts: Vec::new(),
            maps: Vec::new(),
            merged: Vec::new(),
        };
        for &size in sizes {
            let (mut part, mut map) = (Vec::new(), Vec::new());
            for row in rows.by_ref().take(size) {
                part.extend_from_slice(row);
                if rng.below(100) < gone {
                    map.push(GONE);
                } else {
                    map.push((case.merged.len() / DIM) as u32);
                    case.merged.extend_from_slice(row);
                }
            }
            case.parts.push(part);
            case.maps.push(map);
        }
        case
    }

    fn mixture(sizes: &[usize], gone: usize) -> Self {
        Self::new(&Mixture::new(DIM, 30, 9).draw(sizes.iter().sum()), sizes, gone)
    }

    fn left(&self) -> usize {
        self.merged.len() / DIM
    }
}

fn floats(data: &[f32]) -> VectorsRef<'_> {
    VectorsRef::Floats(Vectors::new(data, DIM).unwrap())
}

/// The type of vectors is known by its place among those of [`Column::of_all_types`]; none: 32-bit floats.
fn with_type<T>(data: &[f32], element: Option<usize>, run: impl FnOnce(VectorsRef<'_>) -> T) -> T {
    match element {
        None => run(floats(data)),
        Some(element) => run(Column::of_all_types(data)[element].vectors(DIM)),
    }
}

fn options(threads: usize) -> BuildOptions<'static> {
    BuildOptions {
        threads,
        ..BuildOptions::default()
    }
}

/// Indexes of the parts, then the merged one.
fn merge(
    params: &BuildParams,
    metric: AnyMetric,
    case: &Case,
    element: Option<usize>,
    threads: usize,
) -> Merged {
    let build = |data: &Vec<f32>| {
        with_type(data, element, |rows| {
            AnyIndex::build(params, metric, rows, None, &options(threads)).unwrap()
        })
    };
    let indexes: Vec<AnyIndex> = case.parts.iter().map(build).collect();
    let parts: Vec<IndexPart<'_>> = indexes
        .iter()
        .zip(&case.maps)
        .map(|(index, rows)| IndexPart { index, rows })
        .collect();
    with_type(&case.merged, element, |rows| {
        AnyIndex::merge(params, metric, rows, None, &parts, &options(threads)).unwrap()
    })
}

fn mean_recall(index: &AnyIndex, metric: AnyMetric, case: &Case, element: Option<usize>) -> f64 {
    let queries = Mixture::new(DIM, 30, 9)
        .draw(ROWS + QUERIES)
        .split_off(ROWS * DIM);
    let search = SearchParams {
        ef: Some(40),
        ..SearchParams::default()
    };
    with_type(&case.merged, element, |rows| {
        with_type(&queries, element, |queries| {
            let mut sum = 0.0;
            for query in 0..QUERIES {
                let (query, mut stats) = (queries.row(query), SearchStats::default());
                let found = index.search(rows, query, K, &search, None, &mut stats).unwrap();
                let all = Window::default();
                let truth = exact_search_any(metric, rows, query, K, all, None, &mut stats).unwrap();
                sum += recall(&found, &truth);
            }
            sum / QUERIES as f64
        })
    })
}

fn check_recall(params: &BuildParams, metric: AnyMetric, case: &Case, element: Option<usize>) {
    let merged = merge(params, metric, case, element, 2);
    let anew = with_type(&case.merged, element, |rows| {
        AnyIndex::build(params, metric, rows, None, &options(2)).unwrap()
    });
    let what = format!("{params:?} {metric} of type {element:?}, {} rows", case.left());
    assert_eq!(merged.reused_rows, case.left(), "{what}");
    let found = mean_recall(&merged.index, metric, case, element);
    let expected = mean_recall(&anew, metric, case, element);
    assert!(found >= expected - 0.02, "{what}: {found}, built anew {expected}");
}

#[test]
fn a_merged_graph_finds_as_much_as_one_built_anew() {
    for (sizes, gone) in [
        (&[ROWS][..], 20),
        (&[ROWS], 60),
        (&[ROWS / 2, ROWS / 6, ROWS / 3], 0),
        (&[ROWS / 4; 4], 20),
        (&[ROWS / 3, 2 * ROWS / 3], 60),
    ] {
        let case = Case::mixture(sizes, gone);
        check_recall(&HNSW, Metric::L2.into(), &case, None);
        check_recall(&HNSW, Metric::Cosine.into(), &case, None);
    }
}

#[test]
fn so_it_is_with_vectors_of_every_type() {
    let case = Case::mixture(&[ROWS / 2, ROWS / 2], 20);
    let columns = Column::of_all_types(&case.merged);
    for (element, column) in columns.iter().enumerate() {
        for metric in column.metrics() {
            check_recall(&HNSW, metric, &case, Some(element));
        }
    }
}

#[test]
fn so_it_is_with_every_code() {
    let case = Case::mixture(&[ROWS / 2, ROWS / 2], 20);
    for code in [
        GraphCode::Scalar(ScalarFormat::Sq4u),
        GraphCode::Scalar(ScalarFormat::Sq8),
        GraphCode::Scalar(ScalarFormat::Fp16),
        GraphCode::Product { m: 16, nbits: 8 },
        GraphCode::Residual {
            m: 8,
            nrq: 2,
            nbits: 6,
        },
    ] {
        check_recall(&graph(code), Metric::L2.into(), &case, None);
        check_recall(&graph(code), Metric::Ip.into(), &case, Some(0));
    }
}

#[test]
fn threads_do_not_change_the_bytes_and_the_blob_opens() {
    for params in [HNSW, graph(GraphCode::Scalar(ScalarFormat::Sq8))] {
        let case = Case::mixture(&[1_000, 700, 300], 30);
        let bytes = merge(&params, Metric::L2.into(), &case, None, 1)
            .index
            .serialize();
        for threads in [1, 2, 4] {
            let again = merge(&params, Metric::L2.into(), &case, None, threads);
            assert!(again.index.serialize() == bytes, "{params:?} {threads}");
        }
        let opened = AnyIndex::open(Bytes::from(bytes.clone())).unwrap();
        assert!(opened.serialize() == bytes);
        assert!(mean_recall(&opened, Metric::L2.into(), &case, None) > 0.9);
    }
}

#[test]
fn copies_tiny_parts_and_empty_ones_are_all_found() {
    let mut base = Mixture::new(DIM, 10, 4).draw(900);
    // Every third row is the same vector, in all parts.
    let copy = base[..DIM].to_vec();
    for row in base.chunks_exact_mut(DIM).step_by(3) {
        row.copy_from_slice(&copy);
    }
    let mut case = Case::new(&base, &[1, 500, 1, 1, 397], 0);
    check_every_row_finds_itself(&case);
    // The whole second part is gone.
    let gone = case.maps[1].len();
    for (number, map) in case.maps.iter_mut().enumerate() {
        for place in map.iter_mut() {
            match number {
                1 => *place = GONE,
                2.. => *place -= gone as u32,
                _ => {}
            }
        }
    }
    case.merged.drain(DIM..DIM * (1 + gone));
    check_every_row_finds_itself(&case);
}

fn check_every_row_finds_itself(case: &Case) {
    let merged = merge(&HNSW, Metric::L2.into(), case, None, 2);
    assert_eq!(merged.reused_rows, case.left());
    let rows = floats(&case.merged);
    for row in 0..case.left() {
        let mut stats = SearchStats::default();
        let search = SearchParams::default();
        let found = merged
            .index
            .search(rows, rows.row(row), 1, &search, None, &mut stats);
        assert_eq!(found.unwrap()[0].distance, 0.0, "row {row}");
    }
}

#[test]
fn rows_without_a_vector_stay_out_and_rows_of_no_part_come_in() {
    let case = Case::mixture(&[1_000, 500], 0);
    let (first, rest) = (&case.parts[0], &case.maps[0]);
    let had = Bitset::from_fn(1_000, |row| row % 5 != 0);
    let has = Bitset::from_fn(1_500, |row| row % 7 != 0);
    let l2 = AnyMetric::from(Metric::L2);
    let part = AnyIndex::build(&HNSW, l2, floats(first), Some(&had), &options(2)).unwrap();
    let part = IndexPart {
        index: &part,
        rows: rest,
    };
    let merged = AnyIndex::merge(&HNSW, l2, floats(&case.merged), Some(&has), &[part], &options(2)).unwrap();
    let both = (0..1_000).filter(|&row| had.get(row) && has.get(row)).count();
    assert_eq!(merged.reused_rows, both);
    for row in 0..1_500 {
        let (rows, mut stats) = (floats(&case.merged), SearchStats::default());
        let search = SearchParams::default();
        let found = merged
            .index
            .search(rows, rows.row(row), 1, &search, None, &mut stats);
        assert_eq!(found.unwrap()[0].row as usize == row, has.get(row), "row {row}");
    }
}

#[test]
fn parts_that_do_not_fit_are_not_used() {
    let case = Case::mixture(&[600, 600], 0);
    let l2 = AnyMetric::from(Metric::L2);
    let anew = AnyIndex::build(&HNSW, l2, floats(&case.merged), None, &options(1)).unwrap();
    let wider = BuildParams::Hnsw {
        m: 12,
        ef_construction: 60,
    };
    let short = [0; 599];
    let all_gone = [GONE; 600];
    for (params, metric, rows) in [
        (&wider, l2, &case.maps[0][..]),
        (&HNSW, Metric::Ip.into(), &case.maps[0]),
        (&HNSW, l2, &short),
        (&HNSW, l2, &all_gone),
        (&BuildParams::IvfFlat { nlist: 8 }, l2, &case.maps[0]),
        (&BuildParams::Flat, l2, &case.maps[0]),
    ] {
        let index = AnyIndex::build(params, metric, floats(&case.parts[0]), None, &options(1)).unwrap();
        let part = IndexPart { index: &index, rows };
        let merged = AnyIndex::merge(&HNSW, l2, floats(&case.merged), None, &[part], &options(1)).unwrap();
        assert_eq!(merged.reused_rows, 0, "{params:?} {metric}");
        assert!(
            merged.index.serialize() == anew.serialize(),
            "{params:?} {metric}"
        );
    }
    for params in FAMILIES
        .into_iter()
        .filter(|params| !matches!(params, BuildParams::Hnsw { .. } | BuildParams::HnswCoded(_)))
    {
        let merged = merge(&params, l2, &case, None, 1);
        let anew = AnyIndex::build(&params, l2, floats(&case.merged), None, &options(1)).unwrap();
        assert_eq!(merged.reused_rows, 0, "{params:?}");
        assert!(merged.index.serialize() == anew.serialize(), "{params:?}");
    }
}

#[test]
fn places_that_are_no_rows_or_taken_count_as_gone() {
    let case = Case::mixture(&[800, 400], 0);
    let mut wrong = case.maps.clone();
    wrong[0][7] = 5_000_000;
    wrong[1][3] = wrong[0][0];
    let case = Case { maps: wrong, ..case };
    let merged = merge(&HNSW, Metric::L2.into(), &case, None, 2);
    assert_eq!(merged.reused_rows, 1_198);
    assert!(mean_recall(&merged.index, Metric::L2.into(), &case, None) > 0.9);
}

/// Says after so many questions that the build should stop.
struct After(std::sync::atomic::AtomicUsize);

impl Progress for After {
    fn advance(&self, rows_done: u64, rows_total: u64) {
        assert!(rows_done <= rows_total);
    }

    fn cancelled(&self) -> bool {
        self.0
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .is_err()
    }
}

#[test]
fn a_merge_stops_when_asked() {
    let case = Case::mixture(&[900, 300], 20);
    let build = |data: &Vec<f32>| AnyIndex::build(&HNSW, Metric::L2.into(), floats(data), None, &options(1));
    let indexes: Vec<AnyIndex> = case.parts.iter().map(|part| build(part).unwrap()).collect();
    let parts: Vec<IndexPart<'_>> = indexes
        .iter()
        .zip(&case.maps)
        .map(|(index, rows)| IndexPart { index, rows })
        .collect();
    let mut stopped = 0;
    for questions in 0.. {
        let progress = After(questions.into());
        let options = BuildOptions {
            progress: &progress,
            ..options(1)
        };
        match AnyIndex::merge(
            &HNSW,
            Metric::L2.into(),
            floats(&case.merged),
            None,
            &parts,
            &options,
        ) {
            Err(error) => assert!(matches!(error, BuildError::Cancelled), "{error}"),
            Ok(_) => break,
        }
        stopped += 1;
    }
    // Before and after the repair of each layer, and before each batch.
    assert!(stopped > 10, "{stopped}");
}
