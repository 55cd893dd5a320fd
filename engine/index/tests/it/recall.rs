//! Unfiltered searches against the oracle on clustered data.

use elanus_index::{BuildOptions, BuildParams, Metric, SearchParams, SearchStats, Strategy, Vectors, build};

use crate::data::{METRICS, Mixture, check_sound, oracle, recall};

const ROWS: usize = 20_000;
const DIM: usize = 64;
const QUERIES: usize = 100;

/// Mean recall of 10 neighbours, and the distances computed per query.
fn measure(params: BuildParams, metric: Metric, search: SearchParams, strategy: Strategy) -> (f64, f64) {
    let mut mixture = Mixture::new(DIM, 200, 7);
    let (base, queries) = (mixture.draw(ROWS), mixture.draw(QUERIES));
    let (vectors, queries) = (
        Vectors::new(&base, DIM).unwrap(),
        Vectors::new(&queries, DIM).unwrap(),
    );
    let index = build(&params, metric, vectors, None, &BuildOptions::default()).unwrap();
    assert_eq!(
        (index.kind(), index.metric(), index.dim(), index.rows()),
        (params.kind(), metric, DIM, ROWS)
    );
    assert_eq!(index.params(), params);
    let mut stats = SearchStats::default();
    let mut sum = 0.0;
    for query in (0..QUERIES).map(|index| queries.row(index)) {
        let found = index.search(vectors, query, 10, &search, None, &mut stats);
        assert_eq!(stats.strategy, strategy);
        check_sound(metric, vectors, query, &found, None);
        assert_eq!(found.len(), 10);
        sum += recall(&found, &oracle(metric, vectors, query, 10, None));
    }
    (sum / QUERIES as f64, stats.distances as f64 / QUERIES as f64)
}

#[test]
fn a_graph_finds_nearly_all_neighbours_with_a_fraction_of_the_work() {
    let params = BuildParams::Hnsw {
        m: 16,
        ef_construction: 120,
    };
    for (metric, least) in [(Metric::L2, 0.985), (Metric::Cosine, 0.985), (Metric::Ip, 0.9)] {
        let search = SearchParams {
            ef: Some(64),
            nprobe: None,
            ..SearchParams::default()
        };
        let (recall, distances) = measure(params, metric, search, Strategy::Graph);
        assert!(recall >= least, "{metric} recall {recall}");
        assert!(distances < ROWS as f64 / 10.0, "{metric} distances {distances}");
    }
}

#[test]
fn a_wider_candidate_list_finds_more() {
    let params = BuildParams::Hnsw {
        m: 4,
        ef_construction: 20,
    };
    let at = |ef| {
        measure(
            params,
            Metric::L2,
            SearchParams {
                ef: Some(ef),
                nprobe: None,
                ..SearchParams::default()
            },
            Strategy::Graph,
        )
        .0
    };
    let (narrow, wide) = (at(10), at(200));
    assert!(
        narrow < wide && wide > 0.95,
        "recall {narrow} at ef 10, {wide} at ef 200"
    );
}

#[test]
fn lists_find_nearly_all_neighbours_with_a_fraction_of_the_work() {
    for metric in METRICS {
        let search = SearchParams {
            nprobe: Some(16),
            ef: None,
            ..SearchParams::default()
        };
        let (recall, distances) = measure(
            BuildParams::IvfFlat { nlist: 128 },
            metric,
            search,
            Strategy::Lists,
        );
        assert!(recall >= 0.95, "{metric} recall {recall}");
        assert!(distances < ROWS as f64 / 3.0, "{metric} distances {distances}");
    }
}

#[test]
fn probing_every_list_is_exact() {
    let search = SearchParams {
        nprobe: Some(128),
        ef: None,
        ..SearchParams::default()
    };
    let (recall, _) = measure(
        BuildParams::IvfFlat { nlist: 128 },
        Metric::L2,
        search,
        Strategy::Lists,
    );
    assert_eq!(recall, 1.0);
}
