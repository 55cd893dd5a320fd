//! Milvus' GPU index types: their parameters, what is built for them where there is a device, and what stands in for them
//! where there is none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::cagra::{CagraParams, check_word};
use super::error::GpuError;
use super::ivf::params::PqParams;
use crate::error::ParamError;
use crate::params::{BuildParams, DEFAULT_NLIST, NLIST};

/// Whether a type that cannot be built on a device is built on the processor.
static FALLBACK: AtomicBool = AtomicBool::new(false);
/// Types of which a warning has been given: one bit for each.
static WARNED: AtomicU8 = AtomicU8::new(0);

/// Says whether, where a GPU index type cannot be had, its CPU equivalent is built, with a warning, instead of an error. Off
/// at first; a server sets it once, at start.
pub fn set_fallback(on: bool) {
    FALLBACK.store(on, Ordering::Relaxed);
}

/// One of the types, with what its parameters say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuIndex {
    /// Exact search.
    BruteForce,
    /// Inverted lists.
    IvfFlat {
        /// Number of lists.
        nlist: u32,
    },
    /// Inverted lists with codewords.
    IvfPq(PqParams),
    /// Graph.
    Cagra(CagraParams),
}

impl fmt::Display for GpuIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BruteForce => "GPU_BRUTE_FORCE",
            Self::IvfFlat { .. } => "GPU_IVF_FLAT",
            Self::IvfPq(_) => "GPU_IVF_PQ",
            Self::Cagra(_) => "GPU_CAGRA",
        })
    }
}

/// What a request for a GPU index type leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What is built.
    pub params: BuildParams,
    /// Why it is not what was asked for.
    pub warning: Option<String>,
}

impl Offer {
    /// What was asked for.
    fn of(params: BuildParams) -> Self {
        Self {
            params,
            warning: None,
        }
    }
}

impl GpuIndex {
    /// Reads an index type and its parameters; `None` for a type that is not one of these. Parameters that the type does not
    /// know are ignored, as Milvus does.
    ///
    /// # Errors
    /// A value that is no integer, out of range, or none of the words that there are.
    pub fn parse(index_type: &str, params: &BTreeMap<String, String>) -> Option<Result<Self, ParamError>> {
        match index_type {
            "GPU_BRUTE_FORCE" => Some(Ok(Self::BruteForce)),
            "GPU_IVF_FLAT" => Some(lists(params)),
            "GPU_IVF_PQ" => {
                Some(check_cache_dataset(params).and_then(|()| PqParams::parse(params).map(Self::IvfPq)))
            }
            "GPU_CAGRA" => {
                Some(check_cache_dataset(params).and_then(|()| CagraParams::parse(params).map(Self::Cagra)))
            }
            _ => None,
        }
    }

    /// What takes its place on a processor: the same kind of structure with the same work put into it.
    pub fn equivalent(&self) -> BuildParams {
        match *self {
            Self::BruteForce => BuildParams::Flat,
            Self::IvfFlat { nlist } => BuildParams::IvfFlat { nlist },
            Self::IvfPq(params) => BuildParams::IvfCoded(params.on_processor()),
            // The base layer of HNSW has 2 M links of a node.
            Self::Cagra(params) => BuildParams::Hnsw {
                m: (params.degree / 2).max(2),
                ef_construction: params.intermediate_degree,
            },
        }
    }

    /// What is built, given a device or why there is none, and whether processors may stand in.
    ///
    /// # Errors
    /// When there is no device, and no processor may stand in.
    pub fn offer(&self, device: Result<(), GpuError>, fallback: bool) -> Result<Offer, GpuError> {
        let equivalent = self.equivalent();
        let refusal = match (device, self) {
            (Ok(()), Self::BruteForce) => return Ok(Offer::of(BuildParams::GpuBruteForce)),
            (Ok(()), &Self::IvfFlat { nlist }) => return Ok(Offer::of(BuildParams::GpuIvfFlat { nlist })),
            (Ok(()), &Self::Cagra(params)) => return Ok(Offer::of(BuildParams::GpuCagra(params))),
            (Ok(()), &Self::IvfPq(params)) => return Ok(Offer::of(BuildParams::GpuIvfPq(params))),
            (Err(error), _) => GpuError::NeedsDevice {
                index: self.to_string(),
                reason: error.to_string(),
                equivalent: equivalent.kind().to_string(),
            },
        };
        if fallback {
            return Ok(Offer {
                params: equivalent,
                warning: Some(refusal.to_string()),
            });
        }
        Err(refusal)
    }

    /// [`GpuIndex::offer`] by this process: with its device, if it has one, and as [`set_fallback`] says. A warning is
    /// logged the first time for each type.
    ///
    /// # Errors
    /// As [`GpuIndex::offer`].
    pub(crate) fn take(&self) -> Result<BuildParams, GpuError> {
        let device = super::device().map(|_| ());
        let offer = self.offer(device, FALLBACK.load(Ordering::Relaxed))?;
        let bit = match self {
            Self::BruteForce => 1,
            Self::IvfFlat { .. } => 2,
            Self::IvfPq(_) => 4,
            Self::Cagra(_) => 8,
        };
        if let Some(warning) = offer.warning
            && WARNED.fetch_or(bit, Ordering::Relaxed) & bit == 0
        {
            let stands_in = offer.params.kind();
            tracing::warn!(asked = %self, built = %stands_in, reason = warning, "a CPU index stands in for one of a GPU");
        }
        Ok(offer.params)
    }
}

fn lists(params: &BTreeMap<String, String>) -> Result<GpuIndex, ParamError> {
    check_cache_dataset(params)?;
    let nlist = NLIST.parse(params)?.unwrap_or(DEFAULT_NLIST);
    Ok(GpuIndex::IvfFlat { nlist })
}

fn check_cache_dataset(params: &BTreeMap<String, String>) -> Result<(), ParamError> {
    check_word(
        params,
        "cache_dataset_on_device",
        &["true", "false"],
        "true, false",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::IndexKind;

    fn parse(index_type: &str, params: &[(&str, &str)]) -> Result<GpuIndex, ParamError> {
        let params = params
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        GpuIndex::parse(index_type, &params.collect()).unwrap()
    }

    const TYPES: [(&str, IndexKind); 4] = [
        ("GPU_BRUTE_FORCE", IndexKind::Flat),
        ("GPU_IVF_FLAT", IndexKind::IvfFlat),
        ("GPU_IVF_PQ", IndexKind::IvfPq),
        ("GPU_CAGRA", IndexKind::Hnsw),
    ];

    #[test]
    fn without_a_device_every_type_is_refused_by_name_or_replaced_with_a_reason() {
        for (index_type, kind) in TYPES {
            let index = parse(index_type, &[("m", "4")]).unwrap();
            assert_eq!(index.to_string(), index_type);
            let error = index
                .offer(Err(GpuError::NoDriver), false)
                .unwrap_err()
                .to_string();
            assert_eq!(
                error,
                format!(
                    "invalid index type: {index_type}, it needs a GPU (no GPU: the library of the NVIDIA driver (libcuda) \
                     was not found); a server with --gpu-fallback builds {kind} instead"
                )
            );
            let offer = index.offer(Err(GpuError::NoDriver), true).unwrap();
            assert_eq!((offer.params.kind(), offer.warning), (kind, Some(error)));
        }
    }

    #[test]
    fn with_a_device_every_type_is_built_on_it() {
        let offer = |index_type, params: &[_]| {
            let offer = parse(index_type, params).unwrap().offer(Ok(()), true).unwrap();
            assert_eq!(offer.warning, None);
            offer.params
        };
        assert_eq!(offer("GPU_BRUTE_FORCE", &[]), BuildParams::GpuBruteForce);
        let lists = offer("GPU_IVF_FLAT", &[("nlist", "77")]);
        assert_eq!(lists, BuildParams::GpuIvfFlat { nlist: 77 });
        assert_eq!(offer("GPU_IVF_FLAT", &[]), BuildParams::GpuIvfFlat { nlist: 128 });
        let graph = offer("GPU_CAGRA", &[("graph_degree", "32"), ("adapt_for_cpu", "True")]);
        let params = CagraParams {
            degree: 32,
            intermediate_degree: 128,
            adapt_for_cpu: true,
        };
        assert_eq!(graph, BuildParams::GpuCagra(params));
        let codes = offer("GPU_IVF_PQ", &[("m", "4"), ("nbits", "6")]);
        let params = PqParams {
            nlist: 128,
            m: 4,
            nbits: 6,
        };
        assert_eq!(codes, BuildParams::GpuIvfPq(params));
    }

    #[test]
    fn parameters_become_those_of_the_equivalent_and_are_checked() {
        let cagra = parse("GPU_CAGRA", &[("graph_degree", "32"), ("adapt_for_cpu", "true")]).unwrap();
        let hnsw = BuildParams::Hnsw {
            m: 16,
            ef_construction: 128,
        };
        assert_eq!(cagra.equivalent(), hnsw);
        let lists = parse("GPU_IVF_FLAT", &[("nlist", "77")]).unwrap();
        assert_eq!(lists.equivalent(), BuildParams::IvfFlat { nlist: 77 });
        let many_bits = parse("GPU_IVF_PQ", &[("m", "4"), ("nbits", "9")]).unwrap_err();
        assert_eq!(
            many_bits.to_string(),
            "not supported: param 'nbits' (9), supported are 1 to 8"
        );
        for (index_type, name, value, text) in [
            (
                "GPU_CAGRA",
                "graph_degree",
                "0",
                "param 'graph_degree' (0) should be in range [1, 2048]",
            ),
            (
                "GPU_CAGRA",
                "build_algo",
                "ACE",
                "param 'build_algo' (ACE) should be one of IVF_PQ, NN_DESCENT",
            ),
            (
                "GPU_CAGRA",
                "adapt_for_cpu",
                "1",
                "param 'adapt_for_cpu' (1) should be one of true, false",
            ),
            (
                "GPU_IVF_FLAT",
                "nlist",
                "0",
                "param 'nlist' (0) should be in range [1, 65536]",
            ),
            (
                "GPU_IVF_FLAT",
                "cache_dataset_on_device",
                "x",
                "param 'cache_dataset_on_device' (x) should be one of true, false",
            ),
            ("GPU_IVF_PQ", "nlist", "4", "param 'm' not exist in json"),
            (
                "GPU_IVF_PQ",
                "m",
                "0",
                "param 'm' (0) should be in range [1, 65536]",
            ),
        ] {
            let error = parse(index_type, &[(name, value)]).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
        assert!(GpuIndex::parse("IVF_FLAT", &BTreeMap::new()).is_none());
    }
}
