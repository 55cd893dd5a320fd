//! GPU_BRUTE_FORCE of vectors other than 32-bit floats: what an index of them asks before it searches on the processor.

use std::sync::Arc;

use super::OwnBackend;
use super::backend::Device;
use super::brute::{Rounds, Tuning};
use super::error::GpuError;
use super::gather::{Gatherer, batch_wait};
use super::index::{LEAST_WORK, device_of};
use super::shards::Shards;
use crate::any_metric::AnyMetric;
use crate::bitset::Bitset;
use crate::index::SearchStats;
use crate::neighbor::Neighbor;
use crate::params::BuildParams;
use crate::typed::{Rows, VectorRef, VectorsRef};

/// Exact search on the device of the process.
#[derive(Debug)]
pub(crate) struct TypedBruteForce {
    /// `None` without a device.
    search: Option<Shards<OwnBackend>>,
    /// Searches for the same number of rows without a filter, which can be done as one.
    gatherer: Gatherer<usize, OwnedVectors>,
}

/// A batch of searches without a window of distances. `scanned` are the rows that may be found; all, when `None`.
#[derive(Clone, Copy)]
pub(crate) struct TypedAsk<'a> {
    pub(crate) vectors: VectorsRef<'a>,
    pub(crate) k: usize,
    pub(crate) scanned: Option<&'a Bitset>,
}

impl TypedBruteForce {
    /// Needs a device.
    pub(crate) fn build(metric: AnyMetric) -> Result<Self, GpuError> {
        Ok(Self::over(Some(super::device()?), metric))
    }

    /// Searches without a device where there is none.
    pub(crate) fn open(metric: AnyMetric) -> Self {
        Self::over(device_of(BuildParams::GpuBruteForce), metric)
    }

    fn over(device: Option<&Arc<Device<OwnBackend>>>, metric: AnyMetric) -> Self {
        Self {
            search: device.map(|device| Shards::new(device, metric, Tuning::default())),
            gatherer: Gatherer::default(),
        }
    }

    /// The rows nearest to `query`, found together with those of other threads where no search is `filtered`; `None` where the
    /// processor should look.
    pub(crate) fn one(
        &self,
        ask: TypedAsk<'_>,
        query: VectorRef<'_>,
        filtered: bool,
        stats: &mut SearchStats,
    ) -> Option<Vec<Neighbor>> {
        self.worthwhile(&ask, 1)?;
        if filtered {
            return self.batch(ask, &[query], stats)?.pop();
        }
        let owned = OwnedVectors::of(&[query])?;
        self.gatherer.search(ask.k, owned, batch_wait(), |queries| {
            let queries: Vec<VectorRef<'_>> = queries.iter().map(OwnedVectors::only).collect();
            self.batch(ask, &queries, stats)
        })
    }

    /// [`TypedBruteForce::one`] for each of `queries`, which have the dimension of the rows.
    pub(crate) fn all(
        &self,
        ask: TypedAsk<'_>,
        queries: &[VectorRef<'_>],
        stats: &mut SearchStats,
    ) -> Option<Vec<Vec<Neighbor>>> {
        self.worthwhile(&ask, queries.len())?;
        self.batch(ask, queries, stats)
    }

    /// `None` where the processor is done before a device has started.
    fn worthwhile(&self, ask: &TypedAsk<'_>, queries: usize) -> Option<()> {
        self.search.as_ref()?;
        let rows = ask.vectors.len();
        let allowed = ask.scanned.map_or(rows, |allow| allow.count_range(0, rows));
        let work = allowed
            .saturating_mul(ask.vectors.row_cost())
            .saturating_mul(queries);
        (work >= LEAST_WORK).then_some(())
    }

    fn batch(
        &self,
        ask: TypedAsk<'_>,
        queries: &[VectorRef<'_>],
        stats: &mut SearchStats,
    ) -> Option<Vec<Vec<Neighbor>>> {
        let search = self.search.as_ref()?;
        let owned = OwnedVectors::of(queries)?;
        let rounds = &mut Rounds::default();
        let found = search.search(
            ask.vectors,
            owned.rows(queries.len())?,
            ask.k,
            ask.scanned,
            stats,
            rounds,
        );
        if let Err(error) = &found {
            let index = BuildParams::GpuBruteForce.kind();
            tracing::warn!(%index, %error, "a search is done on the CPU");
        }
        found.ok()
    }
}

/// Vectors of one type, row-major.
#[derive(Debug)]
pub(crate) enum OwnedVectors {
    Halves(Vec<u16>),
    BFloat16s(Vec<u16>),
    Int8s(Vec<i8>),
    Bits(Vec<u8>),
}

impl OwnedVectors {
    /// `None` when they are of several types, or of one that is not here.
    pub(crate) fn of(vectors: &[VectorRef<'_>]) -> Option<Self> {
        let mut all = match vectors.first()? {
            VectorRef::Halves(_) => Self::Halves(Vec::new()),
            VectorRef::BFloat16s(_) => Self::BFloat16s(Vec::new()),
            VectorRef::Int8s(_) => Self::Int8s(Vec::new()),
            VectorRef::Bits(_) => Self::Bits(Vec::new()),
            VectorRef::Floats(_) | VectorRef::Sparse(_) | VectorRef::Terms(_) | VectorRef::List(_) => {
                return None;
            }
        };
        for &vector in vectors {
            match (&mut all, vector) {
                (Self::Halves(all), VectorRef::Halves(bits))
                | (Self::BFloat16s(all), VectorRef::BFloat16s(bits)) => all.extend_from_slice(bits),
                (Self::Int8s(all), VectorRef::Int8s(values)) => all.extend_from_slice(values),
                (Self::Bits(all), VectorRef::Bits(bytes)) => all.extend_from_slice(bytes),
                _ => return None,
            }
        }
        Some(all)
    }

    /// All of it as one vector.
    pub(crate) fn only(&self) -> VectorRef<'_> {
        match self {
            Self::Halves(bits) => VectorRef::Halves(bits),
            Self::BFloat16s(bits) => VectorRef::BFloat16s(bits),
            Self::Int8s(values) => VectorRef::Int8s(values),
            Self::Bits(bytes) => VectorRef::Bits(bytes),
        }
    }

    /// All of it as `count` vectors.
    pub(crate) fn rows(&self, count: usize) -> Option<VectorsRef<'_>> {
        fn rows<T>(values: &[T], count: usize) -> Option<Rows<'_, T>> {
            Rows::new(values, values.len().checked_div(count)?).ok()
        }
        match self {
            Self::Halves(bits) => rows(bits, count).map(VectorsRef::Halves),
            Self::BFloat16s(bits) => rows(bits, count).map(VectorsRef::BFloat16s),
            Self::Int8s(values) => rows(values, count).map(VectorsRef::Int8s),
            Self::Bits(bytes) => rows(bytes, count).map(VectorsRef::Bits),
        }
    }
}
