//! A batch of queries over lists finds what single searches find.

use elanus_index::{
    Bitset, BuildOptions, BuildParams, Code, Metric, SearchParams, SearchStats, Strategy, Vectors, build,
};

use crate::data::{METRICS, Mixture, allow_percent, coded};

const ROWS: usize = 3_000;
const QUERIES: usize = 40;
const NLIST: u32 = 48;

struct Set {
    dim: usize,
    base: Vec<f32>,
    queries: Vec<f32>,
}

impl Set {
    /// Rows in groups, every seventh twice; queries, of which some are rows, and some are odd.
    fn new(dim: usize) -> Self {
        let mut mixture = Mixture::new(dim, 60, 5);
        let (mut base, mut queries) = (mixture.draw(ROWS), mixture.draw(QUERIES));
        for row in (7..ROWS).step_by(7) {
            base.copy_within((row - 7) * dim..(row - 6) * dim, row * dim);
        }
        queries[..dim].copy_from_slice(&base[7 * dim..8 * dim]);
        queries[dim..2 * dim].fill(0.0);
        queries[2 * dim] = 1e30;
        Self { dim, base, queries }
    }

    fn vectors(&self) -> Vectors<'_> {
        Vectors::new(&self.base, self.dim).unwrap()
    }

    /// Filters: none; some rows; those of one side, where few are near some queries; hardly any; none at all.
    fn filters(&self) -> Vec<Option<Bitset>> {
        let side = Bitset::from_fn(ROWS, |row| self.base[row * self.dim] > 0.5);
        vec![
            None,
            Some(allow_percent(ROWS, 60.0, 3)),
            Some(side),
            Some(allow_percent(ROWS, 0.3, 4)),
            Some(Bitset::new(ROWS)),
        ]
    }

    /// Compares a batch with single searches; gives how many lists were looked at. On so many threads that some parts of the
    /// batch are large whatever the machine has.
    fn check(&self, params: &BuildParams, metric: Metric) -> u64 {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        pool.install(|| self.check_here(params, metric))
    }

    fn check_here(&self, params: &BuildParams, metric: Metric) -> u64 {
        let (vectors, queries) = (self.vectors(), Vectors::new(&self.queries, self.dim).unwrap());
        let index = build(params, metric, vectors, None, &BuildOptions::default()).unwrap();
        let mut lists = 0;
        for allow in self.filters() {
            for (k, nprobe) in [(10, 6), (1, 1), (150, 2), (5, NLIST)] {
                let name = format!(
                    "{params:?} {metric} {k} of {nprobe} lists, filter {}",
                    allow.is_some()
                );
                let search = SearchParams {
                    nprobe: Some(nprobe),
                    ..SearchParams::default()
                };
                let (mut of_batch, mut of_singles) = (SearchStats::default(), SearchStats::default());
                let batch = index.search_batch(vectors, queries, k, &search, allow.as_ref(), &mut of_batch);
                let mut single = |query| {
                    index.search(
                        vectors,
                        queries.row(query),
                        k,
                        &search,
                        allow.as_ref(),
                        &mut of_singles,
                    )
                };
                assert_eq!(batch.len(), QUERIES);
                for (query, found) in batch.iter().enumerate() {
                    assert_eq!(*found, single(query), "{name}: query {query}");
                }
                // Bounds that come in another order leave other rows over.
                if matches!(params, BuildParams::IvfFlat { .. }) {
                    of_batch.distances = of_singles.distances;
                }
                assert_eq!(of_batch, of_singles, "{name}");
                lists += of_batch.lists;
            }
        }
        lists
    }
}

#[test]
fn a_batch_over_lists_finds_what_single_searches_find() {
    let rabitq = |bits| Code::Rabitq {
        bits,
        fast_scan: false,
    };
    let families = |dim: u32| {
        // So many lists that the nearest are looked for by codes.
        let many = 300;
        let mut families = vec![
            BuildParams::IvfFlat { nlist: NLIST },
            BuildParams::IvfFlat { nlist: many },
            coded(many, Code::Scalar { bits: 8 }),
        ];
        families.extend(
            [
                Code::Scalar { bits: 8 },
                Code::Scalar { bits: 6 },
                Code::Scalar { bits: 4 },
                Code::Product { m: dim / 4, nbits: 8 },
                Code::Product { m: dim / 4, nbits: 9 },
                Code::Scann { sub_dim: 2 },
                rabitq(1),
                rabitq(4),
            ]
            .map(|code| coded(NLIST, code)),
        );
        families
    };
    for dim in [12, 136, 256] {
        let set = Set::new(dim);
        for params in families(dim as u32) {
            let metrics = if dim == 136 { &METRICS[..] } else { &METRICS[..1] };
            for &metric in metrics {
                assert!(set.check(&params, metric) > 0, "{params:?} {metric}");
            }
        }
    }
}

#[test]
fn batches_of_the_wrong_shape_or_of_nothing_find_nothing() {
    let set = Set::new(40);
    let (vectors, other) = (set.vectors(), vec![0.0; 3 * 41]);
    let index = build(
        &coded(NLIST, Code::Scalar { bits: 8 }),
        METRICS[0],
        vectors,
        None,
        &BuildOptions::default(),
    )
    .unwrap();
    let (params, mut stats) = (SearchParams::default(), SearchStats::default());
    let other = Vectors::new(&other, 41).unwrap();
    let found = index.search_batch(vectors, other, 3, &params, None, &mut stats);
    assert_eq!(found, vec![Vec::new(); 3]);
    let none = Vectors::new(&[], 40).unwrap();
    assert!(
        index
            .search_batch(vectors, none, 3, &params, None, &mut stats)
            .is_empty()
    );
}

#[test]
fn queries_that_bounds_are_no_help_for_are_searched_one_after_the_other() {
    let (rows, copies, dim, count) = (20_000, 18_000, 32, 1_024);
    let mut base = Mixture::new(dim, 60, 5).draw(rows);
    let copied = base[..dim].to_vec();
    for row in 0..copies {
        base[row * dim..][..dim].copy_from_slice(&copied);
    }
    let near = |query: usize| {
        copied
            .iter()
            .map(move |value| value * (1.0 + query as f32 * 1e-4))
    };
    let queries: Vec<f32> = (0..count).flat_map(near).collect();
    let (vectors, queries) = (
        Vectors::new(&base, dim).unwrap(),
        Vectors::new(&queries, dim).unwrap(),
    );
    let params = BuildParams::IvfFlat { nlist: 64 };
    let index = build(&params, Metric::L2, vectors, None, &BuildOptions::default()).unwrap();
    let search = SearchParams {
        nprobe: Some(2),
        ..SearchParams::default()
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        let (mut of_batch, mut of_single) = (SearchStats::default(), SearchStats::default());
        let batch = index.search_batch(vectors, queries, 10, &search, None, &mut of_batch);
        assert_eq!(of_batch.strategy, Strategy::Lists);
        for query in (0..count).step_by(100) {
            let single = index.search(vectors, queries.row(query), 10, &search, None, &mut of_single);
            assert_eq!(batch[query], single, "query {query}");
        }
    });
}
