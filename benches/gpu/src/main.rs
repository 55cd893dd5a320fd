//! Searches on a GPU, measured on fresh random rows: is it right, how fast is it, and how much of what the device can do
//! is that? Everything is in this one file of a few megabytes, which runs on a machine that has a driver and NVRTC and
//! nothing else. `--cpu` runs the same through the kernels' twins in plain Rust, to see that it works; its speed says nothing.
//!
//! ```text
//!   ceilings   how fast the device copies its memory and multiplies matrices, measured
//!   right      searches of every metric next to sums in 64 bits, or to exact ones on the processor for other types than 32-bit
//!              floats
//!   speed      batches of several sizes; bytes and operations per second as shares of the ceilings
//!   indexes    the same of GPU_IVF_FLAT, GPU_IVF_PQ and GPU_CAGRA, with build times and recall, next to IVF_FLAT, IVF_PQ and HNSW
//!              of the processor
//! ```
#![expect(clippy::print_stdout, reason = "a command line tool")]

mod ceilings;
mod data;
mod indexes;
mod speed;
mod truth;
mod types;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, ensure};
use clap::Parser;
use elanus_index::AnyMetric;
use elanus_index::gpu::cuda::{Options, open};
use elanus_index::gpu::twin::Twin;
use elanus_index::gpu::{Backend, Device, PqParams};

use crate::ceilings::Ceilings;
use crate::indexes::Family;
use crate::types::Type;

/// Searches on a GPU: are they right, and how near to what the device can do?
#[derive(Debug, Parser)]
struct Arguments {
    /// Rows of the measurement.
    #[arg(long, default_value_t = 10_000_000)]
    rows: usize,
    /// Dimensions of the measurement.
    #[arg(long, default_value_t = 128)]
    dim: usize,
    /// Rows wanted for each query.
    #[arg(long, default_value_t = 10)]
    k: usize,
    /// Type of the vectors; those of GPU_IVF_FLAT and GPU_IVF_PQ are numbers.
    #[arg(long = "type", value_enum, default_value = "f32")]
    of: Type,
    /// Metric of the measurement: L2, IP or COSINE, of bits HAMMING or JACCARD; the first of them by default.
    #[arg(long)]
    metric: Option<AnyMetric>,
    /// Sizes of the batches.
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000,10000")]
    queries: Vec<usize>,
    /// Lists of GPU_IVF_FLAT and GPU_IVF_PQ; the first is measured when this is given.
    #[arg(long)]
    nlist: Option<u32>,
    /// Groups of dimensions of GPU_IVF_PQ, which is measured when this and the number of lists are given.
    #[arg(long)]
    m: Option<u32>,
    /// Bits of a codeword's number.
    #[arg(long, default_value_t = 8)]
    nbits: u32,
    /// Numbers of lists that are looked at.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,128")]
    nprobe: Vec<u32>,
    /// Links of a node of GPU_CAGRA, which is measured when this is given.
    #[arg(long)]
    graph_degree: Option<u32>,
    /// Nodes that a walk keeps.
    #[arg(long, value_delimiter = ',', default_value = "32,64,128,256,512")]
    itopk_size: Vec<u32>,
    /// Least seconds for each size.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Rows that are compared with sums in 64 bits.
    #[arg(long, default_value_t = 20_000)]
    check_rows: usize,
    /// Stop after the comparison: for tools that make everything slow.
    #[arg(long)]
    check_only: bool,
    /// Start of the random numbers; by default another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// The library of NVRTC, where it is not where CUDA puts it.
    #[arg(long)]
    nvrtc: Option<PathBuf>,
    /// Folder in which compiled kernels are kept for the next run.
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Leave out exact search, to measure the indexes alone.
    #[arg(long)]
    without_brute_force: bool,
    /// Leave out the same indexes and exact search on the processor: graphs of millions of rows take long to build there.
    #[arg(long)]
    without_processor: bool,
    /// Run the twins of the kernels on the processor instead.
    #[arg(long)]
    cpu: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(data::fresh_seed);
    println!("seed {seed}");
    if arguments.cpu {
        let device = Device::new(Twin::new(), 8 << 30);
        println!("device: twins of the kernels, on the processor");
        return measure(&arguments, seed, &device, None);
    }
    let device = open(&Options {
        nvrtc: arguments.nvrtc.clone(),
        cache: arguments.cache.clone(),
        ..Options::default()
    })?;
    let info = device.backend.info();
    println!(
        "device: {}, compute capability {}, {} multiprocessors, {:.1} GiB, {:.1} GiB of them used at most",
        info.name,
        info.capability,
        info.multiprocessors,
        info.memory as f64 / f64::from(1 << 30),
        device.budget.limit() as f64 / f64::from(1 << 30),
    );
    let ceilings = if arguments.check_only {
        None
    } else {
        let ceilings = Ceilings::measure()?;
        println!("{ceilings}");
        Some(ceilings)
    };
    measure(&arguments, seed, &device, ceilings.as_ref())
}

fn measure<B: Backend + 'static>(
    arguments: &Arguments,
    seed: u64,
    device: &Arc<Device<B>>,
    ceilings: Option<&Ceilings>,
) -> Result<()> {
    let Arguments { of, dim, .. } = *arguments;
    let metrics = of.metrics();
    let metric = arguments.metric.unwrap_or(metrics[0]);
    ensure!(
        metrics.contains(&metric),
        "vectors of {of:?} have not the metric {metric}"
    );
    ensure!(
        of != Type::Bit || dim.is_multiple_of(8),
        "--dim {dim} of bits is no multiple of 8"
    );
    if of == Type::F32 {
        truth::check(device, arguments.check_rows, arguments.k, seed)?;
    } else {
        ensure!(
            of != Type::Bit || arguments.nlist.is_none(),
            "--nlist is for vectors of numbers"
        );
        types::check(device, of, arguments.check_rows, arguments.k, seed)?;
    }
    indexes::check(device, of, arguments.k, seed)?;
    if arguments.check_only {
        return Ok(());
    }
    let shape = speed::Shape {
        rows: arguments.rows,
        of,
        dim,
        k: arguments.k,
        metric,
        seconds: arguments.seconds,
        without_processor: arguments.without_processor,
    };
    if !arguments.without_brute_force {
        speed::measure(device, &shape, &arguments.queries, seed, ceilings)?;
    }
    let lists = arguments
        .nlist
        .map(|nlist| Family::Lists(nlist, &arguments.nprobe));
    let graph = arguments
        .graph_degree
        .map(|degree| Family::Graph(degree, &arguments.itopk_size));
    let codes = arguments.nlist.zip(arguments.m).map(|(nlist, m)| {
        let nbits = arguments.nbits;
        Family::Codes(PqParams { nlist, m, nbits }, &arguments.nprobe)
    });
    for family in lists.iter().chain(&codes).chain(&graph) {
        indexes::measure(device, &shape, family, &arguments.queries, seed, ceilings)?;
    }
    Ok(())
}
