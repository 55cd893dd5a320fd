//! Distances from one query to vectors of its type.

use super::{Bm25Query, Elements, SparseVector, VectorRef, VectorsRef};
use crate::any_metric::{AnyMetric, BitMetric, ElementMetric};
use crate::error::PairError;
use crate::kernels::narrow::{BFloat16, Format, Half, Single};
use crate::kernels::{bits, narrow, sparse};
use crate::metric::{Metric, cosine_distance, inverse_norm, ip_distance};

/// A distance between lists: the sum of those of the query's vectors, each to its nearest. Sums that overflow both ways are
/// the worst there is, as in [`ip_distance`].
pub(super) fn sum_of_lists(nearest: impl Iterator<Item = f32>) -> f32 {
    let sum = nearest.map(f64::from).sum::<f64>() as f32;
    if sum.is_nan() { f32::INFINITY } else { sum }
}

/// A query and a metric, with what is computed of the query once.
#[derive(Debug, Clone)]
pub struct Scorer<'a>(Kind<'a>);

/// The query in the form that its kernels take.
#[derive(Debug, Clone)]
enum Kind<'a> {
    Floats {
        metric: Metric,
        query: &'a [f32],
    },
    Halves {
        metric: Metric,
        query: Vec<f32>,
        inverse: f32,
    },
    BFloat16s {
        metric: Metric,
        query: Vec<f32>,
        inverse: f32,
    },
    Int8s {
        metric: Metric,
        query: &'a [i8],
        inverse: f32,
    },
    Bits {
        metric: BitMetric,
        query: &'a [u8],
    },
    Sparse {
        metric: Metric,
        query: SparseVector<'a>,
        inverse: f32,
    },
    Terms(Bm25Query<'a>),
    List {
        query: Elements<'a>,
        vectors: Vec<Scorer<'a>>,
    },
}

impl<'a> Scorer<'a> {
    /// A scorer of `query`.
    ///
    /// # Errors
    /// [`PairError::Metric`] when vectors of this type do not have the metric.
    pub fn new(metric: AnyMetric, query: VectorRef<'a>) -> Result<Self, PairError> {
        let wrong = |allowed| PairError::Metric {
            kind: query.kind(),
            metric: metric.to_string(),
            allowed,
        };
        let numbers = match metric {
            AnyMetric::Numbers(metric) => Ok(metric),
            AnyMetric::Bits(_) | AnyMetric::Bm25 | AnyMetric::MaxSim(_) => Err(wrong("L2, IP, COSINE")),
        };
        Ok(Self(match query {
            VectorRef::Floats(query) => Kind::Floats {
                metric: numbers?,
                query,
            },
            VectorRef::Halves(query) => {
                let (query, inverse) = widened::<Half>(query);
                Kind::Halves {
                    metric: numbers?,
                    query,
                    inverse,
                }
            }
            VectorRef::BFloat16s(query) => {
                let (query, inverse) = widened::<BFloat16>(query);
                Kind::BFloat16s {
                    metric: numbers?,
                    query,
                    inverse,
                }
            }
            VectorRef::Int8s(query) => Kind::Int8s {
                metric: numbers?,
                query,
                inverse: inverse_norm(narrow::int8_dot(query, query) as f32),
            },
            VectorRef::Bits(query) => match metric {
                AnyMetric::Bits(metric) => Kind::Bits { metric, query },
                AnyMetric::Numbers(_) | AnyMetric::Bm25 | AnyMetric::MaxSim(_) => {
                    return Err(wrong("HAMMING, JACCARD, MHJACCARD"));
                }
            },
            VectorRef::Terms(query) => match metric {
                AnyMetric::Bm25 => Kind::Terms(query),
                AnyMetric::Numbers(_) | AnyMetric::Bits(_) | AnyMetric::MaxSim(_) => {
                    return Err(wrong("BM25 for a query of texts"));
                }
            },
            VectorRef::List(query) => {
                let metric = metric_of_elements(metric, VectorRef::List(query))?.of_vectors();
                let vectors = (0..query.len()).map(|index| Scorer::new(metric, query.element(index)));
                let vectors = vectors.collect::<Result<_, PairError>>()?;
                Kind::List { query, vectors }
            }
            VectorRef::Sparse(query) => Kind::Sparse {
                metric: numbers?,
                query,
                inverse: inverse_norm(sparse::dot(query, query) as f32),
            },
        }))
    }

    /// The distance to `row`.
    ///
    /// # Errors
    /// [`PairError`] when the row is of another type or dimension.
    pub fn distance(&self, row: VectorRef<'_>) -> Result<f32, PairError> {
        self.check(row)?;
        Ok(self.one(row))
    }

    /// Refuses rows that are not like the query.
    pub(super) fn check(&self, row: VectorRef<'_>) -> Result<(), PairError> {
        let query = self.query();
        if query.0 != row.kind() {
            return Err(PairError::Types {
                left: query.0,
                right: row.kind(),
            });
        }
        if query.1 != row.dim() {
            return Err(PairError::Dimensions {
                left: query.1,
                right: row.dim(),
            });
        }
        Ok(())
    }

    /// Type and dimension of the query.
    fn query(&self) -> (&'static str, usize) {
        match &self.0 {
            Kind::Floats { query, .. } => ("float", query.len()),
            Kind::Halves { query, .. } => ("half", query.len()),
            Kind::BFloat16s { query, .. } => ("bfloat16", query.len()),
            Kind::Int8s { query, .. } => ("int8", query.len()),
            Kind::Bits { query, .. } => ("bit", query.len() * 8),
            Kind::Sparse { .. } | Kind::Terms(_) => ("sparse", 0),
            Kind::List { query, .. } => (query.kind(), query.dim()),
        }
    }

    /// The distance to a row that was checked to be like the query; the worst one to any other.
    #[inline]
    pub(crate) fn one(&self, row: VectorRef<'_>) -> f32 {
        match (&self.0, row) {
            (Kind::Floats { metric, query }, VectorRef::Floats(row)) => metric.distance(query, row),
            (
                Kind::Halves {
                    metric,
                    query,
                    inverse,
                },
                VectorRef::Halves(row),
            ) => narrow_distance::<Half>(*metric, query, *inverse, row),
            (
                Kind::BFloat16s {
                    metric,
                    query,
                    inverse,
                },
                VectorRef::BFloat16s(row),
            ) => narrow_distance::<BFloat16>(*metric, query, *inverse, row),
            (
                Kind::Int8s {
                    metric,
                    query,
                    inverse,
                },
                VectorRef::Int8s(row),
            ) => match metric {
                Metric::L2 => narrow::int8_l2(query, row) as f32,
                Metric::Ip => ip_distance(narrow::int8_dot(query, row) as f32),
                Metric::Cosine => {
                    let square = narrow::int8_dot(row, row) as f32;
                    cosine_distance(
                        narrow::int8_dot(query, row) as f32,
                        *inverse,
                        inverse_norm(square),
                    )
                }
            },
            (Kind::Bits { metric, query }, VectorRef::Bits(row)) => metric.distance(query, row),
            (
                Kind::Sparse {
                    metric,
                    query,
                    inverse,
                },
                VectorRef::Sparse(row),
            ) => match metric {
                Metric::L2 => sparse::l2(*query, row) as f32,
                Metric::Ip => ip_distance(sparse::dot(*query, row) as f32),
                Metric::Cosine => {
                    let square = sparse::dot(row, row) as f32;
                    cosine_distance(sparse::dot(*query, row) as f32, *inverse, inverse_norm(square))
                }
            },
            (Kind::Terms(query), VectorRef::Sparse(row)) => ip_distance(query.score(row) as f32),
            (Kind::List { vectors, .. }, VectorRef::List(row)) => {
                let nearest = |vector: &Scorer<'_>| {
                    let distances = (0..row.len()).map(|index| vector.one(row.element(index)));
                    distances.fold(f32::INFINITY, f32::min)
                };
                sum_of_lists(vectors.iter().map(nearest))
            }
            (
                Kind::Floats { .. }
                | Kind::Halves { .. }
                | Kind::BFloat16s { .. }
                | Kind::Int8s { .. }
                | Kind::Bits { .. }
                | Kind::Sparse { .. }
                | Kind::Terms(_)
                | Kind::List { .. },
                _,
            ) => f32::INFINITY,
        }
    }

    /// [`Scorer::one`] for rows of `vectors` by number, all like the query.
    pub(crate) fn gather(&self, vectors: VectorsRef<'_>, rows: &[u32], out: &mut [f32]) {
        match (&self.0, vectors) {
            (Kind::Halves { metric, query, .. }, VectorsRef::Halves(data)) if *metric != Metric::Cosine => {
                gather_narrow::<Half>(*metric, query, data.data(), rows, out);
            }
            (Kind::BFloat16s { metric, query, .. }, VectorsRef::BFloat16s(data))
                if *metric != Metric::Cosine =>
            {
                gather_narrow::<BFloat16>(*metric, query, data.data(), rows, out);
            }
            (Kind::Int8s { metric, query, .. }, VectorsRef::Int8s(data)) if *metric == Metric::L2 => {
                narrow::int8_l2_gather(query, data.data(), rows, out);
            }
            (Kind::Int8s { metric, query, .. }, VectorsRef::Int8s(data)) if *metric == Metric::Ip => {
                narrow::int8_dot_gather(query, data.data(), rows, out);
                out.iter_mut().for_each(|slot| *slot = ip_distance(*slot));
            }
            (Kind::Bits { metric, query }, VectorsRef::Bits(data)) => match metric {
                BitMetric::Hamming => bits::differing_gather(query, data.data(), rows, out),
                BitMetric::Jaccard => bits::jaccard_gather(query, data.data(), rows, out),
                BitMetric::MinHash(metric) => metric.gather(query, data.data(), rows, out),
            },
            _ => {
                for (slot, &row) in out.iter_mut().zip(rows) {
                    *slot = self.one(vectors.row(row as usize));
                }
            }
        }
    }
}

/// The metric of the elements, of a metric of lists.
pub(super) fn metric_of_elements(
    metric: AnyMetric,
    query: VectorRef<'_>,
) -> Result<ElementMetric, PairError> {
    match metric {
        AnyMetric::MaxSim(metric) => Ok(metric),
        AnyMetric::Numbers(_) | AnyMetric::Bits(_) | AnyMetric::Bm25 => Err(PairError::Metric {
            kind: query.kind(),
            metric: metric.to_string(),
            allowed: "MAX_SIM_COSINE, MAX_SIM_IP, MAX_SIM_L2 for numbers, MAX_SIM_HAMMING, MAX_SIM_JACCARD for bits",
        }),
    }
}

/// The numbers of a query and the inverse of its norm.
fn widened<F: Format<Bits = u16>>(query: &[u16]) -> (Vec<f32>, f32) {
    let wide: Vec<f32> = query.iter().map(|bits| F::widen(*bits)).collect();
    let inverse = inverse_norm(narrow::dot::<Single, F>(&wide, query));
    (wide, inverse)
}

#[inline]
fn narrow_distance<F: Format<Bits = u16>>(metric: Metric, query: &[f32], inverse: f32, row: &[u16]) -> f32 {
    match metric {
        Metric::L2 => l2_distance(narrow::l2::<Single, F>(query, row)),
        Metric::Ip => ip_distance(narrow::dot::<Single, F>(query, row)),
        Metric::Cosine => {
            let (dot, square) = narrow::dot_square::<Single, F>(query, row);
            cosine_distance(dot, inverse, inverse_norm(square))
        }
    }
}

/// Distances under L2 or IP of rows by number, as long as the query.
fn gather_narrow<F: Format<Bits = u16>>(
    metric: Metric,
    query: &[f32],
    data: &[u16],
    rows: &[u32],
    out: &mut [f32],
) {
    if metric == Metric::L2 {
        narrow::l2_gather::<Single, F>(query, data, rows, out);
        out.iter_mut().for_each(|slot| *slot = l2_distance(*slot));
    } else {
        narrow::dot_gather::<Single, F>(query, data, rows, out);
        out.iter_mut().for_each(|slot| *slot = ip_distance(*slot));
    }
}

/// A squared distance, never NaN: differences of bfloat16s can be infinite on both sides of a sum.
#[inline]
pub(super) fn l2_distance(sum: f32) -> f32 {
    if sum.is_nan() { f32::INFINITY } else { sum }
}
