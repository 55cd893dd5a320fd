//! What the device can do, measured: copy its memory, and multiply matrices of 32-bit floats, by cuBLAS where it is there.

use std::ffi::c_void;
use std::fmt;
use std::ptr;
use std::time::Instant;

use anyhow::{Result, bail};
use cudarc::driver::{CudaContext, CudaSlice, DevicePtr, DevicePtrMut};
use libloading::Library;

/// Floats of the buffers that are copied: a gibibyte, several times the cache.
const COPIED: usize = 1 << 28;
/// Rows and columns of the matrices.
const MATRIX: usize = 8192;
/// Repetitions, of which the fastest counts.
const TIMES: usize = 10;

/// File names of cuBLAS.
const CUBLAS: [&str; 5] = [
    "libcublas.so",
    "libcublas.so.13",
    "libcublas.so.12",
    "libcublas.so.11",
    "/usr/local/cuda/lib64/libcublas.so",
];

/// Bytes and operations per second.
#[derive(Debug)]
pub struct Ceilings {
    /// Of a copy, read and written ones counted.
    bytes: f64,
    /// Of a product of matrices of 32-bit floats; `None` without cuBLAS.
    operations: Option<f64>,
}

impl Ceilings {
    /// Measures both.
    ///
    /// # Errors
    /// When the device fails, or lacks two gibibytes.
    pub fn measure() -> Result<Self> {
        Ok(Self {
            bytes: copy()?,
            operations: multiply()?,
        })
    }

    /// The larger of the two shares that something reaches: 1 means that the device cannot be faster at it.
    pub fn share(&self, bytes: f64, operations: f64) -> f64 {
        let of_operations = self.operations.map_or(0.0, |most| operations / most);
        of_operations.max(bytes / self.bytes)
    }
}

impl fmt::Display for Ceilings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ceilings: copy {:.0} GB/s", self.bytes / 1e9)?;
        match self.operations {
            Some(operations) => write!(
                f,
                ", product of 32-bit floats {:.1} TFLOP/s (cuBLAS)",
                operations / 1e12
            ),
            None => f.write_str(", no cuBLAS to measure products with"),
        }
    }
}

fn copy() -> Result<f64> {
    let context = CudaContext::new(0)?;
    let stream = context.new_stream()?;
    let from: CudaSlice<f32> = stream.alloc_zeros(COPIED)?;
    let mut to: CudaSlice<f32> = stream.alloc_zeros(COPIED)?;
    let mut best = f64::INFINITY;
    for _ in 0..TIMES {
        stream.synchronize()?;
        let started = Instant::now();
        stream.memcpy_dtod(&from, &mut to)?;
        stream.synchronize()?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(2.0 * 4.0 * COPIED as f64 / best)
}

type Create = unsafe extern "C" fn(*mut *mut c_void) -> i32;
type Destroy = unsafe extern "C" fn(*mut c_void) -> i32;
type SetStream = unsafe extern "C" fn(*mut c_void, *mut c_void) -> i32;
type Sgemm = unsafe extern "C" fn(
    *mut c_void,
    i32,
    i32,
    i32,
    i32,
    i32,
    *const f32,
    *const f32,
    i32,
    *const f32,
    i32,
    *const f32,
    *mut f32,
    i32,
) -> i32;

/// Products of matrices of numbers that are not zero, without tensor cores: cuBLAS rounds nothing to fewer bits unless asked.
fn multiply() -> Result<Option<f64>> {
    let opened = CUBLAS.iter().find_map(|name| {
        // SAFETY: the initialisers of cuBLAS have no conditions.
        unsafe { Library::new(*name) }.ok()
    });
    let Some(library) = opened else { return Ok(None) };
    let context = CudaContext::new(0)?;
    let stream = context.new_stream()?;
    let numbers = crate::data::normals(MATRIX * MATRIX, 1);
    let a = stream.clone_htod(&numbers)?;
    let b = stream.clone_htod(&numbers)?;
    let mut c: CudaSlice<f32> = stream.alloc_zeros(MATRIX * MATRIX)?;
    let size = MATRIX as i32;
    let (one, zero) = (1.0f32, 0.0f32);
    let mut handle = ptr::null_mut();
    let mut best = f64::INFINITY;
    // SAFETY: the types are those of cublas_v2.h; the matrices have the size that is said, and live until after the
    // stream is done.
    unsafe {
        let create = library.get::<Create>(b"cublasCreate_v2\0")?;
        let destroy = library.get::<Destroy>(b"cublasDestroy_v2\0")?;
        let set_stream = library.get::<SetStream>(b"cublasSetStream_v2\0")?;
        let sgemm = library.get::<Sgemm>(b"cublasSgemm_v2\0")?;
        if create(&raw mut handle) != 0 {
            bail!("cuBLAS could not be started");
        }
        set_stream(handle, stream.cu_stream().cast());
        for _ in 0..TIMES {
            stream.synchronize()?;
            let started = Instant::now();
            let status = {
                let (a, _a) = a.device_ptr(&stream);
                let (b, _b) = b.device_ptr(&stream);
                let (c, _c) = c.device_ptr_mut(&stream);
                // Both transposed once, as in a product of queries and rows.
                sgemm(
                    handle,
                    1,
                    0,
                    size,
                    size,
                    size,
                    &raw const one,
                    a as *const f32,
                    size,
                    b as *const f32,
                    size,
                    &raw const zero,
                    c as *mut f32,
                    size,
                )
            };
            if status != 0 {
                bail!("cuBLAS failed with status {status}");
            }
            stream.synchronize()?;
            best = best.min(started.elapsed().as_secs_f64());
        }
        destroy(handle);
    }
    Ok(Some(2.0 * (MATRIX as f64).powi(3) / best))
}
