//! The 64-bit Mersenne Twister, MT19937-64 (Nishimura, "Tables of 64-bit Mersenne Twisters", 2000): C++'s
//! `std::mt19937_64`, whose numbers Milvus' permutations are made of.

const WORDS: usize = 312;
const MIDDLE: usize = 156;
const MATRIX: u64 = 0xb502_6f5a_a966_19e9;
const UPPER: u64 = 0xffff_ffff_8000_0000;
const LOWER: u64 = 0x7fff_ffff;
const MULTIPLIER: u64 = 6_364_136_223_846_793_005;

/// A generator of numbers that depend on its seed alone.
pub(super) struct Twister {
    state: [u64; WORDS],
    next: usize,
}

impl Twister {
    pub(super) fn new(seed: u64) -> Self {
        let mut state = [0; WORDS];
        let mut last = seed;
        for (at, word) in state.iter_mut().enumerate() {
            if at > 0 {
                last = MULTIPLIER.wrapping_mul(last ^ last >> 62).wrapping_add(at as u64);
            }
            *word = last;
        }
        Self { state, next: WORDS }
    }

    pub(super) fn next(&mut self) -> u64 {
        if self.next >= WORDS {
            self.twist();
            self.next = 0;
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 29 & 0x5555_5555_5555_5555;
        word ^= word << 17 & 0x71d6_7fff_eda6_0000;
        word ^= word << 37 & 0xfff7_eee0_0000_0000;
        word ^ word >> 43
    }

    fn twist(&mut self) {
        for at in 0..WORDS {
            let word = self.state[at] & UPPER | self.state[(at + 1) % WORDS] & LOWER;
            let odd = if word & 1 == 1 { MATRIX } else { 0 };
            self.state[at] = self.state[(at + MIDDLE) % WORDS] ^ word >> 1 ^ odd;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ten_thousandth_number_is_that_of_the_cpp_standard() {
        // [rand.predef]: of a default-constructed `mt19937_64`, whose seed is 5489.
        let mut random = Twister::new(5489);
        let last = (0..10_000).map(|_| random.next()).last();
        assert_eq!(last, Some(9_981_545_732_273_789_042));
    }
}
