//! Recall of every index on every type of vector with every metric, for all rows, for a tenth of them, and within a range of
//! distances: prints one table. With `-- --rows 100000` for other numbers of rows.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

#[expect(dead_code, reason = "the tests have more of it")]
#[path = "../tests/it/data.rs"]
mod data;

use std::time::Instant;

use data::{Mixture, Rng, allow_percent, recall};
use elanus_index::kernels::narrow::f32_to_bfloat16;
use elanus_index::{
    AnyIndex, AnyMetric, BitMetric, Bitset, BuildOptions, BuildParams, Code, CodedParams, ElementMetric,
    Elements, GraphCode, HnswCodedParams, Metric, Neighbor, Rows, ScalarFormat, SearchParams, SearchStats,
    SparseAlgorithm, SparseParams, SparseVectors, VectorLists, VectorRef, Vectors, VectorsRef, Window,
    exact_search_any,
};

const DIM: usize = 64;
const QUERIES: usize = 50;
const K: usize = 10;
/// Rows in the range of a range search.
const IN_RANGE: usize = 50;

fn main() {
    let mut args = std::env::args().skip(1);
    let rows = match (args.next().as_deref(), args.next()) {
        (Some("--rows"), Some(rows)) => rows.parse().unwrap(),
        _ => 10_000,
    };
    println!(
        "{rows} rows of {DIM} dimensions (bits: {}), recall@{K} of {QUERIES} queries; all, a tenth of the rows, {IN_RANGE} rows in a range",
        4 * DIM
    );
    println!();
    println!("| vectors | metric | index | all | a tenth | range | built in |");
    println!("|---|---|---|---|---|---|---|");
    let mut mixture = Mixture::new(DIM, 200, 1);
    let (base, queries) = (mixture.draw(rows), mixture.draw(QUERIES));
    let numbers = [Metric::L2, Metric::Ip, Metric::Cosine].map(AnyMetric::Numbers);
    measure(
        "FLOAT",
        &numbers,
        floats(&base),
        floats(&queries),
        &of_floats(true),
    );
    let halves = |data: &[f32]| data.iter().map(|value| half(*value)).collect::<Vec<_>>();
    let (base16, queries16) = (halves(&base), halves(&queries));
    measure(
        "FLOAT16",
        &numbers,
        halves_of(&base16),
        halves_of(&queries16),
        &of_floats(true),
    );
    let bfloats = |data: &[f32]| {
        data.iter()
            .map(|value| f32_to_bfloat16(*value))
            .collect::<Vec<_>>()
    };
    let (base16, queries16) = (bfloats(&base), bfloats(&queries));
    measure(
        "BFLOAT16",
        &numbers,
        bfloat16s_of(&base16),
        bfloat16s_of(&queries16),
        &of_floats(true),
    );
    let integers = |data: &[f32]| data.iter().map(|value| (value * 30.0) as i8).collect::<Vec<_>>();
    let (base8, queries8) = (integers(&base), integers(&queries));
    measure(
        "INT8",
        &numbers,
        int8s_of(&base8),
        int8s_of(&queries8),
        &graphs(true),
    );
    let mut wide = Mixture::new(4 * DIM, 200, 1);
    let (base1, queries1) = (bits(&wide.draw(rows)), bits(&wide.draw(QUERIES)));
    let of_bits = [BitMetric::Hamming, BitMetric::Jaccard].map(AnyMetric::Bits);
    let mut families = graphs(false);
    families.push(("BIN_IVF_FLAT", BuildParams::IvfFlat { nlist: 128 }));
    measure("BINARY", &of_bits, bits_of(&base1), bits_of(&queries1), &families);
    sparse(rows);
    lists(rows, &mut mixture);
}

fn of_floats(on_disk: bool) -> Vec<(&'static str, BuildParams)> {
    let lists = |code: Code| {
        BuildParams::IvfCoded(CodedParams {
            nlist: 128,
            code,
            refine: false,
            refine_type: None,
        })
    };
    let rabitq = |bits: u32| Code::Rabitq {
        bits,
        fast_scan: false,
    };
    let mut all = graphs(true);
    all.extend([
        ("IVF_FLAT", BuildParams::IvfFlat { nlist: 128 }),
        ("IVF_SQ8", lists(Code::Scalar { bits: 8 })),
        ("IVF_PQ m=32", lists(Code::Product { m: 32, nbits: 8 })),
        ("IVF_RABITQ 1 bit", lists(rabitq(1))),
        ("IVF_RABITQ 4 bits", lists(rabitq(4))),
        ("SCANN", lists(Code::Scann { sub_dim: 2 })),
    ]);
    if on_disk {
        all.push((
            "DISKANN",
            BuildParams::parse("DISKANN", &Default::default()).unwrap(),
        ));
    }
    all
}

fn graphs(coded: bool) -> Vec<(&'static str, BuildParams)> {
    let (m, ef_construction) = (16, 200);
    let code = |code: GraphCode| {
        BuildParams::HnswCoded(HnswCodedParams {
            m,
            ef_construction,
            code,
            refine: false,
            refine_type: None,
        })
    };
    let mut all = vec![
        ("FLAT", BuildParams::Flat),
        ("HNSW", BuildParams::Hnsw { m, ef_construction }),
    ];
    if coded {
        all.extend([
            ("HNSW_SQ", code(GraphCode::Scalar(ScalarFormat::Sq8))),
            ("HNSW_PQ m=32", code(GraphCode::Product { m: 32, nbits: 8 })),
            (
                "HNSW_PRQ m=16",
                code(GraphCode::Residual {
                    m: 16,
                    nrq: 2,
                    nbits: 8,
                }),
            ),
        ]);
    }
    all
}

fn sparse(rows: usize) {
    let draw = |rows: usize, seed: u64| {
        let mut rng = Rng(seed);
        let (mut offsets, mut indices, mut values) = (vec![0i32], Vec::new(), Vec::new());
        for _ in 0..rows {
            let mut terms: Vec<u32> = (0..20).map(|_| (rng.unit().powi(3) * 3_000.0) as u32).collect();
            terms.sort_unstable();
            terms.dedup();
            values.extend(terms.iter().map(|_| rng.unit()));
            indices.extend(terms);
            offsets.push(i32::try_from(indices.len()).unwrap());
        }
        (offsets, indices, values)
    };
    let (base, queries) = (draw(rows, 1), draw(QUERIES, 2));
    let base = VectorsRef::Sparse(SparseVectors::new(&base.0, &base.1, &base.2).unwrap());
    let queries = VectorsRef::Sparse(SparseVectors::new(&queries.0, &queries.1, &queries.2).unwrap());
    let of = |algorithm| BuildParams::Sparse(SparseParams { algorithm, block: 64 });
    let families = [
        ("SPARSE_INVERTED_INDEX", of(SparseAlgorithm::DaatMaxScore)),
        ("SPARSE_WAND", of(SparseAlgorithm::DaatWand)),
    ];
    measure("SPARSE", &[Metric::Ip.into()], base, queries, &families);
}

/// Lists of three vectors.
fn lists(rows: usize, mixture: &mut Mixture) {
    let offsets = |rows: usize| {
        (0..=rows)
            .map(|row| i32::try_from(3 * row).unwrap())
            .collect::<Vec<_>>()
    };
    let (base, queries) = (mixture.draw(3 * rows), mixture.draw(3 * QUERIES));
    let (of_base, of_queries) = (offsets(rows), offsets(QUERIES));
    let metrics = [Metric::L2, Metric::Ip, Metric::Cosine]
        .map(|metric| AnyMetric::MaxSim(ElementMetric::Numbers(metric)));
    let (base, queries) = (lists_of(&of_base, &base), lists_of(&of_queries, &queries));
    measure("lists of FLOAT", &metrics, base, queries, &of_floats(false));
}

fn measure(
    vectors: &str,
    metrics: &[AnyMetric],
    base: VectorsRef<'_>,
    queries: VectorsRef<'_>,
    families: &[(&str, BuildParams)],
) {
    let tenth = allow_percent(base.len(), 10.0, 3);
    for &metric in metrics {
        let exact = |query: VectorRef<'_>, k: usize, allow: Option<&Bitset>| {
            let mut stats = SearchStats::default();
            exact_search_any(metric, base, query, k, Window::default(), allow, &mut stats).unwrap()
        };
        for (name, params) in families {
            let start = Instant::now();
            let built = AnyIndex::build(params, metric, base, None, &BuildOptions::default()).unwrap();
            let seconds = start.elapsed().as_secs_f64();
            let mean = |of: &dyn Fn(VectorRef<'_>) -> f64| {
                (0..queries.len())
                    .map(|query| of(queries.row(query)))
                    .sum::<f64>()
                    / queries.len() as f64
            };
            let found = |query: VectorRef<'_>,
                         k: usize,
                         params: &SearchParams,
                         allow: Option<&Bitset>|
             -> Vec<Neighbor> {
                built
                    .search(base, query, k, params, allow, &mut SearchStats::default())
                    .unwrap()
            };
            let defaults = SearchParams::default();
            let all = mean(&|query| recall(&found(query, K, &defaults, None), &exact(query, K, None)));
            let some = mean(&|query| {
                recall(
                    &found(query, K, &defaults, Some(&tenth)),
                    &exact(query, K, Some(&tenth)),
                )
            });
            let range = mean(&|query| {
                let near = exact(query, IN_RANGE + 1, None);
                let end = near.last().map(|hit| hit.distance);
                // The end of a range is not in it, and rows may be equally far.
                let inside: Vec<Neighbor> = near
                    .iter()
                    .filter(|hit| Some(hit.distance) < end)
                    .copied()
                    .collect();
                let params = SearchParams {
                    within: Window::new(None, end),
                    ..defaults
                };
                recall(&found(query, IN_RANGE, &params, None), &inside)
            });
            println!(
                "| {vectors} | {metric} | {name} | {all:.3} | {some:.3} | {range:.3} | {seconds:.1} s |"
            );
        }
    }
}

fn bits(floats: &[f32]) -> Vec<u8> {
    let eight = |eight: &[f32]| {
        eight
            .iter()
            .fold(0, |byte, value| byte << 1 | u8::from(*value > 0.0))
    };
    floats.chunks(8).map(eight).collect()
}

/// The half towards zero.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    match (bits >> 23 & 0xff) as i32 - 112 {
        ..=0 => sign,
        exponent @ 1..=30 => sign | (exponent as u16) << 10 | (bits >> 13) as u16 & 0x3ff,
        _ => sign | 0x7bff,
    }
}

fn halves_of(data: &[u16]) -> VectorsRef<'_> {
    VectorsRef::Halves(Rows::new(data, DIM).unwrap())
}

fn bfloat16s_of(data: &[u16]) -> VectorsRef<'_> {
    VectorsRef::BFloat16s(Rows::new(data, DIM).unwrap())
}

fn int8s_of(data: &[i8]) -> VectorsRef<'_> {
    VectorsRef::Int8s(Rows::new(data, DIM).unwrap())
}

fn bits_of(data: &[u8]) -> VectorsRef<'_> {
    VectorsRef::Bits(Rows::new(data, DIM / 2).unwrap())
}

fn lists_of<'a>(ends: &'a [i32], data: &'a [f32]) -> VectorsRef<'a> {
    let elements = Elements::Floats(Vectors::new(data, DIM).unwrap());
    VectorsRef::Lists(VectorLists::new(ends, elements).unwrap())
}

fn floats(data: &[f32]) -> VectorsRef<'_> {
    VectorsRef::Floats(Vectors::new(data, DIM).unwrap())
}
