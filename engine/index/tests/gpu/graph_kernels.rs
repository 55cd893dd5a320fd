//! The kernels of graphs next to their twins: links and walks.

use std::ops::Range;

use elanus_index::gpu::backend::{
    Backend, Comparison, ElementType, GraphOf, LinksOf, ListsOf, MOST_LINKS, MarksOf, NO_ROW, QueriesOf,
    WalkOf, Word,
};
use elanus_index::gpu::twin::Twin;

use crate::data::Rng;
use crate::device::lend;
use crate::typed_kernels::{comparisons, query_term, vector};

fn put<B: Backend, W: Word>(backend: &B, values: &[W]) -> B::Buffer {
    let mut buffer = backend.allocate(values.len().max(1)).unwrap();
    backend.write(&mut buffer, 0, values).unwrap();
    buffer
}

/// `degree` places for links of each node, some of them not used, and where there are enough nodes none of them used twice.
fn random_links(rng: &mut Rng, nodes: usize, degree: usize) -> Vec<u32> {
    if nodes <= degree {
        return (0..nodes * degree).map(|_| rng.below(nodes) as u32).collect();
    }
    let mut links = Vec::with_capacity(nodes * degree);
    for node in 0..nodes {
        let mut mine: Vec<u32> = Vec::new();
        let used = degree - rng.below(3).min(degree - 1);
        while mine.len() < used {
            let link = rng.below(nodes) as u32;
            if link as usize != node && !mine.contains(&link) {
                mine.push(link);
            }
        }
        mine.resize(degree, NO_ROW);
        links.extend(mine);
    }
    links
}

fn read<B: Backend>(backend: &B, buffer: &B::Buffer, words: usize) -> Vec<u32> {
    let mut held = vec![0; words];
    backend.read(buffer, &mut held).unwrap();
    held
}

fn detours<B: Backend>(backend: &B, links: &[u32], of: Range<u32>, degree: usize) -> Vec<u32> {
    let data = put(backend, links);
    let words = of.len() * degree;
    let mut counts = backend.allocate(words).unwrap();
    let links = links_of(&data, links.len(), degree);
    backend.count_detours(&links, of, &mut counts).unwrap();
    read(backend, &counts, words)
}

fn links_of<B>(data: &B, words: usize, degree: usize) -> LinksOf<'_, B> {
    LinksOf {
        data,
        nodes: (words / degree) as u32,
        degree: degree as u32,
    }
}

#[test]
fn detours_are_those_of_the_twin() {
    let Some(lent) = lend() else { return };
    let mut rng = Rng(21);
    for (nodes, degree) in [(6usize, 1usize), (20, 9), (60, 40)] {
        lent.set_seed(degree as u64);
        let links = random_links(&mut rng, nodes, degree);
        for (first, count) in [(0, nodes), (nodes / 2, nodes / 3)] {
            let of = || first as u32..(first + count) as u32;
            let expected = detours(&Twin::new(), &links, of(), degree);
            assert_eq!(detours(&lent.device.backend, &links, of(), degree), expected);
        }
    }
    // From 0 over 1 to 2: of the link to 2 there is a detour, of that to 1 there is none.
    let links = [1, 2, 2, 0, 0, 1];
    assert_eq!(detours(&Twin::new(), &links, 0..1, 2), [0, 1]);
}

/// What is kept of all links of all nodes, in two parts.
fn best<B: Backend>(backend: &B, links: &[u32], detours: &[u32], degree: usize, kept: usize) -> Vec<u32> {
    let data = put(backend, links);
    let links = links_of(&data, links.len(), degree);
    let words = links.nodes as usize * kept;
    let mut best = backend.allocate(words).unwrap();
    let middle = links.nodes / 2;
    let (of_first, of_rest) = detours.split_at(middle as usize * degree);
    for (of, detours) in [(0..middle, of_first), (middle..links.nodes, of_rest)] {
        let detours = put(backend, detours);
        backend
            .best_links(&links, of, &detours, kept as u32, &mut best)
            .unwrap();
    }
    read(backend, &best, words)
}

#[test]
fn the_links_with_the_fewest_detours_are_kept() {
    let Some(lent) = lend() else { return };
    let mut rng = Rng(22);
    for (nodes, degree, kept) in [
        (6usize, 1usize, 1usize),
        (20, 9, 4),
        (40, 30, 30),
        (3, MOST_LINKS as usize, 2000),
    ] {
        lent.set_seed(kept as u64);
        let links = random_links(&mut rng, nodes, degree);
        // Few numbers, many of them equal.
        let detours: Vec<u32> = (0..links.len()).map(|_| rng.below(6) as u32).collect();
        let expected = best(&Twin::new(), &links, &detours, degree, kept);
        assert_eq!(
            best(&lent.device.backend, &links, &detours, degree, kept),
            expected
        );
    }
    // Fewest first, of equal ones the earlier, no link last.
    let kept = best(
        &Twin::new(),
        &[5, 6, NO_ROW, 7, 8, 9, 10, 11],
        &[2, 1, 0, 1, 0, 0, 0, 0],
        4,
        3,
    );
    assert_eq!(kept, [6, 7, 5, 8, 9, 10]);
}

/// Reverse links of the nodes `of`, and what these and a node's own become.
fn joined<B: Backend>(
    backend: &B,
    links: &[u32],
    degree: usize,
    of: Range<u32>,
    room: usize,
) -> (Vec<u32>, Vec<u32>) {
    let data = put(backend, links);
    let links = links_of(&data, links.len(), degree);
    let words = of.len() * room;
    let mut reverse = backend.allocate(2 * words).unwrap();
    let mut joined = backend.allocate(words).unwrap();
    backend
        .reverse_links(&links, of.clone(), room as u32, &mut reverse)
        .unwrap();
    backend
        .join_links(&links, of, &reverse, room as u32, &mut joined)
        .unwrap();
    (read(backend, &reverse, 2 * words), read(backend, &joined, words))
}

#[test]
fn reverse_links_are_those_of_the_twin_in_any_order() {
    let Some(lent) = lend() else { return };
    let mut rng = Rng(24);
    for (nodes, degree, room) in [
        (6usize, 1usize, 1usize),
        (20, 9, 9),
        (60, 40, 48),
        (200, 3, 2),
        (3, 2, 300),
        (64, MOST_LINKS as usize, MOST_LINKS as usize),
    ] {
        let mut links = random_links(&mut rng, nodes, degree);
        // One node that most others link to, at any rank: most of these have no room.
        for (node, mine) in links.chunks_exact_mut(degree).enumerate().skip(1) {
            let place = rng.below(degree);
            if node % 7 != 0 && mine[place] != NO_ROW && !mine.contains(&0) {
                mine[place] = 0;
            }
        }
        for (first, count) in [(0, nodes), (nodes / 2, nodes / 3)] {
            let of = || first as u32..(first + count) as u32;
            let expected = joined(&Twin::new(), &links, degree, of(), room);
            for seed in 0..4 {
                lent.set_seed(seed);
                assert_eq!(joined(&lent.device.backend, &links, degree, of(), room), expected);
            }
        }
    }
    // To 0 link 2, with its first link, and 1, with its second; 3 has no place any more. Half of its two links may be those.
    let links = [1, 2, 2, 0, 0, 1, 1, 0];
    let (reverse, joined) = joined(&Twin::new(), &links, 2, 0..2, 2);
    assert_eq!(reverse[..4], [!2, !0, !1, !1]);
    assert_eq!(joined, [1, 2, 2, 0]);
}

struct Case {
    element: ElementType,
    comparison: Comparison,
    stride: usize,
    /// Rows in words, and a number for each.
    rows: Vec<u32>,
    terms: Vec<u32>,
    links: Vec<u32>,
    /// Queries in units, and a number for each.
    queries: Vec<u32>,
    query_terms: Vec<u32>,
    allow: Option<Vec<u32>>,
    walk: WalkOf,
}

impl Case {
    /// Whole numbers, of which many are equally far, that lie off the origin where they are 32-bit floats; words of any bits for
    /// integers and bits. `nodes` rows and three queries.
    fn random(
        rng: &mut Rng,
        (element, comparison): (ElementType, Comparison),
        (nodes, stride): (usize, usize),
        (links, filtered): (&[u32], bool),
        walk: WalkOf,
    ) -> Self {
        let words = (0..(2 * nodes + 1).div_ceil(32)).map(|_| rng.bits() as u32);
        let allow: Vec<u32> = words.collect();
        let mut case = Self {
            element,
            comparison,
            stride,
            rows: Vec::new(),
            terms: Vec::new(),
            links: links.to_vec(),
            queries: Vec::new(),
            query_terms: Vec::new(),
            allow: filtered.then_some(allow),
            walk,
        };
        for at in 0..nodes + 3 {
            let (words, units) = if element == ElementType::Float {
                let values = rng.integers(stride);
                let units: Vec<u32> = values.iter().map(|value| (value + 0.5).to_bits()).collect();
                (units.clone(), units)
            } else {
                vector(rng, element, stride)
            };
            let term = query_term(element, comparison, &units);
            if at < nodes {
                case.rows.extend(words);
                case.terms.push(term);
            } else {
                case.queries.extend(units);
                case.query_terms.push(term);
            }
        }
        case
    }
}

/// What rows of a type are compared by in walks.
fn walked_by(element: ElementType) -> impl Iterator<Item = Comparison> {
    let whole = matches!(element, ElementType::Int8 | ElementType::Bit);
    let all = comparisons(element).iter().copied();
    all.filter(move |&comparison| whole || comparison != Comparison::L2)
}

/// Sorted lists of (row, distance bits), and how many nodes were compared.
type Walked = (Vec<Vec<(u32, u32)>>, Vec<u32>);

fn walk<B: Backend>(backend: &B, case: &Case) -> Walked {
    let (nodes, queries) = (case.terms.len(), case.query_terms.len());
    let numbers: Vec<u32> = (0..nodes as u32).map(|node| 2 * node + 1).collect();
    let (data, terms) = (put(backend, &case.rows), put(backend, &case.terms));
    let (numbers, links) = (put(backend, &numbers), put(backend, &case.links));
    let allow = case.allow.as_ref().map(|words| put(backend, words));
    let graph = GraphOf {
        element: case.element,
        data: &data,
        terms: &terms,
        numbers: &numbers,
        links: &links,
        nodes: nodes as u32,
        degree: (case.links.len() / nodes) as u32,
        allow: allow.as_ref(),
    };
    let (vectors, query_terms) = (put(backend, &case.queries), put(backend, &case.query_terms));
    let of_queries = QueriesOf {
        data: &vectors,
        terms: &query_terms,
        bounds: &query_terms,
        count: queries as u32,
        stride: case.stride as u32,
    };
    let mut marks = MarksOf::allocate(backend, queries, case.walk).unwrap();
    let mut lists = ListsOf {
        distances: backend.allocate(queries * nodes).unwrap(),
        rows: backend.allocate(queries * nodes).unwrap(),
        counts: put(backend, &vec![0u32; queries]),
        room: nodes as u32,
    };
    backend
        .walk_graph(
            case.comparison,
            &graph,
            &of_queries,
            case.walk,
            &mut marks,
            &mut lists,
        )
        .unwrap();
    let (mut distances, mut rows) = (vec![0u32; queries * nodes], vec![0u32; queries * nodes]);
    let (mut counts, mut compared) = (vec![0u32; queries], vec![0u32; queries]);
    backend.read(&lists.distances, &mut distances).unwrap();
    backend.read(&lists.rows, &mut rows).unwrap();
    backend.read(&lists.counts, &mut counts).unwrap();
    backend.read(&marks.scored, &mut compared).unwrap();
    let found = counts.iter().enumerate().map(|(query, &count)| {
        let held = query * nodes..query * nodes + count as usize;
        let mut pairs: Vec<(u32, u32)> = held.map(|at| (rows[at], distances[at])).collect();
        pairs.sort_unstable();
        pairs
    });
    (found.collect(), compared)
}

/// Walks of a query follow each other, as those of the twin do, with the plain order of blocks.
#[test]
fn several_walks_of_a_query_are_those_of_the_twin() {
    let Some(lent) = lend() else { return };
    if !lent.is_emulated() {
        return;
    }
    let mut rng = Rng(23);
    for (nodes, degree, walks, list, width, rounds) in [
        (300usize, 6usize, 2u32, 32u32, 1u32, 64u32),
        (300, 12, 5, 7, 2, 3),
        (400, 40, 3, 40, 30, 9),
        (30, 5, 9, 4, 1, 20),
    ] {
        let links = random_links(&mut rng, nodes, degree);
        for element in ElementType::ALL {
            for comparison in walked_by(element) {
                for filtered in [false, true] {
                    let case = several(
                        &mut rng,
                        (element, comparison),
                        (&links, filtered),
                        nodes,
                        [walks, list, width, rounds],
                    );
                    let expected = walk(&Twin::new(), &case);
                    let got = walk(&lent.device.backend, &case);
                    assert_eq!(got, expected, "{element:?} {comparison:?}, {:?}", case.walk);
                }
            }
        }
    }
}

fn several(
    rng: &mut Rng,
    compared: (ElementType, Comparison),
    links: (&[u32], bool),
    nodes: usize,
    [walks, list, width, rounds]: [u32; 4],
) -> Case {
    let table = (2 * nodes).next_power_of_two() as u32;
    let walk = WalkOf {
        walks,
        list,
        width,
        rounds,
        team: 4,
        marks: table,
        shared: 2 * table,
    };
    Case::random(rng, compared, (nodes, 8), links, walk)
}

/// Whatever the order in which a device runs the walks of a query: nothing is handed out twice, with its distance, and what a
/// filter hides not at all.
#[test]
fn several_walks_of_a_query_hand_out_each_node_once_in_any_order() {
    let Some(lent) = lend() else { return };
    let (nodes, degree) = (400, 9);
    let mut rng = Rng(24);
    let links = random_links(&mut rng, nodes, degree);
    for seed in 0..12 {
        lent.set_seed(seed);
        for filtered in [false, true] {
            let floats = (ElementType::Float, Comparison::L2Direct);
            let case = several(&mut rng, floats, (&links, filtered), nodes, [4, 16, 1, 40]);
            let (found, scored) = walk(&lent.device.backend, &case);
            for (query, (found, scored)) in case
                .queries
                .chunks_exact(case.stride)
                .zip(found.iter().zip(scored))
            {
                assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "seed {seed}");
                // All of what was seen, or of what was followed or left over.
                let allowed = |row: u32| {
                    let words = case.allow.as_deref();
                    words.is_none_or(|words| words[row as usize / 32] >> (row % 32) & 1 == 1)
                };
                // One after the other, walks keep 16 nodes each that no other has; side by side they may meet at the same ones,
                // which one of them hands out.
                let least = if filtered || seed > 0 { 16 } else { 64 };
                assert!(found.len() >= least && scored as usize >= found.len());
                for &(row, bits) in found {
                    let node = row as usize / 2 * case.stride;
                    let of_node = &case.rows[node..node + case.stride];
                    let of_axis = |(&a, &b)| f32::from_bits(a) - f32::from_bits(b);
                    let differences = query.iter().zip(of_node).map(of_axis);
                    let distance: f32 = differences.map(|difference| difference * difference).sum();
                    assert!(allowed(row) && f32::from_bits(bits) == distance);
                }
            }
        }
    }
}

/// Lists and widths of every size, more links than are compared at a time.
#[test]
fn walks_are_those_of_the_twin() {
    let Some(lent) = lend() else { return };
    let mut rng = Rng(22);
    let shapes = [
        (40usize, 5usize, 4usize, 1u32, 1u32, 3u32, 2u32),
        (300, 8, 12, 20, 1, 30, 4),
        (300, 8, 36, 33, 3, 300, 8),
        (200, 12, 20, 200, 7, 2, 16),
        (1500, 400, 4, 64, 4, 5, 32),
    ];
    for (turn, (nodes, degree, stride, list, width, rounds, team)) in shapes.into_iter().enumerate() {
        let links = random_links(&mut rng, nodes, degree);
        for element in ElementType::ALL {
            for comparison in walked_by(element) {
                for filtered in [false, true] {
                    lent.set_seed(turn as u64);
                    let walk_of = WalkOf {
                        walks: 1,
                        list,
                        width,
                        rounds,
                        team,
                        marks: (2 * nodes).next_power_of_two() as u32,
                        shared: 0,
                    };
                    let compared = (element, comparison);
                    let case = Case::random(&mut rng, compared, (nodes, stride), (&links, filtered), walk_of);
                    let expected = walk(&Twin::new(), &case);
                    let got = walk(&lent.device.backend, &case);
                    assert_eq!(got, expected, "{compared:?}, {nodes} nodes, {:?}", case.walk);
                    assert!(expected.1.iter().all(|&compared| compared >= list));
                }
            }
        }
    }
}
