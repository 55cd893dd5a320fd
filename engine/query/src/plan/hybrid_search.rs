//! [`HybridSearch`]: the logical node for "several searches of this scan, fused".
//!
//! ```text
//!   HybridSearch: k=10, fusion=rrf(k=60), searches=[l2_distance(docs.v, $1) k=50, cosine_distance(docs.w, $2) k=50]
//!     TableScan: docs
//! ```
//!
//! The one search of a node without a fusion is what it is: for a reranker ([`RerankBy`]) to put in order, or one of groups or
//! of elements. A reranker sees the best rows of the fusion, as many as it asks for.
//!
//! The node gives at most `k` rows of its scan, with all its columns and a score, the best ones, in order. A search sees
//! the rows that the filter of the node and its own filter let through and that have a vector. A second input, where it is
//! there, gives the addresses of the rows that any of them may find, as that of [`super::vector_search`] does.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::{DFSchema, DFSchemaRef, Result, TableReference, internal_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::vector_join::number_of_rows;
use crate::collapse::Collapse;
use crate::error::external;
use crate::fusion::Fusion;
use crate::operators::take_rows::appended_columns;
use crate::plugins::PluginRerank;
use crate::request::Grouping;
use crate::table::SearchOptions;
use crate::value_path::JsonCast;

/// Groups of rows as what a search finds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct Groups {
    /// Columns and places in JSON whose values together tell groups apart.
    pub by: Vec<String>,
    /// Most rows of a group.
    pub size: usize,
    /// Whether the search goes on until groups have all the rows that they can have.
    pub fill: bool,
}

impl Groups {
    /// The same as a request has it.
    pub fn grouping(&self) -> Grouping {
        Grouping {
            by: self.by.clone(),
            json: JsonCast::default(),
            size: self.size,
            fill: self.fill,
        }
    }
}

/// The best rows of several searches together.
#[derive(Debug, Clone)]
pub(crate) struct HybridSearch {
    /// A `TableScan` of a collection.
    pub input: Arc<LogicalPlan>,
    /// Gives the addresses of the rows that may be found; all of the scan when it is not there.
    pub allowed: Option<Arc<LogicalPlan>>,
    /// What all rows that are found fulfil.
    pub filter: Option<Expr>,
    /// The searches.
    pub arms: Vec<Arm>,
    /// How they become one; none for a single one that stays as it is, which a reranker then puts in order.
    pub fusion: Option<Fusion>,
    /// What puts the rows in order in the end.
    pub rerank: Option<RerankBy>,
    /// Rows wanted: a number, once parameters have their values.
    pub k: Expr,
    /// Whether elements of lists are found: the place of each in its list is a column.
    pub elements: bool,
    /// The name of the table in the statement.
    table: TableReference,
    schema: DFSchemaRef,
}

/// One of the searches.
#[derive(Debug, Clone)]
pub(crate) struct Arm {
    /// The distance between a vector column of the input and a constant.
    pub distance: Expr,
    /// Rows wanted of this search.
    pub k: Expr,
    /// What the rows found by this search fulfil.
    pub filter: Option<Expr>,
    /// Conditions on the distance: a range, see [`super::range`].
    pub range: Vec<Expr>,
    /// The groups, when rows of groups are wanted.
    pub groups: Option<Groups>,
    /// How the elements that it finds become rows, if they do.
    pub collapse: Option<Collapse>,
    /// How it searches.
    pub options: SearchOptions,
}

/// A plugin that puts rows in order.
#[derive(Debug, Clone)]
pub(crate) struct RerankBy {
    /// The plugin.
    pub plugin: PluginRerank,
    /// The text of the query, where there is one.
    pub text: Option<Expr>,
}

impl RerankBy {
    /// How many rows the plugin sees of a search for `k`, when that is known already.
    ///
    /// # Errors
    /// A number that the plugin does not take.
    pub fn candidates(&self, k: &Expr) -> Result<Option<i64>> {
        let Some(k) = number_of_rows(k)? else {
            return Ok(None);
        };
        let candidates = self.plugin.candidates_for(k).map_err(external)?;
        Ok(i64::try_from(candidates).ok())
    }
}

impl HybridSearch {
    /// Fuses the best rows of `arms` into the best `k`, in the order of a reranker if there is one.
    ///
    /// # Errors
    /// A column of the scan that has the name of the score.
    pub fn new(
        input: Arc<LogicalPlan>,
        allowed: Option<Arc<LogicalPlan>>,
        filter: Option<Expr>,
        arms: Vec<Arm>,
        (fusion, rerank): (Option<Fusion>, Option<RerankBy>),
        (k, elements): (Expr, bool),
        table: &TableReference,
    ) -> Result<Self> {
        let appended = appended_columns(elements).into_iter();
        let columns = input.schema().iter();
        let mut fields: Vec<_> = columns
            .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
            .collect();
        fields.extend(appended.map(|field| (Some(table.clone()), Arc::new(field))));
        let schema = DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?;
        Ok(Self {
            input,
            allowed,
            filter,
            arms,
            fusion,
            rerank,
            k,
            elements,
            table: table.clone(),
            schema: Arc::new(schema),
        })
    }

    /// All that tells one from another; numbers that have no order of their own as text.
    fn identity(&self) -> (&LogicalPlan, Option<&LogicalPlan>, Vec<Expr>, String) {
        let options = self
            .arms
            .iter()
            .map(|arm| (arm.options, &arm.groups, arm.collapse));
        let options: Vec<_> = options.collect();
        let rerank = self.rerank.as_ref().map(|rerank| rerank.plugin.identity());
        let numbers = format!(
            "{:?} {rerank:?} {options:?} {:?} {}",
            self.fusion, self.table, self.elements
        );
        (
            self.input.as_ref(),
            self.allowed.as_deref(),
            self.expressions(),
            numbers,
        )
    }
}

impl PartialEq for HybridSearch {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for HybridSearch {}

impl Hash for HybridSearch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl PartialOrd for HybridSearch {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.identity().partial_cmp(&other.identity())
    }
}

/// A number of rows as it is written.
fn count(k: &Expr) -> String {
    match k {
        Expr::Literal(value, _) => value.to_string(),
        k => k.to_string(),
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} k={}", self.distance, count(&self.k))?;
        if let Some(filter) = &self.filter {
            write!(f, " filter={filter}")?;
        }
        if !self.range.is_empty() {
            let range: Vec<String> = self.range.iter().map(ToString::to_string).collect();
            write!(f, " range={}", range.join(" AND "))?;
        }
        if let Some(Groups { by, size, fill }) = &self.groups {
            write!(
                f,
                " group_by=[{}] group_size={size} strict_group_size={fill}",
                by.join(", ")
            )?;
        }
        match self.collapse {
            Some(collapse) => write!(f, " collapse={collapse}"),
            None => Ok(()),
        }
    }
}

impl UserDefinedLogicalNodeCore for HybridSearch {
    fn name(&self) -> &str {
        "HybridSearch"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        std::iter::once(&self.input)
            .chain(&self.allowed)
            .map(Arc::as_ref)
            .collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let mut all = vec![self.k.clone()];
        all.extend(self.filter.clone());
        for arm in &self.arms {
            all.extend([arm.distance.clone(), arm.k.clone()]);
            all.extend(arm.filter.clone());
            all.extend(arm.range.iter().cloned());
        }
        all.extend(self.rerank.iter().filter_map(|rerank| rerank.text.clone()));
        all
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arms: Vec<String> = self.arms.iter().map(ToString::to_string).collect();
        write!(f, "HybridSearch: k={}", count(&self.k))?;
        if let Some(fusion) = &self.fusion {
            write!(f, ", fusion={fusion}")?;
        }
        write!(f, ", searches=[{}]", arms.join(", "))?;
        if let Some(rerank) = &self.rerank {
            write!(f, ", rerank={}", rerank.plugin.shown())?;
        }
        match &self.filter {
            Some(filter) => write!(f, ", filter={filter}"),
            None => Ok(()),
        }
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut inputs = inputs.into_iter().map(Arc::new);
        let (Some(input), allowed, None) = (inputs.next(), inputs.next(), inputs.next()) else {
            return internal_err!("HybridSearch has one or two inputs");
        };
        if allowed.is_some() != self.allowed.is_some() || exprs.len() != self.expressions().len() {
            return internal_err!("HybridSearch has other inputs or expressions");
        }
        let mut exprs = exprs.into_iter();
        // As many as there were, so each of them is there.
        let mut next = |old: &Expr| exprs.next().unwrap_or_else(|| old.clone());
        let k = next(&self.k);
        // A rule that changes a condition leaves its old name on it, which says nothing here.
        let filter = self.filter.as_ref().map(|filter| next(filter).unalias());
        let arms = self.arms.iter().map(|arm| Arm {
            distance: next(&arm.distance),
            k: next(&arm.k),
            filter: arm.filter.as_ref().map(|filter| next(filter).unalias()),
            range: arm.range.iter().map(|bound| next(bound).unalias()).collect(),
            groups: arm.groups.clone(),
            collapse: arm.collapse,
            options: arm.options,
        });
        let arms = arms.collect();
        let rerank = self.rerank.as_ref().map(|rerank| RerankBy {
            plugin: rerank.plugin.clone(),
            text: rerank.text.as_ref().map(|text| next(text).unalias()),
        });
        let order = (self.fusion.clone(), rerank);
        Self::new(
            input,
            allowed,
            filter,
            arms,
            order,
            (k, self.elements),
            &self.table,
        )
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        let of_input = output_columns.iter().copied().filter(|column| *column < width);
        let mut needed = vec![of_input.collect()];
        needed.extend(self.allowed.iter().map(|_| vec![0]));
        Some(needed)
    }
}
