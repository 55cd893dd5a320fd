//! Walk, probe or scan? A pure function of a few numbers, so that the choice can be read, tested and shown.
//!
//! Cost is counted in distances. A scan of the allowed rows costs one each, in row order and well prefetched. A graph walk
//! with a candidate list of `ef` looks at about half of the `degree` links of `ef` nodes, each at a random place in memory.
//! Under a filter that lets a share `s` of the rows through, the list must grow to `ef / s` to hold `ef` allowed rows, so
//! the walk gets dearer exactly where the scan gets cheaper.
//!
//! That a filter has to do with the query, such as a language, no number tells. The walk itself is the sample: one that meets less
//! than half of the allowed rows that chance would bring gives up, and they are scanned.

use std::fmt;

/// How much longer the candidate list of the next walk within a window is.
pub(crate) const WIDEN: usize = 4;

/// How a search was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Strategy {
    /// Every row was scored.
    #[default]
    Exact,
    /// Every allowed row was scored.
    ExactFiltered,
    /// Graph walk.
    Graph,
    /// Graph walk through all rows that collects allowed ones.
    GraphFiltered,
    /// The nearest lists were scanned.
    Lists,
    /// The allowed rows of the nearest lists were scanned.
    ListsFiltered,
    /// Rows were found by the postings of the query's terms.
    Postings,
    /// Allowed rows were found by the postings of the query's terms.
    PostingsFiltered,
}

impl Strategy {
    /// A walk over lists, of some rows or of all.
    pub(crate) fn of_lists(filtered: bool) -> Self {
        if filtered {
            Self::ListsFiltered
        } else {
            Self::Lists
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::ExactFiltered => "exact_filtered",
            Self::Graph => "graph",
            Self::GraphFiltered => "graph_filtered",
            Self::Lists => "lists",
            Self::ListsFiltered => "lists_filtered",
            Self::Postings => "postings",
            Self::PostingsFiltered => "postings_filtered",
        })
    }
}

/// With no more allowed rows than this, scanning them is always right: it is exact and takes well under a millisecond.
const ALWAYS_SCAN: usize = 2_000;
/// Distances of a scan that cost as much as one of a walk (random access, heap work, visited marks).
const WALK_PENALTY: f64 = 2.0;
/// Part of a visited node's links that lead to rows not yet seen.
const FRESH_LINKS: f64 = 0.5;

/// What the choice for a graph index depends on.
#[derive(Debug, Clone, Copy)]
pub struct GraphQuery {
    /// Rows in the graph.
    pub rows: usize,
    /// Rows that may be returned; `None` without a filter.
    pub allowed: Option<usize>,
    /// Results wanted.
    pub k: usize,
    /// Candidate list asked for.
    pub ef: usize,
    /// Most links of a node on the base layer.
    pub degree: usize,
}

/// What to do with a query on a graph index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphPlan {
    /// Score every allowed row.
    Scan,
    /// Walk the graph with a candidate list of `ef`.
    Walk {
        /// Candidate list, widened for the filter and never longer than the rows.
        ef: usize,
    },
}

/// Chooses for a graph index.
pub fn plan_graph(query: GraphQuery) -> GraphPlan {
    let allowed = query.allowed.unwrap_or(query.rows).min(query.rows);
    if allowed <= query.k || query.k == 0 {
        return GraphPlan::Scan;
    }
    if query.allowed.is_some() && allowed <= ALWAYS_SCAN {
        return GraphPlan::Scan;
    }
    let selectivity = allowed as f64 / query.rows as f64;
    let ef = (query.ef.max(query.k) as f64 / selectivity).ceil();
    // A graph without links is left by a walk at once: longer and longer ones must come to an end all the same.
    let walk = (ef * query.degree.max(1) as f64 * FRESH_LINKS).min(query.rows as f64) * WALK_PENALTY;
    if walk >= allowed as f64 {
        GraphPlan::Scan
    } else {
        GraphPlan::Walk {
            ef: (ef as usize).min(query.rows),
        }
    }
}

/// What the choice for an index of lists depends on.
#[derive(Debug, Clone, Copy)]
pub struct ListsQuery {
    /// Rows in the lists.
    pub rows: usize,
    /// Rows that may be returned; `None` without a filter.
    pub allowed: Option<usize>,
    /// Results wanted.
    pub k: usize,
    /// Lists asked for.
    pub nprobe: usize,
    /// Lists there are.
    pub lists: usize,
    /// What every row of a list costs, in distances of a scan.
    pub row_cost: f64,
    /// What every allowed row of a list costs besides.
    pub allowed_cost: f64,
    /// Rows that are scored again, at random places in memory.
    pub rescored: usize,
}

/// What to do with a query on an index of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListsPlan {
    /// Score every allowed row.
    Scan,
    /// Score the allowed rows of the nearest lists.
    Probe {
        /// Lists to look at, more than asked for under a filter.
        nprobe: usize,
    },
}

/// Chooses for an index of lists.
///
/// Under a filter the nearest allowed rows lie further out, in more lists, while each list costs less. So `nprobe` grows
/// with the square root of what the filter takes away: recall stays about what it is without a filter, and fewer rows
/// are scored all the same.
pub fn plan_lists(query: ListsQuery) -> ListsPlan {
    let allowed = query.allowed.unwrap_or(query.rows).min(query.rows);
    if allowed <= query.k || query.k == 0 || (query.allowed.is_some() && allowed <= ALWAYS_SCAN) {
        return ListsPlan::Scan;
    }
    let selectivity = allowed as f64 / query.rows as f64;
    let nprobe = ((query.nprobe as f64 / selectivity.sqrt()).ceil() as usize).min(query.lists);
    let part = nprobe as f64 / query.lists.max(1) as f64;
    let of_lists = part * (query.rows as f64 * query.row_cost + allowed as f64 * query.allowed_cost);
    let probing = query.lists as f64 + of_lists + query.rescored.min(allowed) as f64 * WALK_PENALTY;
    if probing >= allowed as f64 {
        ListsPlan::Scan
    } else {
        ListsPlan::Probe { nprobe }
    }
}

/// What the choice for an inverted index depends on.
#[derive(Debug, Clone, Copy)]
pub struct PostingsQuery {
    /// Rows that may be returned.
    pub allowed: usize,
    /// Elements of a row on average.
    pub row: usize,
    /// Postings of all terms of the query.
    pub postings: usize,
}

/// Whether scoring every allowed row is cheaper than reading the postings, each of which costs about as much as an element
/// of a row.
pub fn scan_instead_of_postings(query: PostingsQuery) -> bool {
    query.allowed.saturating_mul(query.row + 1) < query.postings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rows: usize, allowed: Option<usize>) -> GraphPlan {
        plan_graph(GraphQuery {
            rows,
            allowed,
            k: 10,
            ef: 64,
            degree: 32,
        })
    }

    #[test]
    fn big_and_unfiltered_walks_with_the_given_list() {
        assert_eq!(plan(200_000, None), GraphPlan::Walk { ef: 64 });
    }

    #[test]
    fn small_indexes_are_scanned() {
        assert_eq!(plan(1_500, None), GraphPlan::Scan);
        assert_eq!(plan(0, None), GraphPlan::Scan);
    }

    #[test]
    fn walks_of_a_graph_without_links_come_to_an_end() {
        let query = GraphQuery {
            rows: 50,
            allowed: None,
            k: 3,
            ef: 50,
            degree: 0,
        };
        assert_eq!(plan_graph(query), GraphPlan::Scan);
    }

    #[test]
    fn few_allowed_rows_are_scanned_and_many_walked_with_a_wider_list() {
        assert_eq!(plan(1_000_000, Some(1_000)), GraphPlan::Scan);
        assert_eq!(plan(1_000_000, Some(10_000)), GraphPlan::Scan);
        assert_eq!(plan(1_000_000, Some(100_000)), GraphPlan::Walk { ef: 640 });
        assert_eq!(plan(1_000_000, Some(500_000)), GraphPlan::Walk { ef: 128 });
    }

    #[test]
    fn wanting_every_allowed_row_is_a_scan() {
        let query = GraphQuery {
            rows: 100_000,
            allowed: Some(50_000),
            k: 50_000,
            ef: 50_000,
            degree: 32,
        };
        assert_eq!(plan_graph(query), GraphPlan::Scan);
    }

    #[test]
    fn few_allowed_rows_are_cheaper_than_many_postings() {
        let scans = |allowed| {
            scan_instead_of_postings(PostingsQuery {
                allowed,
                row: 99,
                postings: 50_000,
            })
        };
        assert!(scans(0) && scans(499) && !scans(500) && !scans(usize::MAX));
    }

    #[test]
    fn lists_are_probed_when_that_saves_work_and_more_of_them_under_a_filter() {
        let plan = |allowed, nprobe| {
            plan_lists(ListsQuery {
                rows: 100_000,
                allowed,
                k: 10,
                nprobe,
                lists: 128,
                row_cost: 0.0,
                allowed_cost: 2.0,
                rescored: 0,
            })
        };
        assert_eq!(plan(None, 8), ListsPlan::Probe { nprobe: 8 });
        assert_eq!(plan(None, 128), ListsPlan::Scan);
        assert_eq!(plan(Some(1_000), 8), ListsPlan::Scan);
        assert_eq!(plan(Some(50_000), 8), ListsPlan::Probe { nprobe: 12 });
        assert_eq!(plan(Some(10_000), 8), ListsPlan::Probe { nprobe: 26 });
        assert_eq!(plan(Some(10_000), 30), ListsPlan::Scan);
    }

    #[test]
    fn codes_are_scanned_where_that_is_cheaper_than_vectors() {
        let plan = |allowed, rescored| {
            plan_lists(ListsQuery {
                rows: 100_000,
                allowed,
                k: 10,
                nprobe: 128,
                lists: 128,
                row_cost: 0.1,
                allowed_cost: 0.0,
                rescored,
            })
        };
        assert_eq!(plan(None, 100), ListsPlan::Probe { nprobe: 128 });
        assert_eq!(plan(Some(50_000), 100), ListsPlan::Probe { nprobe: 128 });
        assert_eq!(plan(Some(10_000), 100), ListsPlan::Scan);
        assert_eq!(plan(None, 60_000), ListsPlan::Scan);
    }
}
