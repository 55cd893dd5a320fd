//! Runs of characters of texts: which texts have one in them, for `LIKE '%..%'`.
//!
//! The runs of `min` to `max` characters of every distinct text are a dictionary of their own, with the codes of the texts
//! as postings. A piece that a text must have gives the texts that have all of its longest runs; they still have to be
//! looked at.

use super::Groups;
use super::dictionary::Dictionary;
use super::postings::Postings;
use crate::bitset::Bitset;
use crate::blob::{Heading, Reader, Writer};
use crate::error::{BuildError, OpenError};

/// Characters of the shortest and the longest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GramLengths {
    min: u32,
    max: u32,
}

impl GramLengths {
    /// From the shortest to the longest; `None` when the shortest is 0 or longer than the longest.
    pub fn new(min: u32, max: u32) -> Option<Self> {
        (min >= 1 && min <= max).then_some(Self { min, max })
    }

    /// Of the shortest.
    pub fn min(self) -> u32 {
        self.min
    }

    /// Of the longest.
    pub fn max(self) -> u32 {
        self.max
    }
}

#[derive(Debug)]
pub(super) struct Grams {
    lengths: GramLengths,
    runs: Dictionary,
    texts: Postings,
}

impl Grams {
    /// Of every text of a dictionary.
    pub fn build(lengths: GramLengths, dictionary: &Dictionary) -> Result<Self, BuildError> {
        let mut pairs = Vec::new();
        for code in 0..dictionary.len() {
            let text = std::str::from_utf8(dictionary.text(code)).unwrap_or_default();
            let bounds = bounds(text);
            for length in lengths.min..=lengths.max {
                pairs.extend(runs(text, &bounds, length as usize).map(|run| (run, code as u32)));
            }
        }
        let groups = Groups::of(pairs)?;
        Ok(Self {
            lengths,
            runs: Dictionary::of_texts(&groups.keys),
            texts: Postings::new(dictionary.len(), groups.lists),
        })
    }

    pub fn lengths(&self) -> GramLengths {
        self.lengths
    }

    pub fn put<'a>(&'a self, writer: &mut Writer<'a>) {
        self.runs.put(writer);
        self.texts.put(writer);
    }

    /// Opens the runs of a dictionary of `texts` texts.
    pub fn open<H: Heading>(
        reader: &Reader<H>,
        at: usize,
        lengths: GramLengths,
        texts: usize,
    ) -> Result<Self, OpenError> {
        let runs = Dictionary::open(reader, at, true)?;
        let postings = Postings::open(reader, at + Dictionary::ARRAYS, runs.len(), texts)?;
        Ok(Self {
            lengths,
            runs,
            texts: postings,
        })
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.runs.bytes() + self.texts.bytes()
    }

    /// The codes of the only texts that may have all of these pieces; `None` when every piece is too short to tell.
    pub fn candidates(&self, pieces: &[String], texts: usize) -> Option<Vec<usize>> {
        let mut found: Option<Bitset> = None;
        for piece in pieces {
            let bounds = bounds(piece);
            let characters = bounds.len() - 1;
            let length = characters.min(self.lengths.max as usize);
            if length < self.lengths.min as usize {
                continue;
            }
            for run in runs(piece, &bounds, length) {
                let mut with_run = Bitset::new(texts);
                if let Some(code) = self.runs.find_text(run.as_bytes()) {
                    self.texts.fill(code..code + 1, &mut with_run);
                }
                match &mut found {
                    Some(found) => found.and(&with_run),
                    None => found = Some(with_run),
                }
            }
        }
        Some(found?.iter().collect())
    }
}

/// Where the characters of a text begin, and its end.
fn bounds(text: &str) -> Vec<usize> {
    let mut bounds: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    bounds.push(text.len());
    bounds
}

/// The runs of `length` characters.
fn runs<'a>(text: &'a str, bounds: &[usize], length: usize) -> impl Iterator<Item = &'a str> {
    bounds.windows(length + 1).filter_map(move |window| match window {
        [start, .., end] => text.get(*start..*end),
        _ => None,
    })
}
