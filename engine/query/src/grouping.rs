//! Grouped search: the nearest groups of rows instead of the nearest rows.
//!
//! ```text
//!   rows, nearest first:   A A B A C B D ..      2 groups of at most 2 rows:   A A | B B
//!                          ^ a group is as near as its nearest row
//! ```
//!
//! How many rows it takes to meet enough groups, nobody knows before. So the search starts with a few more rows than the
//! answer can have and is repeated with four times as many, until there are enough groups (and, where they are to be
//! filled, enough rows in each) or every row that may be found was seen. The first groups met among the nearest rows are the
//! nearest groups, however far the search went.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::row::{RowConverter, SortField};
use datafusion::error::DataFusionError;
use elanus_collection::{Snapshot, Unit};

use crate::compute::Wanted;
use crate::error::external;
use crate::fusion::ScoreMode;
use crate::query_vectors::QueryVectors;
use crate::request::GroupKey;
use crate::resources::Resources;
use crate::search::{Hit, SearchSpec, Target, Totals, cost, findable, search_targets};
use crate::value_path::columns_of;

/// Rows looked at in the first round, for each row that the answer may have.
const FIRST_ROUND: usize = 2;
/// How many times more rows the next round looks at.
const WIDEN: usize = 4;
/// Most hits held at a time; queries beyond take their turn.
const MAX_HITS: usize = 1 << 22;

/// What the groups are and how many are wanted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GroupSpec {
    /// What together tells groups apart; NULL is a value, too.
    pub keys: Vec<GroupKey>,
    /// Groups wanted of each query.
    pub groups: usize,
    /// Most rows of a group.
    pub size: usize,
    /// Whether the search goes on until groups have all the rows they can have.
    pub fill: bool,
}

/// Groups of one query, nearest first; in each its nearest rows, best first.
pub(crate) type Groups = Vec<Vec<Hit>>;

/// The rows of all groups of each query, best first.
pub(crate) fn best_first(groups: Vec<Groups>) -> Vec<Vec<Hit>> {
    let sorted = |groups: Groups| {
        let mut hits: Vec<Hit> = groups.into_iter().flatten().collect();
        hits.sort_unstable_by(Hit::total);
        hits
    };
    groups.into_iter().map(sorted).collect()
}

/// Everything a grouped search is made of.
pub(crate) struct GroupedSearch<'a> {
    /// What is searched.
    pub snapshot: &'a Snapshot,
    /// The units with the rows that may be found.
    pub targets: Vec<Target>,
    /// The search; its `k` is not looked at.
    pub spec: &'a SearchSpec,
    /// The groups.
    pub group: &'a GroupSpec,
    /// Query vectors.
    pub queries: &'a QueryVectors,
    /// Number of query vectors.
    pub nq: usize,
}

impl GroupedSearch<'_> {
    /// The groups of each query.
    pub async fn run(self, resources: &Resources) -> Result<(Vec<Groups>, Totals), DataFusionError> {
        let allowed = findable(&self.targets, self.spec);
        let targets = Arc::new(self.targets);
        let rows = self.group.groups.saturating_mul(self.group.size);
        let mut width = rows.saturating_mul(FIRST_ROUND).clamp(1, allowed.max(1));
        let mut groups: Vec<Groups> = vec![Vec::new(); self.nq];
        let mut open: Vec<usize> = (0..self.nq).collect();
        let mut totals = Totals::default();
        while !open.is_empty() {
            let spec = Arc::new(SearchSpec {
                k: width,
                ..self.spec.clone()
            });
            let mut unfinished = Vec::new();
            for part in open.chunks((MAX_HITS / width).max(1)) {
                let (found, its_totals) = search_some(&targets, &spec, self.queries, part, resources).await?;
                totals = totals.merge(its_totals);
                for (query, hits) in part.iter().zip(found) {
                    let everything = hits.len() < width || width >= allowed;
                    let met = self.group.of_hits(&self.snapshot.units, &hits).await?;
                    if !everything && !self.group.is_complete(&met) {
                        unfinished.push(*query);
                    } else if let Some(slot) = groups.get_mut(*query) {
                        *slot = met;
                    }
                }
            }
            open = unfinished;
            width = width.saturating_mul(WIDEN).min(allowed);
        }
        Ok((groups, totals))
    }
}

/// Searches for some of the queries.
async fn search_some(
    targets: &Arc<Vec<Target>>,
    spec: &Arc<SearchSpec>,
    queries: &QueryVectors,
    some: &[usize],
    resources: &Resources,
) -> Result<(Vec<Vec<Hit>>, Totals), DataFusionError> {
    let steps = cost(targets, spec, some.len());
    let (targets, spec, queries) = (Arc::clone(targets), Arc::clone(spec), queries.clone());
    let some = some.to_vec();
    let search = move |wanted: Wanted<'_>| {
        let all = queries.all()?;
        let chosen: Vec<_> = some.iter().filter_map(|query| all.get(*query).copied()).collect();
        search_targets(&targets, &spec, &chosen, wanted)
    };
    resources
        .compute
        .run(steps, search)
        .await
        .map_err(external)?
        .map_err(external)
}

impl GroupSpec {
    /// The first groups met in `hits`, which come best first, with their first rows.
    pub async fn of_hits(&self, units: &[Arc<Unit>], hits: &[Hit]) -> Result<Groups, DataFusionError> {
        let mut groups: Groups = Vec::new();
        if hits.is_empty() {
            return Ok(groups);
        }
        let columns = columns_of(units, self.keys.iter().map(GroupKey::path), hits).await?;
        let values = self.keys.iter().zip(&columns);
        let values: Vec<ArrayRef> = values
            .map(|(key, column)| key.values(column).map_err(external))
            .collect::<Result<_, _>>()?;
        let fields = values.iter();
        let fields = fields.map(|column| SortField::new(column.data_type().clone()));
        let keys = RowConverter::new(fields.collect())?.convert_columns(&values)?;
        let mut known: HashMap<&[u8], usize> = HashMap::new();
        for (hit, key) in hits.iter().zip(keys.iter()) {
            let next = groups.len();
            let place = match known.get(key.data()) {
                Some(place) => *place,
                None if next < self.groups => {
                    known.insert(key.data(), next);
                    groups.push(Vec::new());
                    next
                }
                None => continue,
            };
            if let Some(group) = groups.get_mut(place)
                && group.len() < self.size
            {
                group.push(*hit);
            }
        }
        Ok(groups)
    }

    /// Whether no further row could change the answer.
    fn is_complete(&self, groups: &Groups) -> bool {
        let full = || groups.iter().all(|group| group.len() >= self.size);
        groups.len() >= self.groups && (!self.fill || full())
    }
}

/// Groups by their score, best first: out of the scores of the rows that they have.
pub(crate) fn best_groups(mut groups: Vec<Vec<Hit>>, mode: ScoreMode) -> Vec<Vec<Hit>> {
    // Turned round where less is better: the best row counts as the largest.
    let score = |group: &Vec<Hit>| {
        let scores = group
            .iter()
            .map(|hit| -f64::from(hit.distance.unwrap_or(f32::NAN)));
        let rows = group.len().max(1);
        #[expect(clippy::cast_precision_loss, reason = "a group has few rows")]
        match mode {
            ScoreMode::Max => scores.fold(f64::NEG_INFINITY, f64::max),
            ScoreMode::Sum => scores.sum(),
            ScoreMode::Avg => scores.sum::<f64>() / rows as f64,
        }
    };
    // Stable: among equals the group with the better first row.
    groups.sort_by(|a, b| score(b).total_cmp(&score(a)));
    groups
}
