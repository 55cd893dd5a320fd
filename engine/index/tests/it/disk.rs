//! The graph on disk: right answers with a part of the memory, from files that may be damaged.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use elanus_index::{
    AnyIndex, AnyMetric, Bitset, BuildOptions, BuildParams, DiskParams, DiskSearch, Metric, Neighbor,
    OpenError, Ratio, Rows, SearchParams, SearchStats, Strategy, VectorRef, Vectors, VectorsRef, Window,
    exact_search_any,
};

use crate::data::{METRICS, Mixture, check_sound, on_disk, oracle, recall};

const ROWS: usize = 6_000;
const DIM: usize = 64;
const QUERIES: usize = 30;

/// A file that is gone at the end of a test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(content: &[u8]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("elanus-disk-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Codes and kept blocks of less than a tenth of the vectors.
const SMALL: BuildParams = BuildParams::Disk(DiskParams {
    max_degree: 32,
    search_list_size: 80,
    code_ratio: Ratio(62_500),
    cache_ratio: Ratio(10_000),
});

fn wide(search_list: u32) -> SearchParams {
    SearchParams {
        disk: DiskSearch {
            search_list: Some(search_list),
            beamwidth: Some(4),
        },
        ..SearchParams::default()
    }
}

fn built(params: BuildParams, metric: Metric, vectors: VectorsRef<'_>, valid: Option<&Bitset>) -> Vec<u8> {
    let options = BuildOptions::default();
    let index = AnyIndex::build(&params, metric.into(), vectors, valid, &options).unwrap();
    index.serialize()
}

fn halves(data: &[f32]) -> Vec<u16> {
    // Normal numbers only: sign, exponent and the upper bits of the fraction.
    let half = |value: &f32| {
        let bits = value.clamp(-60_000.0, 60_000.0).to_bits();
        let exponent = (bits >> 23 & 0xff) as i32 - 127 + 15;
        let rest = if exponent <= 0 {
            0
        } else {
            (exponent as u32) << 10 | bits >> 13 & 0x3ff
        };
        (bits >> 16 & 0x8000 | rest) as u16
    };
    data.iter().map(half).collect()
}

#[test]
fn every_type_and_metric_is_found_with_a_tenth_of_the_memory_and_without_the_segment() {
    let mut mixture = Mixture::new(DIM, 80, 7);
    let (base, queries) = (mixture.draw(ROWS), mixture.draw(QUERIES));
    let zeros = vec![0.0f32; base.len()];
    let upper =
        |data: &[f32]| -> Vec<u16> { data.iter().map(|value| (value.to_bits() >> 16) as u16).collect() };
    let (half_base, half_queries) = (halves(&base), halves(&queries));
    let (upper_base, upper_queries) = (upper(&base), upper(&queries));
    let no_bits = vec![0u16; base.len()];
    let rows = |data| Rows::new(data, DIM).unwrap();
    let float_rows = |data| VectorsRef::Floats(Vectors::new(data, DIM).unwrap());
    // Rows, queries, and rows of the same shape that say nothing: a walk must not need the segment's.
    let cases = [
        (float_rows(&base), float_rows(&queries), float_rows(&zeros)),
        (
            VectorsRef::Halves(rows(&half_base)),
            VectorsRef::Halves(rows(&half_queries)),
            VectorsRef::Halves(rows(&no_bits)),
        ),
        (
            VectorsRef::BFloat16s(rows(&upper_base)),
            VectorsRef::BFloat16s(rows(&upper_queries)),
            VectorsRef::BFloat16s(rows(&no_bits)),
        ),
    ];
    for (vectors, queries, nothing) in cases {
        let row_bytes = DIM
            * if matches!(vectors, VectorsRef::Floats(_)) {
                4
            } else {
                2
            };
        for metric in METRICS {
            let file = Temporary::new(&built(SMALL, metric, vectors, None));
            let index = AnyIndex::open_file(file.path()).unwrap();
            assert_eq!((index.kind().to_string(), index.rows()), ("DISKANN".into(), ROWS));
            assert_eq!(index.metric(), metric);
            let mut stats = SearchStats::default();
            let mut sum = 0.0;
            for query in (0..QUERIES).map(|number| queries.row(number)) {
                let found = index
                    .search(nothing, query, 10, &wide(120), None, &mut stats)
                    .unwrap();
                assert_eq!(stats.strategy, Strategy::Graph);
                let all = exact_search_any(
                    metric.into(),
                    vectors,
                    query,
                    500,
                    Window::default(),
                    None,
                    &mut SearchStats::default(),
                )
                .unwrap();
                assert!(found.is_sorted());
                let near = found.iter().filter(|row| row.distance <= all[499].distance);
                assert!(
                    near.into_iter().all(|row| all.contains(row)),
                    "distances are exact"
                );
                sum += recall(&found, &all[..10]);
            }
            let kind = queries.row(0).kind();
            assert!(
                sum / QUERIES as f64 >= 0.95,
                "{kind} {metric}: recall {}",
                sum / QUERIES as f64
            );
            assert!(stats.reads > 0, "nodes are read from the file");
            // Codebooks, marks of visited nodes and the memory of one batch do not grow with the vectors' length.
            let fixed = DIM * 256 * 4 + 2 * ROWS + 8 * 4096 + 4096;
            let allowed = ROWS * row_bytes / 10 + fixed;
            assert!(
                index.memory_bytes() <= allowed,
                "{kind} {metric}: {} bytes, allowed {allowed}",
                index.memory_bytes()
            );
        }
    }
}

struct Set {
    base: Vec<f32>,
    file: Temporary,
    blob: Vec<u8>,
}

impl Set {
    fn new(metric: Metric) -> Self {
        let base = Mixture::new(16, 80, 5).draw(6_000);
        let vectors = VectorsRef::Floats(Vectors::new(&base, 16).unwrap());
        let blob = built(on_disk(), metric, vectors, None);
        Self {
            file: Temporary::new(&blob),
            base,
            blob,
        }
    }

    fn vectors(&self) -> Vectors<'_> {
        Vectors::new(&self.base, 16).unwrap()
    }

    fn search(
        &self,
        index: &AnyIndex,
        params: &SearchParams,
        allow: Option<&Bitset>,
    ) -> (Vec<Neighbor>, SearchStats) {
        let mut stats = SearchStats::default();
        let query = VectorRef::Floats(self.vectors().row(77));
        let found = index.search(
            VectorsRef::Floats(self.vectors()),
            query,
            10,
            params,
            allow,
            &mut stats,
        );
        (found.unwrap(), stats)
    }
}

#[test]
fn from_a_file_or_from_memory_it_is_the_same_index() {
    let set = Set::new(Metric::Cosine);
    assert!(AnyIndex::belongs_in_file(&set.blob));
    let memory = AnyIndex::open(set.blob.clone().into()).unwrap();
    let file = AnyIndex::open_file(set.file.path()).unwrap();
    assert!(memory.serialize() == set.blob && file.serialize() == set.blob);
    assert!(file.memory_bytes() < memory.memory_bytes() / 4);
    let (from_memory, _) = set.search(&memory, &wide(50), None);
    let (from_file, stats) = set.search(&file, &wide(50), None);
    assert_eq!(from_memory, from_file);
    assert_eq!(stats.strategy, Strategy::Graph);
    // The file may go: it is held open.
    std::fs::remove_file(set.file.path()).unwrap();
    assert_eq!(set.search(&file, &wide(50), None).0, from_memory);
    // An index of another kind is read as a whole.
    let flat = built(
        BuildParams::Flat,
        Metric::L2,
        VectorsRef::Floats(set.vectors()),
        None,
    );
    assert!(!AnyIndex::belongs_in_file(&flat));
    let flat = Temporary::new(&flat);
    assert_eq!(
        AnyIndex::open_file(flat.path()).unwrap().kind().to_string(),
        "FLAT"
    );
}

#[test]
fn wider_beams_take_fewer_turns_and_find_as_much() {
    let set = Set::new(Metric::L2);
    let index = AnyIndex::open_file(set.file.path()).unwrap();
    let expected = oracle(Metric::L2, set.vectors(), set.vectors().row(77), 10, None);
    for beamwidth in [1, 2, 16, 128] {
        let mut params = wide(80);
        params.disk.beamwidth = Some(beamwidth);
        let (found, stats) = set.search(&index, &params, None);
        check_sound(Metric::L2, set.vectors(), set.vectors().row(77), &found, None);
        assert!(recall(&found, &expected) >= 0.9, "{beamwidth}: {found:?}");
        assert!(stats.reads <= stats.hops && stats.hops >= 80, "{stats:?}");
    }
}

#[test]
fn filters_and_windows_are_kept_in_files_too() {
    let set = Set::new(Metric::L2);
    let index = AnyIndex::open_file(set.file.path()).unwrap();
    let (vectors, query) = (set.vectors(), set.vectors().row(77));
    let nothing = Bitset::new(6_000);
    assert!(set.search(&index, &wide(50), Some(&nothing)).0.is_empty());
    let most = Bitset::from_fn(6_000, |row| row % 10 != 3);
    let (found, stats) = set.search(&index, &wide(60), Some(&most));
    check_sound(Metric::L2, vectors, query, &found, Some(&most));
    assert_eq!((found.len(), stats.strategy), (10, Strategy::GraphFiltered));
    assert!(recall(&found, &oracle(Metric::L2, vectors, query, 10, Some(&most))) >= 0.9);
    // Page after page, as an iterator asks for them, gives nearly all rows in order.
    let all = oracle(Metric::L2, vectors, query, 300, None);
    let (mut pages, mut last): (Vec<Neighbor>, Option<f32>) = (Vec::new(), None);
    while pages.len() < 100 {
        let params = SearchParams {
            within: Window::new(last.map(f32::next_up), None),
            ..wide(40)
        };
        let (page, _) = set.search(&index, &params, None);
        assert_eq!(page.len(), 10);
        last = page.last().map(|neighbor| neighbor.distance);
        pages.extend(page);
    }
    assert!(pages.is_sorted());
    assert!(recall(&pages, &all[..100]) >= 0.95);
}

#[test]
fn many_threads_search_one_file() {
    let set = Set::new(Metric::Ip);
    let index = AnyIndex::open_file(set.file.path()).unwrap();
    let (expected, _) = set.search(&index, &wide(40), None);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..30 {
                    assert_eq!(set.search(&index, &wide(40), None).0, expected);
                }
            });
        }
    });
}

#[test]
fn damaged_blocks_are_noticed_and_their_rows_scanned() {
    let set = Set::new(Metric::L2);
    let expected = oracle(Metric::L2, set.vectors(), set.vectors().row(77), 10, None);
    let file = File::options().write(true).open(set.file.path()).unwrap();
    let index = AnyIndex::open_file(set.file.path()).unwrap();
    let blocks = set.blob.len() / 4096;
    // The last quarter: nothing that is kept in memory.
    for block in blocks * 3 / 4..blocks {
        file.write_all_at(&[0xa5; 64], block as u64 * 4096 + 100).unwrap();
    }
    // Long enough to meet such a block.
    let (found, stats) = set.search(&index, &wide(190), None);
    assert_eq!((found, stats.strategy), (expected.clone(), Strategy::Exact));
    // Shorter than it was.
    file.set_len(set.blob.len() as u64 / 2).unwrap();
    let (found, stats) = set.search(&index, &wide(190), None);
    assert_eq!((found, stats.strategy), (expected, Strategy::Exact));
}

#[test]
fn files_that_are_no_index_are_refused() {
    let set = Set::new(Metric::L2);
    let refused = |content: &[u8]| {
        let file = Temporary::new(content);
        AnyIndex::open_file(file.path()).unwrap_err()
    };
    for length in [0, 10, 63, 64, 4_096, set.blob.len() / 2, set.blob.len() - 1] {
        let error = refused(&set.blob[..length]);
        assert!(
            matches!(error, OpenError::Corrupt { .. } | OpenError::Read { .. }),
            "{length}: {error}"
        );
    }
    let mut longer = set.blob.clone();
    longer.extend([0; 4096]);
    assert!(matches!(refused(&longer), OpenError::Corrupt { .. }));
    for at in [20, 60, 70, 500, 3_000] {
        let mut damaged = set.blob.clone();
        damaged[at] ^= 4;
        assert!(
            matches!(refused(&damaged), OpenError::Corrupt { .. }),
            "byte {at}"
        );
    }
    // A length of the head that no file has must not be asked for.
    let mut huge = set.blob.clone();
    huge[48..56].fill(0xff);
    assert!(matches!(refused(&huge), OpenError::Corrupt { .. }));
    let missing = AnyIndex::open_file(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(matches!(missing, OpenError::Read { .. }), "{missing}");
}

#[test]
fn other_types_of_vectors_have_no_graph_on_disk() {
    let options = BuildOptions::default();
    let bits = VectorsRef::Bits(Rows::new(&[1u8, 2, 3], 1).unwrap());
    let error = AnyIndex::build(&SMALL, "HAMMING".parse().unwrap(), bits, None, &options).unwrap_err();
    assert!(error.to_string().contains("DISKANN"), "{error}");
    let integers = VectorsRef::Int8s(Rows::new(&[1i8, 2, 3], 1).unwrap());
    let metric = AnyMetric::from(Metric::L2);
    let error = AnyIndex::build(&SMALL, metric, integers, None, &options).unwrap_err();
    assert!(error.to_string().contains("DISKANN"), "{error}");
}
