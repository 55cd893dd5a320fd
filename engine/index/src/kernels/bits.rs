//! Kernels of bit vectors: how many bits differ, how many are in both, how many in either.
//!
//! Eight bytes are counted at a time; the bytes behind the last whole word make a word of their own.

use super::narrow::gather_body;

/// Bits in the shared length of two vectors, by how they meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Meeting {
    /// Set in both.
    pub both: u64,
    /// Set in at least one.
    pub either: u64,
}

impl Meeting {
    /// `1 - both / either`; 1 when no bit is set in either.
    #[inline]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a count of bits is at most 2^18 in a vector of the largest dimension, and rounded above 2^24"
    )]
    pub(crate) fn jaccard(self) -> f32 {
        if self.either == 0 {
            1.0
        } else {
            (self.either - self.both) as f32 / self.either as f32
        }
    }
}

#[inline(always)]
fn count_words(a: &[u8], b: &[u8], mut count: impl FnMut(u64, u64)) {
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
    count(tail(a_words.1), tail(b_words.1));
}

#[inline(always)]
fn differing_body(a: &[u8], b: &[u8]) -> u64 {
    let mut sum = 0;
    count_words(a, b, |a, b| sum += u64::from((a ^ b).count_ones()));
    sum
}

#[inline(always)]
fn meeting_body(a: &[u8], b: &[u8]) -> Meeting {
    let mut meeting = Meeting::default();
    count_words(a, b, |a, b| {
        meeting.both += u64::from((a & b).count_ones());
        meeting.either += u64::from((a | b).count_ones());
    });
    meeting
}

/// A kernel with the instruction that counts bits, where this machine has it.
macro_rules! counted {
    ($(#[$doc:meta])* $name:ident = $body:ident($($arg:ident: $type:ty),+) $(-> $result:ty)?) => {
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name($($arg: $type),+) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "popcnt")]
                fn counted($($arg: $type),+) $(-> $result)? {
                    $body($($arg),+)
                }
                if std::arch::is_x86_feature_detected!("popcnt") {
                    // SAFETY: the machine has the instruction.
                    return unsafe { counted($($arg),+) };
                }
            }
            $body($($arg),+)
        }
    };
}

#[inline(always)]
fn differing_gather_body(query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
    gather_body(query.len(), data, rows, out, |row| {
        differing_body(query, row) as f32
    });
}

#[inline(always)]
fn jaccard_gather_body(query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
    gather_body(query.len(), data, rows, out, |row| {
        meeting_body(query, row).jaccard()
    });
}

counted! {
    /// Bits that differ over the shared length.
    differing = differing_body(a: &[u8], b: &[u8]) -> u64
}
counted! {
    /// How the bits meet over the shared length.
    meeting = meeting_body(a: &[u8], b: &[u8]) -> Meeting
}
counted! {
    /// [`differing`] for rows of `data` by number, infinite where there is none; rows are as long as the query.
    differing_gather = differing_gather_body(query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32])
}
counted! {
    /// [`Meeting::jaccard`] with rows of `data` by number, infinite where there is none.
    jaccard_gather = jaccard_gather_body(query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(bytes: &[u8]) -> Vec<bool> {
        bytes
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1))
            .collect()
    }

    proptest! {
        #[test]
        fn counts_equal_those_bit_by_bit(pairs in prop::collection::vec(any::<(u8, u8)>(), 0..70)) {
            let (a, b): (Vec<u8>, Vec<u8>) = pairs.into_iter().unzip();
            let (x, y) = (bits(&a), bits(&b));
            let count = |test: fn(bool, bool) -> bool| x.iter().zip(&y).filter(|(x, y)| test(**x, **y)).count() as u64;
            let expected = Meeting { both: count(|x, y| x & y), either: count(|x, y| x | y) };
            for got in [differing(&a, &b), differing_body(&a, &b)] {
                prop_assert_eq!(got, count(|x, y| x != y));
            }
            for got in [meeting(&a, &b), meeting_body(&a, &b)] {
                prop_assert_eq!(got, expected);
            }
        }
    }

    #[test]
    fn the_longer_one_is_cut() {
        assert_eq!(differing(&[0xff, 0xff], &[0x0f]), 4);
    }
}
