//! Builds take no more memory at a time than is said before they start, and are refused where that is too much. The only test
//! of its binary: what other threads take would be counted too.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use elanus_index::kernels::narrow::f32_to_bfloat16;
use elanus_index::{
    AnyIndex, AnyMetric, BitMetric, BuildError, BuildOptions, BuildParams, Code, CodedParams, DiskParams,
    ElementMetric, Elements, GraphCode, HnswCodedParams, Metric, MinHashParams, Ratio, Rows, ScalarFormat,
    SparseAlgorithm, SparseParams, SparseVectors, VectorLists, Vectors, VectorsRef, build_bytes,
};

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counted.
struct Counting;

fn more(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        more(size);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Builds an index, and one more with too little memory.
fn check(params: BuildParams, metric: AnyMetric, vectors: VectorsRef<'_>) {
    let name = format!(
        "{params:?} {metric} of {} rows, {}",
        vectors.len(),
        vectors.row(0).kind()
    );
    let needed = build_bytes(&params, vectors, 0);
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let options = |memory| BuildOptions {
        memory: Some(memory),
        ..BuildOptions::default()
    };
    let index = AnyIndex::build(&params, metric, vectors, None, &options(needed)).unwrap();
    let blob = index.serialize();
    let peak = PEAK.load(Ordering::Relaxed) - before;
    drop((index, blob));
    assert!(peak <= needed, "{name}: {peak} of {needed}");
    assert!(needed < 10 * peak + (8 << 20), "{name}: only {peak} of {needed}");
    let refused = AnyIndex::build(&params, metric, vectors, None, &options(needed - 1));
    match refused {
        Err(BuildError::Memory { needed: n, allowed }) => {
            assert_eq!((n, allowed), (needed, needed - 1), "{name}")
        }
        other => panic!("{name}: {other:?}"),
    }
}

fn value(at: usize) -> f32 {
    let mixed = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    mixed as f32 / (1 << 23) as f32 - 1.0
}

fn families() -> Vec<BuildParams> {
    let lists = |code| {
        BuildParams::IvfCoded(CodedParams {
            nlist: 64,
            code,
            refine: true,
            refine_type: None,
        })
    };
    let graph = |code| {
        BuildParams::HnswCoded(HnswCodedParams {
            m: 8,
            ef_construction: 24,
            code,
            refine: true,
            refine_type: None,
        })
    };
    let hnsw = |m| BuildParams::Hnsw {
        m,
        ef_construction: 24,
    };
    let mut families = vec![
        BuildParams::Flat,
        BuildParams::IvfFlat { nlist: 64 },
        hnsw(8),
        hnsw(24),
    ];
    families.extend([4, 8].map(|bits| lists(Code::Scalar { bits })));
    families.extend([8, 10].map(|nbits| lists(Code::Product { m: 8, nbits })));
    families.extend([1, 5].map(|bits| {
        lists(Code::Rabitq {
            bits,
            fast_scan: false,
        })
    }));
    families.push(lists(Code::Scann { sub_dim: 2 }));
    families.extend([ScalarFormat::Sq4u, ScalarFormat::Fp16].map(|format| graph(GraphCode::Scalar(format))));
    families.push(graph(GraphCode::Product { m: 8, nbits: 8 }));
    families.push(graph(GraphCode::Residual {
        m: 8,
        nrq: 2,
        nbits: 6,
    }));
    families.push(BuildParams::Disk(DiskParams {
        max_degree: 24,
        search_list_size: 32,
        code_ratio: Ratio(62_500),
        cache_ratio: Ratio(10_000),
    }));
    families
}

#[test]
fn a_build_takes_no_more_memory_than_it_says_it_may() {
    for (rows, dim) in [(50, 64), (6_000, 64), (4_000, 256)] {
        let floats: Vec<f32> = (0..rows * dim).map(value).collect();
        let halves: Vec<u16> = floats.iter().map(|number| f32_to_bfloat16(*number)).collect();
        let bytes: Vec<u8> = floats.iter().map(|number| (number * 100.0) as i8 as u8).collect();
        let vectors = VectorsRef::Floats(Vectors::new(&floats, dim).unwrap());
        let narrow = VectorsRef::BFloat16s(Rows::new(&halves, dim).unwrap());
        let bits = VectorsRef::Bits(Rows::new(&bytes, dim).unwrap());
        let integers: Vec<i8> = bytes.iter().map(|byte| *byte as i8).collect();
        let integers = VectorsRef::Int8s(Rows::new(&integers, dim).unwrap());
        for params in families() {
            check(params, Metric::Cosine.into(), vectors);
            check(params, Metric::L2.into(), narrow);
        }
        for params in [
            BuildParams::Flat,
            BuildParams::IvfFlat { nlist: 64 },
            families()[2],
        ] {
            check(params, BitMetric::Hamming.into(), bits);
        }
        for params in [BuildParams::Flat, families()[2]] {
            check(params, Metric::L2.into(), integers);
        }
        let signatures = |bands| MinHashParams {
            element_bits: 32,
            bands,
        };
        // Far more bands than a signature has elements.
        for params in [signatures(4), signatures(1 << 30)] {
            let metric = BitMetric::MinHash(params.metric());
            check(BuildParams::MinHash(params), metric.into(), bits);
        }
        // Lists of four vectors each.
        let ends: Vec<i32> = (0..=rows as i32).step_by(4).collect();
        let elements = Elements::Floats(Vectors::new(&floats, dim).unwrap());
        let lists = VectorsRef::Lists(VectorLists::new(&ends, elements).unwrap());
        for params in [families()[1], families()[2]] {
            check(
                params,
                AnyMetric::MaxSim(ElementMetric::Numbers(Metric::Cosine)),
                lists,
            );
        }
        // More lists asked for than there are rows.
        check(BuildParams::IvfFlat { nlist: 65_536 }, Metric::L2.into(), vectors);
        let offsets: Vec<i32> = (0..=rows as i32).map(|row| row * 16).collect();
        let indices: Vec<u32> = (0..rows as u32 * 16)
            .map(|at| at % 16 * 97 + at / 16 % 97)
            .collect();
        let weights: Vec<f32> = floats[..rows * 16]
            .iter()
            .map(|number| number.abs() + 0.1)
            .collect();
        let sparse = SparseVectors::new(&offsets, &indices, &weights).unwrap();
        let params = BuildParams::Sparse(SparseParams {
            algorithm: SparseAlgorithm::DaatMaxScore,
            block: 64,
        });
        check(params, Metric::Ip.into(), VectorsRef::Sparse(sparse));
    }
    // Nodes that leave much of their pages empty, and lists that leave much of their units.
    for (rows, dim) in [(3_000, 1_024), (20_000, 120)] {
        let floats: Vec<f32> = (0..rows * dim).map(value).collect();
        let vectors = VectorsRef::Floats(Vectors::new(&floats, dim).unwrap());
        let params = match families().last() {
            Some(disk) if rows < 10_000 => *disk,
            _ => BuildParams::IvfCoded(CodedParams {
                nlist: 2_048,
                code: Code::Product {
                    m: dim as u32,
                    nbits: 8,
                },
                refine: true,
                refine_type: None,
            }),
        };
        check(params, Metric::L2.into(), vectors);
    }
    // More rows than codes and centroids are learnt from.
    let floats: Vec<f32> = (0..40_000 * 32).map(value).collect();
    let vectors = VectorsRef::Floats(Vectors::new(&floats, 32).unwrap());
    for params in [
        BuildParams::IvfFlat { nlist: 64 },
        families()[4],
        families()[6],
        families()[2],
    ] {
        check(params, Metric::L2.into(), vectors);
    }
}
