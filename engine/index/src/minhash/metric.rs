//! MHJACCARD: how alike two MinHash signatures are.
//!
//! A signature is a row of elements of some bytes each, the smallest values that as many hash functions take on a set.
//! Two sets have the same smallest value with the probability of their Jaccard similarity, so the part of the elements
//! that are equal estimates it (Broder, "On the resemblance and containment of documents", 1997, section 3).

use crate::kernels::minhash;

/// Most bytes of an element.
const MAX_ELEMENT: u8 = 32;

/// How signatures are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MinHash {
    /// Bytes of an element, 1 to 32.
    element: u8,
    /// `None`: by the part of the elements that are equal. Otherwise by whether the signatures share one of so many bands.
    bands: Option<u32>,
}

impl MinHash {
    /// By equal elements of 8 bits, Milvus' default.
    pub const EIGHT_BITS: Self = Self {
        element: 1,
        bands: None,
    };

    /// By the part of the elements of `element_bits` bits that are equal; 8 to 256 bits in steps of 8, others are taken to the
    /// nearest below.
    pub fn similarity(element_bits: u32) -> Self {
        let bytes = (element_bits / 8).clamp(1, u32::from(MAX_ELEMENT));
        Self {
            element: bytes as u8,
            bands: None,
        }
    }

    /// By whether the same signatures share one of `bands` bands: 1 when they do, else 0.
    pub fn of_bands(self, bands: u32) -> Self {
        Self {
            bands: Some(bands.max(1)),
            ..self
        }
    }

    /// The same signatures by the part of equal elements.
    pub fn of_elements(self) -> Self {
        Self { bands: None, ..self }
    }

    /// Bits of an element.
    pub fn element_bits(self) -> u32 {
        u32::from(self.element) * 8
    }

    pub(crate) fn element_bytes(self) -> usize {
        usize::from(self.element)
    }

    /// `-similarity` of two signatures, -1 to 0; the longer one is cut to the shorter.
    #[inline]
    pub fn distance(self, a: &[u8], b: &[u8]) -> f32 {
        match self.bands {
            None => 0.0 - minhash::similarity(a, b, self.element_bytes()),
            Some(bands) => {
                let bands = Bands::of(a.len(), self.element_bytes(), bands);
                if minhash::share_band(a, b, bands.bytes, bands.count) {
                    -1.0
                } else {
                    0.0
                }
            }
        }
    }

    /// [`MinHash::distance`] to rows of `data` by number, infinite where there is none.
    pub(crate) fn gather(self, query: &[u8], data: &[u8], rows: &[u32], out: &mut [f32]) {
        if self.bands.is_none() {
            minhash::similarity_gather(query, self.element_bytes(), data, rows, out);
            return;
        }
        for (slot, &row) in out.iter_mut().zip(rows) {
            let start = row as usize * query.len();
            let stored = data.get(start..start + query.len());
            *slot = stored.map_or(f32::INFINITY, |stored| self.distance(query, stored));
        }
    }
}

/// The bands of signatures of one length: equal groups of elements, those that are left over in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bands {
    /// How many there are.
    pub(crate) count: usize,
    /// Bytes of each.
    pub(crate) bytes: usize,
}

impl Bands {
    /// Of signatures of `width` bytes with elements of `element` bytes. There are no more bands than elements.
    pub(crate) fn of(width: usize, element: usize, wanted: u32) -> Self {
        let element = element.max(1);
        let elements = width / element;
        let count = (wanted as usize).clamp(1, elements.max(1));
        Self {
            count,
            bytes: elements / count * element,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_equal_groups_of_elements() {
        let of = |width, wanted| Bands::of(width, 4, wanted);
        assert_eq!(of(64, 4), Bands { count: 4, bytes: 16 });
        // 16 elements, 5 bands of 3, one left over.
        assert_eq!(of(64, 5), Bands { count: 5, bytes: 12 });
        assert_eq!(of(64, 99), Bands { count: 16, bytes: 4 });
        assert_eq!(of(64, 0), Bands { count: 1, bytes: 64 });
    }

    #[test]
    fn shared_bands_are_all_or_nothing_and_elements_count_one_by_one() {
        let a = [1, 0, 2, 0, 3, 0, 4, 0];
        let b = [1, 0, 2, 0, 9, 0, 9, 0];
        let by_elements = MinHash::similarity(16);
        assert_eq!(by_elements.distance(&a, &b), -0.5);
        assert_eq!(by_elements.of_bands(2).distance(&a, &b), -1.0);
        assert_eq!(by_elements.of_bands(1).distance(&a, &b), 0.0);
        let mut out = [0.0; 2];
        by_elements.of_bands(2).gather(&a, &b, &[0, 7], &mut out);
        assert_eq!(out, [-1.0, f32::INFINITY]);
    }

    #[test]
    fn nothing_shared_is_zero_and_not_negative_zero() {
        let metric = MinHash::similarity(8);
        for metric in [metric, metric.of_bands(4)] {
            assert_eq!(metric.distance(&[1; 8], &[2; 8]).to_bits(), 0.0f32.to_bits());
        }
    }
}
