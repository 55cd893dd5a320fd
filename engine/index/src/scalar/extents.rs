//! The index of a column of shapes: an R-tree of the rectangles around them (Guttman, 1984), packed as by Leutenegger,
//! Lopez and Edgington (1997).
//!
//! ```text
//!   level 2                  [ a b c d e f g ]              one extent around all
//!   level 1          [ a b c ]       [ d e f ]  [ g ]       around each FANOUT of the level below
//!   level 0          a   b   c       d   e   f    g         the extents of the rows, neighbours next to each other
//! ```
//!
//! There are no pointers: the extents of a level lie in a row, and that at place `i` is around those from `i * FANOUT` of the
//! level below. A rectangle tells which rows a condition on the shape may be true in, never where it is: the answers are
//! verdicts that leave these rows open.

use bytes::Bytes;

use super::Verdict;
use crate::bitset::Bitset;
use crate::blob::{Array, Heading, Reader, Shape, Writer};
use crate::error::{BuildError, OpenError};
use crate::index::MAX_ROWS;
use crate::progress::BuildOptions;

/// The kind of such an index in the header of its blob.
pub(super) const CODE: u8 = 19;
/// Layout of the arrays of a blob.
const LAYOUT: u32 = 1;
/// Extents in one of the level above.
const FANOUT: usize = 16;
/// Numbers of an extent in a blob.
const NUMBERS: usize = 5;

/// Where a shape is at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extent {
    /// Lower corner of the rectangle around it.
    pub min: [f64; 2],
    /// Upper corner.
    pub max: [f64; 2],
    /// How far it may be out of the rectangle by another measure than that of the plane; 0 or more.
    pub bulge: f64,
}

impl Extent {
    /// Whether the rectangles share a point.
    pub fn meets(&self, other: &Self) -> bool {
        let ([west, south], [east, north]) = (self.min, self.max);
        west <= other.max[0] && other.min[0] <= east && south <= other.max[1] && other.min[1] <= north
    }

    fn around(extents: &[Self]) -> Option<Self> {
        extents.iter().copied().reduce(|a, b| Self {
            min: [a.min[0].min(b.min[0]), a.min[1].min(b.min[1])],
            max: [a.max[0].max(b.max[0]), a.max[1].max(b.max[1])],
            bulge: a.bulge.max(b.bulge),
        })
    }

    fn numbers(&self) -> [f64; NUMBERS] {
        let ([a, b], [c, d]) = (self.min, self.max);
        [a, b, c, d, self.bulge]
    }

    fn of(numbers: &[f64]) -> Option<Self> {
        let &[a, b, c, d, bulge] = numbers else {
            return None;
        };
        Some(Self {
            min: [a, b],
            max: [c, d],
            bulge,
        })
    }
}

/// A column of shapes as an index is built from it. Rows that are nowhere in it have an empty shape.
#[derive(Debug)]
pub struct ExtentColumn {
    /// Rows, all of them.
    pub rows: usize,
    /// Extents of shapes that are not empty, with their rows.
    pub extents: Vec<(Extent, u32)>,
    /// Rows without a value.
    pub nulls: Bitset,
    /// Rows that nothing is known of.
    pub others: Bitset,
}

/// The index of a column of shapes, see the module.
#[derive(Debug)]
pub struct ExtentIndex {
    rows: usize,
    nulls: Bitset,
    others: Bitset,
    /// The row of each extent of the lowest level.
    row_of: Array<u32>,
    /// All levels, the lowest first, [`NUMBERS`] each.
    extents: Array<f64>,
}

#[derive(Debug, Clone, Copy)]
struct ExtentHeader {
    rows: usize,
}

impl Heading for ExtentHeader {
    fn to_shape(&self) -> Shape {
        Shape {
            kind: CODE,
            metric: 0,
            element: 0,
            dim: 0,
            rows: self.rows,
            numbers: [LAYOUT, 0, 0, 0],
        }
    }

    fn from_shape(shape: &Shape) -> Result<Self, OpenError> {
        if shape.kind != CODE {
            return Err(OpenError::corrupt(format!(
                "code {} of an index on shapes",
                shape.kind
            )));
        }
        let [layout, ..] = shape.numbers;
        if layout != LAYOUT {
            return Err(OpenError::Version {
                found: layout,
                known: LAYOUT,
            });
        }
        Ok(Self { rows: shape.rows })
    }
}

impl ExtentIndex {
    /// Builds the index of a column.
    ///
    /// # Errors
    /// Too many rows, or cancellation.
    pub fn build(column: ExtentColumn, options: &BuildOptions<'_>) -> Result<Self, BuildError> {
        let ExtentColumn {
            rows,
            mut extents,
            nulls,
            others,
        } = column;
        if rows > MAX_ROWS {
            return Err(BuildError::TooManyRows { rows, max: MAX_ROWS });
        }
        in_tiles(&mut extents);
        if options.progress.cancelled() {
            return Err(BuildError::Cancelled);
        }
        let row_of = extents.iter().map(|(_, row)| *row).collect();
        let mut level: Vec<Extent> = extents.into_iter().map(|(extent, _)| extent).collect();
        let mut numbers = Vec::new();
        while !level.is_empty() {
            numbers.extend(level.iter().flat_map(Extent::numbers));
            if level.len() == 1 {
                break;
            }
            level = level.chunks(FANOUT).filter_map(Extent::around).collect();
        }
        options.progress.advance(rows as u64, rows as u64);
        Ok(Self {
            rows,
            nulls,
            others,
            row_of: Array::Owned(row_of),
            extents: Array::Owned(numbers),
        })
    }

    /// The index as bytes that [`ExtentIndex::open`] reads. Equal indexes give equal bytes.
    pub fn serialize(&self) -> Vec<u8> {
        let mut writer = Writer::new(&ExtentHeader { rows: self.rows });
        writer.put(self.nulls.words());
        writer.put(self.others.words());
        writer.put(&self.row_of[..]);
        writer.put(&self.extents[..]);
        writer.finish()
    }

    /// Opens what [`ExtentIndex::serialize`] wrote; the tree stays in `blob`.
    ///
    /// # Errors
    /// Bytes that are no index on shapes, are damaged, or were written by a newer version.
    pub fn open(blob: Bytes) -> Result<Self, OpenError> {
        let reader: Reader<ExtentHeader> = Reader::new(blob)?;
        let rows = reader.header().rows;
        let bits = |index, what| {
            let array = reader.array_of::<u64>(index, rows.div_ceil(64), what)?;
            Ok::<_, OpenError>(Bitset::from_words(array.to_vec(), rows))
        };
        let (nulls, others) = (bits(0, "rows without a value")?, bits(1, "other rows")?);
        let row_of: Array<u32> = reader.array(2, "rows of extents")?;
        if row_of.iter().any(|row| *row as usize >= rows) {
            return Err(OpenError::corrupt("the row of an extent is none"));
        }
        let nodes: usize = levels(row_of.len()).iter().sum();
        let extents = reader.array_of(3, nodes * NUMBERS, "numbers of extents")?;
        Ok(Self {
            rows,
            nulls,
            others,
            row_of,
            extents,
        })
    }

    /// What a condition is in each row that may be true, or unknown, only where `may_be` is true for the extent of the shape,
    /// is false elsewhere, and unknown without a value. `may_be` is true for whatever is around an extent that it is true for.
    pub fn answer(&self, may_be: impl Fn(&Extent) -> bool) -> Verdict {
        let yes = self.rows_where(may_be);
        let mut no = self.nulls.clone();
        no.not();
        let mut unknown = self.nulls.clone();
        unknown.or(&yes);
        self.with_others(Verdict { yes, no, unknown })
    }

    /// Whether there is no value.
    pub fn answer_null(&self) -> Verdict {
        let mut no = self.nulls.clone();
        no.not();
        self.with_others(Verdict {
            yes: self.nulls.clone(),
            no,
            unknown: Bitset::new(self.rows),
        })
    }

    fn with_others(&self, mut verdict: Verdict) -> Verdict {
        verdict.doubt_all(&self.others);
        verdict
    }

    fn rows_where(&self, may_be: impl Fn(&Extent) -> bool) -> Bitset {
        let mut found = Bitset::new(self.rows);
        let levels = levels(self.row_of.len());
        let starts: Vec<usize> = levels
            .iter()
            .scan(0, |next, len| Some(std::mem::replace(next, *next + len)))
            .collect();
        let mut open: Vec<(usize, usize)> = Vec::new();
        if let Some(top) = levels.len().checked_sub(1) {
            open.push((top, 0));
        }
        while let Some((level, place)) = open.pop() {
            let at = (starts.get(level).copied().unwrap_or_default() + place) * NUMBERS;
            let extent = self.extents.get(at..at + NUMBERS).and_then(Extent::of);
            if !extent.is_some_and(|extent| may_be(&extent)) {
                continue;
            }
            match level.checked_sub(1) {
                None => {
                    if let Some(row) = self.row_of.get(place) {
                        found.set(*row as usize);
                    }
                }
                Some(below) => {
                    let end = levels.get(below).copied().unwrap_or_default();
                    let children = place * FANOUT..((place + 1) * FANOUT).min(end);
                    open.extend(children.map(|child| (below, child)));
                }
            }
        }
        found
    }

    /// Bytes the index keeps in memory or mapped.
    pub fn memory_bytes(&self) -> usize {
        let bits = size_of_val(self.nulls.words()) + size_of_val(self.others.words());
        bits + self.row_of.bytes() + self.extents.bytes()
    }
}

/// Extents of each level, the lowest first; the last has one. None without extents.
fn levels(extents: usize) -> Vec<usize> {
    let next = |len: &usize| (*len > 1).then(|| len.div_ceil(FANOUT));
    std::iter::successors(Some(extents).filter(|len| *len > 0), next).collect()
}

/// Orders extents so that neighbours are next to each other: in columns of the plane, in each from south to north, with as
/// many columns as groups of [`FANOUT`] in a column.
fn in_tiles(extents: &mut [(Extent, u32)]) {
    let in_order = |a: f64, b: f64, rows: (u32, u32)| a.total_cmp(&b).then(rows.0.cmp(&rows.1));
    let middle = |from: f64, to: f64| from / 2.0 + to / 2.0;
    let x = |extent: &Extent| middle(extent.min[0], extent.max[0]);
    let y = |extent: &Extent| middle(extent.min[1], extent.max[1]);
    let groups = extents.len().div_ceil(FANOUT);
    let columns = groups.isqrt().max(1);
    extents.sort_unstable_by(|(a, row), (b, other)| in_order(x(a), x(b), (*row, *other)));
    let in_column = groups.div_ceil(columns).max(1) * FANOUT;
    for column in extents.chunks_mut(in_column) {
        column.sort_unstable_by(|(a, row), (b, other)| in_order(y(a), y(b), (*row, *other)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scalar::ColumnIndex;

    fn index(column: ExtentColumn) -> ExtentIndex {
        let built = ExtentIndex::build(column, &BuildOptions::default()).unwrap();
        let bytes = built.serialize();
        let opened = ColumnIndex::open(Bytes::from(bytes.clone())).unwrap();
        assert_eq!(opened.serialize(), bytes);
        match opened {
            ColumnIndex::Extents(index) => index,
            ColumnIndex::Values(_) => panic!("an index on shapes opens as one on values"),
        }
    }

    fn extent((x, y, width, height): (i8, i8, u8, u8)) -> Extent {
        let (x, y) = (f64::from(x), f64::from(y));
        Extent {
            min: [x, y],
            max: [x + f64::from(width), y + f64::from(height)],
            bulge: 0.0,
        }
    }

    fn extents() -> impl Strategy<Value = Extent> {
        (-40i8..40, -40i8..40, 0u8..9, 0u8..9).prop_map(extent)
    }

    proptest! {
        #[test]
        fn the_rows_found_are_those_whose_extent_passes(
            shapes in prop::collection::vec(prop::option::weighted(0.9, prop::option::weighted(0.95, extents())), 0..700),
            wanted in prop::collection::vec(extents(), 1..5),
        ) {
            let rows = shapes.len();
            let column = ExtentColumn {
                rows,
                extents: (0u32..).zip(&shapes).filter_map(|(row, shape)| Some(((*shape)??, row))).collect(),
                nulls: Bitset::from_fn(rows, |row| shapes[row].is_none()),
                others: Bitset::new(rows),
            };
            let index = index(column);
            for wanted in wanted {
                let verdict = index.answer(|extent| extent.meets(&wanted));
                let passes = |row: usize| matches!(shapes[row], Some(Some(shape)) if shape.meets(&wanted));
                let candidates = Bitset::from_fn(rows, passes);
                let nulls = Bitset::from_fn(rows, |row| shapes[row].is_none());
                prop_assert_eq!(&verdict.yes, &candidates);
                prop_assert_eq!(verdict.open(), candidates.clone());
                prop_assert_eq!(&verdict.no, &Bitset::from_fn(rows, |row| shapes[row].is_some()));
                prop_assert_eq!(&verdict.unknown, &Bitset::from_fn(rows, |row| candidates.get(row) || nulls.get(row)));
                prop_assert_eq!(index.answer_null().sure(), nulls);
            }
        }
    }

    #[test]
    fn bulges_reach_to_the_top_and_other_rows_stay_open() {
        let rows = 500;
        let extents = (0..rows).map(|row| {
            let mut extent = extent((0, 0, 1, 1));
            extent.bulge = f64::from(u8::from(row == 77));
            (extent, row)
        });
        let column = ExtentColumn {
            rows: rows as usize,
            extents: extents.collect(),
            nulls: Bitset::new(rows as usize),
            others: Bitset::from_fn(rows as usize, |row| row == 3),
        };
        let found = index(column).answer(|extent| extent.bulge >= 1.0).yes;
        assert_eq!(found.iter().collect::<Vec<_>>(), [3, 77]);
    }

    #[test]
    fn few_nodes_are_looked_at() {
        let side = 100;
        let points = (0..side * side).map(|row| {
            let (x, y) = (f64::from(row % side), f64::from(row / side));
            let extent = Extent {
                min: [x, y],
                max: [x, y],
                bulge: 0.0,
            };
            (extent, row)
        });
        let rows = (side * side) as usize;
        let index = index(ExtentColumn {
            rows,
            extents: points.collect(),
            nulls: Bitset::new(rows),
            others: Bitset::new(rows),
        });
        let looked = std::cell::Cell::new(0);
        let wanted = extent((50, 50, 2, 2));
        let verdict = index.answer(|extent| {
            looked.set(looked.get() + 1);
            extent.meets(&wanted)
        });
        assert_eq!(verdict.yes.count(), 9);
        assert!(looked.get() < 250, "{} nodes", looked.get());
    }

    #[test]
    fn what_is_damaged_or_newer_is_refused() {
        let built = index(ExtentColumn {
            rows: 2,
            extents: vec![(extent((0, 0, 1, 1)), 1)],
            nulls: Bitset::new(2),
            others: Bitset::new(2),
        });
        let bytes = built.serialize();
        for at in [12, 70, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(ColumnIndex::open(Bytes::from(damaged)).is_err(), "byte {at}");
        }
        assert!(ColumnIndex::open(Bytes::from(bytes[..40].to_vec())).is_err());
    }
}
