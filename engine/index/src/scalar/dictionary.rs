//! Distinct values in ascending order, found by binary search. The place of a value is its *code*.
//!
//! Numbers are kept as keys: unsigned integers in the order of the numbers. For floats that is the total order of IEEE 754
//! with one zero, since comparisons know only one.

use crate::blob::{Array, Numbers, Reader, Writer};
use crate::error::OpenError;

const SIGN: u64 = 1 << 63;

/// An integer's key.
pub(super) fn int_key(value: i64) -> u64 {
    value as u64 ^ SIGN
}

/// The integer of a key.
pub(super) fn int_of(key: u64) -> i64 {
    (key ^ SIGN) as i64
}

/// A float's key.
pub(super) fn float_key(value: f64) -> u64 {
    let bits = if value == 0.0 { 0 } else { value.to_bits() };
    if bits & SIGN == 0 { bits ^ SIGN } else { !bits }
}

/// Distinct values, ascending.
#[derive(Debug)]
pub(super) enum Dictionary {
    Numbers(Array<u64>),
    /// Text `i` is `bytes[starts[i]..starts[i + 1]]`.
    Texts {
        starts: Array<u64>,
        bytes: Array<u8>,
    },
}

impl Dictionary {
    /// Arrays that [`Dictionary::put`] adds to a blob.
    pub const ARRAYS: usize = 2;

    /// Of keys, ascending.
    pub fn of_numbers(keys: Vec<u64>) -> Self {
        Self::Numbers(Array::Owned(keys))
    }

    /// Of texts, ascending.
    pub fn of_texts(texts: &[&str]) -> Self {
        let mut starts = Vec::with_capacity(texts.len() + 1);
        let mut bytes = Vec::with_capacity(texts.iter().map(|text| text.len()).sum());
        starts.push(0);
        for text in texts {
            bytes.extend_from_slice(text.as_bytes());
            starts.push(bytes.len() as u64);
        }
        Self::Texts {
            starts: Array::Owned(starts),
            bytes: Array::Owned(bytes),
        }
    }

    pub fn put<'a>(&'a self, writer: &mut Writer<'a>) {
        match self {
            Self::Numbers(keys) => {
                writer.put(&keys[..]);
                writer.put(Vec::<u8>::new());
            }
            Self::Texts { starts, bytes } => {
                writer.put(&starts[..]);
                writer.put(&bytes[..]);
            }
        }
    }

    pub fn open<H: crate::blob::Heading>(
        reader: &Reader<H>,
        at: usize,
        texts: bool,
    ) -> Result<Self, OpenError> {
        let numbers = reader.array::<u64>(at, "values")?;
        if !texts {
            if !numbers.is_sorted_by(|a, b| a < b) {
                return Err(OpenError::corrupt("values do not ascend"));
            }
            return Ok(Self::Numbers(numbers));
        }
        let bytes = reader.array::<u8>(at + 1, "texts")?;
        let ends_well = numbers.first() == Some(&0) && numbers.last() == Some(&(bytes.len() as u64));
        if !ends_well || !numbers.is_sorted() {
            return Err(OpenError::corrupt("places of texts do not ascend"));
        }
        let opened = Self::Texts {
            starts: numbers,
            bytes,
        };
        if !(1..opened.len()).all(|code| opened.text(code - 1) < opened.text(code)) {
            return Err(OpenError::corrupt("texts do not ascend"));
        }
        Ok(opened)
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(keys) => keys.len(),
            Self::Texts { starts, .. } => starts.len().saturating_sub(1),
        }
    }

    /// The keys of numbers; none of texts.
    pub fn keys(&self) -> &[u64] {
        match self {
            Self::Numbers(keys) => keys,
            Self::Texts { .. } => &[],
        }
    }

    /// The text of a code; empty for one that has none.
    pub fn text(&self, code: usize) -> &[u8] {
        let Self::Texts { starts, bytes } = self else {
            return &[];
        };
        let place = |code: usize| starts.get(code).map(|start| *start as usize);
        match (place(code), place(code + 1)) {
            (Some(start), Some(end)) => bytes.get(start..end).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The first code whose key is not below `key`.
    pub fn lower_number(&self, key: u64) -> usize {
        self.keys().partition_point(|known| *known < key)
    }

    /// The first code whose text is not below `text`.
    pub fn lower_text(&self, text: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.text(middle) < text {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The code of a text.
    pub fn find_text(&self, text: &[u8]) -> Option<usize> {
        let code = self.lower_text(text);
        (code < self.len() && self.text(code) == text).then_some(code)
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Numbers(keys) => keys.bytes(),
            Self::Texts { starts, bytes } => starts.bytes() + Numbers::bytes(&&bytes[..]),
        }
    }
}
