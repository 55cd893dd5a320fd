//! Seeded test data and the oracle that needs no index.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use elanus_index::{
    Bitset, BuildError, BuildOptions, BuildParams, Code, CodedParams, DiskParams, GraphCode, HnswCodedParams,
    Metric, Neighbor, Progress, Ratio, ScalarFormat, Vectors,
};

/// SplitMix64, as small as a generator gets.
pub struct Rng(pub u64);

impl Rng {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    pub fn unit(&mut self) -> f32 {
        ((self.bits() >> 40) + 1) as f32 / (1 << 24) as f32
    }

    pub fn normal(&mut self) -> f32 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f32::consts::TAU * self.unit()).cos()
    }
}

/// Rows drawn from a mixture of Gaussians in a latent space of 12 dimensions, projected, plus a little noise: neighbours
/// exist, as in embeddings, and clusters overlap.
pub struct Mixture {
    basis: Vec<f32>,
    centers: Vec<f32>,
    dim: usize,
    rng: Rng,
}

const LATENT: usize = 12;

impl Mixture {
    pub fn new(dim: usize, clusters: usize, seed: u64) -> Self {
        let mut rng = Rng(seed);
        let basis = (0..LATENT * dim)
            .map(|_| rng.normal() / (LATENT as f32).sqrt())
            .collect();
        let centers = (0..LATENT * clusters).map(|_| rng.normal()).collect();
        Self {
            basis,
            centers,
            dim,
            rng,
        }
    }

    pub fn draw(&mut self, rows: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(rows * self.dim);
        for _ in 0..rows {
            let cluster = self.rng.below(self.centers.len() / LATENT) * LATENT;
            let latent: Vec<f32> = (0..LATENT)
                .map(|i| self.centers[cluster + i] + 0.6 * self.rng.normal())
                .collect();
            for column in 0..self.dim {
                let dot: f32 = (0..LATENT)
                    .map(|i| latent[i] * self.basis[i * self.dim + column])
                    .sum();
                out.push(dot + 0.05 * self.rng.normal());
            }
        }
        out
    }
}

/// The right answer by sorting all rows.
pub fn oracle(
    metric: Metric,
    vectors: Vectors<'_>,
    query: &[f32],
    k: usize,
    allow: Option<&Bitset>,
) -> Vec<Neighbor> {
    let allowed = (0..vectors.len()).filter(|&row| allow.is_none_or(|allow| allow.get(row)));
    let mut all: Vec<Neighbor> = allowed
        .map(|row| Neighbor {
            distance: metric.distance(query, vectors.row(row)),
            row: row as u32,
        })
        .collect();
    all.sort();
    all.truncate(k);
    all
}

/// Every row with a chance of `percent`.
pub fn allow_percent(rows: usize, percent: f32, seed: u64) -> Bitset {
    let mut rng = Rng(seed);
    Bitset::from_fn(rows, |_| rng.unit() * 100.0 <= percent)
}

pub const METRICS: [Metric; 3] = [Metric::L2, Metric::Ip, Metric::Cosine];

/// Lists with a code, not refined unless the search says so.
pub const fn coded(nlist: u32, code: Code) -> BuildParams {
    BuildParams::IvfCoded(CodedParams {
        nlist,
        code,
        refine: true,
        refine_type: None,
    })
}

/// A small graph with a code, not refined unless the search says so.
pub const fn graph(code: GraphCode) -> BuildParams {
    BuildParams::HnswCoded(HnswCodedParams {
        m: 12,
        ef_construction: 80,
        code,
        refine: true,
        refine_type: None,
    })
}

/// A small graph on disk with codes of a quarter of the bytes.
pub const fn on_disk() -> BuildParams {
    BuildParams::Disk(DiskParams {
        max_degree: 24,
        search_list_size: 60,
        code_ratio: Ratio(250_000),
        cache_ratio: Ratio(50_000),
    })
}

/// Small parameters of every family, for any dimension.
pub const FAMILIES: [BuildParams; 13] = [
    BuildParams::Flat,
    BuildParams::IvfFlat { nlist: 32 },
    BuildParams::Hnsw {
        m: 8,
        ef_construction: 60,
    },
    coded(32, Code::Scalar { bits: 8 }),
    coded(32, Code::Product { m: 1, nbits: 8 }),
    coded(
        32,
        Code::Rabitq {
            bits: 1,
            fast_scan: false,
        },
    ),
    coded(
        32,
        Code::Rabitq {
            bits: 5,
            fast_scan: true,
        },
    ),
    coded(32, Code::Scann { sub_dim: 1 }),
    graph(GraphCode::Scalar(ScalarFormat::Sq8)),
    graph(GraphCode::Scalar(ScalarFormat::Fp16)),
    graph(GraphCode::Product { m: 1, nbits: 8 }),
    graph(GraphCode::Residual {
        m: 1,
        nrq: 3,
        nbits: 6,
    }),
    on_disk(),
];

/// Part of `expected` that `found` reaches, by distance: of rows equally far any will do.
pub fn recall(found: &[Neighbor], expected: &[Neighbor]) -> f64 {
    let Some(worst) = expected.last() else { return 1.0 };
    let hits = found
        .iter()
        .filter(|neighbor| neighbor.distance <= worst.distance)
        .count();
    hits as f64 / expected.len() as f64
}

/// Fails unless `found` is sorted, free of repetitions, within `allow`, and carries exact distances.
pub fn check_sound(
    metric: Metric,
    vectors: Vectors<'_>,
    query: &[f32],
    found: &[Neighbor],
    allow: Option<&Bitset>,
) {
    assert!(found.is_sorted(), "best first");
    let mut seen = Bitset::new(vectors.len());
    for neighbor in found {
        let row = neighbor.row as usize;
        assert!(!seen.get(row), "row {row} twice");
        seen.set(row);
        assert!(
            allow.is_none_or(|allow| allow.get(row)),
            "row {row} is not allowed"
        );
        assert_eq!(
            neighbor.distance,
            metric.distance(query, vectors.row(row)),
            "exact distance of row {row}"
        );
    }
}

/// Cancels a build after so many questions whether it should stop.
struct StopAfter {
    questions: AtomicU64,
    allowed: u64,
    reports: Mutex<Vec<(u64, u64)>>,
}

impl StopAfter {
    fn new(allowed: u64) -> Self {
        Self {
            questions: AtomicU64::new(0),
            allowed,
            reports: Mutex::new(Vec::new()),
        }
    }
}

impl Progress for StopAfter {
    fn advance(&self, rows_done: u64, rows_total: u64) {
        self.reports.lock().unwrap().push((rows_done, rows_total));
    }

    fn cancelled(&self) -> bool {
        self.questions.fetch_add(1, Ordering::Relaxed) >= self.allowed
    }
}

/// Fails unless a build over so many rows reports progress up to all of them, and stops at the first, a middle and the last
/// question whether it should.
pub fn stops_when_told<T>(what: &str, rows: u64, build: impl Fn(&BuildOptions<'_>) -> Result<T, BuildError>) {
    let run = |progress: &StopAfter| {
        build(&BuildOptions {
            progress,
            ..BuildOptions::default()
        })
    };
    let patient = StopAfter::new(u64::MAX);
    assert!(run(&patient).is_ok(), "{what}");
    let reports = patient.reports.into_inner().unwrap();
    assert!(reports.is_sorted(), "{what}");
    assert_eq!(reports.last(), Some(&(rows, rows)), "{what}");
    let asked = patient.questions.into_inner();
    for allowed in [0, asked / 2, asked - 1] {
        let stopped = run(&StopAfter::new(allowed));
        assert!(
            matches!(stopped, Err(BuildError::Cancelled)),
            "{what} after {allowed} of {asked}"
        );
    }
}
