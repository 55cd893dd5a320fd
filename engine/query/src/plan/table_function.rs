//! `vector_search(..)` in FROM: a search as a table.
//!
//! ```text
//!   FROM vector_search(docs, embedding, $1, 10, filter => 'price < 5')
//!
//!   Projection: docs.*, l2_distance(embedding, $1) AS _distance
//!     Limit: 10
//!       Sort: l2_distance(embedding, $1) ASC NULLS LAST
//!         Filter: price < 5
//!           TableScan: docs
//! ```
//!
//! A call means what this query means, so there is one way to a vector search: the rule that finds `ORDER BY distance
//! LIMIT k` makes it one, and where it cannot, the query is exact. What SQL has no clause for, the parameters of the
//! index, goes along with the table ([`CollectionTable::with_search`]).
//!
//! A query vector may be a column of a table to the left (`FROM q, vector_search(docs, q.v, 10)`): then the call is a
//! lateral subquery, and [`super::lateral`] makes a vector join of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{
    Column, DFSchema, Result, ScalarValue, TableReference, plan_datafusion_err, plan_err,
};
use datafusion::datasource::{DefaultTableSource, provider_as_source};
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF};
use elanus_collection::{Collection, Collections, DataType, Error};
use elanus_filter::Templates;
use elanus_index::{AnyMetric, BitMetric, IndexKind, Metric, SearchParams};
use sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Ident, ObjectName, TableFactor, Value, ValueWithSpan,
};

use crate::catalog::{CATALOG, Handle};
use crate::error::{QueryError, did_you_mean, external};
use crate::resources::Resources;
use crate::table::{CollectionTable, SearchOptions};

/// Name of the function.
pub(crate) const VECTOR_SEARCH: &str = "vector_search";
/// Column with the distance of each row found.
pub(crate) const DISTANCE_COLUMN: &str = "_distance";

const ARGUMENTS: [&str; 8] = [
    "table", "column", "query", "k", "metric", "filter", "params", "exact",
];
const USAGE: &str =
    "vector_search(table, [column,] query, k, metric => .., filter => .., params => .., exact => ..)";

/// Plans calls of `vector_search`.
pub(crate) struct VectorSearchCalls {
    collections: Handle,
    resources: Arc<Resources>,
    distances: Vec<Arc<ScalarUDF>>,
}

impl std::fmt::Debug for VectorSearchCalls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VectorSearchCalls")
    }
}

impl VectorSearchCalls {
    /// Over these collections, with the functions of the session.
    pub fn new(
        collections: Arc<Collections>,
        resources: Arc<Resources>,
        functions: &[Arc<ScalarUDF>],
    ) -> Self {
        Self {
            collections: Handle(collections),
            resources,
            distances: functions.to_vec(),
        }
    }
}

/// Whether this is the name of our function.
pub(crate) fn is_vector_search(name: &ObjectName) -> bool {
    match name.0.as_slice() {
        [part] => part.as_ident().is_some_and(|ident| match ident.quote_style {
            None => ident.value.eq_ignore_ascii_case(VECTOR_SEARCH),
            Some(_) => ident.value == VECTOR_SEARCH,
        }),
        _ => false,
    }
}

impl RelationPlanner for VectorSearchCalls {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let (arguments, alias) = match relation {
            TableFactor::Table {
                name,
                alias,
                args: Some(args),
                ..
            } if is_vector_search(&name) => (args.args, alias),
            TableFactor::Function {
                name, args, alias, ..
            } if is_vector_search(&name) => (args, alias),
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        let plan = Call {
            planner: self,
            context,
        }
        .plan(arguments)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, alias,
        ))))
    }
}

/// The arguments of a call by name, those that were given by position still in their order.
struct Arguments {
    named: BTreeMap<String, SqlExpr>,
    positional: Vec<SqlExpr>,
}

impl Arguments {
    fn read(arguments: Vec<FunctionArg>, context: &dyn RelationPlannerContext) -> Result<Self> {
        let (mut named, mut positional) = (BTreeMap::new(), Vec::new());
        for argument in arguments {
            let (name, value) = match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) if named.is_empty() => {
                    positional.push(value);
                    continue;
                }
                FunctionArg::Named {
                    name,
                    arg: FunctionArgExpr::Expr(value),
                    ..
                } => (context.normalize_ident(name), value),
                FunctionArg::ExprNamed {
                    name: SqlExpr::Identifier(name),
                    arg: FunctionArgExpr::Expr(value),
                    ..
                } => (context.normalize_ident(name), value),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => {
                    return plan_err!(
                        "vector_search: '{value}' has no name but stands behind one that has; {USAGE}"
                    );
                }
                other => return plan_err!("vector_search: '{other}' is no argument; {USAGE}"),
            };
            // As the clause is called.
            let name = if name == "limit" { "k".to_string() } else { name };
            if !ARGUMENTS.contains(&name.as_str()) {
                let known = did_you_mean(&name, &ARGUMENTS, "arguments");
                return plan_err!("vector_search has no argument '{name}'{known}");
            }
            if named.insert(name.clone(), value).is_some() {
                return plan_err!("vector_search: argument '{name}' is given twice");
            }
        }
        Ok(Self { named, positional })
    }

    /// The argument of this name, or else the next one by position.
    fn take(&mut self, name: &str) -> Option<SqlExpr> {
        match self.named.remove(name) {
            Some(value) => Some(value),
            None if self.positional.is_empty() => None,
            None => Some(self.positional.remove(0)),
        }
    }

    fn required(&mut self, name: &str) -> Result<SqlExpr> {
        self.take(name)
            .ok_or_else(|| plan_datafusion_err!("vector_search: argument '{name}' is missing; {USAGE}"))
    }
}

struct Call<'a> {
    planner: &'a VectorSearchCalls,
    context: &'a mut dyn RelationPlannerContext,
}

impl Call<'_> {
    fn plan(mut self, arguments: Vec<FunctionArg>) -> Result<LogicalPlan> {
        let mut arguments = Arguments::read(arguments, self.context)?;
        let (table, collection) = self.table(arguments.required("table")?)?;
        let column = self.column(&mut arguments, &collection)?;
        let query = arguments.required("query")?;
        let query = self.context.sql_to_expr(query, &DFSchema::empty())?;
        let k = self.k(arguments.required("k")?)?;
        if let Some(extra) = arguments.positional.first() {
            return plan_err!("vector_search: '{extra}' is one argument too many; {USAGE}");
        }
        let metric = self.metric(arguments.named.remove("metric"), &collection, &column)?;
        let search = SearchOptions {
            params: match arguments.named.remove("params") {
                Some(value) => search_params(&text(&value, "params", "'ef=200'")?)?,
                None => SearchParams::default(),
            },
            exact: match arguments.named.remove("exact") {
                Some(SqlExpr::Value(ValueWithSpan {
                    value: Value::Boolean(exact),
                    ..
                })) => exact,
                Some(other) => return plan_err!("vector_search: exact is true or false, not {other}"),
                None => false,
            },
        };
        let arrow = collection.arrow_schema();
        if arrow.field_with_name(DISTANCE_COLUMN).is_ok() {
            return plan_err!(
                "vector_search adds the column {DISTANCE_COLUMN}, and table {table} has one of that name"
            );
        }
        let provider = CollectionTable::new(Arc::clone(&collection), Arc::clone(&self.planner.resources));
        let source = provider_as_source(Arc::new(provider.with_search(search)));
        let scan = LogicalPlanBuilder::scan(table.clone(), source, None)?.build()?;
        let filter = match arguments.named.remove("filter") {
            Some(filter) => Some(self.filter(filter, &collection, &table, scan.schema())?),
            None => None,
        };

        let vector = Expr::Column(Column::new(Some(table.clone()), &column));
        let distance = ScalarFunction::new_udf(self.distance(metric)?, vec![vector, query]);
        let distance = Expr::ScalarFunction(distance);
        let mut outputs: Vec<Expr> = scan.schema().columns().into_iter().map(Expr::Column).collect();
        outputs.push(distance.clone().alias_qualified(Some(table), DISTANCE_COLUMN));
        let mut found = LogicalPlanBuilder::from(scan);
        if let Some(filter) = filter {
            found = found.filter(filter)?;
        }
        found
            .sort([distance.sort(true, false)])?
            .limit_by_expr(None, Some(k))?
            .project(outputs)?
            .build()
    }

    /// The table that is searched, and how it is called in the statement.
    fn table(&mut self, given: SqlExpr) -> Result<(TableReference, Arc<Collection>)> {
        let parts = match given {
            SqlExpr::Identifier(ident) => vec![ident],
            SqlExpr::CompoundIdentifier(parts) => parts,
            other => return plan_err!("vector_search: table is the name of a table, not {other}"),
        };
        let name = ObjectName::from(parts);
        let table = self.context.object_name_to_table_reference(name.clone())?;
        // A name that the statement itself gives to something comes first.
        if let Ok(named) = self.context.plan(plain_table(name)) {
            let LogicalPlan::TableScan(scan) = &named else {
                return plan_err!(
                    "vector_search searches tables; {table} is a view or a query of this statement"
                );
            };
            let source = scan.source.downcast_ref::<DefaultTableSource>();
            let found = source.and_then(|source| source.table_provider.downcast_ref::<CollectionTable>());
            return match found {
                Some(found) if scan.table_name == table => Ok((table, Arc::clone(found.collection()))),
                Some(_) => plan_err!("vector_search searches tables; {table} is a query of this statement"),
                None => plan_err!("vector_search searches tables; {table} is not a collection"),
            };
        }
        let options = self.context.context_provider().options();
        let full = table.clone().resolve(CATALOG, &options.catalog.default_schema);
        let not_found = || plan_datafusion_err!("table '{full}' not found");
        if full.catalog.as_ref() != CATALOG {
            return Err(not_found());
        }
        let collections = &self.planner.collections.0;
        match collections.collection(&full.schema, &full.table) {
            Ok(collection) => Ok((table, collection)),
            Err(Error::CollectionNotFound { .. } | Error::DatabaseNotFound { .. }) => {
                match collections.relation(&full.schema, &full.table) {
                    Some(_) => {
                        plan_err!("vector_search searches tables; {table} is a view or an external table")
                    }
                    None => Err(not_found()),
                }
            }
            Err(error) => Err(external(error)),
        }
    }

    /// The vector column: the one that is named, or the only one.
    fn column(&mut self, arguments: &mut Arguments, collection: &Collection) -> Result<String> {
        let schema = collection.schema();
        let vectors: Vec<&str> = schema.vector_fields().map(|field| field.name.as_str()).collect();
        let given = match arguments.named.remove("column") {
            Some(SqlExpr::Identifier(ident)) => Some(self.context.normalize_ident(ident)),
            Some(other) => Some(text(&other, "column", "embedding")?),
            // By position it is there when it is the name of a vector column.
            None => match arguments.positional.first() {
                Some(SqlExpr::Identifier(ident)) => {
                    let name = self.context.normalize_ident(ident.clone());
                    vectors.contains(&name.as_str()).then(|| {
                        arguments.positional.remove(0);
                        name
                    })
                }
                Some(_) | None => None,
            },
        };
        match (given, vectors.as_slice()) {
            (Some(name), vectors) if vectors.contains(&name.as_str()) => Ok(name),
            (Some(name), vectors) => {
                let known = did_you_mean(&name, vectors, "vector columns");
                plan_err!(
                    "vector_search: '{name}' is no vector column of '{}'{known}",
                    collection.name()
                )
            }
            (None, [only]) => Ok((*only).to_string()),
            (None, []) => plan_err!(
                "vector_search: table '{}' has no vector column",
                collection.name()
            ),
            (None, several) => plan_err!(
                "vector_search: table '{}' has the vector columns {}: say which one with column => ..",
                collection.name(),
                several.join(", ")
            ),
        }
    }

    fn k(&mut self, given: SqlExpr) -> Result<Expr> {
        let shown = given.to_string();
        let k = self.context.sql_to_expr(given, &DFSchema::empty())?;
        match &k {
            Expr::Literal(ScalarValue::Int64(Some(number)), _) if *number >= 1 => Ok(k),
            Expr::Literal(..) => {
                plan_err!("vector_search: k is a whole number of at least 1, not {shown}")
            }
            Expr::Placeholder(Placeholder { id, field: None }) => {
                let field = arrow::datatypes::Field::new("k", arrow::datatypes::DataType::Int64, true);
                Ok(Expr::Placeholder(Placeholder {
                    id: id.clone(),
                    field: Some(Arc::new(field)),
                }))
            }
            k if k.contains_outer() => {
                plan_err!("vector_search: k is the same for every row, it cannot be {shown}")
            }
            _ => Ok(k),
        }
    }

    /// The metric by its name, or that of the column's index.
    fn metric(&self, given: Option<SqlExpr>, collection: &Collection, column: &str) -> Result<AnyMetric> {
        let of_bits = collection
            .schema()
            .field(column)
            .is_some_and(|field| matches!(field.data_type, DataType::BinaryVector { .. }));
        let allowed = if of_bits {
            "'hamming', 'jaccard'"
        } else {
            "'l2', 'cosine', 'ip'"
        };
        let Some(given) = given else {
            let indexes = collection.indexes();
            let index = indexes.iter().find(|index| index.field == column);
            return index.and_then(|index| index.metric).ok_or_else(|| {
                plan_datafusion_err!(
                    "vector_search: column '{column}' has no index that says the metric: give one with \
                     metric => .., allowed are {allowed}"
                )
            });
        };
        let name = text(&given, "metric", "'l2'")?.to_ascii_lowercase();
        match (name.as_str(), of_bits) {
            ("l2", false) => Ok(Metric::L2.into()),
            ("cosine", false) => Ok(Metric::Cosine.into()),
            ("ip" | "inner_product", false) => Ok(Metric::Ip.into()),
            ("hamming", true) => Ok(BitMetric::Hamming.into()),
            ("jaccard", true) => Ok(BitMetric::Jaccard.into()),
            _ => plan_err!(
                "vector_search: metric '{name}' is none of column '{column}'; allowed are {allowed}"
            ),
        }
    }

    fn distance(&self, metric: AnyMetric) -> Result<Arc<ScalarUDF>> {
        let name = if metric == Metric::L2 {
            "l2_distance"
        } else if metric == Metric::Cosine {
            "cosine_distance"
        } else if metric == Metric::Ip {
            "negative_inner_product"
        } else if metric == AnyMetric::from(BitMetric::Hamming) {
            "hamming_distance"
        } else {
            "jaccard_distance"
        };
        let function = self
            .planner
            .distances
            .iter()
            .find(|function| function.name() == name);
        function
            .cloned()
            .ok_or_else(|| external(QueryError::Internal(format!("there is no function {name}"))))
    }

    /// A Milvus expression when it is text, a condition of SQL otherwise.
    fn filter(
        &mut self,
        given: SqlExpr,
        collection: &Collection,
        table: &TableReference,
        schema: &DFSchema,
    ) -> Result<Expr> {
        match literal_text(&given) {
            Some(text) => {
                let filter = elanus_filter::compile(&text, collection.arrow_schema(), &Templates::default());
                qualified(filter.map_err(external)?, table)
            }
            None => self.context.sql_to_expr(given, schema),
        }
    }
}

/// `filter` with the columns of this table.
pub(crate) fn qualified(filter: Expr, table: &TableReference) -> Result<Expr> {
    let qualified = filter.transform_up(|expr| {
        Ok(match expr {
            Expr::Column(column) if column.relation.is_none() => {
                Transformed::yes(Expr::Column(Column::new(Some(table.clone()), column.name)))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(qualified.data)
}

/// A table of this name and nothing more.
fn plain_table(name: ObjectName) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

fn literal_text(given: &SqlExpr) -> Option<String> {
    match given {
        SqlExpr::Value(ValueWithSpan { value, .. }) => match value {
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text) => Some(text.clone()),
            Value::DollarQuotedString(text) => Some(text.value.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn text(given: &SqlExpr, argument: &str, example: &str) -> Result<String> {
    match given {
        SqlExpr::Identifier(Ident { value, .. }) => Ok(value.clone()),
        other => literal_text(other).ok_or_else(|| {
            plan_datafusion_err!("vector_search: {argument} is given as text, such as {example}, not {given}")
        }),
    }
}

/// What `params` may name.
const SEARCH_PARAMS: [&str; 5] = [
    "ef",
    "nprobe",
    "drop_ratio_search",
    "refine_factor",
    "dim_max_score_ratio",
];

/// `ef=200, nprobe=16`.
fn search_params(text: &str) -> Result<SearchParams> {
    let mut given = BTreeMap::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return plan_err!("vector_search: '{}' of params is not name=value", pair.trim());
        };
        let name = name.trim().to_ascii_lowercase();
        if !SEARCH_PARAMS.contains(&name.as_str()) {
            let known = did_you_mean(&name, &SEARCH_PARAMS, "parameters");
            return plan_err!("vector_search: params has no '{name}'{known}");
        }
        if given.insert(name.clone(), value.trim().to_string()).is_some() {
            return plan_err!("vector_search: '{name}' is twice in params");
        }
    }
    let of_kind =
        |kind| SearchParams::parse(kind, &given, 0).map_err(|e| plan_datafusion_err!("vector_search: {e}"));
    Ok(SearchParams {
        ef: of_kind(IndexKind::Hnsw)?.ef,
        nprobe: of_kind(IndexKind::IvfFlat)?.nprobe,
        sparse: of_kind(IndexKind::SparseInverted)?.sparse,
        ..SearchParams::default()
    })
}
