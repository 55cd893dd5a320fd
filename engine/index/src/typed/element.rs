//! The types that the elements of dense vectors have, as the blob of an index names them.

use crate::any_metric::{AnyMetric, BitMetric};

/// Type of the elements of a dense vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// 32-bit floats. Indexes of sparse vectors have this as well: their kind tells them apart.
    Float,
    /// IEEE 754 binary16.
    Half,
    /// Upper halves of 32-bit floats.
    BFloat16,
    /// Signed 8-bit integers.
    Int8,
    /// Bits.
    Bit,
}

impl ElementType {
    /// By their codes in a blob.
    pub const ALL: [Self; 5] = [Self::Float, Self::Half, Self::BFloat16, Self::Int8, Self::Bit];

    pub(crate) fn code(self) -> u8 {
        let code = Self::ALL.iter().position(|known| *known == self);
        code.map_or(0, |code| code as u8)
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Whether vectors of this type have a metric.
    pub(crate) fn has(self, metric: AnyMetric) -> bool {
        match metric {
            AnyMetric::Numbers(_) => self != Self::Bit,
            // Of signatures there is an index of its own.
            AnyMetric::Bits(BitMetric::MinHash(_)) => false,
            AnyMetric::Bits(_) => self == Self::Bit,
            AnyMetric::Bm25 | AnyMetric::MaxSim(_) => false,
        }
    }

    /// Elements that are stored together.
    pub(crate) fn per_unit(self) -> usize {
        match self {
            Self::Float | Self::Half | Self::BFloat16 | Self::Int8 => 1,
            Self::Bit => 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_back() {
        for element in ElementType::ALL {
            assert_eq!(ElementType::from_code(element.code()), Some(element));
        }
        assert_eq!(ElementType::Float.code(), 0);
        assert_eq!(ElementType::from_code(5), None);
    }
}
