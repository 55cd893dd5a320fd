//! The same input and seed build the same bytes, whatever the number of threads.

use elanus_index::{Bitset, BuildOptions, BuildParams, Metric, Vectors, build};

use crate::data::{FAMILIES, METRICS, Mixture};

fn blob(
    params: BuildParams,
    metric: Metric,
    base: &[f32],
    valid: Option<&Bitset>,
    seed: u64,
    threads: usize,
) -> Vec<u8> {
    let vectors = Vectors::new(base, 24).unwrap();
    let options = BuildOptions {
        seed,
        threads,
        memory: None,
        progress: &(),
    };
    build(&params, metric, vectors, valid, &options)
        .unwrap()
        .serialize()
}

#[test]
fn threads_do_not_change_the_bytes() {
    let base = Mixture::new(24, 50, 3).draw(5_000);
    let valid = Bitset::from_fn(5_000, |row| row % 7 != 0);
    for params in FAMILIES {
        for metric in METRICS {
            let one = blob(params, metric, &base, Some(&valid), 1, 1);
            for threads in [1, 2, 4] {
                assert!(
                    blob(params, metric, &base, Some(&valid), 1, threads) == one,
                    "{params:?} {metric} {threads}"
                );
            }
        }
    }
}

#[test]
fn another_seed_builds_another_index() {
    let base = Mixture::new(24, 50, 3).draw(2_000);
    for params in [FAMILIES[1], FAMILIES[2]] {
        assert!(
            blob(params, Metric::L2, &base, None, 1, 2) != blob(params, Metric::L2, &base, None, 2, 2),
            "{params:?}"
        );
    }
}
