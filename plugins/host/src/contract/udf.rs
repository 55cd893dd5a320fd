//! The world `udf` of version 1.

use crate::descriptor::{FunctionsDescriptor, NullHandling, ParameterType, Signature, Volatility};
use crate::udf::Argument;
use crate::values::{Column, ColumnData, OwnedColumn, OwnedData};

wasmtime::component::bindgen!({
    path: "../wit/v1",
    world: "udf",
    ownership: Borrowing { duplicate_if_necessary: true },
});

use elanus::plugin::types as raw_types;
use exports::elanus::plugin::scalar_functions as raw;

super::map_common_types!(crate::contract::udf::elanus::plugin::types);

impl From<raw::Descriptor> for FunctionsDescriptor {
    fn from(descriptor: raw::Descriptor) -> Self {
        let raw::Descriptor {
            name,
            version,
            functions,
        } = descriptor;
        Self {
            name,
            version,
            functions: functions.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<raw::Signature> for Signature {
    fn from(signature: raw::Signature) -> Self {
        let raw::Signature {
            name,
            description,
            parameters,
            returns,
            volatility,
            nulls,
        } = signature;
        Self {
            name,
            description,
            parameters: parameters
                .into_iter()
                .map(|parameter| ParameterType {
                    name: parameter.name,
                    kind: parameter.kind.into(),
                })
                .collect(),
            returns: returns.into(),
            volatility: match volatility {
                raw::Volatility::Immutable => Volatility::Immutable,
                raw::Volatility::Stable => Volatility::Stable,
                raw::Volatility::Volatile => Volatility::Volatile,
            },
            nulls: match nulls {
                raw::NullHandling::NullIfAnyNull => NullHandling::NullIfAnyNull,
                raw::NullHandling::CalledWithNulls => NullHandling::CalledWithNulls,
            },
        }
    }
}

impl From<raw_types::ColumnResult> for OwnedColumn {
    fn from(column: raw_types::ColumnResult) -> Self {
        let data = match column.data {
            raw_types::ColumnDataResult::F32s(values) => OwnedData::F32s(values),
            raw_types::ColumnDataResult::F64s(values) => OwnedData::F64s(values),
            raw_types::ColumnDataResult::S64s(values) => OwnedData::S64s(values),
            raw_types::ColumnDataResult::Bools(values) => OwnedData::Bools(values),
            raw_types::ColumnDataResult::Text(raw_types::TextDataResult { offsets, bytes }) => {
                OwnedData::Text { offsets, bytes }
            }
            raw_types::ColumnDataResult::Vectors(raw_types::VectorDataResult { dim, values }) => {
                OwnedData::Vectors { dim, values }
            }
            raw_types::ColumnDataResult::Ipc(bytes) => OwnedData::Ipc(bytes),
        };
        Self {
            data,
            validity: column.validity,
        }
    }
}

/// Arguments as they cross; a function that never sees nulls gets no validity.
pub(crate) fn arguments<'a>(arguments: &[Argument<'a>], with_validity: bool) -> Vec<raw::Argument<'a>> {
    let column = |own: &Column<'a>| {
        let mut column = column(*own);
        if !with_validity {
            column.validity = None;
        }
        column
    };
    arguments
        .iter()
        .map(|argument| match argument {
            Argument::Column(own) => raw::Argument::Column(column(own)),
            Argument::Constant(own) => raw::Argument::Constant(column(own)),
        })
        .collect()
}

fn column(column: Column<'_>) -> raw_types::ColumnParam<'_> {
    let data = match column.data {
        ColumnData::F32s(values) => raw_types::ColumnDataParam::F32s(values),
        ColumnData::F64s(values) => raw_types::ColumnDataParam::F64s(values),
        ColumnData::S64s(values) => raw_types::ColumnDataParam::S64s(values),
        ColumnData::Bools(values) => raw_types::ColumnDataParam::Bools(values),
        ColumnData::Text(values) => raw_types::ColumnDataParam::Text(raw_types::TextDataParam {
            offsets: values.offsets,
            bytes: values.bytes,
        }),
        ColumnData::Vectors(values) => raw_types::ColumnDataParam::Vectors(raw_types::VectorDataParam {
            dim: values.dim,
            values: values.values,
        }),
        ColumnData::Ipc(bytes) => raw_types::ColumnDataParam::Ipc(bytes),
    };
    raw_types::ColumnParam {
        data,
        validity: column.validity,
    }
}
