//! HNSW and FLAT over halves, bfloat16s, 8-bit integers and bits: what holds for 32-bit floats holds for them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use elanus_index::kernels::narrow::f32_to_bfloat16;
use elanus_index::typed::Scorer;
use elanus_index::{
    AnyIndex, AnyMetric, BitMetric, Bitset, BuildError, BuildOptions, BuildParams, Code, IndexKind, Metric,
    Neighbor, OpenError, PairError, Rows, SearchParams, SearchStats, Strategy, VectorRef, VectorsRef, Window,
    exact_search_any, open,
};

use crate::blobs::reseal;
use crate::data::{Mixture, Rng, allow_percent, coded, recall, stops_when_told};

pub const DIM: usize = 32;
pub const ROWS: usize = 5_000;
/// Rows where only the mechanics matter.
pub const FEW: usize = 2_200;
pub const QUERIES: usize = 40;
pub const K: usize = 10;
const HNSW: BuildParams = BuildParams::Hnsw {
    m: 8,
    ef_construction: 60,
};
/// Rows of one type.
#[derive(Debug, Clone)]
pub enum Column {
    Halves(Vec<u16>),
    BFloat16s(Vec<u16>),
    Int8s(Vec<i8>),
    Bits(Vec<u8>),
}

impl Column {
    /// Every type, rounded from the same floats. Bits are their signs.
    pub fn of_all_types(floats: &[f32]) -> Vec<Self> {
        let bits = floats.chunks(8).map(|eight| {
            let bit = |byte: u8, value: &f32| byte << 1 | u8::from(*value > 0.0);
            eight.iter().fold(0, bit)
        });
        vec![
            Self::Halves(floats.iter().map(|value| half(*value)).collect()),
            Self::BFloat16s(floats.iter().map(|value| f32_to_bfloat16(*value)).collect()),
            Self::Int8s(floats.iter().map(|value| (value * 30.0) as i8).collect()),
            Self::Bits(bits.collect()),
        ]
    }

    pub fn vectors(&self, dim: usize) -> VectorsRef<'_> {
        match self {
            Self::Halves(data) => VectorsRef::Halves(Rows::new(data, dim).unwrap()),
            Self::BFloat16s(data) => VectorsRef::BFloat16s(Rows::new(data, dim).unwrap()),
            Self::Int8s(data) => VectorsRef::Int8s(Rows::new(data, dim).unwrap()),
            Self::Bits(data) => VectorsRef::Bits(Rows::new(data, dim / 8).unwrap()),
        }
    }

    pub fn metrics(&self) -> Vec<AnyMetric> {
        match self {
            Self::Bits(_) => vec![BitMetric::Hamming.into(), BitMetric::Jaccard.into()],
            Self::Halves(_) | Self::BFloat16s(_) | Self::Int8s(_) => {
                vec![Metric::L2.into(), Metric::Ip.into(), Metric::Cosine.into()]
            }
        }
    }
}

fn search_params() -> SearchParams {
    SearchParams {
        ef: Some(64),
        ..SearchParams::default()
    }
}

/// The half towards zero.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let exponent = (bits >> 23 & 0xff) as i32 - 112;
    match exponent {
        ..=0 => sign,
        1..=30 => sign | (exponent as u16) << 10 | (bits >> 13) as u16 & 0x3ff,
        _ => sign | 0x7bff,
    }
}

/// Base and queries of every type with each of its metrics. Bits have four times as many dimensions: signs say less.
pub fn for_all(rows: usize, mut check: impl FnMut(&str, AnyMetric, VectorsRef<'_>, VectorsRef<'_>)) {
    let columns = |dim: usize| {
        let mut mixture = Mixture::new(dim, 60, 11);
        let base = Column::of_all_types(&mixture.draw(rows));
        base.into_iter().zip(Column::of_all_types(&mixture.draw(QUERIES)))
    };
    for (numbers, bits) in columns(DIM).zip(columns(4 * DIM)) {
        let ((base, queries), dim) = if matches!(bits.0, Column::Bits(_)) {
            (bits, 4 * DIM)
        } else {
            (numbers, DIM)
        };
        for metric in base.metrics() {
            let vectors = base.vectors(dim);
            let name = format!("{} {metric}", vectors.row(0).kind());
            check(&name, metric, vectors, queries.vectors(dim));
        }
    }
}

pub fn build(
    params: BuildParams,
    metric: AnyMetric,
    vectors: VectorsRef<'_>,
    valid: Option<&Bitset>,
) -> AnyIndex {
    AnyIndex::build(&params, metric, vectors, valid, &BuildOptions::default()).unwrap()
}

pub fn exact(
    metric: AnyMetric,
    vectors: VectorsRef<'_>,
    query: VectorRef<'_>,
    within: Window,
    allow: Option<&Bitset>,
) -> Vec<Neighbor> {
    exact_search_any(
        metric,
        vectors,
        query,
        K,
        within,
        allow,
        &mut SearchStats::default(),
    )
    .unwrap()
}

/// Fails unless `found` is sorted, free of repetitions, within the filter and the window, and carries the distances of a
/// scan, bit for bit.
pub fn check_sound(
    name: &str,
    metric: AnyMetric,
    vectors: VectorsRef<'_>,
    query: VectorRef<'_>,
    found: &[Neighbor],
    within: Window,
    allow: Option<&Bitset>,
) {
    assert!(found.is_sorted(), "{name}: best first");
    let scorer = Scorer::new(metric, query).unwrap();
    let mut seen = Bitset::new(vectors.len());
    for neighbor in found {
        let row = neighbor.row as usize;
        assert!(!seen.get(row), "{name}: row {row} twice");
        seen.set(row);
        assert!(
            allow.is_none_or(|allow| allow.get(row)),
            "{name}: row {row} is not allowed"
        );
        assert!(
            within.contains(neighbor.distance),
            "{name}: row {row} is not in the window"
        );
        let distance = scorer.distance(vectors.row(row)).unwrap();
        assert_eq!(
            neighbor.distance.to_bits(),
            distance.to_bits(),
            "{name}: distance of row {row}"
        );
    }
}

#[test]
fn every_type_and_metric_reaches_its_recall_plain_filtered_and_within_a_window() {
    let half = allow_percent(ROWS, 60.0, 5);
    for_all(ROWS, |name, metric, vectors, queries| {
        let index = build(HNSW, metric, vectors, None);
        assert_eq!(
            (index.kind(), index.metric(), index.rows()),
            (IndexKind::Hnsw, metric, ROWS)
        );
        let mut walked = [0; 3];
        let mut sums = [0.0; 3];
        for query in 0..QUERIES {
            let query = queries.row(query);
            let all = exact_search_any(
                metric,
                vectors,
                query,
                60,
                Window::default(),
                None,
                &mut SearchStats::default(),
            )
            .unwrap();
            let later = Window::new(Some(all[15].distance), Some(all[59].distance));
            let cases = [
                (Window::default(), None),
                (Window::default(), Some(&half)),
                (later, None),
            ];
            for (case, (within, allow)) in cases.into_iter().enumerate() {
                let (search, mut stats) = (
                    SearchParams {
                        within,
                        ..search_params()
                    },
                    SearchStats::default(),
                );
                let found = index
                    .search(vectors, query, K, &search, allow, &mut stats)
                    .unwrap();
                check_sound(name, metric, vectors, query, &found, within, allow);
                let expected = exact(metric, vectors, query, within, allow);
                assert_eq!(found.len(), expected.len(), "{name}: {within:?}");
                sums[case] += recall(&found, &expected);
                let by_graph = matches!(stats.strategy, Strategy::Graph | Strategy::GraphFiltered);
                walked[case] += usize::from(by_graph);
                assert!(!by_graph || stats.distances < ROWS as u64, "{name}: {stats:?}");
            }
        }
        let recalls = sums.map(|sum| sum / QUERIES as f64);
        // Under IP the nearest rows are the long ones: few links lead to them, with 32-bit floats as well.
        let bounds = if metric == Metric::Ip {
            [0.93, 0.9, 0.82]
        } else {
            [0.97, 0.97, 0.97]
        };
        assert!(
            recalls.iter().zip(bounds).all(|(recall, bound)| *recall >= bound),
            "{name}: recalls {recalls:?}"
        );
        assert!(
            walked.iter().all(|count| *count > QUERIES / 2),
            "{name}: walked {walked:?}"
        );
    });
}

#[test]
fn few_allowed_rows_and_none_are_found_by_a_scan() {
    for_all(FEW, |name, metric, vectors, queries| {
        let index = build(HNSW, metric, vectors, None);
        let query = queries.row(0);
        for allow in [
            Bitset::new(FEW),
            Bitset::from_fn(FEW, |row| row % 1_000 == 7),
            Bitset::from_fn(FEW, |row| row == 5),
        ] {
            let mut stats = SearchStats::default();
            let found = index
                .search(vectors, query, K, &search_params(), Some(&allow), &mut stats)
                .unwrap();
            assert_eq!(
                found,
                exact(metric, vectors, query, Window::default(), Some(&allow)),
                "{name}"
            );
            assert_eq!(
                (found.len(), stats.strategy),
                (allow.count().min(K), Strategy::ExactFiltered),
                "{name}"
            );
        }
    });
}

#[test]
fn rows_without_a_vector_are_never_found() {
    let valid = Bitset::from_fn(FEW, |row| row % 3 != 0);
    let allow = Bitset::from_fn(FEW, |row| row % 2 == 0);
    let mut both = valid.clone();
    both.and(&allow);
    for_all(FEW, |name, metric, vectors, queries| {
        for params in [BuildParams::Flat, HNSW] {
            let index = build(params, metric, vectors, Some(&valid));
            for query in 0..5 {
                let query = queries.row(query);
                for (allow, expected) in [(None, &valid), (Some(&allow), &both)] {
                    let found = index
                        .search(
                            vectors,
                            query,
                            50,
                            &search_params(),
                            allow,
                            &mut SearchStats::default(),
                        )
                        .unwrap();
                    assert_eq!(found.len(), 50, "{name} {params:?}");
                    check_sound(
                        name,
                        metric,
                        vectors,
                        query,
                        &found,
                        Window::default(),
                        Some(expected),
                    );
                }
            }
        }
    });
}

#[test]
fn flat_is_exact() {
    for_all(500, |name, metric, vectors, queries| {
        let index = build(BuildParams::Flat, metric, vectors, None);
        assert_eq!(index.kind(), IndexKind::Flat);
        for query in 0..QUERIES {
            let query = queries.row(query);
            let found = index
                .search(
                    vectors,
                    query,
                    K,
                    &search_params(),
                    None,
                    &mut SearchStats::default(),
                )
                .unwrap();
            assert_eq!(
                found,
                exact(metric, vectors, query, Window::default(), None),
                "{name}"
            );
        }
    });
}

#[test]
fn no_row_one_row_and_more_results_than_rows() {
    for rows in [0, 1, 300] {
        for_all(rows, |name, metric, vectors, queries| {
            let index = build(HNSW, metric, vectors, None);
            for k in [0, 1, 1_000] {
                let found = index
                    .search(
                        vectors,
                        queries.row(0),
                        k,
                        &search_params(),
                        None,
                        &mut SearchStats::default(),
                    )
                    .unwrap();
                assert_eq!(found.len(), k.min(rows), "{name} {rows} rows");
                let blob = index.serialize();
                assert_eq!(
                    AnyIndex::open(blob.clone().into()).unwrap().serialize(),
                    blob,
                    "{name}"
                );
            }
        });
    }
}

/// A third of the rows is one and the same vector, and all are stored twice.
#[test]
fn copies_do_not_hide_other_rows() {
    let mut mixture = Mixture::new(DIM, 60, 5);
    let mut half_of_it = mixture.draw(ROWS / 2);
    let same = mixture.draw(1);
    for row in half_of_it.chunks_mut(DIM).step_by(3) {
        row.copy_from_slice(&same);
    }
    let queries = Column::of_all_types(&mixture.draw(QUERIES));
    for (base, queries) in Column::of_all_types(&half_of_it.repeat(2)).iter().zip(&queries) {
        for metric in base.metrics() {
            let (vectors, queries) = (base.vectors(DIM), queries.vectors(DIM));
            let params = BuildParams::Hnsw {
                m: 12,
                ef_construction: 100,
            };
            let index = build(params, metric, vectors, None);
            let name = format!("{} {metric}", vectors.row(0).kind());
            let mut sum = 0.0;
            for query in 0..QUERIES {
                let query = queries.row(query);
                let found = index
                    .search(
                        vectors,
                        query,
                        K,
                        &search_params(),
                        None,
                        &mut SearchStats::default(),
                    )
                    .unwrap();
                check_sound(&name, metric, vectors, query, &found, Window::default(), None);
                sum += recall(&found, &exact(metric, vectors, query, Window::default(), None));
            }
            assert!(
                sum / QUERIES as f64 > 0.85,
                "{name}: recall {}",
                sum / QUERIES as f64
            );
        }
    }
}

#[test]
fn constant_and_zero_rows_come_back_k_at_a_time() {
    for value in [0.0, 0.7] {
        let columns = Column::of_all_types(&vec![value; FEW * DIM]);
        for column in &columns {
            for metric in column.metrics() {
                let vectors = column.vectors(DIM);
                let index = build(HNSW, metric, vectors, None);
                let found = index
                    .search(
                        vectors,
                        vectors.row(0),
                        50,
                        &search_params(),
                        None,
                        &mut SearchStats::default(),
                    )
                    .unwrap();
                assert_eq!(found.len(), 50, "{metric} {value}");
                check_sound(
                    "constant",
                    metric,
                    vectors,
                    vectors.row(0),
                    &found,
                    Window::default(),
                    None,
                );
            }
        }
    }
}

#[test]
fn any_number_of_threads_builds_the_same_bytes() {
    for_all(FEW, |name, metric, vectors, _| {
        let bytes = |threads: usize, seed: u64| {
            let options = BuildOptions {
                threads,
                seed,
                ..BuildOptions::default()
            };
            AnyIndex::build(&HNSW, metric, vectors, None, &options)
                .unwrap()
                .serialize()
        };
        let one = bytes(1, 7);
        assert_eq!(one, bytes(3, 7), "{name}");
        assert_ne!(one, bytes(1, 8), "{name}: another seed is another graph");
    });
}

#[test]
fn an_opened_index_answers_like_the_built_one_and_writes_the_same_bytes() {
    let valid = Bitset::from_fn(FEW, |row| row % 5 != 0);
    for_all(FEW, |name, metric, vectors, queries| {
        for (params, valid) in [
            (HNSW, None),
            (HNSW, Some(&valid)),
            (BuildParams::Flat, Some(&valid)),
        ] {
            let index = build(params, metric, vectors, valid);
            let blob = Bytes::from(index.serialize());
            let opened = AnyIndex::open(blob.clone()).unwrap();
            assert_eq!(
                (opened.kind(), opened.metric(), opened.rows()),
                (index.kind(), metric, FEW),
                "{name}"
            );
            assert_eq!(opened.serialize(), blob, "{name}");
            for query in 0..QUERIES {
                let search = |index: &AnyIndex| {
                    index
                        .search(
                            vectors,
                            queries.row(query),
                            K,
                            &search_params(),
                            None,
                            &mut SearchStats::default(),
                        )
                        .unwrap()
                };
                assert_eq!(search(&opened), search(&index), "{name}");
            }
            assert!(
                matches!(open(blob), Err(OpenError::Corrupt { .. })),
                "{name}: no index of 32-bit floats"
            );
        }
    });
}

#[test]
fn cut_blobs_and_flipped_bits_are_errors() {
    for_all(FEW, |name, metric, vectors, _| {
        let blob = build(HNSW, metric, vectors, None).serialize();
        let mut rng = Rng(4);
        for _ in 0..60 {
            let len = rng.below(blob.len());
            assert!(
                AnyIndex::open(Bytes::copy_from_slice(&blob[..len])).is_err(),
                "{name}"
            );
            let mut damaged = blob.clone();
            damaged[rng.below(blob.len())] ^= 1 << rng.below(8);
            assert!(AnyIndex::open(Bytes::from(damaged)).is_err(), "{name}");
        }
    });
}

#[test]
fn damage_under_right_checksums_never_panics_nor_returns_a_row_that_is_not_there() {
    let rows = FEW;
    for_all(rows, |name, metric, vectors, queries| {
        let valid = Bitset::from_fn(rows, |row| row % 5 != 0);
        let blob = build(HNSW, metric, vectors, Some(&valid)).serialize();
        let (mut rng, mut refused) = (Rng(8), 0);
        for round in 0..200 {
            let mut damaged = blob.clone();
            // Half of the damage goes to the header and the table, which are small.
            let at = rng.below(if round % 2 == 0 { blob.len() } else { 256 });
            damaged[at] ^= 1 << rng.below(8);
            reseal(&mut damaged);
            let outcome = catch_unwind(AssertUnwindSafe(|| match AnyIndex::open(Bytes::from(damaged)) {
                Err(_) => 1,
                Ok(index) => {
                    let found = index.search(
                        vectors,
                        queries.row(0),
                        15,
                        &search_params(),
                        None,
                        &mut SearchStats::default(),
                    );
                    // Another metric or type may be what the damaged header says.
                    let rows_exist =
                        |found: Vec<Neighbor>| found.iter().all(|neighbor| (neighbor.row as usize) < rows);
                    assert!(found.is_ok_and(rows_exist) || index.metric() != metric);
                    0
                }
            }));
            refused +=
                outcome.unwrap_or_else(|_| panic!("{name}: damage at byte {at} in round {round} panics"));
        }
        assert!(refused > 20, "{name}: {refused} refused");
    });
}

#[test]
fn what_a_type_does_not_have_is_refused() {
    let columns = Column::of_all_types(&Mixture::new(DIM, 5, 3).draw(100));
    for column in &columns {
        let vectors = column.vectors(DIM);
        let refused = |params: BuildParams, metric: AnyMetric| {
            let error =
                AnyIndex::build(&params, metric, vectors, None, &BuildOptions::default()).unwrap_err();
            assert!(matches!(error, BuildError::Kind { .. }), "{error}");
        };
        if matches!(column, Column::Int8s(_) | Column::Bits(_)) {
            refused(coded(4, Code::Scalar { bits: 8 }), column.metrics()[0]);
        }
        refused(HNSW, AnyMetric::Bm25);
        let other = match column {
            Column::Bits(_) => Metric::L2.into(),
            Column::Halves(_) | Column::BFloat16s(_) | Column::Int8s(_) => BitMetric::Hamming.into(),
        };
        refused(HNSW, other);
        let wrong = BuildParams::Hnsw {
            m: 1,
            ef_construction: 10,
        };
        let error = AnyIndex::build(
            &wrong,
            column.metrics()[0],
            vectors,
            None,
            &BuildOptions::default(),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "param 'M' (1) should be in range [2, 2048]");
    }
}

#[test]
fn queries_of_another_type_or_dimension_are_errors_and_other_rows_are_scanned() {
    for_all(FEW, |name, metric, vectors, queries| {
        let index = build(HNSW, metric, vectors, None);
        let search = |vectors: VectorsRef<'_>, query: VectorRef<'_>| {
            index.search(
                vectors,
                query,
                K,
                &search_params(),
                None,
                &mut SearchStats::default(),
            )
        };
        assert!(
            matches!(
                search(vectors, VectorRef::Floats(&[1.0])),
                Err(PairError::Types { .. } | PairError::Metric { .. })
            ),
            "{name}"
        );
        let fewer = Column::of_all_types(&Mixture::new(8, 5, 3).draw(20));
        for column in &fewer {
            let vectors = column.vectors(8);
            if vectors.row(0).kind() == queries.row(0).kind() {
                assert!(
                    matches!(search(vectors, queries.row(0)), Err(PairError::Dimensions { .. })),
                    "{name}"
                );
                let expected = exact(metric, vectors, vectors.row(3), Window::default(), None);
                assert_eq!(search(vectors, vectors.row(3)).unwrap(), expected, "{name}");
            }
        }
    });
}

#[test]
fn a_build_can_be_cancelled() {
    for_all(200, |name, metric, vectors, _| {
        stops_when_told(name, 200, |options| {
            AnyIndex::build(&HNSW, metric, vectors, None, options)
        });
    });
}
