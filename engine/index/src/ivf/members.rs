//! Which rows are in which list, and the walk over lists.

use crate::bitset::Bitset;
use crate::blob::{Array, Reader, Writer};
use crate::error::OpenError;
use crate::index::SearchStats;
use crate::neighbor::Neighbor;
use crate::params::SearchParams;
use crate::window::Window;

/// Row numbers, list after list.
#[derive(Debug)]
pub(super) struct Members {
    /// List `i` is `members[offsets[i]..offsets[i + 1]]`.
    offsets: Array<u32>,
    /// Every row with a vector once; ascending within a list.
    members: Array<u32>,
}

/// What looks through the lists that a walk comes to.
pub(super) trait ListScan {
    /// Looks through list `index`, whose centroid is `distance` away; gives the number of its allowed rows.
    fn scan(&mut self, index: u32, distance: f32, members: &[u32]) -> usize;

    /// Hears that a list is likely the next.
    fn expect(&self, _index: u32) {}

    /// Rows held; more of them after a list that had some of the window.
    fn held(&self) -> usize;

    /// Rows seen that lie nearer than the window.
    fn passed(&self) -> usize {
        0
    }
}

/// How far a walk goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub(super) k: usize,
    pub(super) nprobe: usize,
    pub(super) within: Window,
    /// Lists without a row of the window, one after the other, that end a search within one that has a far end; 0 for none.
    pub(super) max_empty: usize,
    /// Rows of the whole index that may be returned; `None` without a filter.
    pub(super) allowed: Option<usize>,
}

impl Walk {
    /// A walk for `k` rows over `nprobe` lists and more.
    pub(super) fn new(k: usize, nprobe: usize, params: &SearchParams, allowed: Option<usize>) -> Self {
        Self {
            k,
            nprobe,
            within: params.within,
            max_empty: params.max_empty_lists(),
            allowed,
        }
    }

    /// Lists to look at where `passed` rows lie nearer than the window: as many for each `k` of these as for those wanted.
    fn lists_past(&self, passed: usize) -> usize {
        self.nprobe.saturating_mul(1 + passed / self.k.max(1))
    }

    /// Whether so many lists in a row without a row of the window tell that no more come.
    fn ends_after(&self, empty: usize) -> bool {
        let has_end = self.within.last() < f32::INFINITY;
        has_end && self.max_empty > 0 && empty >= self.max_empty
    }
}

impl Members {
    /// Arrays of a blob that [`Members::write`] puts.
    pub(super) const ARRAYS: usize = 2;

    /// Of what [`super::assign::group`] gives.
    pub(super) fn new((offsets, members): (Vec<u32>, Vec<u32>)) -> Self {
        Self {
            offsets: Array::Owned(offsets),
            members: Array::Owned(members),
        }
    }

    /// Reads arrays `first` and the next: at most `nlist` lists of the rows in `valid`, all of `rows` when `None`.
    pub(super) fn open(
        reader: &Reader,
        first: usize,
        nlist: u32,
        valid: Option<&Bitset>,
        rows: usize,
    ) -> Result<Self, OpenError> {
        let offsets = reader.array::<u32>(first, "list offsets")?;
        let lists = offsets.len().saturating_sub(1);
        if lists > nlist as usize {
            return Err(OpenError::corrupt(format!("{lists} lists, asked for {nlist}")));
        }
        let members = reader.array::<u32>(first + 1, "list members")?;
        let monotone = offsets.is_sorted();
        let ends = (offsets.first().copied(), offsets.last().map(|&end| end as usize));
        if !monotone || ends != (Some(0), Some(members.len())) {
            return Err(OpenError::corrupt(format!(
                "list offsets do not divide {} rows",
                members.len()
            )));
        }
        // Every row with a vector is in exactly one list: what "k rows come back" relies on. Counted first, so that rows that
        // are only said to be there take no memory.
        let expected = valid.map_or(rows, Bitset::count);
        if members.len() != expected {
            return Err(OpenError::corrupt(format!(
                "{} rows in lists, expected {expected}",
                members.len()
            )));
        }
        let mut missing = valid.cloned().unwrap_or_else(|| Bitset::full(rows));
        for &row in members.iter() {
            if !missing.get(row as usize) {
                return Err(OpenError::corrupt(format!(
                    "row {row} is listed twice or not in the index"
                )));
            }
            missing.clear(row as usize);
        }
        Ok(Self { offsets, members })
    }

    pub(super) fn write<'a>(&'a self, writer: &mut Writer<'a>) {
        writer.put(&*self.offsets);
        writer.put(&*self.members);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.offsets.bytes() + self.members.bytes()
    }

    /// Number of lists.
    pub(super) fn lists(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Number of rows in all lists.
    pub(super) fn rows(&self) -> usize {
        self.members.len()
    }

    /// Rows of a list; empty when there is no such list.
    pub(super) fn list(&self, index: u32) -> &[u32] {
        self.members.get(self.span(index)).unwrap_or(&[])
    }

    /// Where a list lies among the members.
    pub(super) fn span(&self, index: u32) -> std::ops::Range<usize> {
        match *self.offsets.get(index as usize..).unwrap_or(&[]) {
            [start, end, ..] => start as usize..end as usize,
            _ => 0..0,
        }
    }

    /// Has the `nprobe` nearest lists scanned, and more until `k` rows were found: rows of the window, where there is one,
    /// and then only until [`Walk::max_empty`] lists in a row had none of it. Gives the number of allowed rows in them.
    /// `nearest` gives so many of the nearest lists, in order, as keys.
    ///
    /// Rows nearer than the window fill the nearest lists, so the more there are of them, the more lists are looked at
    /// ([`Walk::lists_past`]). Where that is half of all lists, the answer is `None`: to scan all rows is as quick.
    ///
    /// A filter may leave little near the query (other languages, other tenants): then the rows that these lists hold by
    /// chance would fill the result while nearer ones lie in lists not looked at. So when the lists hold less than half of
    /// the share of allowed rows that the whole index has, the answer is `None`.
    pub(super) fn walk(
        &self,
        nearest: impl Fn(usize) -> Vec<u64>,
        walk: Walk,
        scan: &mut impl ListScan,
        stats: &mut SearchStats,
    ) -> Option<usize> {
        let Walk {
            k,
            nprobe,
            within,
            allowed,
            ..
        } = walk;
        let share = allowed.map_or(0.0, |allowed| allowed as f64 / self.rows().max(1) as f64);
        let mut lists = nearest(nprobe);
        stats.distances += self.lists() as u64;
        let (mut found, mut seen, mut empty) = (0, 0, 0);
        for index in 0..self.lists() {
            if index == nprobe && (found as f64) < seen as f64 * share / 2.0 {
                stats.distances += found as u64;
                return None;
            }
            let passed = scan.passed();
            let past = walk.lists_past(passed);
            if index >= nprobe && passed >= k && past > self.lists() / 2 {
                stats.distances += found as u64;
                return None;
            }
            let enough = if within.is_open() {
                found >= k
            } else {
                (scan.held() >= k && index >= past) || walk.ends_after(empty)
            };
            if index >= nprobe && enough {
                break;
            }
            if index == nprobe {
                // Rare: the nearest lists hold fewer than `k` allowed rows. Those looked at stay in front.
                let mut looked_at = Bitset::new(self.lists());
                for &key in &lists {
                    looked_at.set(Neighbor::from_key(key).row as usize);
                }
                let mut all = nearest(self.lists());
                all.retain(|&key| !looked_at.get(Neighbor::from_key(key).row as usize));
                lists.extend(all);
            }
            let Some(&key) = lists.get(index) else { break };
            let next_list = Neighbor::from_key(key);
            if let Some(&next) = lists.get(index + 1) {
                scan.expect(Neighbor::from_key(next).row);
            }
            let list = self.list(next_list.row);
            seen += list.len();
            let held = scan.held();
            found += scan.scan(next_list.row, next_list.distance, list);
            let is_empty = scan.held() == held && scan.passed() == passed;
            empty = if is_empty { empty + 1 } else { 0 };
            stats.lists += 1;
        }
        stats.distances += found as u64;
        Some(found)
    }
}
