//! `CREATE INDEX name ON t USING hnsw (v vector_l2_ops) WITH (m = 16, ef_construction = 200)`.

use std::collections::BTreeMap;

use elanus_collection::{DataType, IndexSpec};
use sqlparser::ast::{BinaryOperator, CreateIndex, Expr, IndexColumn, IndexType, ObjectName, OrderByOptions};

use super::create_table::normalized;
use super::struct_fields::written_name;
use crate::error::{QueryError, Result};
use crate::plan::distance::SIGNATURE_BITS;

/// The metric of MinHash signatures.
const MHJACCARD: &str = "MHJACCARD";

/// The index that the statement describes. `vector_type` is the type of a column that is one.
///
/// # Errors
/// [`QueryError::Unsupported`] for clauses and names that no index has.
pub(crate) fn index_spec(
    statement: &CreateIndex,
    vector_type: impl Fn(&str) -> Option<DataType>,
) -> Result<IndexSpec> {
    refuse_clauses(statement)?;
    let [column] = statement.columns.as_slice() else {
        return Err(QueryError::Unsupported("an index on several columns".into()));
    };
    let Some(field) = written_name(&column.column.expr, normalized) else {
        return Err(QueryError::Unsupported(format!(
            "{} where the column of an index belongs: a name, or a sub-field of structs such as chunks['v']",
            column.column.expr
        )));
    };
    if column.column.options != OrderByOptions::default() {
        return Err(QueryError::Unsupported(
            "an order of the column of an index".into(),
        ));
    }
    let name = statement.name.as_ref().map(plain_name).transpose()?;
    let Some(vector_type) = vector_type(&field) else {
        if let Some(class) = &column.operator_class {
            return Err(QueryError::Unsupported(format!(
                "operator class {class} on a column that is not a vector"
            )));
        }
        let index_type = match statement
            .using
            .as_ref()
            .map(|method| method_name(method).to_uppercase())
        {
            None => "AUTOINDEX".to_string(),
            Some(method) if method == "TRIE" => "Trie".to_string(),
            Some(method) => method,
        };
        return Ok(IndexSpec {
            name,
            field,
            params: params(&index_type, scalar_options_of(&index_type), &statement.with)?,
            index_type,
            metric: None,
        });
    };
    let is_bits = match &vector_type {
        DataType::VectorArray { element } => matches!(**element, DataType::BinaryVector { .. }),
        vector_type => matches!(vector_type, DataType::BinaryVector { .. }),
    };
    let index_type = match &statement.using {
        None => "AUTOINDEX",
        Some(method) => match method_name(method).to_lowercase().as_str() {
            "hnsw" => "HNSW",
            "hnsw_sq" => "HNSW_SQ",
            "hnsw_pq" => "HNSW_PQ",
            "hnsw_prq" => "HNSW_PRQ",
            // The name that pgvector has for it, whatever the vectors are.
            "ivfflat" if is_bits => "BIN_IVF_FLAT",
            "ivfflat" | "ivf_flat" => "IVF_FLAT",
            "bin_ivf_flat" => "BIN_IVF_FLAT",
            "ivf_sq8" => "IVF_SQ8",
            "ivf_pq" => "IVF_PQ",
            "ivf_rabitq" => "IVF_RABITQ",
            "ivf_rabitq_fastscan" => "IVF_RABITQ_FASTSCAN",
            "scann" => "SCANN",
            "diskann" => "DISKANN",
            "flat" => "FLAT",
            "autoindex" => "AUTOINDEX",
            "bin_flat" => "BIN_FLAT",
            "minhash_lsh" => "MINHASH_LSH",
            "sparse_inverted_index" => "SPARSE_INVERTED_INDEX",
            "sparse_wand" => "SPARSE_WAND",
            "gpu_brute_force" => "GPU_BRUTE_FORCE",
            "gpu_ivf_flat" => "GPU_IVF_FLAT",
            "gpu_ivf_pq" => "GPU_IVF_PQ",
            "gpu_cagra" => "GPU_CAGRA",
            other => {
                return Err(QueryError::Unsupported(format!(
                    "index method {other} on a vector column; allowed are hnsw, hnsw_sq, hnsw_pq, hnsw_prq, ivf_flat, \
                     ivf_sq8, ivf_pq, ivf_rabitq, ivf_rabitq_fastscan, scann, diskann, flat, autoindex, bin_flat, \
                     bin_ivf_flat, minhash_lsh, gpu_brute_force, gpu_ivf_flat, gpu_ivf_pq, gpu_cagra"
                )));
            }
        },
    };
    let metric = match (&column.operator_class, index_type) {
        (None, "MINHASH_LSH") => Some(MHJACCARD),
        _ => metric(column, &vector_type)?,
    };
    let mut params = params(index_type, options_of(index_type), &statement.with)?;
    if metric == Some(MHJACCARD) {
        // The elements that `minhash_distance` compares.
        params.insert("mh_element_bit_width".into(), SIGNATURE_BITS.to_string());
    }
    Ok(IndexSpec {
        name,
        field,
        index_type: index_type.to_string(),
        metric: metric.map(ToString::to_string),
        params,
    })
}

fn refuse_clauses(statement: &CreateIndex) -> Result<()> {
    let clauses = [
        (statement.unique, "UNIQUE"),
        (!statement.include.is_empty(), "INCLUDE"),
        (statement.predicate.is_some(), "WHERE"),
        (statement.nulls_distinct.is_some(), "NULLS DISTINCT"),
        (
            !statement.index_options.is_empty() || !statement.alter_options.is_empty(),
            "an option after the columns",
        ),
    ];
    match clauses.iter().find(|(given, _)| *given) {
        Some((_, clause)) => Err(QueryError::Unsupported(format!("CREATE INDEX with {clause}"))),
        None => Ok(()),
    }
}

fn method_name(method: &IndexType) -> String {
    match method {
        IndexType::Custom(name) => name.value.clone(),
        other => other.to_string(),
    }
}

/// The last part of a name, which is all that an index is called by.
pub(crate) fn plain_name(name: &ObjectName) -> Result<String> {
    match name.0.as_slice() {
        [part] => part
            .as_ident()
            .map(normalized)
            .ok_or_else(|| QueryError::Unsupported(format!("{name} as the name of an index"))),
        _ => Err(QueryError::Plan(format!(
            "an index has a name of one part, got {name}"
        ))),
    }
}

/// What the operator classes of a vector type begin with, and its metrics: name in a class and in Milvus, default first. Those
/// of vectors in structs say whether whole lists or single vectors are searched.
fn classes(vector_type: &DataType) -> (&'static str, &'static [(&'static str, &'static str)]) {
    const NUMBERS: &[(&str, &str)] = &[("l2", "L2"), ("cosine", "COSINE"), ("ip", "IP")];
    match vector_type {
        DataType::Float16Vector { .. } => ("halfvec", NUMBERS),
        DataType::BFloat16Vector { .. } => ("bfloat16_vector", NUMBERS),
        DataType::Int8Vector { .. } => ("int8_vector", NUMBERS),
        DataType::BinaryVector { .. } => (
            "bit",
            &[
                ("hamming", "HAMMING"),
                ("jaccard", "JACCARD"),
                ("minhash", MHJACCARD),
            ],
        ),
        DataType::VectorArray { element } if matches!(**element, DataType::BinaryVector { .. }) => (
            "",
            &[
                ("max_sim_hamming", "MAX_SIM_HAMMING"),
                ("max_sim_jaccard", "MAX_SIM_JACCARD"),
                ("bit_hamming", "HAMMING"),
                ("bit_jaccard", "JACCARD"),
            ],
        ),
        DataType::VectorArray { .. } => (
            "",
            &[
                ("max_sim_cosine", "MAX_SIM_COSINE"),
                ("max_sim_ip", "MAX_SIM_IP"),
                ("max_sim_l2", "MAX_SIM_L2"),
                ("vector_l2", "L2"),
                ("vector_cosine", "COSINE"),
                ("vector_ip", "IP"),
            ],
        ),
        DataType::SparseFloatVector => ("sparsevec", &[("ip", "IP"), ("bm25", "BM25")]),
        DataType::FloatVector { .. }
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
        | DataType::Geometry => ("vector", NUMBERS),
    }
}

/// The metric of the operator class; without one L2, as in pgvector, or the first one of the type. `None` for sparse vectors:
/// IP, or BM25 for counted terms, as the column says.
fn metric(column: &IndexColumn, vector_type: &DataType) -> Result<Option<&'static str>> {
    let (prefix, metrics) = classes(vector_type);
    let Some(class) = &column.operator_class else {
        let default = metrics.first().map_or("L2", |(_, metric)| metric);
        return Ok((*vector_type != DataType::SparseFloatVector).then_some(default));
    };
    let given = class.to_string().to_lowercase();
    let named = |name: &str| match prefix {
        "" => format!("{name}_ops"),
        prefix => format!("{prefix}_{name}_ops"),
    };
    match metrics.iter().find(|(name, _)| named(name) == given) {
        Some((_, metric)) => Ok(Some(metric)),
        None => {
            let allowed: Vec<String> = metrics.iter().map(|(name, _)| named(name)).collect();
            Err(QueryError::Unsupported(format!(
                "operator class {given}; allowed are {}",
                allowed.join(", ")
            )))
        }
    }
}

/// The `WITH` options of an index type: their SQL names, and their name in Milvus.
fn options_of(index_type: &str) -> &'static [(&'static [&'static str], &'static str)] {
    match index_type {
        "HNSW" => &[
            (&["m"], "M"),
            (&["ef_construction", "efconstruction"], "efConstruction"),
        ],
        // Milvus tells links (`M`) and groups (`m`) apart by case, which SQL does not have.
        "HNSW_SQ" => &[
            (&["m"], "M"),
            (&["ef_construction", "efconstruction"], "efConstruction"),
            (&["sq_type"], "sq_type"),
            (&["refine"], "refine"),
            (&["refine_type"], "refine_type"),
        ],
        "HNSW_PQ" => &[
            (&["m"], "M"),
            (&["ef_construction", "efconstruction"], "efConstruction"),
            (&["pq_m"], "m"),
            (&["nbits"], "nbits"),
            (&["refine"], "refine"),
            (&["refine_type"], "refine_type"),
        ],
        "HNSW_PRQ" => &[
            (&["m"], "M"),
            (&["ef_construction", "efconstruction"], "efConstruction"),
            (&["pq_m"], "m"),
            (&["nrq"], "nrq"),
            (&["nbits"], "nbits"),
            (&["refine"], "refine"),
            (&["refine_type"], "refine_type"),
        ],
        "IVF_FLAT" | "BIN_IVF_FLAT" => &[(&["nlist", "lists"], "nlist")],
        "IVF_SQ8" => &[
            (&["nlist", "lists"], "nlist"),
            (&["sq_type"], "sq_type"),
            (&["refine"], "refine"),
            (&["refine_type"], "refine_type"),
        ],
        "IVF_PQ" => &[
            (&["nlist", "lists"], "nlist"),
            (&["m"], "m"),
            (&["nbits"], "nbits"),
            (&["refine"], "refine"),
            (&["refine_type"], "refine_type"),
        ],
        "IVF_RABITQ" | "IVF_RABITQ_FASTSCAN" => &[
            (&["nlist", "lists"], "nlist"),
            (&["rbq_bits"], "rbq_bits"),
            (&["refine"], "refine"),
            (&["refine_type"], "refine_type"),
        ],
        "SCANN" => &[
            (&["nlist", "lists"], "nlist"),
            (&["sub_dim"], "sub_dim"),
            (&["with_raw_data"], "with_raw_data"),
        ],
        "DISKANN" => &[
            (&["max_degree"], "max_degree"),
            (&["search_list_size"], "search_list_size"),
            (&["pq_code_budget_gb_ratio"], "pq_code_budget_gb_ratio"),
            (&["search_cache_budget_gb_ratio"], "search_cache_budget_gb_ratio"),
        ],
        "MINHASH_LSH" => &[(&["mh_lsh_band", "bands"], "mh_lsh_band")],
        "GPU_IVF_FLAT" => &[
            (&["nlist", "lists"], "nlist"),
            (&["cache_dataset_on_device"], "cache_dataset_on_device"),
        ],
        "GPU_IVF_PQ" => &[
            (&["nlist", "lists"], "nlist"),
            (&["m"], "m"),
            (&["nbits"], "nbits"),
            (&["cache_dataset_on_device"], "cache_dataset_on_device"),
        ],
        "GPU_CAGRA" => &[
            (&["graph_degree"], "graph_degree"),
            (&["intermediate_graph_degree"], "intermediate_graph_degree"),
            (&["build_algo"], "build_algo"),
            (&["cache_dataset_on_device"], "cache_dataset_on_device"),
            (&["adapt_for_cpu"], "adapt_for_cpu"),
        ],
        "SPARSE_INVERTED_INDEX" => &[
            (&["inverted_index_algo"], "inverted_index_algo"),
            (&["block_max_block_size"], "block_max_block_size"),
            (&["bm25_k1"], "bm25_k1"),
            (&["bm25_b"], "bm25_b"),
        ],
        "SPARSE_WAND" => &[
            (&["block_max_block_size"], "block_max_block_size"),
            (&["bm25_k1"], "bm25_k1"),
            (&["bm25_b"], "bm25_b"),
        ],
        _ => &[],
    }
}

/// As [`options_of`], for types of indexes on scalars.
fn scalar_options_of(index_type: &str) -> &'static [(&'static [&'static str], &'static str)] {
    match index_type {
        "NGRAM" => &[
            (&["min_gram"], "min_gram"),
            (&["max_gram"], "max_gram"),
            (&["json_path"], "json_path"),
            (&["json_cast_type"], "json_cast_type"),
        ],
        "Trie" => &[],
        _ => &[
            (&["json_path"], "json_path"),
            (&["json_cast_type"], "json_cast_type"),
            (&["json_cast_function"], "json_cast_function"),
        ],
    }
}

/// The `WITH` options under their Milvus names; `allowed` are those that the type of the index has.
fn params(
    index_type: &str,
    allowed: &[(&[&str], &str)],
    options: &[Expr],
) -> Result<BTreeMap<String, String>> {
    let mut params = BTreeMap::new();
    for option in options {
        let Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        } = option
        else {
            return Err(QueryError::Syntax(format!(
                "index option {option} must be name = value"
            )));
        };
        let given = left.to_string().to_lowercase();
        let known = allowed.iter().find(|(names, _)| names.contains(&given.as_str()));
        let Some((_, name)) = known else {
            let names: Vec<&str> = allowed
                .iter()
                .filter_map(|(names, _)| names.first().copied())
                .collect();
            let allowed = if names.is_empty() {
                "it has none".to_string()
            } else {
                format!("allowed are {}", names.join(", "))
            };
            return Err(QueryError::InvalidParameter(format!(
                "unknown option {given} of an index of type {index_type}; {allowed}"
            )));
        };
        let value = right.to_string().trim_matches('\'').to_string();
        if params.insert((*name).to_string(), value).is_some() {
            return Err(QueryError::InvalidParameter(format!(
                "index option {given} is given twice"
            )));
        }
    }
    Ok(params)
}
