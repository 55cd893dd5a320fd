//! Seeded test data, and what listens to builds.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use elanus_index::gpu::backend::ElementType;
use elanus_index::{AnyMetric, BitMetric, Bitset, Metric, Progress, Rows, VectorsRef};

pub const METRICS: [Metric; 3] = [Metric::L2, Metric::Ip, Metric::Cosine];

/// SplitMix64.
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

    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }

    /// Small whole numbers: sums of their products have no rounding, in any order.
    pub fn integers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.below(9) as f32 - 4.0).collect()
    }
}

/// Every row with a chance of `percent`.
pub fn allow_percent(rows: usize, percent: usize, seed: u64) -> Bitset {
    let mut rng = Rng(seed);
    Bitset::from_fn(rows, |_| rng.below(100) < percent)
}

/// The types that are not 32-bit floats.
pub const NARROW: [ElementType; 4] = [
    ElementType::Half,
    ElementType::BFloat16,
    ElementType::Int8,
    ElementType::Bit,
];

/// The metrics of a type.
pub fn metrics_of(element: ElementType) -> Vec<AnyMetric> {
    match element {
        ElementType::Bit => vec![BitMetric::Hamming.into(), BitMetric::Jaccard.into()],
        ElementType::Float | ElementType::Half | ElementType::BFloat16 | ElementType::Int8 => {
            METRICS.map(AnyMetric::from).to_vec()
        }
    }
}

/// Rows of a type other than 32-bit floats.
pub struct Narrow {
    element: ElementType,
    dim: usize,
    sixteen: Vec<u16>,
    bytes: Vec<u8>,
}

impl Narrow {
    /// Of numbers of about 1: integers are 40 times as large, and bits are set where a number is positive. `dim` of bits is a
    /// multiple of 8.
    pub fn new(element: ElementType, dim: usize, values: &[f32]) -> Self {
        let (mut sixteen, mut bytes) = (Vec::new(), Vec::new());
        match element {
            ElementType::Half => sixteen.extend(values.iter().map(|&value| half(value))),
            ElementType::BFloat16 => {
                sixteen.extend(values.iter().map(|value| (value.to_bits() >> 16) as u16))
            }
            ElementType::Int8 => bytes.extend(values.iter().map(|value| (value * 40.0) as i8 as u8)),
            ElementType::Bit => bytes.extend(values.chunks(8).map(|some| {
                let set = some.iter().enumerate();
                set.fold(0u8, |byte, (at, &value)| byte | u8::from(value > 0.0) << at)
            })),
            ElementType::Float => unreachable!("not narrow"),
        }
        Self {
            element,
            dim,
            sixteen,
            bytes,
        }
    }

    pub fn rows(&self) -> VectorsRef<'_> {
        let sixteen = || Rows::new(&self.sixteen, self.dim).unwrap();
        match self.element {
            ElementType::Half => VectorsRef::Halves(sixteen()),
            ElementType::BFloat16 => VectorsRef::BFloat16s(sixteen()),
            ElementType::Int8 => {
                // SAFETY: both are bytes of which any is a value.
                let values: &[i8] =
                    unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.bytes.len()) };
                VectorsRef::Int8s(Rows::new(values, self.dim).unwrap())
            }
            ElementType::Bit => VectorsRef::Bits(Rows::new(&self.bytes, self.dim / 8).unwrap()),
            ElementType::Float => unreachable!("not narrow"),
        }
    }
}

/// The half next to a number towards zero; the largest one for larger numbers, and zero for those below the normal ones.
pub fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = (bits & 0x7fff_ffff).saturating_sub(112 << 23) >> 13;
    if magnitude < 1 << 10 {
        return sign;
    }
    sign | magnitude.min(0x7bff) as u16
}

/// Stops a build at its `after`th look, and remembers the last report.
pub struct Stop {
    looks: AtomicUsize,
    after: usize,
    done: AtomicU64,
}

impl Stop {
    pub fn at(after: usize) -> Self {
        Self {
            looks: AtomicUsize::new(0),
            after,
            done: AtomicU64::new(0),
        }
    }

    /// Rows of the last report.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

impl Progress for Stop {
    fn advance(&self, rows_done: u64, rows_total: u64) {
        assert!(rows_done >= self.done.swap(rows_done, Ordering::Relaxed) && rows_done <= rows_total);
    }

    fn cancelled(&self) -> bool {
        self.looks.fetch_add(1, Ordering::Relaxed) >= self.after
    }
}
