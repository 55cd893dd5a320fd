//! The scan of a list's codes: sums of whole units, distances from them, and only what is below the bound is looked at.

use super::list_codes::ListCodes;
use super::quantizer::{Prepared, Quantizer, Refiner};
use crate::bitset::Bitset;
use crate::codes::estimate::{self, Line, Terms, below, distances_of_products};
use crate::codes::level::Level;
use crate::codes::packing::{Packing, TOGETHER};
use crate::ivf::lists::Lists;
use crate::ivf::members::ListScan;
use crate::ivf::reservoir::Reservoir;
use crate::kernels::{kernels, prefetch};
use crate::metric::Metric;

/// Rows whose sums are made together: they stay in the first-level cache until they are compared.
const CHUNK: usize = 256;
/// Bytes of the next list that are asked for while a list is scanned, in parts as long as a prefetch is.
const AHEAD: usize = 1024;
const AHEAD_PARTS: usize = 16;

/// What keeps the rows that a scan comes by.
pub(in crate::ivf) trait Keep {
    /// Hears that the rows of list `index` are next, whose base is `distance` away.
    fn enter(&mut self, index: u32, distance: f32);

    /// What estimates must be below to be of interest.
    fn bound(&self) -> f32;

    /// Takes a row with its estimate.
    fn push(&mut self, estimate: f32, row: u32);

    /// Takes those of `rows` whose bits are set, with their estimates, of which there may be more.
    fn push_masked(&mut self, mut mask: u64, estimates: &[f32], rows: &[u32]) {
        while mask != 0 {
            let lane = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            if let (Some(&estimate), Some(&row)) = (estimates.get(lane), rows.get(lane)) {
                self.push(estimate, row);
            }
        }
    }

    /// Rows held that may be results.
    fn len(&self) -> usize;
}

impl Keep for Reservoir {
    fn enter(&mut self, _index: u32, _distance: f32) {}

    #[inline]
    fn bound(&self) -> f32 {
        Reservoir::bound(self)
    }

    #[inline]
    fn push(&mut self, estimate: f32, row: u32) {
        Reservoir::push(self, estimate, row);
    }

    #[inline]
    fn push_masked(&mut self, mask: u64, estimates: &[f32], rows: &[u32]) {
        Reservoir::push_masked(self, mask, estimates, rows);
    }

    fn len(&self) -> usize {
        Reservoir::len(self)
    }
}

pub(in crate::ivf) struct CodedScan<'a, K> {
    index: &'a ListCodes,
    lists: &'a Lists,
    query: &'a [f32],
    norm: f32,
    prepared: &'a Prepared,
    refiner: Option<Refiner<'a>>,
    packing: Packing,
    level: Level,
    allow: Option<&'a Bitset>,
    pub(in crate::ivf) best: K,
    room: Option<Box<Room>>,
}

/// Room for the sums and distances of the rows that are scanned together.
#[derive(Debug)]
pub(in crate::ivf) struct Room {
    sums: [[i32; CHUNK]; TOGETHER],
    distances: [f32; CHUNK],
}

impl Room {
    pub(in crate::ivf) fn new() -> Box<Self> {
        Box::new(Self {
            sums: [[0; CHUNK]; TOGETHER],
            distances: [0.0; CHUNK],
        })
    }
}

/// Rows of a list whose sums are made together, and what is the same of them for every query.
struct Part<'a> {
    members: &'a [u32],
    /// Of the first of `members` among all.
    place: usize,
    /// Whole units.
    codes: &'a [u8],
    terms: Terms<'a>,
    /// Rows of the units.
    places: usize,
    /// Bits of the rows of each unit that may be returned.
    masks: [u64; CHUNK / 16],
}

/// Sums and distances of the rows of a unit, and where it lies.
struct Unit<'a> {
    sums: &'a [i32],
    distances: &'a [f32],
    members: &'a [u32],
    /// Of the first of `members` among all.
    place: usize,
}

/// Has the parts of list `list` looked at that have rows in `allow`; how many rows those are.
fn each_part(
    (index, lists): (&ListCodes, &Lists),
    allow: Option<&Bitset>,
    list: u32,
    members: &[u32],
    mut look: impl FnMut(&Part<'_>),
) -> usize {
    let packing = index.quantizer.packing();
    let (unit, unit_bytes) = (packing.unit(), packing.unit_bytes());
    let first_unit = index.units.get(list as usize).map_or(0, |&unit| unit as usize);
    let first_member = lists.span(list).start;
    let terms = Terms {
        adds: &index.adds,
        muls: &index.muls,
        errs: &index.errs,
    };
    let mut found = 0;
    for (chunk, rows) in members.chunks(CHUNK).enumerate() {
        let mut masks = [0u64; CHUNK / 16];
        let mut any = 0;
        for (mask, rows) in masks.iter_mut().zip(rows.chunks(unit)) {
            *mask = match allow {
                None => u64::MAX >> (64 - rows.len()),
                Some(allow) => rows.iter().enumerate().fold(0, |mask, (lane, &row)| {
                    mask | u64::from(allow.get(row as usize)) << lane
                }),
            };
            any |= *mask;
            found += mask.count_ones() as usize;
        }
        if any == 0 {
            continue;
        }
        let units = rows.len().div_ceil(unit);
        let start = first_unit + chunk * CHUNK / unit;
        let Some(codes) = index.codes.get(start * unit_bytes..(start + units) * unit_bytes) else {
            return found;
        };
        look(&Part {
            members: rows,
            place: first_member + chunk * CHUNK,
            codes,
            terms: terms.of(start * unit, units * unit),
            places: units * unit,
            masks,
        });
    }
    found
}

/// The scan of list `list`, whose base is `distances` away, for several queries of one index with one filter.
pub(in crate::ivf) fn scan_together<K: Keep>(
    mut scans: [&mut CodedScan<'_, K>; TOGETHER],
    list: u32,
    distances: [f32; TOGETHER],
    members: &[u32],
    room: &mut Room,
) -> usize {
    let [first, ..] = &scans;
    let (index, lists, allow) = (first.index, first.lists, first.allow);
    let (packing, level) = (first.packing, first.level);
    let mut lines = [Line::default(); TOGETHER];
    for ((scan, distance), line) in scans.iter_mut().zip(distances).zip(&mut lines) {
        *line = scan.enter(list, distance);
    }
    each_part((index, lists), allow, list, members, |part| {
        let Some(sums) = sums_of(&mut room.sums, part.places) else {
            return;
        };
        let operands = scans
            .each_ref()
            .map(|scan| scan.prepared.operand.bytes.as_slice());
        packing.sums_of(level, part.codes, operands, sums);
        for ((scan, sums), line) in scans.iter_mut().zip(&room.sums).zip(lines) {
            scan.take(part, line, sums, &mut room.distances);
        }
    })
}

/// The first `places` of each.
fn sums_of(sums: &mut [[i32; CHUNK]; TOGETHER], places: usize) -> Option<[&mut [i32]; TOGETHER]> {
    (places <= CHUNK).then(|| {
        sums.each_mut()
            .map(|sums| sums.get_mut(..places).unwrap_or_default())
    })
}

impl<'a, K: Keep> CodedScan<'a, K> {
    /// A scan for `query`, prepared, of the rows in `allow`.
    pub(in crate::ivf) fn new(
        (index, lists): (&'a ListCodes, &'a Lists),
        query: &'a [f32],
        prepared: &'a Prepared,
        allow: Option<&'a Bitset>,
        best: K,
    ) -> Self {
        let refiner = match (&index.quantizer, &prepared.rabitq) {
            (Quantizer::Rabitq(quantizer), Some(query)) if quantizer.plane_bytes() > 0 => Some(Refiner {
                quantizer,
                query,
                bytes: quantizer.plane_bytes(),
                planes: &index.planes,
                full: &index.full,
            }),
            _ => None,
        };
        Self {
            index,
            lists,
            query,
            norm: kernels().dot(query, query).sqrt(),
            prepared,
            refiner,
            packing: index.quantizer.packing(),
            level: Level::best(),
            allow,
            best,
            room: None,
        }
    }

    /// Goes on to list `index`, whose base is `distance` away.
    fn enter(&mut self, index: u32, distance: f32) -> Line {
        self.best.enter(index, distance);
        let spread = match self.index.metric {
            Metric::L2 => distance.max(0.0).sqrt(),
            Metric::Ip | Metric::Cosine => self.norm,
        };
        Line {
            list: distance,
            spread,
            ..self.prepared.line
        }
    }

    /// [`ListScan::scan`] in `room`, of a list whose base is `distance` away.
    pub(in crate::ivf) fn scan_in(
        &mut self,
        room: &mut Room,
        index: u32,
        distance: f32,
        members: &[u32],
    ) -> usize {
        let line = self.enter(index, distance);
        let Room {
            sums: [sums, ..],
            distances,
        } = room;
        each_part((self.index, self.lists), self.allow, index, members, |part| {
            if self.prepared.wide.is_none()
                && let Some(sums) = sums.get_mut(..part.places)
            {
                let operand = &self.prepared.operand.bytes;
                self.packing.sums(self.level, part.codes, operand, sums);
            }
            self.take(part, line, sums, distances);
        })
    }

    /// Looks at the rows of a part, whose sums are made.
    fn take(&mut self, part: &Part<'_>, line: Line, sums: &[i32; CHUNK], distances: &mut [f32; CHUNK]) {
        let unit = self.packing.unit();
        let (Some(sums), Some(estimates)) = (sums.get(..part.places), distances.get_mut(..part.places))
        else {
            return;
        };
        if let (Some(wide), Quantizer::Product(quantizer)) = (&self.prepared.wide, &self.index.quantizer) {
            let rows = part.codes.chunks_exact((self.packing.unit_bytes() / unit).max(1));
            for (slot, code) in estimates.iter_mut().zip(rows) {
                *slot = wide.product(quantizer, code);
            }
            distances_of_products(self.level, line, part.terms, estimates);
        } else {
            estimate::distances(self.level, sums, line, part.terms, estimates);
        }
        let of_units = sums
            .chunks(unit)
            .zip(estimates.chunks(unit))
            .zip(part.members.chunks(unit));
        for (at, (&mask, ((sums, distances), members))) in part.masks.iter().zip(of_units).enumerate() {
            let near = mask & below(self.level, distances, self.best.bound());
            if near != 0 {
                let unit = Unit {
                    sums,
                    distances,
                    members,
                    place: part.place + at * unit,
                };
                self.offer(near, &unit, line);
            }
        }
    }

    /// Offers the rows of `mask`; their distances are lower bounds where there is a refiner.
    #[inline]
    fn offer(&mut self, mut mask: u64, unit: &Unit<'_>, line: Line) {
        let Some(refiner) = self.refiner else {
            return self.best.push_masked(mask, unit.distances, unit.members);
        };
        while mask != 0 {
            let lane = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let (Some(&row), Some(&distance)) = (unit.members.get(lane), unit.distances.get(lane)) else {
                return;
            };
            if distance < self.best.bound() {
                let sum = unit.sums.get(lane).copied().unwrap_or(0);
                self.best
                    .push(refiner.distance(self.level, unit.place + lane, sum, line), row);
            }
        }
    }
}

impl Refiner<'_> {
    /// Distance of the row at `place` of all members by all bits, from its sum by the first.
    fn distance(&self, level: Level, place: usize, sum: i32, line: Line) -> f32 {
        let planes = self.planes.get(place * self.bytes..(place + 1) * self.bytes);
        let full = self.full.get(place * 2..place * 2 + 2);
        let (Some(planes), Some(&[add, mul])) = (planes, full) else {
            return f32::INFINITY;
        };
        let first = line.scale * sum as f32 + line.bias;
        let product = self.quantizer.full_product(level, self.query, first, planes);
        line.list + add + mul * product
    }
}

impl<K: Keep> ListScan for CodedScan<'_, K> {
    fn expect(&self, index: u32) {
        let packing = self.packing;
        let units = self.index.units.get(index as usize..);
        let Some(&[start, end, ..]) = units else { return };
        let (start, end) = (start as usize, end as usize);
        let codes = self
            .index
            .codes
            .get(start * packing.unit_bytes()..end * packing.unit_bytes());
        for part in codes.unwrap_or(&[]).chunks(AHEAD).take(AHEAD_PARTS) {
            prefetch(part);
        }
        let terms = Terms {
            adds: &self.index.adds,
            muls: &self.index.muls,
            errs: &self.index.errs,
        };
        let terms = terms.of(start * packing.unit(), (end - start) * packing.unit());
        for numbers in [terms.adds, terms.muls, terms.errs] {
            prefetch(numbers);
        }
    }

    fn scan(&mut self, index: u32, distance: f32, members: &[u32]) -> usize {
        let mut room = self.room.take().unwrap_or_else(Room::new);
        let distance = self.index.base_distance(self.lists, index, self.query, distance);
        let found = self.scan_in(&mut room, index, distance, members);
        self.room = Some(room);
        found
    }

    fn held(&self) -> usize {
        self.best.len()
    }
}
