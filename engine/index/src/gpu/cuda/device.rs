//! A device of NVIDIA behind [`Backend`], and the probe for it.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use cudarc::driver::result::{device, mem_pool};
use cudarc::driver::sys::CUdevice_attribute;
use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DriverError, LaunchConfig, PushKernelArg,
    sys,
};
use cudarc::nvrtc::Ptx;

use super::compiler::Compiler;
use super::source::{source, suffix};
use super::staging::Staging;
use crate::gpu::backend::{
    Backend, BooksOf, Comparison, Device, ElementType, GraphOf, InvertedOf, LinksOf, ListsOf, MarksOf,
    ProbesOf, QueriesOf, RowsOf, TablesOf, WalkOf, Word,
};
use crate::gpu::error::GpuError;
use crate::metric::Metric;

/// Threads of a block of the comparing kernels.
const THREADS: u32 = 256;
/// Rows of a tile; queries of a large and of a small one.
const TILE_ROWS: u32 = 128;
const LARGE_TILE: u32 = 128;
const SMALL_TILE: u32 = 32;
/// Up to so many queries small tiles waste less than large ones do.
const MOST_OF_SMALL: u32 = 48;
/// Queries of the kernel for few, and rows that a block of it takes at a time.
const FEW: u32 = 4;
const STRIPE_ROWS: u32 = THREADS / 32 * 4;
/// Blocks for each multiprocessor of a kernel that takes any number of them.
const WAVES: u32 = 16;
/// Threads of a block that adds up a list.
const MEAN_THREADS: u32 = 128;
/// Threads of a block that walks a graph.
const WALK_THREADS: u32 = 128;
/// Rows of a block that looks for codewords.
const WORD_ROWS: u32 = THREADS / 32 * 4;
/// Blocks for each multiprocessor up to which lists are scanned by several blocks each, and the least groups of such a part.
const SCAN_WAVES: u32 = 4;
const LEAST_PART: u32 = 2 * THREADS / 32;
/// Entries of lists from which on a block for each of them has all the threads that it can.
const LONG_LIST: u32 = 32 * 1024;

/// How a device is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which of them, 0 being the first.
    pub ordinal: usize,
    /// The part of its free memory that may be used.
    pub memory_share: f64,
    /// Most bytes of its memory that may be used, where that is less.
    pub memory_limit: Option<u64>,
    /// Where compiled kernels are kept; nowhere, when `None`.
    pub cache: Option<PathBuf>,
    /// Where the library of NVRTC is; where CUDA puts it, when `None`.
    pub nvrtc: Option<PathBuf>,
    /// The kernels, compiled elsewhere for this device; compiled here, when `None`.
    pub image: Option<Vec<u8>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ordinal: 0,
            memory_share: 0.8,
            memory_limit: None,
            cache: None,
            nvrtc: None,
            image: None,
        }
    }
}

/// What a device says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its name.
    pub name: String,
    /// Compute capability, such as 90.
    pub capability: i32,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of memory.
    pub memory: usize,
}

/// An opened device.
#[derive(Debug)]
pub struct Cuda {
    info: DeviceInfo,
    stream: Arc<CudaStream>,
    /// Copies beside what `stream` does.
    copies: Arc<CudaStream>,
    staging: Staging,
    /// Kernels of rows of each type, compiled when they are first wanted.
    of_types: [OnceLock<Result<OfType, GpuError>>; ElementType::ALL.len()],
    options: Options,
    select_k: CudaFunction,
    nearest_128: CudaFunction,
    list_means: CudaFunction,
    nearest_words: CudaFunction,
    code_tables: CudaFunction,
    scan_codes: CudaFunction,
    count_detours: CudaFunction,
    best_links: CudaFunction,
    reverse_links: CudaFunction,
    join_links: CudaFunction,
}

/// The kernels of rows of one type.
#[derive(Debug)]
struct OfType {
    scan_lists: CudaFunction,
    row_terms: CudaFunction,
    candidates_128: CudaFunction,
    candidates_32: CudaFunction,
    candidates_4: CudaFunction,
    candidates_1: CudaFunction,
    walk_graph: CudaFunction,
}

impl OfType {
    fn of(module: &Arc<CudaModule>, element: ElementType) -> Result<Self, GpuError> {
        let kernel = |name: &str| {
            let name = format!("{name}{}", suffix(element));
            module.load_function(&name).map_err(failed("find a kernel"))
        };
        Ok(Self {
            scan_lists: kernel("scan_lists")?,
            row_terms: kernel("row_terms")?,
            candidates_128: kernel("candidates_128")?,
            candidates_32: kernel("candidates_32")?,
            candidates_4: kernel("candidates_4")?,
            candidates_1: kernel("candidates_1")?,
            walk_graph: kernel("walk_graph")?,
        })
    }
}

/// Opens a device: the probe. Never panics, and takes a moment only where there is no driver.
///
/// # Errors
/// No driver, no device, no compiler, or a device that fails.
pub fn open(options: &Options) -> Result<Arc<Device<Cuda>>, GpuError> {
    open_all(options, &[options.ordinal])
}

/// Opens several devices, the others as peers of the first; that of `options` when none are named.
///
/// # Errors
/// As [`open`], of the first that fails; a device that is named twice.
pub fn open_all(options: &Options, ordinals: &[usize]) -> Result<Arc<Device<Cuda>>, GpuError> {
    let (first, others) = match ordinals {
        [] => (options.ordinal, &[][..]),
        [first, others @ ..] => (*first, others),
    };
    for (at, ordinal) in ordinals.iter().enumerate() {
        if ordinals.iter().take(at).any(|other| other == ordinal) {
            return Err(GpuError::NoDevice {
                reason: format!("device {ordinal} was asked for twice"),
            });
        }
    }
    let of = |ordinal| Options {
        ordinal,
        ..options.clone()
    };
    let peers = others
        .iter()
        .map(|&ordinal| open_one(&of(ordinal), Vec::new()))
        .collect::<Result<Vec<_>, _>>()?;
    open_one(&of(first), peers)
}

fn open_one(options: &Options, peers: Vec<Arc<Device<Cuda>>>) -> Result<Arc<Device<Cuda>>, GpuError> {
    // `cudarc` panics when a library is missing, or a function of a library older than it knows.
    catch_unwind(AssertUnwindSafe(|| probe(options, peers))).unwrap_or_else(|_| {
        Err(GpuError::NoDevice {
            reason: "the library of the NVIDIA driver lacks a function".to_owned(),
        })
    })
}

fn probe(options: &Options, peers: Vec<Arc<Device<Cuda>>>) -> Result<Arc<Device<Cuda>>, GpuError> {
    // SAFETY: the initialisers of the driver's library have no conditions.
    if !unsafe { sys::is_culib_present() } {
        return Err(GpuError::NoDriver);
    }
    let count = CudaContext::device_count().map_err(|error| GpuError::NoDevice {
        reason: explain(error),
    })?;
    if usize::try_from(count).unwrap_or(0) <= options.ordinal {
        return Err(GpuError::NoDevice {
            reason: format!("device {} was asked for, there are {count}", options.ordinal),
        });
    }
    let context = CudaContext::new(options.ordinal).map_err(failed("be opened"))?;
    let info = describe(&context).map_err(failed("describe itself"))?;
    let (free, _) = context.mem_get_info().map_err(failed("tell its memory"))?;
    let module = load(&context, &info, options, ElementType::Float)?;
    let kernel = |name: &str| module.load_function(name).map_err(failed("find a kernel"));
    let backend = Cuda {
        stream: context.new_stream().map_err(failed("make a stream"))?,
        copies: context.new_stream().map_err(failed("make a stream"))?,
        staging: Staging::new(&context),
        of_types: Default::default(),
        options: options.clone(),
        select_k: kernel("select_k")?,
        nearest_128: kernel("nearest_128")?,
        list_means: kernel("list_means")?,
        nearest_words: kernel("nearest_words")?,
        code_tables: kernel("code_tables")?,
        scan_codes: kernel("scan_codes")?,
        count_detours: kernel("count_detours")?,
        best_links: kernel("best_links")?,
        reverse_links: kernel("reverse_links")?,
        join_links: kernel("join_links")?,
        info,
    };
    backend.of_type_from(ElementType::Float, || Ok(module))?;
    let share = (free as f64 * options.memory_share.clamp(0.0, 1.0)) as u64;
    let limit = share.min(options.memory_limit.unwrap_or(u64::MAX));
    keep_memory(&context, limit);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(Device::with_peers(backend, limit, peers))
}

/// Keeps up to `limit` bytes that are given back for the next search, which would else wait for the system to map them. A device
/// that cannot do so is slower, no more.
fn keep_memory(context: &CudaContext, mut limit: u64) {
    const THRESHOLD: sys::CUmemPool_attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the device is that of an open context, and the attribute has 64 bits.
    let kept = unsafe {
        device::get_default_mem_pool(context.cu_device())
            .and_then(|pool| mem_pool::set_attribute(pool, THRESHOLD, (&raw mut limit).cast()))
    };
    if let Err(error) = kept {
        tracing::debug!(reason = %explain(error), "memory of the device goes back to the system after every search");
    }
}

fn describe(context: &Arc<CudaContext>) -> Result<DeviceInfo, DriverError> {
    let (major, minor) = context.compute_capability()?;
    let multiprocessors = context.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
    Ok(DeviceInfo {
        name: context.name()?,
        capability: 10 * major + minor,
        multiprocessors: u32::try_from(multiprocessors).unwrap_or(1).max(1),
        memory: context.total_mem()?,
    })
}

/// Compiles the kernels of rows of a type, those of 32-bit floats with all that have no type, or takes them from the cache, and
/// loads them.
fn load(
    context: &Arc<CudaContext>,
    info: &DeviceInfo,
    options: &Options,
    element: ElementType,
) -> Result<Arc<CudaModule>, GpuError> {
    let image = match &options.image {
        Some(image) => image.clone(),
        None => {
            let compiler = Compiler::open(options.nvrtc.as_deref())?;
            let cache = options.cache.as_deref();
            compiler
                .compile_cached(&source(&[element]), info.capability, &[], cache)?
                .image
        }
    };
    context
        .load_module(Ptx::from_binary(image))
        .map_err(failed("load the kernels"))
}

fn explain(error: DriverError) -> String {
    let text = error
        .error_string()
        .map(|text| text.to_string_lossy().into_owned());
    text.unwrap_or_else(|_| format!("{:?}", error.0))
}

fn failed(what: &'static str) -> impl Fn(DriverError) -> GpuError {
    move |error| GpuError::Driver {
        what,
        reason: explain(error),
    }
}

fn too_small(what: &'static str) -> GpuError {
    GpuError::Driver {
        what,
        reason: "a range leaves its buffer".to_owned(),
    }
}

fn config(blocks: u32, threads: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (blocks, 1, 1),
        block_dim: (threads, 1, 1),
        shared_mem_bytes: 0,
    }
}

fn as_words<W: Word>(values: &[W]) -> &[u32] {
    // SAFETY: the two implementations of `Word`, a sealed trait, are 32 bits wide, aligned alike, and any bits are a value.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}

fn as_words_mut<W: Word>(values: &mut [W]) -> &mut [u32] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) }
}

impl Cuda {
    /// What the device says about itself.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Waits until everything that was asked for is done.
    ///
    /// # Errors
    /// As the driver says.
    pub fn synchronize(&self) -> Result<(), GpuError> {
        self.stream.synchronize().map_err(failed("finish"))
    }

    /// The kernels of rows of a type.
    fn of_type(&self, element: ElementType) -> Result<&OfType, GpuError> {
        self.of_type_from(element, || {
            load(self.stream.context(), &self.info, &self.options, element)
        })
    }

    fn of_type_from(
        &self,
        element: ElementType,
        module: impl FnOnce() -> Result<Arc<CudaModule>, GpuError>,
    ) -> Result<&OfType, GpuError> {
        let [floats, halves, bfloats, integers, bits] = &self.of_types;
        let kernels = match element {
            ElementType::Float => floats,
            ElementType::Half => halves,
            ElementType::BFloat16 => bfloats,
            ElementType::Int8 => integers,
            ElementType::Bit => bits,
        };
        kernels
            .get_or_init(|| OfType::of(&module()?, element))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// Copies to the device in the order of a stream. What other streams do with the buffer is waited for, and they wait for this:
    /// `cudarc` keeps an event of the last reading and of the last writing of each buffer.
    fn copied<W: Word>(
        &self,
        stream: &Arc<CudaStream>,
        to: &mut CudaSlice<u32>,
        at: usize,
        values: &[W],
    ) -> Result<(), GpuError> {
        if at.saturating_add(values.len()) > to.len() {
            return Err(too_small("write"));
        }
        let copied = self.staging.write(stream, to, at, as_words(values));
        copied.map_err(failed("copy to it"))
    }

    /// Bytes of page-locked memory through which copies go.
    pub fn staging_bytes(&self) -> usize {
        self.staging.bytes()
    }

    /// The kernel for a batch, and the blocks it takes for `rows` rows.
    fn comparing<'a>(&self, kernels: &'a OfType, queries: u32, rows: u32) -> (&'a CudaFunction, u32) {
        let striped = rows.div_ceil(STRIPE_ROWS).min(self.info.multiprocessors * WAVES);
        let tiles = |of: u32| rows.div_ceil(TILE_ROWS) * queries.div_ceil(of);
        match queries {
            0..=1 => (&kernels.candidates_1, striped),
            2..=FEW => (&kernels.candidates_4, striped),
            _ if queries <= MOST_OF_SMALL => (&kernels.candidates_32, tiles(SMALL_TILE)),
            _ => (&kernels.candidates_128, tiles(LARGE_TILE)),
        }
    }
}

impl Cuda {
    /// Pairs of a query and a list, and blocks that share one.
    fn splits(&self, queries: u32, probes: u32, longest: u32) -> (u32, u32) {
        let pairs = queries * probes;
        let wanted = (self.info.multiprocessors * SCAN_WAVES).div_ceil(pairs.max(1));
        (pairs, wanted.min(longest / LEAST_PART).max(1))
    }
}

impl Backend for Cuda {
    type Buffer = CudaSlice<u32>;

    fn multiprocessors(&self) -> u32 {
        self.info.multiprocessors
    }

    fn allocate(&self, words: usize) -> Result<CudaSlice<u32>, GpuError> {
        // SAFETY: any bits are a word; what is read was written before, which the emulator's rubbish would show.
        unsafe { self.stream.alloc::<u32>(words.max(1)) }.map_err(failed("allocate memory"))
    }

    fn allocate_to_read(&self, words: usize) -> Result<CudaSlice<u32>, GpuError> {
        let zeros = self.stream.alloc_zeros::<u32>(words.max(1));
        zeros.map_err(failed("allocate memory"))
    }

    fn write<W: Word>(&self, to: &mut CudaSlice<u32>, at: usize, values: &[W]) -> Result<(), GpuError> {
        self.copied(&self.stream, to, at, values)
    }

    fn write_beside<W: Word>(
        &self,
        to: &mut CudaSlice<u32>,
        at: usize,
        values: &[W],
    ) -> Result<(), GpuError> {
        self.copied(&self.copies, to, at, values)
    }

    fn read<W: Word>(&self, from: &CudaSlice<u32>, values: &mut [W]) -> Result<(), GpuError> {
        if values.len() > from.len() {
            return Err(too_small("read"));
        }
        let read = self.staging.read(&self.stream, from, as_words_mut(values));
        read.map_err(failed("copy from it"))
    }

    fn copy(&self, from: &CudaSlice<u32>, to: &mut CudaSlice<u32>) -> Result<(), GpuError> {
        if from.len() != to.len() {
            return Err(too_small("copy"));
        }
        self.stream.memcpy_dtod(from, to).map_err(failed("copy on it"))
    }

    fn row_terms(
        &self,
        (element, comparison): (ElementType, Comparison),
        rows: &CudaSlice<u32>,
        count: u32,
        stride: u32,
        terms: &mut CudaSlice<u32>,
        largest: &mut CudaSlice<u32>,
    ) -> Result<(), GpuError> {
        let comparison = comparison as u32;
        let blocks = count
            .div_ceil(THREADS / 32)
            .min(self.info.multiprocessors * WAVES);
        let mut launch = self.stream.launch_builder(&self.of_type(element)?.row_terms);
        launch
            .arg(rows)
            .arg(&count)
            .arg(&stride)
            .arg(&comparison)
            .arg(terms)
            .arg(largest);
        // SAFETY: the arguments are those of the kernel, and the buffers as large as it says.
        unsafe { launch.launch(config(blocks.max(1), THREADS)) }.map_err(failed("start row_terms"))?;
        Ok(())
    }

    fn candidates(
        &self,
        comparison: Comparison,
        rows: &RowsOf<'_, CudaSlice<u32>>,
        first: u32,
        count: u32,
        queries: &QueriesOf<'_, CudaSlice<u32>>,
        lists: &mut ListsOf<CudaSlice<u32>>,
    ) -> Result<(), GpuError> {
        let comparison = comparison as u32;
        let nothing = 0u64;
        let kernels = self.of_type(rows.element)?;
        let (kernel, blocks) = self.comparing(kernels, queries.count, count);
        let mut launch = self.stream.launch_builder(kernel);
        launch.arg(rows.data).arg(rows.terms);
        match rows.allow {
            Some(allow) => launch.arg(allow),
            None => launch.arg(&nothing),
        };
        launch.arg(&first).arg(&count).arg(&rows.base);
        launch.arg(queries.data).arg(queries.terms).arg(queries.bounds);
        launch.arg(&queries.count).arg(&queries.stride).arg(&comparison);
        launch
            .arg(&mut lists.distances)
            .arg(&mut lists.rows)
            .arg(&mut lists.counts)
            .arg(&lists.room);
        // SAFETY: the arguments are those of the kernels, and the buffers as large as they say.
        unsafe { launch.launch(config(blocks.max(1), THREADS)) }.map_err(failed("start candidates"))?;
        Ok(())
    }

    fn select(
        &self,
        lists: &ListsOf<CudaSlice<u32>>,
        queries: u32,
        k: u32,
        best: &mut ListsOf<CudaSlice<u32>>,
        bounds: &mut CudaSlice<u32>,
        overflow: &mut CudaSlice<u32>,
    ) -> Result<(), GpuError> {
        let threads = if lists.room >= LONG_LIST { 1024 } else { THREADS };
        let mut launch = self.stream.launch_builder(&self.select_k);
        launch
            .arg(&lists.distances)
            .arg(&lists.rows)
            .arg(&lists.counts)
            .arg(&lists.room)
            .arg(&k);
        launch
            .arg(&mut best.distances)
            .arg(&mut best.rows)
            .arg(&mut best.counts)
            .arg(&best.room);
        launch.arg(bounds).arg(overflow);
        // SAFETY: the arguments are those of the kernel, and the buffers as large as it says.
        unsafe { launch.launch(config(queries.max(1), threads)) }.map_err(failed("start select_k"))?;
        Ok(())
    }

    fn nearest(
        &self,
        comparison: Comparison,
        rows: &RowsOf<'_, CudaSlice<u32>>,
        count: u32,
        queries: &QueriesOf<'_, CudaSlice<u32>>,
        nearest: &mut CudaSlice<u32>,
    ) -> Result<(), GpuError> {
        let comparison = comparison as u32;
        let blocks = count.div_ceil(TILE_ROWS) * queries.count.div_ceil(LARGE_TILE);
        let mut launch = self.stream.launch_builder(&self.nearest_128);
        launch.arg(rows.data).arg(rows.terms).arg(&count);
        launch.arg(queries.data).arg(queries.terms).arg(&queries.count);
        launch.arg(&queries.stride).arg(&comparison).arg(nearest);
        // SAFETY: the arguments are those of the kernel, and the buffers as large as it says.
        unsafe { launch.launch(config(blocks.max(1), THREADS)) }.map_err(failed("start nearest"))?;
        Ok(())
    }

    fn list_means(
        &self,
        (rows, weights): (&CudaSlice<u32>, &CudaSlice<u32>),
        (members, offsets): (&CudaSlice<u32>, &CudaSlice<u32>),
        lists: u32,
        stride: u32,
        means: &mut CudaSlice<u32>,
    ) -> Result<(), GpuError> {
        let mut launch = self.stream.launch_builder(&self.list_means);
        launch.arg(rows).arg(weights).arg(members).arg(offsets);
        launch.arg(&stride).arg(means);
        // SAFETY: the arguments are those of the kernel, and the buffers as large as it says.
        unsafe { launch.launch(config(lists.max(1), MEAN_THREADS)) }.map_err(failed("start list_means"))?;
        Ok(())
    }

    fn scan_lists(
        &self,
        (element, comparison): (ElementType, Comparison),
        inverted: &InvertedOf<'_, CudaSlice<u32>>,
        queries: &QueriesOf<'_, CudaSlice<u32>>,
        probes: &ProbesOf<'_, CudaSlice<u32>>,
        seen: &mut CudaSlice<u32>,
        lists: &mut ListsOf<CudaSlice<u32>>,
    ) -> Result<(), GpuError> {
        let comparison = comparison as u32;
        let nothing = 0u64;
        let (pairs, splits) = self.splits(queries.count, probes.count, inverted.longest);
        let mut launch = self.stream.launch_builder(&self.of_type(element)?.scan_lists);
        launch.arg(inverted.data).arg(inverted.terms);
        launch.arg(inverted.numbers).arg(inverted.starts);
        match inverted.allow {
            Some(allow) => launch.arg(allow),
            None => launch.arg(&nothing),
        };
        launch.arg(queries.data).arg(queries.terms).arg(queries.bounds);
        launch.arg(&queries.stride).arg(&comparison);
        launch.arg(probes.lists).arg(&probes.room);
        launch.arg(&probes.first).arg(&probes.count).arg(&splits);
        launch.arg(seen);
        launch
            .arg(&mut lists.distances)
            .arg(&mut lists.rows)
            .arg(&mut lists.counts)
            .arg(&lists.room);
        // SAFETY: the arguments are those of the kernel, and the buffers as large as it says.
        unsafe { launch.launch(config((pairs * splits).max(1), THREADS)) }
            .map_err(failed("start scan_lists"))?;
        Ok(())
    }

    fn nearest_words(
        &self,
        rows: &CudaSlice<u32>,
        count: u32,
        stride: u32,
        books: &BooksOf<'_, CudaSlice<u32>>,
        pitch: u32,
        codes: &mut CudaSlice<u32>,
    ) -> Result<(), GpuError> {
        let blocks = count.div_ceil(WORD_ROWS) * books.parts;
        let mut launch = self.stream.launch_builder(&self.nearest_words);
        launch.arg(rows).arg(&count).arg(&stride);
        launch.arg(books.data).arg(books.norms);
        launch.arg(&books.parts).arg(&books.width).arg(&books.bits);
        launch.arg(&pitch).arg(codes);
        // SAFETY: the arguments are those of the kernel, and the buffers as large as it says.
        unsafe { launch.launch(config(blocks.max(1), THREADS)) }.map_err(failed("start nearest_words"))?;
        Ok(())
    }

    fn code_tables(
        &self,
        queries: &QueriesOf<'_, CudaSlice<u32>>,
        mean: &CudaSlice<u32>,
        books: &BooksOf<'_, CudaSlice<u32>>,
        tables: &mut TablesOf<CudaSlice<u32>>,
    ) -> Result<(), GpuError> {
        let mut launch = self.stream.launch_builder(&self.code_tables);
        launch.arg(queries.data).arg(&queries.stride);
        launch.arg(mean).arg(books.data);
        launch.arg(&books.parts).arg(&books.width).arg(&books.bits);
        launch
            .arg(&mut tables.lows)
            .arg(&mut tables.bytes)
            .arg(&mut tables.lines);
        // SAFETY: the arguments are those of the kernel, and the buffers as large as it says.
        unsafe { launch.launch(config(queries.count.max(1), THREADS)) }
            .map_err(failed("start code_tables"))?;
        Ok(())
    }

    fn scan_codes(
        &self,
        metric: Metric,
        (coded, bases, books): (
            &InvertedOf<'_, CudaSlice<u32>>,
            &CudaSlice<u32>,
            &BooksOf<'_, CudaSlice<u32>>,
        ),
        (queries, tables): (&QueriesOf<'_, CudaSlice<u32>>, &TablesOf<CudaSlice<u32>>),
        probes: &ProbesOf<'_, CudaSlice<u32>>,
        seen: &mut CudaSlice<u32>,
        lists: &mut ListsOf<CudaSlice<u32>>,
    ) -> Result<(), GpuError> {
        let comparison = Comparison::new(metric, false) as u32;
        let nothing = 0u64;
        let (pairs, splits) = self.splits(queries.count, probes.count, coded.longest);
        let mut launch = self.stream.launch_builder(&self.scan_codes);
        launch.arg(coded.data).arg(coded.terms);
        launch.arg(coded.numbers).arg(coded.starts);
        match coded.allow {
            Some(allow) => launch.arg(allow),
            None => launch.arg(&nothing),
        };
        launch.arg(bases).arg(queries.data).arg(queries.bounds);
        launch.arg(&queries.stride).arg(&comparison);
        launch.arg(&tables.bytes).arg(&tables.lines);
        launch.arg(&books.parts).arg(&books.bits);
        launch.arg(probes.lists).arg(&probes.room);
        launch.arg(&probes.first).arg(&probes.count).arg(&splits);
        launch.arg(seen);
        launch
            .arg(&mut lists.distances)
            .arg(&mut lists.rows)
            .arg(&mut lists.counts)
            .arg(&lists.room);
        // SAFETY: the arguments are those of the kernel, and the buffers as large as it says.
        unsafe { launch.launch(config((pairs * splits).max(1), THREADS)) }
            .map_err(failed("start scan_codes"))?;
        Ok(())
    }

    fn count_detours(
        &self,
        links: &LinksOf<'_, CudaSlice<u32>>,
        of: Range<u32>,
        detours: &mut CudaSlice<u32>,
    ) -> Result<(), GpuError> {
        let mut launch = self.stream.launch_builder(&self.count_detours);
        launch
            .arg(links.data)
            .arg(&of.start)
            .arg(&links.degree)
            .arg(detours);
        // SAFETY: the arguments are those of the kernel, and the buffers as large as it says.
        unsafe { launch.launch(config(of.len().max(1) as u32, THREADS)) }
            .map_err(failed("start count_detours"))?;
        Ok(())
    }

    fn best_links(
        &self,
        links: &LinksOf<'_, CudaSlice<u32>>,
        of: Range<u32>,
        detours: &CudaSlice<u32>,
        kept: u32,
        best: &mut CudaSlice<u32>,
    ) -> Result<(), GpuError> {
        let mut launch = self.stream.launch_builder(&self.best_links);
        launch.arg(links.data).arg(&of.start).arg(&links.degree);
        launch.arg(detours).arg(&kept).arg(best);
        // SAFETY: the arguments are those of the kernel, and the buffers as large as it says.
        unsafe { launch.launch(config(of.len().max(1) as u32, THREADS)) }
            .map_err(failed("start best_links"))?;
        Ok(())
    }

    fn reverse_links(
        &self,
        links: &LinksOf<'_, CudaSlice<u32>>,
        of: Range<u32>,
        room: u32,
        reverse: &mut CudaSlice<u32>,
    ) -> Result<(), GpuError> {
        let cleared = self.stream.memset_zeros(reverse);
        cleared.map_err(failed("clear memory"))?;
        let all = u64::from(links.nodes) * u64::from(links.degree);
        let blocks = all.div_ceil(u64::from(THREADS)).max(1);
        let blocks = u32::try_from(blocks).map_err(|_| too_small("start reverse_links"))?;
        let count = of.len() as u32;
        let mut launch = self.stream.launch_builder(&self.reverse_links);
        launch.arg(links.data).arg(&links.nodes).arg(&links.degree);
        launch.arg(&of.start).arg(&count).arg(&room).arg(reverse);
        // SAFETY: the arguments are those of the kernel, and the buffers as large as it says.
        unsafe { launch.launch(config(blocks, THREADS)) }.map_err(failed("start reverse_links"))?;
        Ok(())
    }

    fn join_links(
        &self,
        links: &LinksOf<'_, CudaSlice<u32>>,
        of: Range<u32>,
        reverse: &CudaSlice<u32>,
        room: u32,
        joined: &mut CudaSlice<u32>,
    ) -> Result<(), GpuError> {
        let mut launch = self.stream.launch_builder(&self.join_links);
        launch.arg(links.data).arg(&of.start).arg(&links.degree);
        launch.arg(reverse).arg(&room).arg(joined);
        // SAFETY: the arguments are those of the kernel, and the buffers as large as it says.
        unsafe { launch.launch(config(of.len().max(1) as u32, THREADS)) }
            .map_err(failed("start join_links"))?;
        Ok(())
    }

    fn walk_graph(
        &self,
        comparison: Comparison,
        graph: &GraphOf<'_, CudaSlice<u32>>,
        queries: &QueriesOf<'_, CudaSlice<u32>>,
        walk: WalkOf,
        marks: &mut MarksOf<CudaSlice<u32>>,
        lists: &mut ListsOf<CudaSlice<u32>>,
    ) -> Result<(), GpuError> {
        if walk.walks > 1 {
            let cleared = self.stream.memset_zeros(&mut marks.shared);
            cleared.map_err(failed("clear memory"))?;
        }
        let comparison = comparison as u32;
        let nothing = 0u64;
        let mut launch = self
            .stream
            .launch_builder(&self.of_type(graph.element)?.walk_graph);
        launch.arg(graph.data).arg(graph.terms).arg(graph.numbers);
        launch.arg(graph.links).arg(&graph.nodes).arg(&graph.degree);
        match graph.allow {
            Some(allow) => launch.arg(allow),
            None => launch.arg(&nothing),
        };
        launch.arg(queries.data).arg(queries.terms);
        launch.arg(&queries.stride).arg(&comparison);
        launch.arg(&walk.list).arg(&walk.width).arg(&walk.rounds);
        launch.arg(&walk.team).arg(&walk.walks);
        launch.arg(&mut marks.own).arg(&walk.marks);
        launch.arg(&mut marks.shared).arg(&walk.shared);
        launch.arg(&mut marks.scored);
        launch
            .arg(&mut lists.distances)
            .arg(&mut lists.rows)
            .arg(&mut lists.counts)
            .arg(&lists.room);
        // SAFETY: the arguments are those of the kernel, and the buffers as large as it says.
        unsafe { launch.launch(config((queries.count * walk.walks).max(1), WALK_THREADS)) }
            .map_err(failed("start walk_graph"))?;
        Ok(())
    }
}
