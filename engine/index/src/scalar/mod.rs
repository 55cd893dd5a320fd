//! The index of a scalar column: which rows have which value.
//!
//! ```text
//!   row      0    1    2     3    4    5        dictionary   ant  bee  cat      distinct values, ascending
//!   value   bee  ant  NULL  cat  bee  ant       postings      |    |    |
//!                                               rows         1 5  0 4   3      ascending within a value
//!                                               nulls        2
//! ```
//!
//! One structure serves every type: numbers, texts, booleans and instants (as integers), and arrays, of which each row
//! is in the postings of every element it has. A test becomes ranges of the dictionary, found by binary search
//! ([`dictionary`]), and these become rows ([`postings`]). The answer is a [`Verdict`]: for each row what the test may be
//! there, so that answers combine to those of whole conditions by the rules of three-valued logic.
//!
//! Rows that the index cannot speak for (`others`) may be anything in every answer; whoever asks looks at their values.
//!
//! An index on texts may have [`grams`]: for every short run of characters the texts that have it.
//!
//! Shapes have no order. Theirs is a tree of the rectangles around them ([`extents`]); [`ColumnIndex`] is either.

mod answer;
mod column_index;
mod dictionary;
mod extents;
mod grams;
mod postings;
#[cfg(test)]
mod tests;
mod verdict;

use std::ops::Range;

use bytes::Bytes;
use rayon::prelude::*;

pub use self::answer::{Distinct, Key, ScalarTest};
pub use self::column_index::ColumnIndex;
use self::dictionary::{Dictionary, float_key, int_key};
pub use self::extents::{Extent, ExtentColumn, ExtentIndex};
pub use self::grams::GramLengths;
use self::grams::Grams;
use self::postings::Postings;
pub use self::verdict::Verdict;
use crate::bitset::Bitset;
use crate::blob::{Heading, Reader, Shape, Writer};
use crate::error::{BuildError, OpenError};
use crate::index::{MAX_ROWS, in_pool};
use crate::progress::BuildOptions;

/// Layout of the arrays of a blob.
const LAYOUT: u32 = 1;
/// The first code of a kind of values; those below are of indexes on vectors.
const FIRST_CODE: u8 = 16;

/// What kind of values an index is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// 64-bit integers, and what is one inside: smaller ones, booleans, instants.
    Int,
    /// 64-bit floats.
    Float,
    /// Texts, in the order of their bytes.
    Text,
}

impl ValueKind {
    const ALL: [Self; 3] = [Self::Int, Self::Float, Self::Text];
}

/// The values of a column: each with its row, in any order. A row may have several, that of an array.
#[derive(Debug)]
pub enum Values<'a> {
    /// Integers.
    Ints(Vec<(i64, u32)>),
    /// Floats; rows with a NaN count as `others`.
    Floats(Vec<(f64, u32)>),
    /// Texts.
    Texts(Vec<(&'a str, u32)>),
    /// Texts of which rows have many: each text once, in any order, and the place of a text among them with its row.
    Terms {
        /// Distinct texts.
        texts: Vec<&'a str>,
        /// Places and rows.
        pairs: Vec<(u32, u32)>,
    },
}

/// A column as an index is built from it.
#[derive(Debug)]
pub struct ScalarColumn<'a> {
    /// Rows, all of them.
    pub rows: usize,
    /// Their values.
    pub values: Values<'a>,
    /// Rows without a value.
    pub nulls: Bitset,
    /// Rows that the values say nothing about.
    pub others: Bitset,
}

/// The index of a scalar column, see the module.
#[derive(Debug)]
pub struct ScalarIndex {
    rows: usize,
    kind: ValueKind,
    nulls: Bitset,
    others: Bitset,
    dictionary: Dictionary,
    postings: Postings,
    grams: Option<Grams>,
}

#[derive(Debug, Clone, Copy)]
struct ScalarHeader {
    kind: ValueKind,
    rows: usize,
    grams: Option<GramLengths>,
}

impl Heading for ScalarHeader {
    fn to_shape(&self) -> Shape {
        let code = ValueKind::ALL.iter().position(|kind| *kind == self.kind);
        let (min, max) = self.grams.map_or((0, 0), |grams| (grams.min(), grams.max()));
        Shape {
            kind: FIRST_CODE + code.unwrap_or(0) as u8,
            metric: 0,
            element: 0,
            dim: 0,
            rows: self.rows,
            numbers: [LAYOUT, min, max, 0],
        }
    }

    fn from_shape(shape: &Shape) -> Result<Self, OpenError> {
        let code = shape.kind.checked_sub(FIRST_CODE).map(usize::from);
        let kind = code.and_then(|code| ValueKind::ALL.get(code)).copied();
        let kind =
            kind.ok_or_else(|| OpenError::corrupt(format!("code {} of an index on scalars", shape.kind)))?;
        let [layout, min, max, _] = shape.numbers;
        if layout != LAYOUT {
            return Err(OpenError::Version {
                found: layout,
                known: LAYOUT,
            });
        }
        let grams = match (min, max) {
            (0, 0) => None,
            _ => {
                let lengths = GramLengths::new(min, max);
                Some(lengths.ok_or_else(|| OpenError::corrupt(format!("grams of {min} to {max}")))?)
            }
        };
        Ok(Self {
            kind,
            rows: shape.rows,
            grams,
        })
    }
}

impl ScalarIndex {
    /// Builds the index of a column; with `grams` (on texts) also for parts of texts.
    ///
    /// # Errors
    /// Too many rows or values, cancellation, or threads that cannot be started.
    pub fn build(
        column: ScalarColumn<'_>,
        grams: Option<GramLengths>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        if column.rows > MAX_ROWS {
            return Err(too_many(column.rows));
        }
        in_pool(options, || Self::build_here(column, grams, options))
    }

    fn build_here(
        column: ScalarColumn<'_>,
        lengths: Option<GramLengths>,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let ScalarColumn {
            rows,
            values,
            nulls,
            mut others,
        } = column;
        let wanted = || {
            if options.progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            Ok(())
        };
        wanted()?;
        let (kind, dictionary, lists) = match values {
            Values::Ints(values) => {
                let keyed = values.into_par_iter().map(|(value, row)| (int_key(value), row));
                let groups = Groups::of(keyed.collect())?;
                (ValueKind::Int, Dictionary::of_numbers(groups.keys), groups.lists)
            }
            Values::Floats(values) => {
                for (_, row) in values.iter().filter(|(value, _)| value.is_nan()) {
                    others.set(*row as usize);
                }
                let keyed = values.into_par_iter().filter(|(value, _)| !value.is_nan());
                let groups = Groups::of(keyed.map(|(value, row)| (float_key(value), row)).collect())?;
                (
                    ValueKind::Float,
                    Dictionary::of_numbers(groups.keys),
                    groups.lists,
                )
            }
            Values::Texts(values) => {
                let groups = Groups::of(values)?;
                (ValueKind::Text, Dictionary::of_texts(&groups.keys), groups.lists)
            }
            Values::Terms { texts, pairs } => {
                let (texts, groups) = in_order(texts, pairs)?;
                (ValueKind::Text, Dictionary::of_texts(&texts), groups.lists)
            }
        };
        wanted()?;
        let postings = Postings::new(rows, lists);
        let grams = match (lengths, kind) {
            (Some(lengths), ValueKind::Text) => Some(Grams::build(lengths, &dictionary, options)?),
            (_, ValueKind::Int | ValueKind::Float | ValueKind::Text) => None,
        };
        options.progress.advance(rows as u64, rows as u64);
        Ok(Self {
            rows,
            kind,
            nulls,
            others,
            dictionary,
            postings,
            grams,
        })
    }

    /// The index as bytes that [`ScalarIndex::open`] reads. Equal indexes give equal bytes.
    pub fn serialize(&self) -> Vec<u8> {
        let mut writer = Writer::new(&ScalarHeader {
            kind: self.kind,
            rows: self.rows,
            grams: self.grams.as_ref().map(Grams::lengths),
        });
        writer.put(self.nulls.words());
        writer.put(self.others.words());
        self.dictionary.put(&mut writer);
        self.postings.put(&mut writer);
        if let Some(grams) = &self.grams {
            grams.put(&mut writer);
        }
        writer.finish()
    }

    /// Opens what [`ScalarIndex::serialize`] wrote. Big arrays stay in `blob`; what answers rely on is checked here once.
    ///
    /// # Errors
    /// Bytes that are no index on scalars, are damaged, or were written by a newer version.
    pub fn open(blob: Bytes) -> Result<Self, OpenError> {
        let reader: Reader<ScalarHeader> = Reader::new(blob)?;
        let ScalarHeader { kind, rows, grams } = *reader.header();
        let words = rows.div_ceil(64);
        let bits = |index, what| {
            let array = reader.array_of::<u64>(index, words, what)?;
            Ok::<_, OpenError>(Bitset::from_words(array.to_vec(), rows))
        };
        let (nulls, others) = (bits(0, "rows without a value")?, bits(1, "other rows")?);
        let dictionary = Dictionary::open(&reader, 2, kind == ValueKind::Text)?;
        let at = 2 + Dictionary::ARRAYS;
        let postings = Postings::open(&reader, at, dictionary.len(), rows)?;
        let at = at + Postings::ARRAYS;
        let grams = grams
            .map(|lengths| Grams::open(&reader, at, lengths, dictionary.len()))
            .transpose()?;
        Ok(Self {
            rows,
            kind,
            nulls,
            others,
            dictionary,
            postings,
            grams,
        })
    }

    /// Rows of the column.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What its values are.
    pub fn kind(&self) -> ValueKind {
        self.kind
    }

    /// Number of distinct values.
    pub fn distinct_count(&self) -> usize {
        self.dictionary.len()
    }

    /// Lengths of the runs of characters that it has, if any.
    pub fn grams(&self) -> Option<GramLengths> {
        self.grams.as_ref().map(Grams::lengths)
    }

    /// Bytes the index keeps in memory or mapped.
    pub fn memory_bytes(&self) -> usize {
        let bits = size_of_val(self.nulls.words()) + size_of_val(self.others.words());
        let grams = self.grams.as_ref().map_or(0, Grams::bytes);
        bits + self.dictionary.bytes() + self.postings.bytes() + grams
    }
}

fn too_many(rows: usize) -> BuildError {
    BuildError::TooManyRows { rows, max: MAX_ROWS }
}

/// The texts in order, and the rows of their places in that order. Every text has a row.
fn in_order(
    mut texts: Vec<&str>,
    mut pairs: Vec<(u32, u32)>,
) -> Result<(Vec<&str>, Groups<u32>), BuildError> {
    let mut order: Vec<u32> = (0..texts.len() as u32).collect();
    order.par_sort_unstable_by_key(|place| texts.get(*place as usize));
    let mut new_places = vec![0; texts.len()];
    for (new, old) in order.iter().enumerate() {
        if let Some(place) = new_places.get_mut(*old as usize) {
            *place = new as u32;
        }
    }
    for (place, _) in &mut pairs {
        *place = new_places.get(*place as usize).copied().unwrap_or(*place);
    }
    texts.par_sort_unstable();
    Ok((texts, Groups::of(pairs)?))
}

/// Distinct keys, ascending, and the numbers that came with each.
struct Groups<K> {
    keys: Vec<K>,
    lists: Lists,
}

/// Numbers of each key, ascending and distinct: those of key `i` are `starts[i]..starts[i + 1]`.
struct Lists {
    starts: Vec<u32>,
    numbers: Vec<u32>,
}

impl Lists {
    fn range(starts: &[u32], keys: &Range<usize>) -> Range<usize> {
        let place = |key: usize| {
            starts
                .get(key)
                .or(starts.last())
                .map_or(0, |start| *start as usize)
        };
        place(keys.start)..place(keys.end)
    }
}

impl<K: Ord + Copy + Send> Groups<K> {
    fn of(mut pairs: Vec<(K, u32)>) -> Result<Self, BuildError> {
        if pairs.len() > MAX_ROWS {
            return Err(too_many(pairs.len()));
        }
        pairs.par_sort_unstable();
        pairs.dedup();
        let (mut keys, mut starts) = (Vec::new(), Vec::new());
        for (place, (key, _)) in pairs.iter().enumerate() {
            if keys.last() != Some(key) {
                keys.push(*key);
                starts.push(place as u32);
            }
        }
        starts.push(pairs.len() as u32);
        let numbers = pairs.into_iter().map(|(_, number)| number).collect();
        Ok(Self {
            keys,
            lists: Lists { starts, numbers },
        })
    }
}
