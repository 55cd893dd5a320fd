//! Lists with product codes, as a device takes them.

use super::IvfCoded;
use super::quantizer::Quantizer;
use crate::codes::product::ProductQuantizer;
use crate::ivf::lists::Lists;
use crate::ivf::search::Request;
use crate::params::SearchParams;
use crate::strategy::ListsPlan;

impl IvfCoded {
    /// Its lists.
    pub(crate) fn inverted(&self) -> &Lists {
        &self.lists
    }

    /// The codebooks; `None` when the codes are others.
    pub(crate) fn product(&self) -> Option<&ProductQuantizer> {
        match &self.codes.quantizer {
            Quantizer::Product(quantizer) => Some(quantizer),
            Quantizer::Scalar(_) | Quantizer::Rabitq(_) => None,
        }
    }

    /// What is taken from queries before they meet codewords; empty when nothing is.
    pub(crate) fn mean(&self) -> &[f32] {
        &self.codes.mean
    }

    /// What the codes of a list are relative to.
    pub(crate) fn base(&self, list: u32) -> &[f32] {
        self.codes.base(&self.lists, list)
    }

    /// The number of the codeword of group `part` of the row at `place` of a list; 0 where there is none.
    pub(crate) fn number(&self, list: u32, place: usize, part: usize) -> u8 {
        let packing = self.codes.quantizer.packing();
        let first = self.codes.units.get(list as usize).copied().unwrap_or(0) as usize;
        let start = (first + place / packing.unit()) * packing.unit_bytes();
        let unit = self.codes.codes.get(start..start + packing.unit_bytes());
        let number = unit.and_then(|unit| packing.number(unit, place % packing.unit(), part));
        number.unwrap_or(0)
    }

    /// What is added to the estimates of the first `count` rows of a list; empty when nothing is.
    pub(crate) fn adds(&self, list: u32, count: usize) -> &[f32] {
        let unit = self.codes.quantizer.packing().unit();
        let first = self.codes.units.get(list as usize).copied().unwrap_or(0) as usize * unit;
        self.codes.adds.get(first..first + count).unwrap_or(&[])
    }

    /// Lists that a search looks at by codes; `None` when distances of rows are as quick, or the only way.
    pub(crate) fn probes(
        &self,
        query: &[f32],
        k: usize,
        params: &SearchParams,
        allowed: Option<usize>,
    ) -> Option<usize> {
        let request = Request {
            query,
            k,
            params,
            allow: None,
            allowed,
        };
        let lists = self.lists();
        match lists.plan(&request) {
            ListsPlan::Probe { nprobe } if lists.by_codes(&request) => Some(nprobe),
            ListsPlan::Probe { .. } | ListsPlan::Scan => None,
        }
    }

    /// Rows by their estimates that are scored again for `k` results.
    pub(crate) fn rescored(&self, k: usize, params: &SearchParams) -> usize {
        self.params.rescored(k, params)
    }
}
