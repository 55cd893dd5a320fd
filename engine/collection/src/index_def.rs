//! Index definitions: what was asked for, checked, and how far the builds are.

use std::collections::BTreeMap;
use std::str::FromStr;

use elanus_index::{AnyMetric, BuildParams, IndexKind, MinHashParams};
use serde::{Deserialize, Serialize};

use crate::built_index::IndexBuild;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::function::{ANALYZER_PARAMS, FunctionKind, is_matched};
use crate::json_values::{JsonCast, steps};
use crate::minhash::Signatures;
use crate::scalar_def;
use crate::scalar_index::ScalarBuild;
use crate::types::{DataType, Field};

/// A request to index a field.
#[derive(Debug, Clone, Default)]
pub struct IndexSpec {
    /// Name; the field's name when absent.
    pub name: Option<String>,
    /// Field to index.
    pub field: String,
    /// Index type as Milvus spells it; empty means `AUTOINDEX`.
    pub index_type: String,
    /// Metric of a vector index; when absent COSINE, HAMMING for bits (MHJACCARD for MINHASH_LSH) and IP for sparse vectors.
    pub metric: Option<String>,
    /// Build parameters as text.
    pub params: BTreeMap<String, String>,
}

/// How far an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexState {
    /// Some segments wait for their build.
    InProgress,
    /// Every sealed row is indexed.
    Finished,
    /// A build failed; searches are exact there.
    Failed,
}

/// An index of a collection and how far it is.
#[derive(Debug, Clone)]
pub struct IndexInfo {
    /// Id, unique in the collection.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Indexed field.
    pub field: String,
    /// Index type as asked for.
    pub index_type: String,
    /// Metric of a vector index.
    pub metric: Option<AnyMetric>,
    /// Build parameters as asked for.
    pub params: BTreeMap<String, String>,
    /// What is built on vectors; `None` for a scalar index, or one on vectors that are searched exactly.
    pub build: Option<BuildParams>,
    /// How signatures are read, when the metric is MHJACCARD.
    pub signatures: Option<MinHashParams>,
    /// Rows the index covers when it is finished.
    pub total_rows: u64,
    /// Rows covered now.
    pub indexed_rows: u64,
    /// Rows waiting for a build.
    pub pending_rows: u64,
    /// State of the builds.
    pub state: IndexState,
    /// Why a build failed; empty otherwise.
    pub fail_reason: String,
}

/// An index definition as the manifest keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct IndexDef {
    pub id: i64,
    pub name: String,
    pub field: String,
    pub index_type: String,
    pub metric: Option<String>,
    pub params: BTreeMap<String, String>,
    pub created_ts: Timestamp,
    /// Whether nothing is built and searches are exact, whatever the type says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
    /// Whether the field holds sparse vectors: `AUTOINDEX` is an inverted index then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sparse: bool,
    /// Whether nobody asked for it: the index of the terms of a field that filters may match. It is not shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub implied: bool,
    /// Where in JSON the indexed values are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonCast>,
    /// How signatures are read, when the metric is MHJACCARD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signatures: Option<Signatures>,
}

/// The type of an index of terms, which no request names.
const TERMS: &str = "TEXT_MATCH";

/// What `AUTOINDEX` is on sparse vectors.
const SPARSE_AUTOINDEX: &str = "SPARSE_INVERTED_INDEX";

/// Lists of bit vectors.
const BIN_IVF_FLAT: &str = "BIN_IVF_FLAT";

/// Bands of MinHash signatures.
const MINHASH_LSH: &str = "MINHASH_LSH";

/// The metric of MinHash signatures.
const MHJACCARD: &str = "MHJACCARD";

/// A graph on disk.
const DISKANN: &str = "DISKANN";

/// The way in which lists of vectors are searched: by their elements, then the lists that these belong to.
const TOKENANN: &str = "tokenann";

/// The types of indexes on vectors of floats, of 32 and of 16 bits.
const OF_FLOATS: &[&str] = &[
    "FLAT",
    "IVF_FLAT",
    "IVF_SQ8",
    "IVF_PQ",
    "IVF_RABITQ",
    "IVF_RABITQ_FASTSCAN",
    "SCANN",
    "HNSW",
    "HNSW_SQ",
    "HNSW_PQ",
    "HNSW_PRQ",
    DISKANN,
    "AUTOINDEX",
];

impl IndexDef {
    /// Checks a request against the field it names; `filled` is the kind of the function that fills it.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a type, metric or parameter that the field does not allow.
    pub fn check(spec: &IndexSpec, field: &Field, filled: Option<&FunctionKind>) -> Result<Self> {
        let index_type = if spec.index_type.is_empty() {
            "AUTOINDEX"
        } else {
            &spec.index_type
        };
        let sparse = field.data_type == DataType::SparseFloatVector;
        let (mut exact, mut json, mut signatures) = (false, None, None);
        let metric = if matches!(field.data_type, DataType::FloatVector { .. }) {
            let metric = metric_of(spec, field, filled)?;
            let build = build_params(index_type, sparse, &spec.params)?;
            if build.kind() == IndexKind::SparseInverted || matches!(index_type, BIN_IVF_FLAT | MINHASH_LSH) {
                return Err(not_on(index_type, field, OF_FLOATS));
            }
            check_dim(&build, &field.data_type)?;
            Some(metric.to_string())
        } else if field.data_type.is_vector() {
            check_type(index_type, field)?;
            let metric = metric_of(spec, field, filled)?;
            check_lists(spec, index_type, field, metric)?;
            // Nothing is kept besides the vectors: an exact search needs no index.
            exact = matches!(index_type, "FLAT" | "BIN_FLAT");
            let metric = metric.to_string();
            check_signatures(index_type, &metric, field)?;
            if metric == MHJACCARD {
                let (computed, auto) = (filled.is_some(), index_type == "AUTOINDEX");
                signatures = Some(Signatures::of(&spec.params, &field.data_type, computed, auto)?);
            } else if !exact {
                check_dim(&build_params(index_type, sparse, &spec.params)?, &field.data_type)?;
            }
            Some(metric)
        } else {
            json = scalar_def::check(index_type, field, &spec.params)?;
            None
        };
        Ok(Self {
            id: 0,
            name: spec
                .name
                .clone()
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| default_name(field, json.as_ref())),
            field: field.name.clone(),
            index_type: index_type.to_string(),
            metric,
            params: spec.params.clone(),
            created_ts: 0,
            exact,
            sparse,
            implied: false,
            json,
            signatures,
        })
    }

    /// The index of the terms of a field, when filters may match it.
    pub fn of_terms(field: &Field, id: i64) -> Option<Self> {
        let analyzer = field.params.get(ANALYZER_PARAMS).cloned().unwrap_or_default();
        is_matched(field).then(|| Self {
            id,
            name: format!("terms of {}", field.name),
            field: field.name.clone(),
            index_type: TERMS.into(),
            metric: None,
            params: [(ANALYZER_PARAMS.into(), analyzer)].into(),
            created_ts: 0,
            exact: false,
            sparse: false,
            json: None,
            signatures: None,
            implied: true,
        })
    }

    /// The parameters of the analyzer of an index of terms.
    pub fn analyzer(&self) -> Option<&str> {
        let params = self.params.get(ANALYZER_PARAMS).map_or("", String::as_str);
        self.implied.then_some(params)
    }

    /// Metric of a vector index.
    pub fn any_metric(&self) -> Option<AnyMetric> {
        match self.signatures {
            Some(signatures) => Some(signatures.params().metric().into()),
            None => AnyMetric::from_str(self.metric.as_deref()?).ok(),
        }
    }

    /// Metric and build parameters of an index on vectors; `None` for one that is not built.
    pub fn build(&self) -> Option<(AnyMetric, BuildParams)> {
        if self.exact {
            return None;
        }
        let params = match self.signatures {
            Some(signatures) => BuildParams::MinHash(signatures.params()),
            None => build_params(&self.index_type, self.sparse, &self.params).ok()?,
        };
        Some((self.any_metric()?, params))
    }

    /// What is built on each segment; `None` for an index that is only recorded.
    pub fn what_to_build(&self) -> Option<IndexBuild> {
        if self.exact {
            return None;
        }
        if self.metric.is_some() {
            let (metric, params) = self.build()?;
            return Some(IndexBuild::Vectors(metric, params));
        }
        if let Some(analyzer) = self.analyzer() {
            return Some(IndexBuild::Scalars(ScalarBuild {
                grams: None,
                json: None,
                analyzer: Some(analyzer.to_owned()),
            }));
        }
        let build = scalar_def::build_of(&self.index_type, &self.params, self.json.as_ref())?;
        Some(IndexBuild::Scalars(build))
    }

    /// Whether the other is an index on the same column, or the same place in it.
    pub fn is_on_same(&self, other: &Self) -> bool {
        let place = |def: &Self| def.json.as_ref().map(|json| json.pointer.clone());
        self.implied == other.implied && self.field == other.field && place(self) == place(other)
    }

    /// Whether a request asks for exactly this.
    pub fn same_as(&self, other: &Self) -> bool {
        self.name == other.name
            && self.field == other.field
            && self.index_type == other.index_type
            && self.metric == other.metric
            && self.params == other.params
    }
}

/// The name of an index that was given none: that of its field, and of its place in JSON.
fn default_name(field: &Field, json: Option<&JsonCast>) -> String {
    let steps = json.map_or_else(Vec::new, |json| steps(&json.pointer));
    let mut parts: Vec<&str> = steps.iter().map(String::as_str).collect();
    if parts.is_empty() || !field.dynamic {
        parts.insert(0, &field.name);
    }
    if parts.len() == 1 && json.is_none() {
        return field.name.clone();
    }
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() {
            character
        } else {
            '_'
        }
    };
    parts.join("_").chars().map(plain).collect()
}

/// What an index of a type builds on dense or sparse vectors.
fn build_params(index_type: &str, sparse: bool, params: &BTreeMap<String, String>) -> Result<BuildParams> {
    let index_type = match index_type {
        "AUTOINDEX" if sparse => SPARSE_AUTOINDEX,
        other => other,
    };
    BuildParams::parse(index_type, params).map_err(|e| Error::InvalidParameter(e.to_string()))
}

/// Refuses parameters that do not go with the dimension of a dense vector.
fn check_dim(build: &BuildParams, data_type: &DataType) -> Result<()> {
    match data_type.dim() {
        Some(dim) => build
            .check_dim(dim as usize)
            .map_err(|e| Error::InvalidParameter(e.to_string())),
        None => Ok(()),
    }
}

/// Kind in words, default metric and allowed metrics of a vector type.
fn metrics_of(data_type: &DataType) -> (&'static str, &'static [&'static str]) {
    match data_type {
        DataType::VectorArray { element } if matches!(**element, DataType::BinaryVector { .. }) => {
            ("array of binary", &["MAX_SIM_HAMMING", "MAX_SIM_JACCARD"])
        }
        DataType::VectorArray { .. } => (
            "array of",
            &["MAX_SIM_COSINE", "MAX_SIM_L2", "MAX_SIM_IP", "MAX_SIM"],
        ),
        DataType::BinaryVector { .. } => ("binary", &["HAMMING", "JACCARD", MHJACCARD]),
        DataType::SparseFloatVector => ("sparse float", &["IP"]),
        DataType::Int8Vector { .. } => ("int", &["COSINE", "L2", "IP"]),
        DataType::FloatVector { .. }
        | DataType::Float16Vector { .. }
        | DataType::BFloat16Vector { .. }
        | DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::VarChar { .. }
        | DataType::Text
        | DataType::Json
        | DataType::Array { .. }
        | DataType::StructArray { .. }
        | DataType::TimestampTz
        | DataType::Geometry => ("float", &["COSINE", "L2", "IP"]),
    }
}

/// The metric asked for, or the type's default (its first).
fn metric_of(spec: &IndexSpec, field: &Field, filled: Option<&FunctionKind>) -> Result<AnyMetric> {
    let given = spec.metric.as_deref().filter(|metric| !metric.is_empty());
    if let Some(function) = filled {
        let only = match function {
            FunctionKind::Bm25 => "BM25",
            FunctionKind::MinHash { .. } => MHJACCARD,
        };
        let given = given.unwrap_or(only);
        let of_function = AnyMetric::from_str(only)
            .ok()
            .filter(|_| given.eq_ignore_ascii_case(only));
        return of_function.ok_or_else(|| {
            Error::InvalidParameter(format!(
                "index metric type of {} function output field must be {only}, got {given}",
                function.name()
            ))
        });
    }
    if given.is_some_and(|metric| metric.eq_ignore_ascii_case("BM25")) {
        return Err(Error::InvalidParameter(format!(
            "only BM25 Function output field support BM25 metric type, field '{}' is none",
            field.name
        )));
    }
    let (kind, mut allowed) = metrics_of(&field.data_type);
    // The metric says what is searched: lists as a whole, or their vectors one by one.
    if let (DataType::VectorArray { element }, Some(metric)) = (&field.data_type, given) {
        let (_, of_elements) = metrics_of(element);
        let is_of_elements = |known: &&str| *known != MHJACCARD && known.eq_ignore_ascii_case(metric);
        if of_elements.iter().any(is_of_elements) {
            allowed = of_elements;
        }
    }
    let default = match spec.index_type.as_str() {
        MINHASH_LSH if allowed.contains(&MHJACCARD) => MHJACCARD,
        _ => allowed.first().copied().unwrap_or_default(),
    };
    let text = given.unwrap_or(default);
    let mut sorted = allowed.to_vec();
    if sorted.first() == Some(&"COSINE") && sorted.len() == 3 {
        sorted.rotate_left(1);
    }
    let known = allowed.iter().any(|known| known.eq_ignore_ascii_case(text));
    AnyMetric::from_str(text).ok().filter(|_| known).ok_or_else(|| {
        Error::InvalidParameter(format!(
            "{kind} vector index does not support metric type: {text}; allowed are {}",
            sorted.join(", ")
        ))
    })
}

/// Refuses an index of bands for anything but signatures, and other structures for these.
fn check_signatures(index_type: &str, metric: &str, field: &Field) -> Result<()> {
    let what = match (index_type, metric) {
        (MINHASH_LSH, MHJACCARD) => return Ok(()),
        (MINHASH_LSH, other) => {
            format!("index type {MINHASH_LSH} does not support metric type: {other}; allowed is {MHJACCARD}")
        }
        ("FLAT" | "BIN_FLAT" | "AUTOINDEX", MHJACCARD) => return Ok(()),
        (other, MHJACCARD) => format!(
            "index type {other} does not support metric type: {MHJACCARD}; it is that of {MINHASH_LSH} (AUTOINDEX) and of exact \
             searches (FLAT, BIN_FLAT)"
        ),
        _ => return Ok(()),
    };
    Err(Error::InvalidParameter(format!("field '{}': {what}", field.name)))
}

/// Refuses index types that vectors of this type, other than 32-bit floats, do not have.
fn check_type(index_type: &str, field: &Field) -> Result<()> {
    let allowed = [types_of(&field.data_type), device_types_of(&field.data_type)].concat();
    if allowed.contains(&index_type) {
        return Ok(());
    }
    Err(not_on(index_type, field, &allowed))
}

/// Refuses other ways to search lists of vectors as a whole than by an index of their elements in memory.
fn check_lists(spec: &IndexSpec, index_type: &str, field: &Field, metric: AnyMetric) -> Result<()> {
    if !matches!(field.data_type, DataType::VectorArray { .. }) {
        return Ok(());
    }
    if !matches!(metric, AnyMetric::MaxSim(_)) {
        return match spec.params.get("emb_list_strategy") {
            None => Ok(()),
            Some(strategy) => Err(Error::InvalidParameter(format!(
                "emb_list_strategy {strategy} is for metrics of lists, index of field '{}' has {metric}; allowed are {}",
                field.name,
                metrics_of(&field.data_type).1.join(", ")
            ))),
        };
    }
    if index_type == DISKANN {
        return Err(Error::InvalidParameter(format!(
            "not supported: index type {DISKANN} on lists of vectors, field '{}'; HNSW with codes takes the least memory",
            field.name
        )));
    }
    let strategy = spec
        .params
        .get("emb_list_strategy")
        .map_or(TOKENANN, String::as_str);
    if strategy == TOKENANN {
        return Ok(());
    }
    Err(Error::InvalidParameter(format!(
        "not supported: emb_list_strategy {strategy} on field '{}'; allowed is {TOKENANN}",
        field.name
    )))
}

/// Types of indexes on vectors of a type.
fn types_of(data_type: &DataType) -> &'static [&'static str] {
    match data_type {
        DataType::VectorArray { element } => types_of(element),
        DataType::FloatVector { .. } | DataType::Float16Vector { .. } | DataType::BFloat16Vector { .. } => {
            OF_FLOATS
        }
        DataType::BinaryVector { .. } => {
            &["BIN_FLAT", BIN_IVF_FLAT, "FLAT", "HNSW", MINHASH_LSH, "AUTOINDEX"]
        }
        DataType::SparseFloatVector => &["SPARSE_INVERTED_INDEX", "SPARSE_WAND", "FLAT", "AUTOINDEX"],
        DataType::Int8Vector { .. }
        | DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::VarChar { .. }
        | DataType::Text
        | DataType::Json
        | DataType::Array { .. }
        | DataType::StructArray { .. }
        | DataType::TimestampTz
        | DataType::Geometry => &["FLAT", "HNSW", "HNSW_SQ", "HNSW_PQ", "HNSW_PRQ", "AUTOINDEX"],
    }
}

/// Types of indexes on a GPU on vectors of a type other than 32-bit floats, whose types are all there are.
fn device_types_of(data_type: &DataType) -> &'static [&'static str] {
    match data_type {
        DataType::Float16Vector { .. } | DataType::BFloat16Vector { .. } | DataType::Int8Vector { .. } => {
            &["GPU_BRUTE_FORCE", "GPU_CAGRA", "GPU_IVF_FLAT", "GPU_IVF_PQ"]
        }
        DataType::BinaryVector { .. } => &["GPU_BRUTE_FORCE", "GPU_CAGRA"],
        DataType::FloatVector { .. }
        | DataType::SparseFloatVector
        | DataType::VectorArray { .. }
        | DataType::Bool
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float
        | DataType::Double
        | DataType::VarChar { .. }
        | DataType::Text
        | DataType::Json
        | DataType::Array { .. }
        | DataType::StructArray { .. }
        | DataType::TimestampTz
        | DataType::Geometry => &[],
    }
}

fn not_on(index_type: &str, field: &Field, allowed: &[&str]) -> Error {
    Error::InvalidParameter(format!(
        "not supported: index type {index_type} on field '{}' of type {}; allowed are {}",
        field.name,
        field.data_type.name(),
        allowed.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use elanus_index::SparseAlgorithm;

    use super::*;

    #[test]
    fn vector_indexes_default_to_autoindex_and_cosine() {
        let field = Field::new("v", DataType::FloatVector { dim: 4 });
        let def = IndexDef::check(
            &IndexSpec {
                field: "v".into(),
                ..Default::default()
            },
            &field,
            None,
        )
        .unwrap();
        assert_eq!(
            (def.name.as_str(), def.index_type.as_str(), def.metric.as_deref()),
            ("v", "AUTOINDEX", Some("COSINE"))
        );
        assert!(def.build().is_some());
    }

    #[test]
    fn other_vector_types_have_their_own_metrics_and_indexes() {
        let check = |data_type: DataType, index_type: &str, metric: Option<&str>| {
            let spec = IndexSpec {
                index_type: index_type.into(),
                metric: metric.map(ToString::to_string),
                ..Default::default()
            };
            IndexDef::check(&spec, &Field::new("v", data_type), None)
        };
        let bits = || DataType::BinaryVector { dim: 16 };
        let half = || DataType::Float16Vector { dim: 4 };
        let sparse = || DataType::SparseFloatVector;
        for (data_type, index_type, metric, built) in [
            (bits(), "BIN_FLAT", "HAMMING", None),
            (half(), "FLAT", "COSINE", None),
            (sparse(), "FLAT", "IP", None),
            (
                sparse(),
                "SPARSE_INVERTED_INDEX",
                "IP",
                Some(SparseAlgorithm::DaatMaxScore),
            ),
            (sparse(), "AUTOINDEX", "IP", Some(SparseAlgorithm::DaatMaxScore)),
            (sparse(), "SPARSE_WAND", "IP", Some(SparseAlgorithm::DaatWand)),
        ] {
            let def = check(data_type, index_type, None).unwrap();
            assert_eq!(
                def.any_metric().map(|metric| metric.to_string()).as_deref(),
                Some(metric)
            );
            let algorithm = def.build().map(|(_, params)| match params {
                BuildParams::Sparse(params) => params.algorithm,
                BuildParams::Flat
                | BuildParams::GpuBruteForce
                | BuildParams::GpuIvfFlat { .. }
                | BuildParams::GpuIvfPq(_)
                | BuildParams::GpuCagra(_)
                | BuildParams::IvfFlat { .. }
                | BuildParams::IvfCoded(_)
                | BuildParams::Hnsw { .. }
                | BuildParams::HnswCoded(_)
                | BuildParams::MinHash(_)
                | BuildParams::Disk(_) => {
                    panic!("{params:?}")
                }
            });
            assert_eq!(algorithm, built);
        }
        for data_type in [
            bits(),
            half(),
            DataType::Int8Vector { dim: 4 },
            DataType::BFloat16Vector { dim: 4 },
        ] {
            for index_type in ["HNSW", "AUTOINDEX"] {
                let def = check(data_type.clone(), index_type, None).unwrap();
                let kind = def.build().map(|(_, params)| params.kind());
                assert_eq!(
                    kind,
                    Some(IndexKind::Hnsw),
                    "{index_type} on {}",
                    data_type.name()
                );
            }
            assert!(check(data_type, "FLAT", None).unwrap().build().is_none());
        }
        let error =
            |data_type, index_type, metric| check(data_type, index_type, metric).unwrap_err().to_string();
        let coded = check(half(), "HNSW_SQ", None).unwrap().build();
        assert_eq!(coded.map(|(_, params)| params.kind()), Some(IndexKind::HnswSq));
        assert!(error(half(), "HNSW_PQ", None).contains("dimension 4, m 32"));
        assert!(error(bits(), "HNSW_SQ", None).contains("not supported: index type HNSW_SQ"));
        for data_type in [half(), DataType::BFloat16Vector { dim: 4 }] {
            for (index_type, kind) in [
                ("IVF_FLAT", IndexKind::IvfFlat),
                ("IVF_SQ8", IndexKind::IvfSq8),
                ("IVF_RABITQ", IndexKind::IvfRabitq),
                ("SCANN", IndexKind::Scann),
                ("DISKANN", IndexKind::DiskAnn),
            ] {
                let def = check(data_type.clone(), index_type, None).unwrap();
                assert_eq!(def.build().map(|(_, params)| params.kind()), Some(kind));
            }
        }
        let def = check(bits(), "BIN_IVF_FLAT", Some("JACCARD")).unwrap();
        assert_eq!(
            def.build()
                .map(|(metric, params)| (metric.to_string(), params.kind())),
            Some(("JACCARD".into(), IndexKind::IvfFlat))
        );
        assert!(error(half(), "IVF_PQ", None).contains("param 'm' not exist in json"));
        assert!(error(DataType::Int8Vector { dim: 4 }, "IVF_FLAT", None).contains(
            "not supported: index type IVF_FLAT on field 'v' of type Int8Vector; allowed are FLAT, HNSW, HNSW_SQ, HNSW_PQ, HNSW_PRQ, \
             AUTOINDEX"
        ));
        // The type is known: without a device the error is that of every type of a GPU.
        for data_type in [half(), bits(), DataType::Int8Vector { dim: 4 }] {
            for index_type in ["GPU_BRUTE_FORCE", "GPU_CAGRA"] {
                let of_device = check(data_type.clone(), index_type, None).map_err(|e| e.to_string());
                let known = |text: &String| text.contains("it needs a GPU");
                assert!(of_device.as_ref().err().is_none_or(known), "{of_device:?}");
            }
        }
        for data_type in [
            half(),
            DataType::BFloat16Vector { dim: 4 },
            DataType::Int8Vector { dim: 4 },
        ] {
            let of_device = check(data_type.clone(), "GPU_IVF_FLAT", None).map_err(|e| e.to_string());
            let known = |text: &String| text.contains("it needs a GPU");
            assert!(of_device.as_ref().err().is_none_or(known), "{of_device:?}");
            assert!(error(data_type, "GPU_IVF_PQ", None).contains("param 'm' not exist in json"));
        }
        for index_type in ["GPU_IVF_FLAT", "GPU_IVF_PQ"] {
            let text = error(bits(), index_type, None);
            assert!(
                text.contains(&format!("not supported: index type {index_type}")),
                "{text}"
            );
        }
        for data_type in [half(), DataType::FloatVector { dim: 4 }] {
            assert!(
                error(data_type, "BIN_IVF_FLAT", None).contains("not supported: index type BIN_IVF_FLAT")
            );
        }
        assert!(error(bits(), "IVF_FLAT", None).contains("not supported: index type IVF_FLAT"));
        assert!(error(bits(), "BIN_FLAT", Some("L2")).contains(
            "binary vector index does not support metric type: L2; allowed are HAMMING, JACCARD, MHJACCARD"
        ));
        assert!(
            error(DataType::SparseFloatVector, "AUTOINDEX", Some("BM25"))
                .contains("only BM25 Function output field support BM25 metric type, field 'v' is none")
        );
        assert!(
            error(DataType::FloatVector { dim: 4 }, "SPARSE_WAND", None)
                .contains("not supported: index type SPARSE_WAND on field 'v' of type FloatVector")
        );
        assert!(
            error(DataType::FloatVector { dim: 4 }, "FLAT", Some("HAMMING"))
                .contains("allowed are L2, IP, COSINE")
        );
    }

    #[test]
    fn signatures_have_an_index_of_their_own() {
        let check = |index_type: &str, metric: Option<&str>, filled: Option<&FunctionKind>| {
            let spec = IndexSpec {
                index_type: index_type.into(),
                metric: metric.map(ToString::to_string),
                params: [("mh_lsh_band".to_string(), "16".to_string())].into(),
                ..Default::default()
            };
            IndexDef::check(
                &spec,
                &Field::new("v", DataType::BinaryVector { dim: 2048 }),
                filled,
            )
        };
        let function = FunctionKind::MinHash {
            params: BTreeMap::new(),
        };
        let built = |def: IndexDef| def.build().map(|(metric, params)| (metric.to_string(), params));
        let lsh = |element_bits| {
            let params = MinHashParams {
                element_bits,
                bands: 16,
            };
            Some((MHJACCARD.to_string(), BuildParams::MinHash(params)))
        };
        assert_eq!(built(check("MINHASH_LSH", None, None).unwrap()), lsh(8));
        assert_eq!(
            built(check("AUTOINDEX", Some("MHJACCARD"), None).unwrap()),
            lsh(8)
        );
        assert_eq!(built(check("", None, Some(&function)).unwrap()), lsh(32));
        let flat = check("BIN_FLAT", None, Some(&function)).unwrap();
        assert_eq!(
            (flat.build(), flat.any_metric().unwrap().to_string().as_str()),
            (None, MHJACCARD)
        );
        let stored: IndexDef = serde_json::from_value(serde_json::json!(flat)).unwrap();
        assert_eq!(stored, flat);
        let error = |index_type, metric, filled| check(index_type, metric, filled).unwrap_err().to_string();
        assert!(
            error("MINHASH_LSH", Some("JACCARD"), None).contains(
                "index type MINHASH_LSH does not support metric type: JACCARD; allowed is MHJACCARD"
            )
        );
        assert!(
            error("HNSW", Some("MHJACCARD"), None)
                .contains("index type HNSW does not support metric type: MHJACCARD")
        );
        assert!(
            error("AUTOINDEX", Some("HAMMING"), Some(&function)).contains(
                "index metric type of MinHash function output field must be MHJACCARD, got HAMMING"
            )
        );
    }

    #[test]
    fn the_metric_on_lists_says_whether_they_are_searched_as_a_whole() {
        let element = DataType::FloatVector { dim: 4 };
        let lists = |element: DataType| DataType::VectorArray {
            element: Box::new(element),
        };
        let check = |data_type: DataType, index_type: &str, metric: &str, strategy: Option<&str>| {
            let params = strategy.map(|strategy| ("emb_list_strategy".to_string(), strategy.to_string()));
            let spec = IndexSpec {
                index_type: index_type.into(),
                metric: Some(metric.into()),
                params: params.into_iter().collect(),
                ..Default::default()
            };
            IndexDef::check(&spec, &Field::new("s[v]", data_type), None)
        };
        let bits = || lists(DataType::BinaryVector { dim: 16 });
        for (data_type, metric) in [
            (lists(element.clone()), "L2"),
            (lists(element.clone()), "cosine"),
            (lists(element.clone()), "MAX_SIM_L2"),
            (bits(), "HAMMING"),
            (bits(), "MAX_SIM_JACCARD"),
        ] {
            let def = check(data_type, "HNSW", metric, None).unwrap();
            let built = def.any_metric().map(|metric| metric.to_string());
            assert_eq!(built.as_deref(), Some(metric.to_uppercase().as_str()));
        }
        let disk = check(lists(element.clone()), "DISKANN", "L2", None).unwrap();
        assert_eq!(
            disk.build().map(|(_, params)| params.kind()),
            Some(IndexKind::DiskAnn)
        );
        let error = |data_type, index_type, metric, strategy| {
            check(data_type, index_type, metric, strategy)
                .unwrap_err()
                .to_string()
        };
        let disk = error(lists(element.clone()), "DISKANN", "MAX_SIM", None);
        assert!(
            disk.contains("not supported: index type DISKANN on lists"),
            "{disk}"
        );
        let strategy = error(lists(element.clone()), "HNSW", "L2", Some("tokenann"));
        assert!(
            strategy.contains("emb_list_strategy tokenann is for metrics of lists"),
            "{strategy}"
        );
        let foreign = error(lists(element), "HNSW", "HAMMING", None);
        assert!(
            foreign.contains("does not support metric type: HAMMING"),
            "{foreign}"
        );
        assert!(error(bits(), "HNSW", "L2", None).contains("does not support metric type: L2"));
    }

    #[test]
    fn scalar_indexes_are_checked_against_the_type() {
        let spec = |index_type: &str| IndexSpec {
            index_type: index_type.into(),
            ..Default::default()
        };
        let number = Field::new("n", DataType::Float);
        IndexDef::check(&spec("INVERTED"), &number, None).unwrap();
        assert!(
            IndexDef::check(&spec("BITMAP"), &number, None)
                .unwrap_err()
                .to_string()
                .contains("Float")
        );
        assert!(
            IndexDef::check(&spec("HNSW"), &number, None)
                .unwrap_err()
                .to_string()
                .contains("allowed are")
        );
    }
}
