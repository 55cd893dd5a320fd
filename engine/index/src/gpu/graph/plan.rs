//! How a graph is walked: by one block of threads for each query, or by several.
//!
//! One walk keeps a list of `itopk_size` nodes and takes at least as many rounds, one after the other. Few such walks leave most of a
//! device idle, and a list cannot be longer than a block's shared memory. So where queries are few, or their lists longer than that,
//! several walks with short lists share the nodes around a query (Ootomo et al., CAGRA, 2024, its multi-block mode).

use crate::gpu::backend::{Backend, MOST_LIST, WalkOf};
use crate::gpu::ranges::width;
use crate::params::SearchParams;

/// `itopk_size` unless it is given.
const DEFAULT_LIST: usize = 64;
/// Most rounds of a walk beyond one for each node of its list, unless they are given.
const MORE_ROUNDS: usize = 10;
/// Nodes that each of several walks keeps, and rounds that it has for the way to them.
const SHORT_LIST: usize = 32;
const WAY: usize = 32;
/// As many times `itopk_size` nodes are kept by the walks of a query that leave no multiprocessor to another: each sees only a part
/// of what one walk would.
const SPARE: usize = 2;
/// Most walks of a query.
const MOST_WALKS: usize = 1024;
/// Single walks that keep a multiprocessor busy.
const BUSY: usize = 2;

/// How a batch is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) walk: WalkOf,
    /// Places of a query for what the walks hand out, and for what is chosen of it.
    pub(super) rooms: [usize; 2],
}

/// What a plan is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Rows wanted, queries, and units of a row.
    pub(super) k: usize,
    pub(super) queries: usize,
    pub(super) stride: usize,
    /// Nodes of the graph and links of each.
    pub(super) nodes: usize,
    pub(super) degree: usize,
    /// Rows that may be found, with a filter.
    pub(super) allowed: Option<usize>,
}

/// Lanes that compare a row of `stride` units: as many as have two or four times four of them each.
fn team_of(stride: usize) -> u32 {
    match stride {
        0..=32 => 4,
        33..=128 => 8,
        129..=256 => 16,
        _ => 32,
    }
}

/// How many walks share the work for a query, of which they keep `list` nodes; 1 when one does it alone.
fn walks_of(list: usize, shape: &Shape, backend: &impl Backend) -> usize {
    // Walks that see most of a graph only see it again.
    if 2 * list >= shape.nodes || list <= SHORT_LIST {
        return 1;
    }
    let walks = list.div_ceil(SHORT_LIST);
    let idle = shape.queries < BUSY * backend.multiprocessors() as usize;
    let spared = (SPARE * walks).min(shape.nodes / SHORT_LIST).max(walks);
    match (idle, list > MOST_LIST as usize) {
        (true, _) if spared <= MOST_WALKS => spared,
        (_, true) => walks,
        _ => 1,
    }
}

/// How to walk; `None` where there is nothing to walk, or more to keep than a device does.
pub(super) fn plan(params: &SearchParams, shape: &Shape, backend: &impl Backend) -> Option<Plan> {
    let (nodes, degree) = (shape.nodes, shape.degree);
    let chosen = width(shape.k, 0).filter(|_| nodes > 0)?;
    let asked = params.ef.map_or(DEFAULT_LIST, |list| list as usize).max(chosen);
    // Under a filter the list must hold so many more for the same number of rows that may be found.
    let part = shape
        .allowed
        .map_or(1.0, |allowed| allowed as f64 / nodes.max(1) as f64);
    let list = (asked as f64 / part).ceil() as usize;
    let cagra = params.cagra;
    let wide = cagra.search_width.map_or(1, |width| width as usize);
    let walks = walks_of(list, shape, backend);
    let several = walks > 1;
    let (walks, list, width) = if several {
        // A wide search follows many links at a time.
        let most = (nodes / (2 * SHORT_LIST)).min(MOST_WALKS);
        (walks.max(wide.min(most)), SHORT_LIST, 1)
    } else {
        let list = list.min(nodes);
        (1, list, wide.clamp(1, list))
    };
    if list > MOST_LIST as usize || walks > MOST_WALKS {
        return None;
    }
    let own = if several {
        list + WAY
    } else {
        1 + (list + list / 10).min(list + MORE_ROUNDS * width) / width
    };
    let rounds = cagra
        .max_iterations
        .filter(|&rounds| rounds > 0)
        .map_or(own, |rounds| rounds as usize);
    let rounds = rounds.max(cagra.min_iterations.unwrap_or(0) as usize).min(nodes);
    let seen = rounds
        .saturating_mul(width * degree)
        .saturating_add(list)
        .min(nodes);
    let seen_by_all = walks.saturating_mul(seen).min(nodes);
    let followed = walks.saturating_mul(rounds + list).min(nodes);
    let room = match (shape.allowed, several) {
        (Some(_), _) => seen_by_all,
        (None, true) => followed,
        (None, false) => list,
    };
    let shared = match (several, shape.allowed) {
        (false, _) => 0,
        (true, None) => table(followed)?,
        (true, Some(_)) => table(followed + seen_by_all)?,
    };
    let team = cagra
        .team_size
        .filter(|&team| team > 0)
        .unwrap_or(team_of(shape.stride));
    Some(Plan {
        walk: WalkOf {
            walks: walks as u32,
            list: list as u32,
            width: width as u32,
            rounds: rounds as u32,
            team,
            marks: table(seen)?,
            shared,
        },
        rooms: [room, chosen],
    })
}

/// Places of a table for so many keys, half of which stay empty at least.
fn table(keys: usize) -> Option<u32> {
    u32::try_from((2 * keys).next_power_of_two()).ok()
}

/// Bytes on the device for each query of a batch.
pub(super) fn query_bytes(plan: Plan, stride: usize) -> usize {
    let [room, chosen] = plan.rooms;
    4 * (plan.walk.table_words() + 2 * (room + chosen) + stride + 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::twin::Twin;

    fn walk(list: u32, queries: usize, nodes: usize, allowed: Option<usize>) -> Option<[u32; 2]> {
        let params = SearchParams {
            ef: Some(list),
            ..SearchParams::default()
        };
        let shape = Shape {
            k: 10,
            queries,
            stride: 8,
            nodes,
            degree: 16,
            allowed,
        };
        let plan = plan(&params, &shape, &Twin::with_multiprocessors(100))?;
        Some([plan.walk.walks, plan.walk.list])
    }

    #[test]
    fn few_queries_and_long_lists_get_several_walks_each() {
        let million = 1_000_000;
        assert_eq!(walk(64, 200, million, None), Some([1, 64]));
        assert_eq!(walk(64, 199, million, None), Some([4, 32]));
        assert_eq!(
            walk(32, 1, million, None),
            Some([4, 32]),
            "33 candidates for 10 rows"
        );
        assert_eq!(walk(1_024, 1_000, million, None), Some([1, 1_024]));
        assert_eq!(walk(1_025, 1_000, million, None), Some([33, 32]));
        for queries in [1, 1_000] {
            assert_eq!(walk(32 * 1024, queries, million, None), Some([1024, 32]));
            assert_eq!(walk(32 * 1024 + 1, queries, million, None), None);
        }
        // The list grows with what a filter takes away.
        assert_eq!(walk(64, 1_000, million, Some(million / 50)), Some([100, 32]));
    }

    #[test]
    fn what_is_seen_as_a_whole_is_walked_once_or_not_at_all() {
        assert_eq!(walk(64, 1, 100, None), Some([1, 64]));
        assert_eq!(walk(512, 1, 100, None), Some([1, 100]));
        assert_eq!(walk(1_024, 1, 2_000, None), Some([1, 1_024]));
        assert_eq!(walk(1_025, 1, 2_000, None), None);
    }
}
