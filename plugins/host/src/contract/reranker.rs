//! The world `reranker` of version 1.

use crate::descriptor::{ColumnSource, NeededColumn, RerankerDescriptor};
use crate::params::{Parameter, Parameters, Value, ValueKind};
use crate::reranker::{Candidates, Keys, Ranking, Request};
use crate::values::{Column, ColumnData, TextData, VectorData};

wasmtime::component::bindgen!({
    path: "../wit/v1",
    world: "reranker",
    ownership: Borrowing { duplicate_if_necessary: true },
});

use elanus::plugin::{parameters as raw_parameters, types as raw_types};
use exports::elanus::plugin::reranking as raw;

super::map_common_types!(crate::contract::reranker::elanus::plugin::types);

impl From<raw::Descriptor> for RerankerDescriptor {
    fn from(descriptor: raw::Descriptor) -> Self {
        let raw::Descriptor {
            name,
            version,
            description,
            columns,
            needs_vectors,
            needs_query_text,
            max_candidates,
            parameters,
        } = descriptor;
        Self {
            name,
            version,
            description,
            columns: columns.into_iter().map(Into::into).collect(),
            needs_vectors,
            needs_query_text,
            max_candidates,
            parameters: parameters.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<raw::NeededColumn> for NeededColumn {
    fn from(column: raw::NeededColumn) -> Self {
        let source = match column.source {
            raw::ColumnSource::Named(name) => ColumnSource::Named(name),
            raw::ColumnSource::Parameter(name) => ColumnSource::Parameter(name),
            raw::ColumnSource::ParameterList(name) => ColumnSource::ParameterList(name),
        };
        Self {
            source,
            kind: column.kind.into(),
        }
    }
}

impl From<raw_parameters::Parameter> for Parameter {
    fn from(parameter: raw_parameters::Parameter) -> Self {
        let kind = match parameter.kind {
            raw_parameters::ValueKind::Boolean => ValueKind::Boolean,
            raw_parameters::ValueKind::Integer => ValueKind::Integer,
            raw_parameters::ValueKind::Number => ValueKind::Number,
            raw_parameters::ValueKind::Text => ValueKind::Text,
        };
        let default = parameter.default.map(|value| match value {
            raw_parameters::ValueResult::Boolean(value) => Value::Boolean(value),
            raw_parameters::ValueResult::Integer(value) => Value::Integer(value),
            raw_parameters::ValueResult::Number(value) => Value::Number(value),
            raw_parameters::ValueResult::Text(value) => Value::Text(value),
        });
        Self {
            name: parameter.name,
            description: parameter.description,
            kind,
            default,
        }
    }
}

impl From<raw::Ranking> for Ranking {
    fn from(ranking: raw::Ranking) -> Self {
        Self {
            order: ranking.order,
            scores: ranking.scores,
        }
    }
}

/// Parameters as they cross.
pub(crate) fn arguments(parameters: &Parameters) -> Vec<raw_parameters::Argument<'_>> {
    let value = |value| match value {
        &Value::Boolean(value) => raw_parameters::ValueParam::Boolean(value),
        &Value::Integer(value) => raw_parameters::ValueParam::Integer(value),
        &Value::Number(value) => raw_parameters::ValueParam::Number(value),
        Value::Text(value) => raw_parameters::ValueParam::Text(value),
    };
    parameters
        .iter()
        .map(|(name, own)| raw_parameters::Argument {
            name,
            value: value(own),
        })
        .collect()
}

/// A request as it crosses.
pub(crate) fn request<'a>(request: &Request<'a>) -> raw::Request<'a> {
    raw::Request {
        query_vectors: vectors(request.query_vectors),
        query_text: request.query_text,
        limit: request.limit,
    }
}

/// The columns of candidates as they cross.
pub(crate) fn columns<'a>(candidates: &Candidates<'a>) -> Vec<raw::NamedColumn<'a>> {
    candidates
        .columns
        .iter()
        .map(|(name, column)| raw::NamedColumn {
            name,
            column: self::column(*column),
        })
        .collect()
}

/// Candidates as they cross, with their columns from [`columns`].
pub(crate) fn candidates<'a>(
    candidates: &Candidates<'a>,
    columns: &'a [raw::NamedColumn<'a>],
) -> raw::Candidates<'a> {
    let keys = match candidates.keys {
        Keys::Integers(keys) => raw::Keys::Integers(keys),
        Keys::Texts(keys) => raw::Keys::Texts(text(keys)),
    };
    raw::Candidates {
        keys,
        distances: candidates.distances,
        columns,
        vectors: candidates.vectors.map(vectors),
    }
}

fn column(column: Column<'_>) -> raw_types::Column<'_> {
    let data = match column.data {
        ColumnData::F32s(values) => raw_types::ColumnData::F32s(values),
        ColumnData::F64s(values) => raw_types::ColumnData::F64s(values),
        ColumnData::S64s(values) => raw_types::ColumnData::S64s(values),
        ColumnData::Bools(values) => raw_types::ColumnData::Bools(values),
        ColumnData::Text(values) => raw_types::ColumnData::Text(text(values)),
        ColumnData::Vectors(values) => raw_types::ColumnData::Vectors(vectors(values)),
        ColumnData::Ipc(bytes) => raw_types::ColumnData::Ipc(bytes),
    };
    raw_types::Column {
        data,
        validity: column.validity,
    }
}

fn text(data: TextData<'_>) -> raw_types::TextData<'_> {
    raw_types::TextData {
        offsets: data.offsets,
        bytes: data.bytes,
    }
}

fn vectors(data: VectorData<'_>) -> raw_types::VectorData<'_> {
    raw_types::VectorData {
        dim: data.dim,
        values: data.values,
    }
}
