//! A set of row numbers as one bit per row: which rows a search may return.

/// A fixed-length set of bits; bits at or beyond `len` are always zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bitset {
    words: Vec<u64>,
    len: usize,
}

impl Bitset {
    /// `len` bits, none set.
    pub fn new(len: usize) -> Self {
        Self {
            words: vec![0; len.div_ceil(64)],
            len,
        }
    }

    /// `len` bits, all set.
    pub fn full(len: usize) -> Self {
        let mut set = Self {
            words: vec![u64::MAX; len.div_ceil(64)],
            len,
        };
        set.trim();
        set
    }

    /// `len` bits, bit `i` as `keep(i)` says.
    pub fn from_fn(len: usize, mut keep: impl FnMut(usize) -> bool) -> Self {
        let mut set = Self::new(len);
        for (index, word) in set.words.iter_mut().enumerate() {
            let first = index * 64;
            for bit in 0..64.min(len - first) {
                *word |= u64::from(keep(first + bit)) << bit;
            }
        }
        set
    }

    /// Takes bits from little-endian words (bit `i` is bit `i % 64` of word `i / 64`); missing words are zero, bits
    /// beyond `len` are dropped.
    pub fn from_words(mut words: Vec<u64>, len: usize) -> Self {
        words.resize(len.div_ceil(64), 0);
        let mut set = Self { words, len };
        set.trim();
        set
    }

    fn trim(&mut self) {
        let tail = self.len % 64;
        if tail != 0
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << tail) - 1;
        }
    }

    /// Number of bits, set or not.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bits at all (not: whether none is set, see [`Bitset::count`]).
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether bit `index` is set; false beyond the end.
    #[inline]
    pub fn get(&self, index: usize) -> bool {
        self.words
            .get(index / 64)
            .is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Sets bit `index`; beyond the end nothing happens.
    #[inline]
    pub fn set(&mut self, index: usize) {
        debug_assert!(index < self.len, "bit {index} of {}", self.len);
        if index < self.len
            && let Some(word) = self.words.get_mut(index / 64)
        {
            *word |= 1 << (index % 64);
        }
    }

    /// Sets the bits from `from` to before `to`; beyond the end nothing happens.
    pub fn set_range(&mut self, from: usize, to: usize) {
        let to = to.min(self.len);
        if from >= to {
            return;
        }
        let (first, last) = (from / 64, (to - 1) / 64);
        let (head, tail) = (u64::MAX << (from % 64), u64::MAX >> (63 - (to - 1) % 64));
        let words = self.words.get_mut(first..=last).unwrap_or_default();
        if let [only] = words {
            *only |= head & tail;
        } else if let [start, whole @ .., end] = words {
            *start |= head;
            whole.fill(u64::MAX);
            *end |= tail;
        }
    }

    /// Clears bit `index`; beyond the end nothing happens.
    #[inline]
    pub fn clear(&mut self, index: usize) {
        if let Some(word) = self.words.get_mut(index / 64) {
            *word &= !(1 << (index % 64));
        }
    }

    /// Number of set bits; counts the words every time.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Number of set bits at or after `from` and before `to`.
    pub fn count_range(&self, from: usize, to: usize) -> usize {
        let to = to.min(self.len);
        let from = from.min(to);
        let ones = |words: &[u64]| words.iter().map(|word| word.count_ones() as usize).sum::<usize>();
        // Set bits before `end`.
        let before = |end: usize, first_word: usize| {
            let whole = self.words.get(first_word..end / 64).map_or(0, ones);
            let tail = self
                .words
                .get(end / 64)
                .map_or(0, |word| word & ((1 << (end % 64)) - 1));
            whole + tail.count_ones() as usize
        };
        let first_word = from / 64;
        before(to, first_word) - before(from, first_word)
    }

    /// Keeps the bits that are also set in `other`; bits beyond the end of `other` count as not set.
    pub fn and(&mut self, other: &Self) {
        self.combine(other, |a, b| a & b);
    }

    /// Keeps the bits that are not set in `other`.
    pub fn and_not(&mut self, other: &Self) {
        self.combine(other, |a, b| a & !b);
    }

    /// Adds the bits that are set in `other`; bits beyond the end of `self` are dropped.
    pub fn or(&mut self, other: &Self) {
        self.combine(other, |a, b| a | b);
        self.trim();
    }

    /// Adds the bits that are set in these words, as [`Bitset::words`] gives them.
    pub(crate) fn or_words(&mut self, words: &[u64]) {
        for (word, other) in self.words.iter_mut().zip(words) {
            *word |= other;
        }
        self.trim();
    }

    /// Flips every bit.
    pub fn not(&mut self) {
        for word in &mut self.words {
            *word = !*word;
        }
        self.trim();
    }

    fn combine(&mut self, other: &Self, operation: impl Fn(u64, u64) -> u64) {
        let padded = other.words.iter().copied().chain(std::iter::repeat(0));
        for (word, other_word) in self.words.iter_mut().zip(padded) {
            *word = operation(*word, other_word);
        }
    }

    /// Set bits in ascending order.
    pub fn iter(&self) -> Ones<'_> {
        self.iter_range(0, self.len)
    }

    /// Set bits at or after `from` and before `to`, in ascending order.
    pub fn iter_range(&self, from: usize, to: usize) -> Ones<'_> {
        let to = to.min(self.len);
        let from = from.min(to);
        let word = self
            .words
            .get(from / 64)
            .map_or(0, |word| word & (u64::MAX << (from % 64)));
        Ones {
            words: &self.words,
            next: from / 64,
            word,
            to,
        }
    }

    /// The bits as little-endian words, `len.div_ceil(64)` of them.
    #[inline]
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

impl<'a> IntoIterator for &'a Bitset {
    type Item = usize;
    type IntoIter = Ones<'a>;

    fn into_iter(self) -> Ones<'a> {
        self.iter()
    }
}

/// Iterator over set bits, see [`Bitset::iter`].
#[derive(Debug, Clone)]
pub struct Ones<'a> {
    words: &'a [u64],
    next: usize,
    word: u64,
    to: usize,
}

impl Iterator for Ones<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.word == 0 {
            self.next += 1;
            if self.next * 64 >= self.to {
                return None;
            }
            self.word = *self.words.get(self.next)?;
        }
        let index = self.next * 64 + self.word.trailing_zeros() as usize;
        if index >= self.to {
            return None;
        }
        self.word &= self.word - 1;
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_like_a_vector_of_booleans(a in prop::collection::vec(any::<bool>(), 0..300), seed in any::<u64>()) {
            let len = a.len();
            let b: Vec<bool> = (0..len).map(|i| seed.rotate_left(i as u32) & 1 == 1).collect();
            let (set_a, set_b) = (Bitset::from_fn(len, |i| a[i]), Bitset::from_fn(len, |i| b[i]));
            let ones: Vec<usize> = (0..len).filter(|&i| a[i]).collect();
            prop_assert_eq!(set_a.iter().collect::<Vec<_>>(), ones.clone());
            prop_assert_eq!(set_a.count(), ones.len());
            let (from, to) = (len / 3, len - len / 4);
            let inside: Vec<usize> = ones.iter().copied().filter(|i| (from..to).contains(i)).collect();
            prop_assert_eq!(set_a.count_range(from, to), inside.len());
            prop_assert_eq!(set_a.iter_range(from, to).collect::<Vec<_>>(), inside);
            let check = |operation: fn(&mut Bitset, &Bitset), expect: fn(bool, bool) -> bool| {
                let mut set = set_a.clone();
                operation(&mut set, &set_b);
                set == Bitset::from_fn(len, |i| expect(a[i], b[i]))
            };
            prop_assert!(check(Bitset::and, |a, b| a && b));
            prop_assert!(check(Bitset::or, |a, b| a || b));
            prop_assert!(check(Bitset::and_not, |a, b| a && !b));
            let mut flipped = set_a.clone();
            flipped.not();
            prop_assert_eq!(flipped, Bitset::from_fn(len, |i| !a[i]));
            prop_assert_eq!(Bitset::from_words(set_a.words().to_vec(), len), set_a.clone());
            let (from, to) = (len / 3, len - len / 5);
            let mut ranged = set_a;
            ranged.set_range(from, to);
            prop_assert_eq!(ranged, Bitset::from_fn(len, |i| a[i] || (from..to).contains(&i)));
        }
    }

    #[test]
    fn bits_beyond_the_end_stay_zero() {
        let mut set = Bitset::full(70);
        assert_eq!(set.count(), 70);
        assert!(!set.get(70));
        set.clear(69);
        set.clear(700);
        set.set_range(65, 9);
        set.set_range(64, 900);
        set.clear(69);
        set.not();
        assert_eq!(set.iter().collect::<Vec<_>>(), [69]);
        let mut short = Bitset::full(3);
        short.or(&Bitset::full(100));
        assert_eq!(short.count(), 3);
        short.and(&Bitset::full(1));
        assert_eq!(short.iter().collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn an_empty_set_has_nothing() {
        assert_eq!(Bitset::new(0).iter().next(), None);
        assert_eq!(Bitset::full(0).count(), 0);
        assert_eq!(Bitset::full(64).iter_range(64, 64).next(), None);
    }
}
