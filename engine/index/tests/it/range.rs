//! Searches within a window of distances, against sorting all rows.

use elanus_index::{
    BuildOptions, BuildParams, DiskSearch, Metric, Neighbor, SearchParams, SearchStats, Strategy, Vectors,
    Window, build,
};

use crate::data::{FAMILIES, Mixture, allow_percent, check_sound, oracle, recall};

const ROWS: usize = 4_000;
const DIM: usize = 16;
const K: usize = 20;

/// The right answer: all rows sorted, those of the window, the first `K`.
fn rows_within(sorted: &[Neighbor], window: Window) -> Vec<Neighbor> {
    let inside = sorted
        .iter()
        .filter(|neighbor| window.contains(neighbor.distance));
    inside.take(K).copied().collect()
}

/// Windows around places in the sorted list of all rows, so that they hold rows whatever the metric is.
fn windows(sorted: &[Neighbor]) -> Vec<Window> {
    let at = |place: usize| sorted.get(place).map(|neighbor| neighbor.distance);
    vec![
        // fewer rows than k, as many, and more
        Window::new(None, at(7)),
        Window::new(None, at(K)),
        Window::new(None, at(500)),
        // the next page after some rows
        Window::new(at(K), None),
        Window::new(at(300), None),
        // rings
        Window::new(at(10), at(15)),
        Window::new(at(100), at(400)),
        Window::new(at(1_500), at(1_510)),
        // a bound that is a distance: the near end is in, the far end is not
        Window::new(at(3), at(3)),
        // nothing there
        Window::new(None, Some(f32::MIN)),
        Window::new(Some(f32::MAX), None),
    ]
}

/// So few that graphs of some thousand rows are walked.
fn few_candidates() -> SearchParams {
    SearchParams {
        ef: Some(48),
        disk: DiskSearch {
            search_list: Some(48),
            ..DiskSearch::default()
        },
        ..SearchParams::default()
    }
}

fn by_graph(params: &BuildParams) -> bool {
    matches!(
        params,
        BuildParams::Hnsw { .. } | BuildParams::HnswCoded(_) | BuildParams::Disk(_)
    )
}

#[test]
fn every_family_finds_the_rows_of_a_window_and_no_others() {
    let mut mixture = Mixture::new(DIM, 60, 23);
    let (base, queries) = (mixture.draw(ROWS), mixture.draw(3));
    let vectors = Vectors::new(&base, DIM).unwrap();
    for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
        for (params, short) in FAMILIES
            .into_iter()
            .flat_map(|params| [(params, false), (params, true)])
        {
            let search = if short {
                few_candidates()
            } else {
                SearchParams::default()
            };
            let index = build(&params, metric, vectors, None, &BuildOptions::default()).unwrap();
            for percent in [None, Some(50.0), Some(2.0)] {
                let allow = percent.map(|percent| allow_percent(ROWS, percent, 7));
                let (mut sum, mut count, mut walked) = (0.0, 0.0, 0);
                for query in queries.chunks(DIM) {
                    let sorted = oracle(metric, vectors, query, ROWS, allow.as_ref());
                    for within in windows(&sorted) {
                        let search = SearchParams { within, ..search };
                        let mut stats = SearchStats::default();
                        let found = index.search(vectors, query, K, &search, allow.as_ref(), &mut stats);
                        walked += usize::from(stats.strategy == Strategy::Graph);
                        let expected = rows_within(&sorted, within);
                        check_sound(metric, vectors, query, &found, allow.as_ref());
                        assert!(found.iter().all(|neighbor| within.contains(neighbor.distance)));
                        assert!(found.len() <= expected.len(), "{params:?} {metric} {within:?}");
                        if !expected.is_empty() {
                            sum += recall(&found, &expected);
                            count += 1.0;
                        }
                    }
                }
                let mean = sum / count;
                let case = format!("{params:?} {metric} {percent:?} {short}");
                let least = match (params, metric) {
                    (BuildParams::Flat, _) => 1.0,
                    (_, Metric::Ip) if short => 0.8,
                    _ => 0.9,
                };
                assert!(mean >= least, "{case}: recall {mean}");
                if by_graph(&params) && short && allow.is_none() {
                    assert!(walked >= 9, "{case}: {walked} walks");
                }
            }
        }
    }
}

#[test]
fn a_graph_walks_for_a_narrow_range_and_scans_for_a_far_one() {
    let mut mixture = Mixture::new(DIM, 60, 29);
    let base = mixture.draw(ROWS);
    let vectors = Vectors::new(&base, DIM).unwrap();
    let params = BuildParams::Hnsw {
        m: 8,
        ef_construction: 60,
    };
    let index = build(&params, Metric::L2, vectors, None, &BuildOptions::default()).unwrap();
    let query = vectors.row(5);
    let sorted = oracle(Metric::L2, vectors, query, ROWS, None);
    let strategy = |within: Window| {
        let mut stats = SearchStats::default();
        let search = SearchParams {
            within,
            ef: Some(32),
            ..SearchParams::default()
        };
        index.search(vectors, query, K, &search, None, &mut stats);
        stats.strategy
    };
    assert_eq!(
        strategy(Window::new(None, Some(sorted[9].distance))),
        Strategy::Graph
    );
    assert_eq!(
        strategy(Window::new(Some(sorted[9].distance), None)),
        Strategy::Graph
    );
    assert_eq!(
        strategy(Window::new(Some(sorted[3_000].distance), None)),
        Strategy::Exact
    );
}

/// Pages as an iterator asks for them: each window begins behind the last row of the page before.
#[test]
fn pages_over_lists_go_on_where_the_last_one_ended() {
    const PAGES: usize = 8;
    let mut mixture = Mixture::new(DIM, 60, 31);
    let (base, queries) = (mixture.draw(ROWS), mixture.draw(5));
    let vectors = Vectors::new(&base, DIM).unwrap();
    let allow = allow_percent(ROWS, 60.0, 7);
    for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
        let params = BuildParams::IvfFlat { nlist: 128 };
        let index = build(&params, metric, vectors, None, &BuildOptions::default()).unwrap();
        for allow in [None, Some(&allow)] {
            let (mut sum, mut by_lists) = (0.0, 0);
            for query in queries.chunks(DIM) {
                let sorted = oracle(metric, vectors, query, PAGES * K, allow);
                let mut search = SearchParams {
                    nprobe: Some(8),
                    ..SearchParams::default()
                };
                let mut all: Vec<Neighbor> = Vec::new();
                for _ in 0..PAGES {
                    let mut stats = SearchStats::default();
                    let page = index.search(vectors, query, K, &search, allow, &mut stats);
                    check_sound(metric, vectors, query, &page, allow);
                    assert_eq!(page.len(), K, "{metric}");
                    by_lists += usize::from(matches!(
                        stats.strategy,
                        Strategy::Lists | Strategy::ListsFiltered
                    ));
                    all.extend(&page);
                    search.within = Window::new(page.last().map(|last| last.distance.next_up()), None);
                }
                assert!(all.is_sorted_by(|a, b| a.distance <= b.distance), "{metric}");
                let mut rows: Vec<u32> = all.iter().map(|neighbor| neighbor.row).collect();
                rows.sort_unstable();
                rows.dedup();
                assert_eq!(rows.len(), PAGES * K, "{metric}: a row came twice");
                sum += recall(&all, &sorted);
            }
            let mean = sum / 5.0;
            assert!(mean >= 0.9, "{metric}: recall {mean}");
            assert!(by_lists >= 10, "{metric}: {by_lists} pages by lists");
        }
    }
}

#[test]
fn pages_of_every_family_go_on_where_the_last_one_ended() {
    const PAGES: usize = 4;
    let mut mixture = Mixture::new(DIM, 20, 33);
    let (base, queries) = (mixture.draw(ROWS), mixture.draw(4));
    let vectors = Vectors::new(&base, DIM).unwrap();
    for params in FAMILIES {
        let index = build(&params, Metric::L2, vectors, None, &BuildOptions::default()).unwrap();
        let (mut sum, mut walked) = (0.0, 0);
        for query in queries.chunks(DIM) {
            let mut search = few_candidates();
            let mut all: Vec<Neighbor> = Vec::new();
            for _ in 0..PAGES {
                let mut stats = SearchStats::default();
                let page = index.search(vectors, query, K, &search, None, &mut stats);
                walked += usize::from(stats.strategy == Strategy::Graph);
                assert_eq!(page.len(), K, "{params:?}");
                all.extend(&page);
                search.within = Window::new(page.last().map(|last| last.distance.next_up()), None);
            }
            // Distances are exact, and no row comes twice.
            check_sound(Metric::L2, vectors, query, &all, None);
            sum += recall(&all, &oracle(Metric::L2, vectors, query, PAGES * K, None));
        }
        assert!(sum / 4.0 >= 0.9, "{params:?}: recall {}", sum / 4.0);
        if by_graph(&params) {
            assert!(walked >= 4, "{params:?}: {walked} pages by walks");
        }
    }
}

#[test]
fn lists_without_a_row_of_the_range_end_a_search_when_they_are_as_many_as_said() {
    let mut mixture = Mixture::new(DIM, 60, 37);
    let (base, queries) = (mixture.draw(ROWS), mixture.draw(5));
    let vectors = Vectors::new(&base, DIM).unwrap();
    let params = BuildParams::IvfFlat { nlist: 128 };
    let index = build(&params, Metric::L2, vectors, None, &BuildOptions::default()).unwrap();
    for query in queries.chunks(DIM) {
        let sorted = oracle(Metric::L2, vectors, query, 200, None);
        let within = Window::new(None, Some(sorted[60].distance));
        let lists = |max_empty_result_buckets| {
            let search = SearchParams {
                nprobe: Some(2),
                max_empty_result_buckets,
                within,
                ..SearchParams::default()
            };
            let mut stats = SearchStats::default();
            let found = index.search(vectors, query, 100, &search, None, &mut stats);
            assert_eq!(stats.strategy, Strategy::Lists);
            (stats.lists, found.len())
        };
        let [(one, few), (two, some), (many, more), (all, every)] =
            [Some(1), None, Some(40), Some(0)].map(lists);
        assert_eq!(lists(Some(2)), (two, some), "the default");
        assert!(one < many && two < many && many < all, "{one} {two} {many} {all}");
        assert_eq!((all, every), (128, 60));
        assert!(few <= some && some <= more && more <= every);
    }
}
