//! Building: the graph over the rows, an order of its nodes, their codes, and the blocks.

use std::collections::VecDeque;

use rayon::prelude::*;

use super::apart::Apart;
use super::codes::Codes;
use super::layout::{Layout, seal};
use super::params::DiskParams;
use crate::bitset::Bitset;
use crate::codes::rows::RowSource;
use crate::error::BuildError;
use crate::hnsw::{ByDistance, Form, Layers, NONE, Points, Settings, build_links};
use crate::metric::Metric;
use crate::progress::BuildOptions;

/// Rows that one task adds up or compares.
const TASK_ROWS: usize = 4096;
/// Blocks that are written between two looks at the cancel flag.
const SLAB_BLOCKS: usize = 4096;

/// What an index is made of.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) layout: Layout,
    pub(crate) codes: Codes,
    pub(crate) blocks: Vec<u8>,
}

/// Builds from the rows `members`. `vector_bytes` are those of a stored row, which `write` appends. Runs on the current
/// thread pool.
pub(crate) fn build<P: Points + RowSource>(
    params: DiskParams,
    metric: Metric,
    points: &P,
    members: &[u32],
    vector_bytes: usize,
    write: impl Fn(u32, &mut Vec<u8>) + Sync,
    options: &BuildOptions<'_>,
) -> Result<Built, BuildError> {
    let entry = medoid(points, members);
    let settings = Settings {
        form: Form::Flat {
            degree: params.max_degree as usize,
            entry: entry.unwrap_or(NONE),
        },
        ef_construction: params.search_list_size as usize,
        seed: options.seed,
    };
    let apart = Apart::new(metric, points, members);
    let links = build_links(
        &apart,
        &ByDistance(&apart),
        members.to_vec(),
        None,
        settings,
        options.progress,
    )?;
    drop(apart);
    let order = order(&links, members, RowSource::len(points));
    let bytes = params.code_bytes(vector_bytes);
    let codes = Codes::build(metric, points, &order, bytes, options.seed, options.progress)?;
    let mut positions = vec![NONE; RowSource::len(points)];
    for (position, &row) in (0..).zip(&order) {
        if let Some(slot) = positions.get_mut(row as usize) {
            *slot = position;
        }
    }
    let layout = Layout::new(vector_bytes, links.base_degree()).ok_or(BuildError::TooManyRows {
        rows: members.len(),
        max: 0,
    })?;
    let mut blocks = vec![0; layout.blocks(order.len()) * layout.block_bytes()];
    let slabs = blocks.chunks_mut(layout.block_bytes() * SLAB_BLOCKS);
    for (slab, rows) in slabs.zip(order.chunks(layout.per_block() * SLAB_BLOCKS)) {
        if options.progress.cancelled() {
            return Err(BuildError::Cancelled);
        }
        slab.par_chunks_mut(layout.block_bytes())
            .zip(rows.par_chunks(layout.per_block()))
            .for_each(|(block, rows)| {
                let mut vector = Vec::with_capacity(vector_bytes);
                for (place, &row) in rows.iter().enumerate() {
                    vector.clear();
                    write(row, &mut vector);
                    let linked = links.base().neighbors(row);
                    let linked = linked.filter_map(|row| positions.get(row as usize).copied());
                    layout.write(block, place, row, &vector, linked);
                }
                seal(block);
            });
    }
    Ok(Built {
        layout,
        codes,
        blocks,
    })
}

/// The row nearest to the mean of all, where walks begin.
fn medoid(source: &impl RowSource, members: &[u32]) -> Option<u32> {
    let dim = source.dim();
    let sums: Vec<Vec<f64>> = members
        .par_chunks(TASK_ROWS)
        .map(|rows| {
            let (mut sum, mut row) = (vec![0.0f64; dim], Vec::new());
            for &number in rows {
                source.read(number, &mut row);
                for (sum, &value) in sum.iter_mut().zip(&row) {
                    *sum += f64::from(value);
                }
            }
            sum
        })
        .collect();
    let mut mean = vec![0.0f64; dim];
    for part in sums {
        for (sum, value) in mean.iter_mut().zip(part) {
            *sum += value / members.len() as f64;
        }
    }
    let mean: Vec<f32> = mean.into_iter().map(|value| value as f32).collect();
    let nearest = members.par_chunks(TASK_ROWS).filter_map(|rows| {
        let mut row = Vec::new();
        let distances = rows.iter().map(|&number| {
            source.read(number, &mut row);
            crate::neighbor::Neighbor {
                distance: Metric::L2.distance(&mean, &row),
                row: number,
            }
        });
        distances.min()
    });
    nearest.min().map(|neighbor| neighbor.row)
}

/// The rows as a walk in all directions at once meets them: near the entry first, linked ones close to each other. Rows
/// that no walk meets come last.
fn order(links: &Layers, members: &[u32], rows: usize) -> Vec<u32> {
    let mut order = Vec::with_capacity(members.len());
    let (mut seen, mut next) = (Bitset::new(rows), VecDeque::new());
    for &start in std::iter::once(&links.entry).chain(members) {
        if start == NONE || seen.get(start as usize) {
            continue;
        }
        seen.set(start as usize);
        next.push_back(start);
        while let Some(row) = next.pop_front() {
            order.push(row);
            for linked in links.base().neighbors(row) {
                if !seen.get(linked as usize) {
                    seen.set(linked as usize);
                    next.push_back(linked);
                }
            }
        }
    }
    order
}
