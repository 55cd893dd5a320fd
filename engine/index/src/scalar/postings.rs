//! The rows of each value: lists of row numbers, or one bitmap for each value when that is smaller.

use std::ops::Range;

use super::Lists;
use crate::bitset::Bitset;
use crate::blob::{Array, Heading, Reader, Writer};
use crate::error::OpenError;

/// Rows of codes.
#[derive(Debug)]
pub(super) enum Postings {
    /// Rows of code `i` are `rows[starts[i]..starts[i + 1]]`, ascending.
    Lists { starts: Array<u32>, rows: Array<u32> },
    /// Bits of code `i` are `words[i * per_code..]`, `per_code` words.
    Bitmaps { words: Array<u64>, per_code: usize },
}

impl Postings {
    /// Arrays that [`Postings::put`] adds to a blob.
    pub const ARRAYS: usize = 3;

    /// Of lists of numbers below `rows`.
    pub fn new(rows: usize, lists: Lists) -> Self {
        let Lists { starts, numbers } = lists;
        let codes = starts.len().saturating_sub(1);
        let per_code = rows.div_ceil(64);
        if codes * per_code * size_of::<u64>() > numbers.len() * size_of::<u32>() {
            return Self::Lists {
                starts: Array::Owned(starts),
                rows: Array::Owned(numbers),
            };
        }
        let mut words = Vec::with_capacity(codes * per_code);
        for code in 0..codes {
            let mut bits = Bitset::new(rows);
            let of_code = numbers.get(Lists::range(&starts, &(code..code + 1)));
            for row in of_code.unwrap_or_default() {
                bits.set(*row as usize);
            }
            words.extend_from_slice(bits.words());
        }
        Self::Bitmaps {
            words: Array::Owned(words),
            per_code,
        }
    }

    pub fn put<'a>(&'a self, writer: &mut Writer<'a>) {
        match self {
            Self::Lists { starts, rows } => {
                writer.put(&starts[..]);
                writer.put(&rows[..]);
                writer.put(Vec::<u64>::new());
            }
            Self::Bitmaps { words, .. } => {
                writer.put(Vec::<u32>::new());
                writer.put(Vec::<u32>::new());
                writer.put(&words[..]);
            }
        }
    }

    /// Opens the postings of `codes` values over `rows` rows.
    pub fn open<H: Heading>(
        reader: &Reader<H>,
        at: usize,
        codes: usize,
        rows: usize,
    ) -> Result<Self, OpenError> {
        let starts = reader.array::<u32>(at, "starts of postings")?;
        if starts.is_empty() {
            let per_code = rows.div_ceil(64);
            let words = reader.array_of::<u64>(at + 2, codes * per_code, "words of postings")?;
            return Ok(Self::Bitmaps { words, per_code });
        }
        let numbers = reader.array::<u32>(at + 1, "postings")?;
        let whole = starts.len() == codes + 1
            && starts.first() == Some(&0)
            && starts.last().map(|end| *end as usize) == Some(numbers.len());
        if !whole || !starts.is_sorted() {
            return Err(OpenError::corrupt("starts of postings do not fit the values"));
        }
        if numbers.iter().any(|row| *row as usize >= rows) {
            return Err(OpenError::corrupt(format!("a posting beyond {rows} rows")));
        }
        Ok(Self::Lists {
            starts,
            rows: numbers,
        })
    }

    /// Sets the bits of the rows of these codes.
    pub fn fill(&self, codes: Range<usize>, bits: &mut Bitset) {
        match self {
            Self::Lists { starts, rows } => {
                let range = Lists::range(starts, &codes);
                for row in rows.get(range).unwrap_or_default() {
                    bits.set(*row as usize);
                }
            }
            Self::Bitmaps { words, per_code } => {
                for code in codes {
                    let of_code = words.get(code * per_code..(code + 1) * per_code);
                    bits.or_words(of_code.unwrap_or_default());
                }
            }
        }
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Lists { starts, rows } => starts.bytes() + rows.bytes(),
            Self::Bitmaps { words, .. } => words.bytes(),
        }
    }
}
