//! What a search compares its query with: a vector column, or the vectors in the structs of an array, and by which metric.

use std::sync::Arc;

use arrow::datatypes::DataType as ArrowType;
use datafusion::common::{Column, Result, TableReference, plan_datafusion_err, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, lit};
use elanus_collection::{Collection, DataType, split_sub_field_name};
use elanus_index::{AnyMetric, BitMetric, ElementMetric, Metric, MinHash};
use elanus_udfs::elements::sub_field;
use elanus_udfs::vector::{max_sim_distance, metric_of_name, vector_of_list};
use sqlparser::ast::Expr as SqlExpr;

use super::arguments::{Arguments, text};
use super::{Call, of_type};
use crate::error::{QueryError, did_you_mean, external};
use crate::plan::bm25;
use crate::plan::distance::SIGNATURE_BITS;
use crate::sql::struct_fields::{kind_of_vectors, written_name};

/// Which vector columns a search may be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// Every one.
    All,
    /// Those that are not counted terms.
    OfVectors,
    /// Counted terms, which texts are searched by.
    OfTexts,
}

/// What a query is compared with.
pub(super) struct Compared {
    /// By which metric.
    metric: AnyMetric,
    /// The vectors as an expression; of elements one, which stands for each.
    vector: Expr,
    /// The lists, where their vectors are searched one by one.
    lists: Option<Expr>,
    /// Whether they are.
    pub elements: bool,
}

impl Compared {
    /// The same for the element at this position of its list, counted from 1.
    pub fn at(&self, position: Expr) -> Self {
        let vector = match &self.lists {
            Some(lists) => vector_of_list(lists.clone(), position),
            None => self.vector.clone(),
        };
        Self {
            metric: self.metric,
            vector,
            lists: self.lists.clone(),
            elements: self.elements,
        }
    }
}

impl Call<'_> {
    /// The column and the metric that arguments say.
    pub(super) fn compared(
        &mut self,
        arguments: &mut Arguments,
        table: &TableReference,
        collection: &Collection,
        columns: Columns,
    ) -> Result<Compared> {
        let name = self.column(arguments, collection, columns)?;
        let metric = self.metric(arguments.named.remove("metric"), collection, &name)?;
        let column = |name: &str| Expr::Column(Column::new(Some(table.clone()), name));
        let Some((field, sub)) = split_sub_field_name(&name) else {
            return Ok(Compared {
                metric,
                vector: column(&name),
                lists: None,
                elements: false,
            });
        };
        let kind = collection
            .schema()
            .field(field)
            .and_then(|field| kind_of_vectors(field, sub));
        let lists = sub_field(column(field), sub, kind);
        // The metric says whether lists are searched as a whole or their vectors one by one.
        Ok(match metric {
            AnyMetric::MaxSim(_) => Compared {
                metric,
                vector: lists,
                lists: None,
                elements: false,
            },
            AnyMetric::Numbers(_) | AnyMetric::Bits(_) | AnyMetric::Bm25 => Compared {
                metric,
                vector: vector_of_list(lists.clone(), lit(1_i64)),
                lists: Some(lists),
                elements: true,
            },
        })
    }

    fn written_name(&self, given: &SqlExpr) -> Option<String> {
        written_name(given, |ident| self.context.normalize_ident(ident.clone()))
    }

    /// The vector column: the one that is named, or the only one.
    fn column(
        &mut self,
        arguments: &mut Arguments,
        collection: &Collection,
        columns: Columns,
    ) -> Result<String> {
        let function = arguments.function;
        let of = function.name;
        let schema = collection.schema();
        let fits = |name: &&str| match columns {
            Columns::All => true,
            Columns::OfVectors => schema.bm25_of(name).is_none(),
            Columns::OfTexts => schema.bm25_of(name).is_some(),
        };
        let kind = match columns {
            Columns::All | Columns::OfVectors => "vector column",
            Columns::OfTexts => "column of counted terms",
        };
        let all: Vec<String> = schema.vector_columns().map(|field| field.name).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let vectors: Vec<&str> = all.iter().copied().filter(fits).collect();
        // Those in structs are meant only by their name, where there are others.
        let is_own = |name: &&str| split_sub_field_name(name).is_none();
        let own: Vec<&str> = vectors.iter().copied().filter(is_own).collect();
        let unnamed = if own.is_empty() { &vectors } else { &own };
        let given = match arguments.named.remove("column") {
            Some(given) => match self.written_name(&given) {
                Some(name) => Some(name),
                None => Some(text(function, &given, "column", "embedding")?),
            },
            // By position it is there when it is the name of a vector column.
            None => {
                let name = arguments
                    .positional
                    .first()
                    .and_then(|first| self.written_name(first));
                let name = name.filter(|name| all.contains(&name.as_str()));
                if name.is_some() {
                    arguments.positional.remove(0);
                }
                name
            }
        };
        let among = if given.is_some() { &vectors } else { unnamed };
        match (given, among.as_slice()) {
            (Some(name), vectors) if vectors.contains(&name.as_str()) => Ok(name),
            (Some(name), vectors) => {
                if columns == Columns::OfVectors && schema.bm25_of(&name).is_some() {
                    return plan_err!(
                        "{of}: '{name}' is a column of counted terms; text_search(..) searches it by texts"
                    );
                }
                let known = did_you_mean(&name, vectors, &format!("{kind}s"));
                plan_err!("{of}: '{name}' is no {kind} of '{}'{known}", collection.name())
            }
            (None, [only]) => Ok((*only).to_string()),
            (None, []) => plan_err!("{of}: table '{}' has no {kind}", collection.name()),
            (None, several) => plan_err!(
                "{of}: table '{}' has the {kind}s {}: say which one with column => ..",
                collection.name(),
                several.join(", ")
            ),
        }
    }

    /// The metric by its name, or that of the column's index.
    fn metric(&self, given: Option<SqlExpr>, collection: &Collection, column: &str) -> Result<AnyMetric> {
        let of = self.function.name;
        if collection.schema().bm25_of(column).is_some() {
            return match given {
                None => Ok(AnyMetric::Bm25),
                Some(given) if given.to_string().trim_matches('\'').eq_ignore_ascii_case("bm25") => {
                    Ok(AnyMetric::Bm25)
                }
                Some(given) => plan_err!("{of}: column '{column}' has the metric 'bm25' alone, not {given}"),
            };
        }
        let data_type = collection
            .schema()
            .vector_column(column)
            .map(|field| field.data_type);
        let (data_type, in_structs) = match data_type {
            Some(DataType::VectorArray { element }) => (Some(*element), true),
            data_type => (data_type, false),
        };
        let of_bits = matches!(data_type, Some(DataType::BinaryVector { .. }));
        let allowed = match (of_bits, in_structs) {
            (true, false) => "'hamming', 'jaccard', 'minhash'",
            (false, false) => "'l2', 'cosine', 'ip'",
            (true, true) => {
                "'max_sim_hamming', 'max_sim_jaccard' for whole lists, 'hamming', 'jaccard' for their elements"
            }
            (false, true) => {
                "'max_sim_cosine', 'max_sim_ip', 'max_sim_l2' for whole lists, 'cosine', 'ip', 'l2' for their elements"
            }
        };
        let Some(given) = given else {
            let indexes = collection.indexes();
            let index = indexes.iter().find(|index| index.field == column);
            return index.and_then(|index| index.metric).ok_or_else(|| {
                plan_datafusion_err!(
                    "{of}: column '{column}' has no index that says the metric: give one with \
                     metric => .., allowed are {allowed}"
                )
            });
        };
        let name = text(self.function, &given, "metric", "'l2'")?.to_ascii_lowercase();
        if let Some(of_lists) = name.strip_prefix("max_sim") {
            let of_lists = match of_lists {
                "" if !of_bits => Some("cosine"),
                named => named.strip_prefix('_'),
            };
            let metric = of_lists
                .and_then(metric_of_name)
                .filter(|metric| in_structs && of_bits == matches!(metric, ElementMetric::Bits(_)));
            return metric.map(AnyMetric::MaxSim).ok_or_else(|| {
                plan_datafusion_err!(
                    "{of}: metric '{name}' is none of column '{column}'; allowed are {allowed}"
                )
            });
        }
        match (name.as_str(), of_bits) {
            ("l2", false) => Ok(Metric::L2.into()),
            ("cosine", false) => Ok(Metric::Cosine.into()),
            ("ip" | "inner_product", false) => Ok(Metric::Ip.into()),
            ("hamming", true) => Ok(BitMetric::Hamming.into()),
            ("jaccard", true) => Ok(BitMetric::Jaccard.into()),
            ("minhash" | "mhjaccard", true) if !in_structs => Ok(MinHash::similarity(SIGNATURE_BITS).into()),
            _ => plan_err!("{of}: metric '{name}' is none of column '{column}'; allowed are {allowed}"),
        }
    }

    /// The distance to the query as an expression.
    pub(super) fn distance(&self, compared: Compared, query: Expr) -> Result<Expr> {
        let Compared { metric, vector, .. } = compared;
        let name = match metric {
            AnyMetric::Numbers(Metric::L2) => "l2_distance",
            AnyMetric::Numbers(Metric::Cosine) => "cosine_distance",
            AnyMetric::Numbers(Metric::Ip) => "negative_inner_product",
            AnyMetric::Bits(BitMetric::Hamming) => "hamming_distance",
            AnyMetric::Bits(BitMetric::Jaccard) => "jaccard_distance",
            AnyMetric::Bits(BitMetric::MinHash(of)) if of == MinHash::similarity(SIGNATURE_BITS) => {
                "minhash_distance"
            }
            AnyMetric::Bits(BitMetric::MinHash(of)) => {
                return plan_err!(
                    "{}: the index of the column has signatures with elements of {} bits, minhash_distance those of \
                     {SIGNATURE_BITS}",
                    self.function.name,
                    of.element_bits()
                );
            }
            AnyMetric::MaxSim(metric) => return Ok(max_sim_distance(vector, query, metric)),
            AnyMetric::Bm25 => {
                let query = of_type(query, "query", ArrowType::Utf8);
                return Ok(bm25::function().call(vec![vector, query]));
            }
        };
        let mut functions = self.planner.distances.iter();
        match functions.find(|function| function.name() == name) {
            Some(function) => {
                let call = ScalarFunction::new_udf(Arc::clone(function), vec![vector, query]);
                Ok(Expr::ScalarFunction(call))
            }
            None => Err(external(QueryError::Internal(format!(
                "there is no function {name}"
            )))),
        }
    }
}
