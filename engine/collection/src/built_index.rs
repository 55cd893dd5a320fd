//! The indexes of segments, whatever they are on: built, written, opened.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use elanus_index::scalar::ColumnIndex;
use elanus_index::{AnyIndex, AnyMetric, BuildOptions, BuildParams, IndexPart};
use elanus_storage::{IndexFile, SegmentFiles, SegmentId};

use crate::compaction::places;
use crate::error::{Error, Result};
use crate::index_def::IndexDef;
use crate::scalar_index::{JsonPlace, ScalarBuild};
use crate::unit::Unit;

/// What a definition asks to build.
#[derive(Debug, Clone)]
pub(crate) enum IndexBuild {
    Vectors(AnyMetric, BuildParams),
    Scalars(ScalarBuild),
}

/// An index on a field of a segment.
#[derive(Debug, Clone)]
pub(crate) enum FieldIndex {
    Vectors(AnyIndex),
    Scalars(Arc<ColumnIndex>),
    /// Of the terms of texts; the parameters of their analyzer.
    Terms(Arc<str>, Arc<ColumnIndex>),
}

/// An index of a segment. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct BuiltIndex {
    /// Name of the definition.
    pub name: Arc<str>,
    /// Stored name of the field.
    pub field: String,
    /// The place in JSON, of an index on one.
    pub json: Option<JsonPlace>,
    pub index: FieldIndex,
}

/// Indexes of one segment by the id of their definition.
pub(crate) type BuiltIndexes = HashMap<i64, BuiltIndex>;

/// Builds an index on the vectors of a field over the rows of a unit, as bytes, out of the indexes of the units that were
/// merged into it, if any were and a build out of theirs is faster. They are held by reference count: their files may go
/// meanwhile. CPU work.
pub(crate) fn vectors_blob(
    unit: &Unit,
    field: &str,
    metric: AnyMetric,
    params: &BuildParams,
    merged: &[Arc<Unit>],
    options: &BuildOptions<'_>,
) -> Result<Vec<u8>> {
    let allowed = unit.allow(field, None)?;
    let vectors = unit.vectors(field)?.vectors()?;
    let places = places(merged);
    let parts: Vec<IndexPart<'_>> = merged
        .iter()
        .zip(&places)
        .filter_map(|(unit, rows)| {
            let index = unit.index(field)?;
            Some(IndexPart { index, rows })
        })
        .collect();
    let built = AnyIndex::merge(params, metric, vectors, allowed.bitset(), &parts, options)
        .map_err(|e| Error::IndexBuild(e.to_string()))?;
    if !merged.is_empty() {
        tracing::debug!(
            segment = %unit.id(),
            field,
            rows = unit.rows(),
            reused_rows = built.reused_rows,
            "built the index of a merged segment"
        );
    }
    Ok(built.index.serialize())
}

/// Maps the file of an index that `def` defines; one that is meant to stay on disk reads its file itself.
pub(crate) async fn open_index(
    files: &SegmentFiles,
    segment: SegmentId,
    file: &IndexFile,
    def: &IndexDef,
) -> Result<BuiltIndex> {
    let blob = files.map_index(segment, file).await?;
    let path = if def.metric.is_some() && AnyIndex::belongs_in_file(&blob) {
        files.index_file(segment, file).await?
    } else {
        None
    };
    let opened = match path {
        Some(path) => AnyIndex::open_file(&path).map(FieldIndex::Vectors),
        None => open_blob(blob, def),
    };
    let index = opened
        .map_err(|e| Error::IndexBuild(format!("index of '{}' on segment {segment}: {e}", file.field)))?;
    Ok(BuiltIndex {
        name: def.name.as_str().into(),
        field: file.field.clone(),
        json: def.json.as_ref().map(JsonPlace::from),
        index,
    })
}

fn open_blob(blob: Bytes, def: &IndexDef) -> Result<FieldIndex, elanus_index::OpenError> {
    if def.metric.is_some() {
        return AnyIndex::open(blob).map(FieldIndex::Vectors);
    }
    let index = Arc::new(ColumnIndex::open(blob)?);
    Ok(match def.analyzer() {
        Some(analyzer) => FieldIndex::Terms(analyzer.into(), index),
        None => FieldIndex::Scalars(index),
    })
}
