//! Searches in FROM: `vector_search(..)`, `hybrid_search(..)` in [`hybrid_search`], `text_search(..)` in [`text_search`],
//! `rerank => ..` of all three in [`rerank`]; and the tables of earlier states, `as_of(..)` in [`as_of`].
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
//! A call of `vector_search` means what this query means, so there is one way to a vector search: the rule that finds
//! `ORDER BY distance LIMIT k` makes it one, and where it cannot, the query is exact. What SQL has no clause for, the
//! parameters of the index, goes along with the table ([`CollectionTable::with_search`]).
//!
//! A query vector may be a column of a table to the left (`FROM q, vector_search(docs, q.v, 10)`): then the call is a
//! lateral subquery, and [`super::lateral`] makes a vector join of it.

mod arguments;
pub(crate) mod as_of;
mod columns;
mod direct;
mod groups;
mod hybrid_search;
mod rerank;
mod text_search;

use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field as ArrowField};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{
    Column, DFSchema, Result, ScalarValue, TableReference, plan_datafusion_err, plan_err,
};
use datafusion::datasource::{DefaultTableSource, provider_as_source};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ScalarUDF};
use elanus_collection::access::Privilege;
use elanus_collection::{Collection, Collections, Error};
use elanus_filter::Templates;
use sqlparser::ast::{Expr as SqlExpr, FunctionArg, ObjectName, TableFactor};

use self::arguments::{Arguments, Function, literal_text};
use self::columns::Columns;
use crate::access;
use crate::catalog::{CATALOG, Handle};
use crate::error::external;
use crate::json_casts::with_casts;
use crate::resources::Resources;
use crate::table::{CollectionTable, SearchOptions};

/// Column with the distance of each row found.
pub(crate) const DISTANCE_COLUMN: &str = "_distance";

const VECTOR_SEARCH: Function = Function {
    name: "vector_search",
    arguments: &[
        "table",
        "column",
        "query",
        "k",
        "metric",
        "filter",
        "radius",
        "range_filter",
        "params",
        "exact",
        "group_by",
        "group_size",
        "strict_group_size",
        "rerank",
        "rerank_params",
        "rerank_k",
        "rerank_text",
    ],
    usage: "vector_search(table, [column,] query, k, metric => .., filter => .., radius => .., range_filter => .., \
            params => .., exact => .., group_by => .., group_size => .., strict_group_size => .., \
            rerank => .., rerank_params => .., rerank_k => .., rerank_text => ..)",
};

/// Plans searches in FROM.
pub(crate) struct SearchCalls {
    collections: Handle,
    resources: Arc<Resources>,
    distances: Vec<Arc<ScalarUDF>>,
}

impl std::fmt::Debug for SearchCalls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SearchCalls")
    }
}

impl SearchCalls {
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

/// Whether this is the name of one of our functions.
pub(crate) fn is_search(name: &ObjectName) -> bool {
    function_of(name).is_some()
}

fn function_of(name: &ObjectName) -> Option<&'static Function> {
    let [part] = name.0.as_slice() else { return None };
    let ident = part.as_ident()?;
    let functions = [
        &VECTOR_SEARCH,
        &hybrid_search::HYBRID_SEARCH,
        &text_search::TEXT_SEARCH,
    ];
    functions.into_iter().find(|function| match ident.quote_style {
        None => ident.value.eq_ignore_ascii_case(function.name),
        Some(_) => ident.value == function.name,
    })
}

impl RelationPlanner for SearchCalls {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let function = match &relation {
            TableFactor::Table {
                name, args: Some(_), ..
            }
            | TableFactor::Function { name, .. }
                if as_of::is_as_of(name) =>
            {
                Some(&as_of::AS_OF)
            }
            TableFactor::Table {
                name, args: Some(_), ..
            }
            | TableFactor::Function { name, .. } => function_of(name),
            _ => None,
        };
        let (function, arguments, alias) = match (function, relation) {
            (
                Some(function),
                TableFactor::Table {
                    alias,
                    args: Some(args),
                    ..
                },
            ) => (function, args.args, alias),
            (Some(function), TableFactor::Function { args, alias, .. }) => (function, args, alias),
            (_, other) => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        let call = Call {
            function,
            planner: self,
            context,
        };
        let plan = if function.name == VECTOR_SEARCH.name {
            call.vector_search(arguments)
        } else if function.name == text_search::TEXT_SEARCH.name {
            call.text_search(arguments)
        } else if function.name == as_of::AS_OF.name {
            call.past_table(&arguments)
        } else {
            call.hybrid_search(arguments)
        }?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, alias,
        ))))
    }
}

/// One call that is being planned.
struct Call<'a> {
    function: &'static Function,
    planner: &'a SearchCalls,
    context: &'a mut dyn RelationPlannerContext,
}

impl Call<'_> {
    fn vector_search(mut self, arguments: Vec<FunctionArg>) -> Result<LogicalPlan> {
        let mut arguments = Arguments::read(self.function, arguments, self.context)?;
        let rerank = self.rerank(&mut arguments)?;
        let (table, collection) = self.table(arguments.required("table")?)?;
        let compared = self.compared(&mut arguments, &table, &collection, Columns::OfVectors)?;
        let of_groups = direct::OF_GROUPS
            .iter()
            .any(|name| arguments.named.contains_key(*name));
        if rerank.is_some() || compared.elements || of_groups {
            return self.direct_search(arguments, (table, collection), compared, rerank);
        }
        let query = arguments.required("query")?;
        let query = self.context.sql_to_expr(query, &DFSchema::empty())?;
        let k = arguments.required("k")?;
        let k = self.k(k)?;
        arguments.finish()?;
        let search = SearchOptions {
            params: arguments.search_params()?,
            exact: arguments.flag("exact", false)?,
        };
        self.check_free(&collection, &table, DISTANCE_COLUMN)?;
        let provider = CollectionTable::new(Arc::clone(&collection), Arc::clone(&self.planner.resources));
        let source = provider_as_source(Arc::new(provider.with_search(search)));
        let scan = LogicalPlanBuilder::scan(table.clone(), source, None)?.build()?;
        let filter = match arguments.named.remove("filter") {
            Some(filter) => Some(self.filter(filter, &collection, &table, scan.schema())?),
            None => None,
        };

        let distance = self.distance(compared, query)?;
        let mut outputs: Vec<Expr> = scan.schema().columns().into_iter().map(Expr::Column).collect();
        outputs.push(distance.clone().alias_qualified(Some(table), DISTANCE_COLUMN));
        let near = match arguments.named.remove("range_filter") {
            Some(near) => Some(distance.clone().gt_eq(self.bound("range_filter", near)?)),
            None => None,
        };
        let far = match arguments.named.remove("radius") {
            Some(far) => Some(distance.clone().lt(self.bound("radius", far)?)),
            None => None,
        };
        let filters = [filter, near, far].into_iter().flatten();
        let mut found = LogicalPlanBuilder::from(scan);
        for filter in filters {
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
        let (table, collection) = self.named_table(given)?;
        let privilege = if self.function.name == as_of::AS_OF.name {
            Privilege::Query
        } else {
            Privilege::Search
        };
        access::reached(privilege, &collection);
        Ok((table, collection))
    }

    fn named_table(&mut self, given: SqlExpr) -> Result<(TableReference, Arc<Collection>)> {
        let of = self.function.name;
        let parts = match given {
            SqlExpr::Function(call) if as_of::is_as_of(&call.name) => {
                return self.past(&as_of::arguments_of(&call));
            }
            SqlExpr::Identifier(ident) => vec![ident],
            SqlExpr::CompoundIdentifier(parts) => parts,
            other => return plan_err!("{of}: table is the name of a table, not {other}"),
        };
        let name = ObjectName::from(parts);
        let table = self.context.object_name_to_table_reference(name.clone())?;
        // A name that the statement itself gives to something comes first.
        if let Ok(named) = self.context.plan(plain_table(name)) {
            let LogicalPlan::TableScan(scan) = &named else {
                return plan_err!("{of} searches tables; {table} is a view or a query of this statement");
            };
            let source = scan.source.downcast_ref::<DefaultTableSource>();
            let found = source.and_then(|source| source.table_provider.downcast_ref::<CollectionTable>());
            return match found {
                Some(found) if scan.table_name == table => Ok((table, Arc::clone(found.collection()))),
                Some(_) => plan_err!("{of} searches tables; {table} is a query of this statement"),
                None => plan_err!("{of} searches tables; {table} is not a collection"),
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
                        plan_err!("{of} searches tables; {table} is a view or an external table")
                    }
                    None => Err(not_found()),
                }
            }
            Err(error) => Err(external(error)),
        }
    }

    /// Refuses a table with a column of the name of the one that is added.
    fn check_free(&self, collection: &Collection, table: &TableReference, column: &str) -> Result<()> {
        match collection.arrow_schema().field_with_name(column) {
            Ok(_) => plan_err!(
                "{} adds the column {column}, and table {table} has one of that name",
                self.function.name
            ),
            Err(_) => Ok(()),
        }
    }

    fn k(&mut self, given: SqlExpr) -> Result<Expr> {
        let of = self.function.name;
        let shown = given.to_string();
        let k = self.context.sql_to_expr(given, &DFSchema::empty())?;
        match &k {
            Expr::Literal(ScalarValue::Int64(Some(number)), _) if *number >= 1 => Ok(k),
            Expr::Literal(..) => {
                plan_err!("{of}: k is a whole number of at least 1, not {shown}")
            }
            k if k.contains_outer() => {
                plan_err!("{of}: k is the same for every row, it cannot be {shown}")
            }
            _ => Ok(of_type(k, "k", ArrowType::Int64)),
        }
    }

    /// A distance as the end of a range.
    fn bound(&mut self, name: &str, given: SqlExpr) -> Result<Expr> {
        let bound = self.context.sql_to_expr(given, &DFSchema::empty())?;
        Ok(of_type(bound, name, ArrowType::Float64))
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
                let filter = with_casts(filter.map_err(external)?, collection)?;
                qualified(filter, table)
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

/// A parameter as one of this type; anything else as it is.
fn of_type(expr: Expr, name: &str, data_type: ArrowType) -> Expr {
    match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => Expr::Placeholder(Placeholder {
            id,
            field: Some(Arc::new(ArrowField::new(name, data_type, true))),
        }),
        other => other,
    }
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
