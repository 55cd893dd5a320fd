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
use crate::progress::BuildOptions;

/// Most runs of an index, and most characters of all of them.
const MAX_RUNS: usize = 1 << 28;
const MAX_CHARACTERS: usize = 1 << 32;
/// Bytes of a run while they are put in order, without its characters: where it is and in which text, and both once more.
const RUN_BYTES: usize = 80;

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

    /// Characters of the longest runs of a text of so many.
    fn longest_of(self, characters: usize) -> usize {
        characters.min(self.max as usize)
    }

    /// Runs of a text of so many characters, and the characters of all of them.
    fn runs_of(self, characters: usize) -> (usize, usize) {
        let lengths = self.min as usize..=self.longest_of(characters);
        lengths.fold((0, 0), |(runs, of_runs): (usize, usize), length| {
            let places = characters + 1 - length;
            (
                runs + places,
                of_runs.saturating_add(places.saturating_mul(length)),
            )
        })
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
    ///
    /// # Errors
    /// Too many runs, or more memory than is allowed, before any is made; cancellation.
    pub fn build(
        lengths: GramLengths,
        dictionary: &Dictionary,
        options: &BuildOptions<'_>,
    ) -> Result<Self, BuildError> {
        let text = |code| std::str::from_utf8(dictionary.text(code)).unwrap_or_default();
        let (mut total, mut characters) = (0usize, 0usize);
        for code in 0..dictionary.len() {
            let (runs, of_runs) = lengths.runs_of(text(code).chars().count());
            total = total.saturating_add(runs);
            characters = characters.saturating_add(of_runs);
        }
        if total > MAX_RUNS || characters > MAX_CHARACTERS {
            return Err(BuildError::TooManyRuns {
                runs: total,
                characters,
                min: lengths.min,
                max: lengths.max,
            });
        }
        // In the worst case all runs differ and their characters have four bytes each, once more in the file.
        let needed = total * RUN_BYTES + characters * 8;
        if let Some(allowed) = options.memory.filter(|allowed| needed > *allowed) {
            return Err(BuildError::Memory { needed, allowed });
        }
        let mut pairs = Vec::with_capacity(total);
        for code in 0..dictionary.len() {
            if options.progress.cancelled() {
                return Err(BuildError::Cancelled);
            }
            let text = text(code);
            let bounds = bounds(text);
            let longest = lengths.longest_of(bounds.len() - 1);
            for length in lengths.min as usize..=longest {
                pairs.extend(runs(text, &bounds, length).map(|run| (run, code as u32)));
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
            let length = self.lengths.longest_of(characters);
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
