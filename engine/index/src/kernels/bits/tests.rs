//! Every table against counting bit by bit, at all lengths.

use proptest::prelude::*;

use super::*;
use crate::rng::Rng;

/// Whether a bit of each vector meets what is counted.
type Test = fn(bool, bool) -> bool;

fn count(a: &[u8], b: &[u8], test: Test) -> u64 {
    let set = |byte: u8, bit: u32| byte >> bit & 1 == 1;
    let bits = a
        .iter()
        .zip(b)
        .flat_map(|(a, b)| (0..8).map(move |bit| (set(*a, bit), set(*b, bit))));
    bits.filter(|(a, b)| test(*a, *b)).count() as u64
}

fn meeting_of(a: &[u8], b: &[u8]) -> Meeting {
    Meeting {
        both: count(a, b, |a, b| a & b),
        either: count(a, b, |a, b| a | b),
    }
}

/// Bytes of which about `dense` of 16 bits are set.
fn bytes(count: usize, dense: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut bit = |byte: u8| byte << 1 | u8::from(rng.below(16) < dense);
    (0..count).map(|_| (0..8).fold(0, |byte, _| bit(byte))).collect()
}

/// Whole words and registers, what lies between, and what takes more steps than counts of a byte can hold.
fn widths() -> impl Strategy<Value = usize> {
    prop_oneof![
        prop::sample::select(vec![1usize, 8, 16, 32, 64, 128, 256]),
        1usize..200,
        480usize..520,
        980usize..1010,
    ]
}

proptest! {
    #[test]
    fn counts_equal_those_bit_by_bit(width in 0usize..1100, dense in 0usize..=16, seed in any::<u64>()) {
        let data = bytes(2 * width, dense, seed);
        let (a, b) = data.split_at(width);
        for table in available() {
            prop_assert_eq!(table.differing(a, b), count(a, b, |a, b| a != b), "{}", table.name);
            prop_assert_eq!(table.meeting(a, b), meeting_of(a, b), "{}", table.name);
        }
    }

    #[test]
    fn rows_by_number_have_the_distances_of_pairs(
        width in widths(), rows in 1usize..40, dense in 0usize..=16, seed in any::<u64>(), shape in 0u8..4
    ) {
        let data = bytes((rows + 1) * width, dense, seed);
        let (query, data) = data.split_at(width);
        let all = 0..rows as u32;
        let picked: Vec<u32> = match shape {
            // Those of a scan, of a part of one, of a list, and some that are not there.
            0 => all.collect(),
            1 => all.skip(rows / 3).collect(),
            2 => all.map(|row| (row * 7 + 3) % rows as u32).collect(),
            _ => all.map(|row| if row % 5 == 1 { u32::MAX - row } else { row }).collect(),
        };
        let expected = |distance: &dyn Fn(&[u8]) -> f32| -> Vec<f32> {
            let row = |row: u32| data.get(row as usize * width..(row as usize + 1) * width);
            picked.iter().map(|number| row(*number).map_or(f32::INFINITY, distance)).collect()
        };
        let hamming = expected(&|row| count(query, row, |a, b| a != b) as f32);
        let jaccard = expected(&|row| meeting_of(query, row).jaccard());
        for table in available() {
            let mut out = vec![-1.0; picked.len()];
            table.differing_gather(query, data, &picked, &mut out);
            prop_assert_eq!(&out, &hamming, "{}", table.name);
            table.jaccard_gather(query, data, &picked, &mut out);
            prop_assert_eq!(&out, &jaccard, "{}", table.name);
        }
    }
}

#[test]
fn no_count_overflows_where_all_bits_are_set() {
    let (full, empty) = (vec![0xffu8; 5_003], vec![0u8; 5_003]);
    for table in available() {
        assert_eq!(table.differing(&full, &empty), 8 * 5_003, "{}", table.name);
        let both = Meeting {
            both: 8 * 5_003,
            either: 8 * 5_003,
        };
        assert_eq!(table.meeting(&full, &full), both, "{}", table.name);
        let mut out = [-1.0; 3];
        table.jaccard_gather(&empty, &empty, &[0, 1, 0], &mut out);
        assert_eq!(out, [1.0, f32::INFINITY, 1.0], "{}", table.name);
    }
}

#[test]
fn the_longer_side_is_cut_and_slots_without_a_row_stay() {
    for table in available() {
        assert_eq!(table.differing(&[0xff, 0xff], &[0x0f]), 4, "{}", table.name);
        let mut out = [7.0; 3];
        table.differing_gather(&[1], &[1, 3], &[1, 0], &mut out);
        assert_eq!(out, [1.0, 0.0, 7.0], "{}", table.name);
        table.differing_gather(&[1], &[1, 3], &[0, 1, 0], &mut out[..2]);
        assert_eq!(out, [0.0, 1.0, 7.0], "{}", table.name);
        table.differing_gather(&[], &[1, 3], &[0, 1], &mut out);
        table.differing_gather(&[1], &[], &[], &mut out);
        assert_eq!(out, [0.0, 0.0, 7.0], "{}", table.name);
    }
}

#[test]
fn the_portable_table_is_always_there_and_last() {
    assert_eq!(available().last().map(|table| table.name), Some("portable"));
}
