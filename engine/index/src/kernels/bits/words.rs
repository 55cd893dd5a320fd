//! Bits counted eight bytes at a time, with the instruction of x86-64 and in plain Rust; the bytes behind the last whole word
//! make a word of their own.

use super::{Meeting, table};

/// Calls `count` for the words of the shared length.
#[inline(always)]
pub(super) fn count_words(a: &[u8], b: &[u8], mut count: impl FnMut(u64, u64)) {
    let shared = a.len().min(b.len());
    let (a, b) = (&a[..shared], &b[..shared]);
    let (a_words, b_words) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a_words.0.iter().zip(b_words.0) {
        count(u64::from_le_bytes(*a), u64::from_le_bytes(*b));
    }
    let tail = |rest: &[u8]| {
        rest.iter()
            .rev()
            .fold(0u64, |word, byte| word << 8 | u64::from(*byte))
    };
    if !a_words.1.is_empty() {
        count(tail(a_words.1), tail(b_words.1));
    }
}

#[inline(always)]
pub(super) fn differing(a: &[u8], b: &[u8]) -> u64 {
    let mut sum = 0;
    count_words(a, b, |a, b| sum += u64::from((a ^ b).count_ones()));
    sum
}

#[inline(always)]
pub(super) fn meeting(a: &[u8], b: &[u8]) -> Meeting {
    let mut meeting = Meeting::default();
    count_words(a, b, |a, b| {
        meeting.both += u64::from((a & b).count_ones());
        meeting.either += u64::from((a | b).count_ones());
    });
    meeting
}

table!(PORTABLE, "portable", differing, meeting);

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "popcnt")]
fn counted_differing(a: &[u8], b: &[u8]) -> u64 {
    differing(a, b)
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "popcnt")]
fn counted_meeting(a: &[u8], b: &[u8]) -> Meeting {
    meeting(a, b)
}

#[cfg(target_arch = "x86_64")]
table!(
    #[target_feature(enable = "popcnt")]
    POPCNT,
    "popcnt",
    counted_differing,
    counted_meeting
);
