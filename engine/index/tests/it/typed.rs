//! Exact search of every vector type against a naive oracle in `f64`.

use elanus_index::kernels::narrow::{bfloat16_to_f32, f32_to_bfloat16, half_to_f32};
use elanus_index::typed::Scorer;
use elanus_index::{
    AnyMetric, BitMetric, Bitset, Metric, Neighbor, PairError, Rows, SearchStats, SparseVector,
    SparseVectors, VectorRef, Vectors, VectorsRef, Window, exact_search_any, exact_search_any_batch,
};
use proptest::prelude::*;

use crate::data::Rng;

/// Row numbers are right when their true distances are the best ones, up to the rounding of `f32`.
fn check(
    found: &[Neighbor],
    k: usize,
    allowed: &[usize],
    truth: impl Fn(usize) -> f64,
) -> Result<(), TestCaseError> {
    let mut best: Vec<f64> = allowed.iter().map(|row| truth(*row)).collect();
    best.sort_by(f64::total_cmp);
    prop_assert_eq!(found.len(), k.min(allowed.len()));
    for (neighbor, best) in found.iter().zip(&best) {
        let row = neighbor.row as usize;
        prop_assert!(allowed.contains(&row), "row {row} is not allowed");
        let tolerance = 1e-4 * (1.0 + best.abs());
        prop_assert!(
            (truth(row) - best).abs() <= tolerance,
            "row {row}: {} {best}",
            truth(row)
        );
        prop_assert!((f64::from(neighbor.distance) - truth(row)).abs() <= tolerance);
    }
    prop_assert!(found.windows(2).all(|pair| pair[0].distance <= pair[1].distance));
    Ok(())
}

fn numbers(metric: Metric, a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    match metric {
        Metric::L2 => a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum(),
        Metric::Ip => -dot(a, b),
        Metric::Cosine => {
            let norms = dot(a, a).sqrt() * dot(b, b).sqrt();
            if norms == 0.0 { 0.0 } else { -dot(a, b) / norms }
        }
    }
}

fn metric() -> impl Strategy<Value = Metric> {
    prop_oneof![Just(Metric::L2), Just(Metric::Ip), Just(Metric::Cosine)]
}

/// Bits of the half nearest below: values in eighths are exact.
fn half(value: i8) -> u16 {
    let value = f32::from(value) / 8.0;
    (0..=u16::MAX)
        .filter(|bits| bits & 0x7c00 != 0x7c00)
        .find(|bits| half_to_f32(*bits) == value)
        .unwrap_or(0)
}

/// Numbers of rows, one flag for each whether it is allowed, and a query: `dim` small integers each.
fn table() -> impl Strategy<Value = (usize, Vec<i8>, Vec<bool>, Vec<i8>, usize)> {
    (1usize..20, 1usize..40).prop_flat_map(|(dim, rows)| {
        (
            Just(dim),
            prop::collection::vec(-100i8..100, dim * rows),
            prop::collection::vec(any::<bool>(), rows),
            prop::collection::vec(-100i8..100, dim),
            0usize..12,
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn number_types_find_what_the_oracle_finds((dim, rows, flags, query, k) in table(), metric in metric(), filtered in any::<bool>()) {
        let allow = Bitset::from_fn(flags.len(), |row| flags[row]);
        let allow = filtered.then_some(&allow);
        let allowed: Vec<usize> = (0..flags.len()).filter(|row| !filtered || flags[*row]).collect();
        let wide = |values: &[i8], scale: f64| -> Vec<f64> { values.iter().map(|v| f64::from(*v) / scale).collect() };
        let search = |vectors: VectorsRef<'_>, query: VectorRef<'_>| {
            let mut stats = SearchStats::default();
            let found = exact_search_any(metric.into(), vectors, query, k, Window::default(), allow, &mut stats).unwrap();
            assert!(k == 0 || stats.distances == allowed.len() as u64);
            found
        };
        let truth = |scale: f64| {
            let (rows, query) = (wide(&rows, scale), wide(&query, scale));
            move |row: usize| numbers(metric, &query, &rows[row * dim..][..dim])
        };
        let found = search(VectorsRef::Int8s(Rows::new(&rows, dim).unwrap()), VectorRef::Int8s(&query));
        check(&found, k, &allowed, truth(1.0))?;

        let (halves, half_query): (Vec<u16>, Vec<u16>) = (rows.iter().map(|v| half(*v)).collect(), query.iter().map(|v| half(*v)).collect());
        let found = search(VectorsRef::Halves(Rows::new(&halves, dim).unwrap()), VectorRef::Halves(&half_query));
        check(&found, k, &allowed, truth(8.0))?;

        let narrow = |values: &[i8]| -> Vec<u16> { values.iter().map(|v| f32_to_bfloat16(f32::from(*v) / 8.0)).collect() };
        prop_assert!(rows.iter().all(|v| bfloat16_to_f32(f32_to_bfloat16(f32::from(*v) / 8.0)) == f32::from(*v) / 8.0));
        let (bfloats, bfloat_query) = (narrow(&rows), narrow(&query));
        let found = search(VectorsRef::BFloat16s(Rows::new(&bfloats, dim).unwrap()), VectorRef::BFloat16s(&bfloat_query));
        check(&found, k, &allowed, truth(8.0))?;

        let floats = |values: &[i8]| -> Vec<f32> { values.iter().map(|v| f32::from(*v)).collect() };
        let (float_rows, float_query) = (floats(&rows), floats(&query));
        let found = search(VectorsRef::Floats(Vectors::new(&float_rows, dim).unwrap()), VectorRef::Floats(&float_query));
        check(&found, k, &allowed, truth(1.0))?;

        // The dense rows without their zeros.
        let mut offsets = vec![0i32];
        let (mut indices, mut values) = (Vec::new(), Vec::new());
        for row in float_rows.chunks(dim).chain([float_query.as_slice()]) {
            for (index, value) in row.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                indices.push(index as u32);
                values.push(*value);
            }
            offsets.push(indices.len() as i32);
        }
        let all = SparseVectors::new(&offsets, &indices, &values).unwrap();
        let stored = SparseVectors::new(&offsets[..offsets.len() - 1], &indices, &values).unwrap();
        let found = search(VectorsRef::Sparse(stored), VectorRef::Sparse(all.row(flags.len())));
        check(&found, k, &allowed, truth(1.0))?;
    }

    #[test]
    fn bits_find_what_the_oracle_finds(
        (bytes, rows, query) in (1usize..12).prop_flat_map(|bytes| (Just(bytes), prop::collection::vec(any::<u8>(), bytes * 30), prop::collection::vec(any::<u8>(), bytes))),
        k in 0usize..12,
        jaccard in any::<bool>(),
    ) {
        let metric = if jaccard { BitMetric::Jaccard } else { BitMetric::Hamming };
        let mut stats = SearchStats::default();
        let vectors = VectorsRef::Bits(Rows::new(&rows, bytes).unwrap());
        let found = exact_search_any(metric.into(), vectors, VectorRef::Bits(&query), k, Window::default(), None, &mut stats).unwrap();
        let allowed: Vec<usize> = (0..30).collect();
        check(&found, k, &allowed, |row| {
            let row = &rows[row * bytes..][..bytes];
            let count = |test: fn(u8, u8) -> u8| -> f64 { row.iter().zip(&query).map(|(a, b)| f64::from(test(*a, *b).count_ones())).sum() };
            let (both, either) = (count(|a, b| a & b), count(|a, b| a | b));
            if jaccard { if either == 0.0 { 1.0 } else { 1.0 - both / either } } else { count(|a, b| a ^ b) }
        })?;
    }
}

#[test]
fn large_tables_are_searched_in_parts_with_the_same_result() {
    let (dim, rows) = (64, 300_000);
    let data: Vec<i8> = (0..dim * rows).map(|i| (i * 7919 % 251) as i8).collect();
    let query: Vec<i8> = (0..dim).map(|i| (i * 31 % 127) as i8).collect();
    let vectors = VectorsRef::Int8s(Rows::new(&data, dim).unwrap());
    let scorer = Scorer::new(Metric::L2.into(), VectorRef::Int8s(&query)).unwrap();
    let mut expected: Vec<(f32, u32)> = (0..rows)
        .map(|row| (scorer.distance(vectors.row(row)).unwrap(), row as u32))
        .collect();
    expected.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let found = exact_search_any(
        Metric::L2.into(),
        vectors,
        VectorRef::Int8s(&query),
        25,
        Window::default(),
        None,
        &mut SearchStats::default(),
    )
    .unwrap();
    let found: Vec<(f32, u32)> = found
        .iter()
        .map(|neighbor| (neighbor.distance, neighbor.row))
        .collect();
    assert_eq!(found, expected[..25]);
}

#[test]
fn what_has_no_distance_is_refused() {
    let search = |metric: AnyMetric, query| {
        let rows = VectorsRef::Bits(Rows::new(&[1u8, 2], 2).unwrap());
        let mut stats = SearchStats::default();
        exact_search_any(metric, rows, query, 1, Window::default(), None, &mut stats).unwrap_err()
    };
    let hamming = AnyMetric::Bits(BitMetric::Hamming);
    assert_eq!(
        search(hamming, VectorRef::Bits(&[1])).to_string(),
        "vectors have different dimensions, 8 and 16"
    );
    assert!(matches!(
        search(Metric::L2.into(), VectorRef::Int8s(&[1])),
        PairError::Types { .. }
    ));
    assert_eq!(
        search(Metric::L2.into(), VectorRef::Bits(&[1, 2])).to_string(),
        "vectors of type bit have no metric L2, allowed are HAMMING, JACCARD, MHJACCARD"
    );
    assert_eq!(
        search(hamming, VectorRef::Sparse(SparseVector::empty())).to_string(),
        "vectors of type sparse have no metric HAMMING, allowed are L2, IP, COSINE"
    );
}

/// Blocks, panels and tasks all have their edges crossed: every number of queries around the width of a panel, filters, rows
/// that tie, numbers that overflow and vanish.
#[test]
fn a_batch_of_any_type_equals_single_searches() {
    let mut rng = Rng(5);
    for (dim, rows) in [(3usize, 1500usize), (64, 1100), (200, 700)] {
        let draw: Vec<i8> = (0..dim * rows).map(|_| (rng.below(9) * 30) as i8).collect();
        let halves: Vec<u16> = draw.iter().map(|value| half(*value)).collect();
        let scaled = |scale: f32| -> Vec<u16> {
            draw.iter()
                .map(|value| f32_to_bfloat16(f32::from(*value) * scale))
                .collect()
        };
        let (brains, huge, tiny) = (scaled(0.125), scaled(1e30), scaled(1e-25));
        let bytes: Vec<u8> = draw.iter().map(|value| *value as u8).collect();
        let floats: Vec<f32> = draw.iter().map(|value| f32::from(*value)).collect();
        let types: [(VectorsRef<'_>, &[AnyMetric]); 7] = [
            (VectorsRef::Int8s(Rows::new(&draw, dim).unwrap()), &NUMBERS),
            (VectorsRef::Halves(Rows::new(&halves, dim).unwrap()), &NUMBERS),
            (VectorsRef::BFloat16s(Rows::new(&brains, dim).unwrap()), &NUMBERS),
            (VectorsRef::BFloat16s(Rows::new(&huge, dim).unwrap()), &NUMBERS),
            (VectorsRef::BFloat16s(Rows::new(&tiny, dim).unwrap()), &NUMBERS),
            (VectorsRef::Floats(Vectors::new(&floats, dim).unwrap()), &NUMBERS),
            (VectorsRef::Bits(Rows::new(&bytes, dim).unwrap()), &BITS),
        ];
        let allow = Bitset::from_fn(rows, |row| row % 3 == 1 || row % 7 == 0);
        for (vectors, metrics) in types {
            for (&metric, count) in metrics.iter().cycle().zip([1, 2, 5, 16, 47, 49, 130]) {
                let queries: Vec<VectorRef<'_>> =
                    (0..count).map(|query| vectors.row(query * 13 % rows)).collect();
                for (allow, k) in [(None, 10), (Some(&allow), 10), (Some(&allow), rows), (None, 0)] {
                    let (mut together, mut apart) = (SearchStats::default(), SearchStats::default());
                    let batch =
                        exact_search_any_batch(metric, vectors, &queries, k, allow, &mut together).unwrap();
                    assert_eq!(batch.len(), count);
                    for (query, found) in queries.iter().zip(&batch) {
                        let single = exact_search_any(
                            metric,
                            vectors,
                            *query,
                            k,
                            Window::default(),
                            allow,
                            &mut apart,
                        )
                        .unwrap();
                        assert_eq!(
                            *found,
                            single,
                            "{metric} {} dimension {dim}, {count} queries",
                            query.kind()
                        );
                    }
                    assert!(k == 0 || together.distances == apart.distances);
                }
            }
        }
    }
    let (floats, bytes) = ([1.0f32, 2.0], [1u8, 2]);
    let (vectors, bits) = (
        VectorsRef::Floats(Vectors::new(&floats, 2).unwrap()),
        VectorRef::Bits(&bytes),
    );
    let mut stats = SearchStats::default();
    let error = exact_search_any_batch(Metric::L2.into(), vectors, &[bits], 1, None, &mut stats);
    assert!(matches!(error, Err(PairError::Metric { .. })), "{error:?}");
    let short = VectorRef::Floats(&floats[..1]);
    let error = exact_search_any_batch(Metric::L2.into(), vectors, &[short], 1, None, &mut stats);
    assert!(matches!(error, Err(PairError::Dimensions { .. })), "{error:?}");
}

const NUMBERS: [AnyMetric; 3] = [
    AnyMetric::Numbers(Metric::L2),
    AnyMetric::Numbers(Metric::Ip),
    AnyMetric::Numbers(Metric::Cosine),
];
const BITS: [AnyMetric; 2] = [
    AnyMetric::Bits(BitMetric::Hamming),
    AnyMetric::Bits(BitMetric::Jaccard),
];
