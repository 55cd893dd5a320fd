//! Serialized indexes: they read back the same, and damage is an error, never a panic or a wrong row.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use elanus_index::{
    Bitset, BuildOptions, BuildParams, Metric, OpenError, SearchParams, SearchStats, VectorIndex, Vectors,
    build, open,
};

use crate::data::{FAMILIES, METRICS, Mixture, Rng};

const DIM: usize = 6;
const ROWS: usize = 3_000;

fn base() -> Vec<f32> {
    Mixture::new(DIM, 20, 3).draw(ROWS)
}

fn built(params: BuildParams, metric: Metric, base: &[f32], valid: Option<&Bitset>) -> Arc<dyn VectorIndex> {
    build(
        &params,
        metric,
        Vectors::new(base, DIM).unwrap(),
        valid,
        &BuildOptions::default(),
    )
    .unwrap()
}

#[test]
fn an_opened_index_answers_like_the_built_one_and_writes_the_same_bytes() {
    let base = base();
    let vectors = Vectors::new(&base, DIM).unwrap();
    let valid = Bitset::from_fn(ROWS, |row| row % 5 != 0);
    for params in FAMILIES {
        for metric in METRICS {
            for valid in [None, Some(&valid)] {
                let index = built(params, metric, &base, valid);
                let blob = Bytes::from(index.serialize());
                let opened = open(blob.clone()).unwrap();
                assert_eq!((opened.kind(), opened.params()), (index.kind(), params));
                assert_eq!(
                    (opened.metric(), opened.dim(), opened.rows()),
                    (metric, DIM, ROWS)
                );
                assert_eq!(opened.serialize(), blob);
                let search = |index: &dyn VectorIndex| {
                    let mut stats = SearchStats::default();
                    index.search(
                        vectors,
                        &base[..DIM],
                        20,
                        &SearchParams::default(),
                        None,
                        &mut stats,
                    )
                };
                assert_eq!(search(&*opened), search(&*index), "{params:?} {metric}");
            }
        }
    }
}

#[test]
fn big_arrays_stay_in_the_blob() {
    let base = base();
    let blob = Bytes::from(built(FAMILIES[2], Metric::Cosine, &base, None).serialize());
    let opened = open(blob.clone()).unwrap();
    assert!(!blob.is_unique(), "the index holds on to the bytes");
    drop(opened);
    assert!(blob.is_unique());
}

#[test]
fn cut_blobs_and_flipped_bits_are_errors() {
    let base = base();
    for params in FAMILIES {
        let blob = built(params, Metric::Cosine, &base, None).serialize();
        let mut rng = Rng(4);
        for _ in 0..300 {
            let len = rng.below(blob.len());
            assert!(matches!(
                open(Bytes::copy_from_slice(&blob[..len])),
                Err(OpenError::Corrupt { .. })
            ));
            let mut damaged = blob.clone();
            damaged[rng.below(blob.len())] ^= 1 << rng.below(8);
            assert!(open(Bytes::from(damaged)).is_err());
        }
    }
    assert!(
        open(Bytes::from_static(
            b"something else entirely, and longer than one header, to be sure that it is read"
        ))
        .is_err()
    );
}

/// Writes right checksums over a damaged body: what remains is the checks of the content itself. The blocks after the
/// arrays of an index on disk are sealed as well.
pub fn reseal(blob: &mut [u8]) {
    let body = u64::from_le_bytes(blob[48..56].try_into().unwrap());
    let end = body.saturating_add(64).min(blob.len() as u64) as usize;
    if blob[12] == 13 {
        let tail = end.next_multiple_of(4096).min(blob.len());
        for block in blob[tail..].chunks_exact_mut(4096) {
            let sum = crc32c::crc32c(&block[..4092]);
            block[4092..].copy_from_slice(&sum.to_le_bytes());
        }
    }
    let body = crc32c::crc32c(&blob[64..end]);
    blob[56..60].copy_from_slice(&body.to_le_bytes());
    let header = crc32c::crc32c(&blob[..60]);
    blob[60..64].copy_from_slice(&header.to_le_bytes());
}

#[test]
fn damage_under_right_checksums_never_panics_nor_returns_a_row_that_is_not_there() {
    let base = base();
    let vectors = Vectors::new(&base, DIM).unwrap();
    let valid = Bitset::from_fn(ROWS, |row| row % 5 != 0);
    let allow = Bitset::from_fn(ROWS, |row| row % 4 == 0);
    for params in FAMILIES {
        let blob = built(params, Metric::L2, &base, Some(&valid)).serialize();
        let mut rng = Rng(8);
        let (mut refused, mut opened) = (0, 0);
        for round in 0..600 {
            let mut damaged = blob.clone();
            // Half of the damage goes to the header and the table, which are small.
            let end = if round % 2 == 0 {
                blob.len()
            } else {
                256.min(blob.len())
            };
            let at = rng.below(end);
            match round % 3 {
                0 => damaged[at] ^= 1 << rng.below(8),
                1 => damaged[at] = 0xff,
                _ => damaged
                    .iter_mut()
                    .skip(at / 4 * 4)
                    .take(4)
                    .for_each(|byte| *byte = 0),
            }
            reseal(&mut damaged);
            let outcome = catch_unwind(AssertUnwindSafe(|| match open(Bytes::from(damaged)) {
                Err(_) => false,
                Ok(index) => {
                    for allow in [None, Some(&allow)] {
                        let mut stats = SearchStats::default();
                        let search = SearchParams {
                            ef: Some(40),
                            nprobe: Some(4),
                            ..SearchParams::default()
                        };
                        let found = index.search(vectors, &base[..DIM], 15, &search, allow, &mut stats);
                        assert!(found.iter().all(|neighbor| (neighbor.row as usize) < ROWS));
                    }
                    true
                }
            }));
            match outcome {
                Ok(true) => opened += 1,
                Ok(false) => refused += 1,
                Err(_) => panic!(
                    "{params:?}: damage at byte {at} of {} in round {round} panics",
                    blob.len()
                ),
            }
        }
        assert!(refused > 50, "{params:?}: {refused} refused, {opened} opened");
    }
}
