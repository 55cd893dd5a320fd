//! Parameters of GPU_IVF_PQ.

use std::collections::BTreeMap;

use crate::error::ParamError;
use crate::ivf::params::{Code, CodedParams};
use crate::params::{DEFAULT_NLIST, NLIST};

/// Most bits of a codeword's number on a device.
const MAX_BITS: u32 = 8;

/// What is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PqParams {
    /// `nlist`: number of lists, 1 to 65536.
    pub nlist: u32,
    /// `m`: groups of dimensions; divides the dimension.
    pub m: u32,
    /// `nbits`: bits of a codeword's number, 1 to 8.
    pub nbits: u32,
}

impl PqParams {
    /// Reads the parameters; those of IVF_PQ, without what it refines by.
    ///
    /// # Errors
    /// No `m`, a value that is no integer, or one out of range.
    pub(in crate::gpu) fn parse(params: &BTreeMap<String, String>) -> Result<Self, ParamError> {
        let nlist = NLIST.parse(params)?.unwrap_or(DEFAULT_NLIST);
        let of_codes = |name: &str| params.get(name).map(|value| (name.to_owned(), value.clone()));
        let of_codes = ["m", "nbits"].into_iter().filter_map(of_codes).collect();
        match CodedParams::parse("IVF_PQ", nlist, &of_codes)? {
            Some(CodedParams {
                code: Code::Product { m, nbits },
                ..
            }) => {
                let parsed = Self { nlist, m, nbits };
                parsed.check()?;
                Ok(parsed)
            }
            _ => Err(ParamError::Missing { name: "m" }),
        }
    }

    /// Checks what no dimension is needed for.
    pub(crate) fn check(self) -> Result<(), ParamError> {
        NLIST.check(self.nlist)?;
        self.on_processor().check()?;
        if self.nbits > MAX_BITS {
            return Err(ParamError::Bits {
                given: self.nbits,
                max: MAX_BITS,
            });
        }
        Ok(())
    }

    /// The same of IVF_PQ. Searches may say how many rows are compared again.
    pub fn on_processor(self) -> CodedParams {
        CodedParams {
            nlist: self.nlist,
            code: Code::Product {
                m: self.m,
                nbits: self.nbits,
            },
            refine: true,
            refine_type: None,
        }
    }

    /// The parameters under their client names.
    pub(crate) fn to_pairs(self) -> Vec<(&'static str, String)> {
        vec![
            (NLIST.name, self.nlist.to_string()),
            ("m", self.m.to_string()),
            ("nbits", self.nbits.to_string()),
        ]
    }
}
