//! The vector types, as Arrow fields carry them and as SQL spells them.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef, Fields};

/// Arrow's key of the name of an extension type.
const EXTENSION: &str = "ARROW:extension:name";
/// Extension that tells bfloat16 vectors from bits.
const BFLOAT16: &str = "elanus.bfloat16";

/// A vector type; the numbers are dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VectorKind {
    /// `VECTOR(n)`: 32-bit floats.
    Float(i32),
    /// `HALFVEC(n)`: 16-bit floats of IEEE 754.
    Half(i32),
    /// `BFLOAT16_VECTOR(n)`: the upper halves of 32-bit floats.
    BFloat16(i32),
    /// `INT8_VECTOR(n)`: signed 8-bit integers.
    Int8(i32),
    /// `BIT(n)`: bits, the first one the highest of its byte.
    Bit(i32),
    /// `SPARSEVEC`: numbers at ascending indexes.
    Sparse,
}

/// `List<Struct<index: UInt32, value: Float32>>`.
static SPARSE: LazyLock<DataType> = LazyLock::new(|| {
    let element = DataType::Struct(sparse_fields());
    DataType::List(Arc::new(Field::new_list_field(element, false)))
});

/// Index and value of an element of a sparse vector.
pub(crate) fn sparse_fields() -> Fields {
    Fields::from(vec![
        Field::new("index", DataType::UInt32, false),
        Field::new("value", DataType::Float32, false),
    ])
}

impl VectorKind {
    /// The vector type of a field; none when it is of another type.
    pub fn of(field: &Field) -> Option<Self> {
        let is_bfloat16 = field
            .metadata()
            .get(EXTENSION)
            .is_some_and(|name| name == BFLOAT16);
        match (Self::of_type(field.data_type())?, is_bfloat16) {
            (Self::Bit(bits), true) => Some(Self::BFloat16(bits / 16)),
            (kind, _) => Some(kind),
        }
    }

    /// The vector type of an Arrow type without its field: bfloat16 vectors look like bits.
    pub fn of_type(data_type: &DataType) -> Option<Self> {
        if let DataType::FixedSizeList(item, dim) = data_type {
            return [Self::Float(*dim), Self::Half(*dim), Self::Int8(*dim)]
                .into_iter()
                .zip([DataType::Float32, DataType::Float16, DataType::Int8])
                .find_map(|(kind, element)| (&element == item.data_type()).then_some(kind));
        }
        if let DataType::FixedSizeBinary(bytes) = data_type {
            return bytes.checked_mul(8).map(Self::Bit);
        }
        let is_sparse = matches!(data_type, DataType::List(item) if item.data_type() == &DataType::Struct(sparse_fields()));
        is_sparse.then_some(Self::Sparse)
    }

    /// The Arrow type.
    pub fn data_type(self) -> DataType {
        let list = |item: DataType, dim: i32| {
            DataType::FixedSizeList(Arc::new(Field::new_list_field(item, false)), dim)
        };
        match self {
            Self::Float(dim) => list(DataType::Float32, dim),
            Self::Half(dim) => list(DataType::Float16, dim),
            Self::Int8(dim) => list(DataType::Int8, dim),
            Self::BFloat16(dim) => DataType::FixedSizeBinary(dim.saturating_mul(2)),
            Self::Bit(dim) => DataType::FixedSizeBinary(dim / 8),
            Self::Sparse => SPARSE.clone(),
        }
    }

    /// A field of this type, with what its Arrow type alone does not say.
    pub fn field(self, name: &str) -> FieldRef {
        let field = Field::new(name, self.data_type(), true);
        Arc::new(match self {
            Self::BFloat16(_) => field.with_metadata([(EXTENSION.to_string(), BFLOAT16.to_string())].into()),
            Self::Float(_) | Self::Half(_) | Self::Int8(_) | Self::Bit(_) | Self::Sparse => field,
        })
    }

    /// The dimension; none for sparse vectors.
    pub fn dim(self) -> Option<usize> {
        match self {
            Self::Float(dim) | Self::Half(dim) | Self::BFloat16(dim) | Self::Int8(dim) | Self::Bit(dim) => {
                usize::try_from(dim).ok()
            }
            Self::Sparse => None,
        }
    }

    /// Whether both are of one type, of whatever dimensions.
    pub fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

impl fmt::Display for VectorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(dim) => write!(f, "VECTOR({dim})"),
            Self::Half(dim) => write!(f, "HALFVEC({dim})"),
            Self::BFloat16(dim) => write!(f, "BFLOAT16_VECTOR({dim})"),
            Self::Int8(dim) => write!(f, "INT8_VECTOR({dim})"),
            Self::Bit(dim) => write!(f, "BIT({dim})"),
            Self::Sparse => f.write_str("SPARSEVEC"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_field() {
        for kind in [
            VectorKind::Float(3),
            VectorKind::Half(3),
            VectorKind::BFloat16(3),
            VectorKind::Int8(3),
            VectorKind::Bit(24),
            VectorKind::Sparse,
        ] {
            assert_eq!(VectorKind::of(&kind.field("v")), Some(kind));
        }
        assert_eq!(VectorKind::of(&Field::new("x", DataType::Utf8, true)), None);
    }
}
