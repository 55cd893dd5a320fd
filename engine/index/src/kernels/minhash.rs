//! Kernels of MinHash signatures: how many elements two of them share, and whether they share a band of elements.

use super::gather::gather_body;

/// Elements of `N` bytes that are equal in both, over the shared length.
#[inline(always)]
fn equal_body<const N: usize>(a: &[u8], b: &[u8]) -> usize {
    let (a, b) = (a.as_chunks::<N>().0, b.as_chunks::<N>().0);
    a.iter().zip(b).map(|(a, b)| usize::from(a == b)).sum()
}

/// Elements of `element` bytes that are equal in both signatures, over the shared length.
pub(crate) fn equal(a: &[u8], b: &[u8], element: usize) -> usize {
    match element {
        1 => equal_body::<1>(a, b),
        2 => equal_body::<2>(a, b),
        4 => equal_body::<4>(a, b),
        8 => equal_body::<8>(a, b),
        _ => equal_scalar(a, b, element),
    }
}

/// The same for elements of any size, and what the others are tested against.
fn equal_scalar(a: &[u8], b: &[u8], element: usize) -> usize {
    let element = element.max(1);
    let pairs = a.chunks_exact(element).zip(b.chunks_exact(element));
    pairs.filter(|(a, b)| a == b).count()
}

/// The part of the elements that are equal in both signatures, 0 to 1; 0 when there is no element.
#[inline]
#[expect(
    clippy::cast_precision_loss,
    reason = "a signature of the largest dimension has 2^15 elements"
)]
pub(crate) fn similarity(a: &[u8], b: &[u8], element: usize) -> f32 {
    let elements = a.len().min(b.len()) / element.max(1);
    if elements == 0 {
        return 0.0;
    }
    equal(a, b, element) as f32 / elements as f32
}

/// Whether the signatures share a band: the first `bands` groups of `band` bytes, compared as wholes.
#[inline]
pub(crate) fn share_band(a: &[u8], b: &[u8], band: usize, bands: usize) -> bool {
    let band = band.max(1);
    let pairs = a.chunks_exact(band).zip(b.chunks_exact(band));
    pairs.take(bands).any(|(a, b)| a == b)
}

/// `0 - similarity` with rows of `data` by number, infinite where there is none.
pub(crate) fn similarity_gather(query: &[u8], element: usize, data: &[u8], rows: &[u32], out: &mut [f32]) {
    gather_body(query.len(), data, rows, out, |row| {
        0.0 - similarity(query, row, element)
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_width_counts_as_the_scalar_twin(
            pairs in prop::collection::vec((0u8..3, 0u8..3), 0..200),
            element in 1usize..33,
        ) {
            let (a, b): (Vec<u8>, Vec<u8>) = pairs.into_iter().unzip();
            for element in [1, 2, 4, 8, element] {
                prop_assert_eq!(equal(&a, &b, element), equal_scalar(&a, &b, element));
            }
        }
    }

    #[test]
    fn equal_parts_are_counted_by_elements_not_by_bytes() {
        let (a, b) = ([1, 0, 2, 0, 3, 0, 4, 0], [1, 0, 2, 1, 3, 0, 9, 0]);
        assert_eq!(similarity(&a, &b, 2), 0.5);
        assert_eq!(similarity(&a, &b, 1), 0.75);
        assert_eq!(similarity(&a, &b, 4), 0.0);
        assert_eq!(similarity(&a, &a, 8), 1.0);
        assert_eq!(similarity(&[], &[], 4), 0.0);
    }

    #[test]
    fn a_band_counts_when_all_of_it_is_equal() {
        let (a, b) = ([1, 2, 3, 4, 5], [1, 9, 3, 4, 5]);
        assert!(share_band(&a, &b, 2, 2));
        assert!(!share_band(&a, &b, 2, 1));
        // What is left over belongs to no band.
        assert!(!share_band(&[1, 2, 5], &[1, 9, 5], 2, 2));
    }
}
