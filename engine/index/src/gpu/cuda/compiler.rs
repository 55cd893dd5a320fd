//! NVRTC, the compiler that is a library, and the cache of what it made.
//!
//! It is opened here rather than by `cudarc`, which knows the file names of releases up to its own only and panics where a
//! library or a function is missing; and because machine code, unlike PTX, does not depend on a driver as new as the
//! compiler. It needs neither a device nor a driver.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::ptr;

use libloading::Library;

use crate::gpu::error::GpuError;

/// Where the library may be, in this order, unless a path is given. Plain names are searched for by the system.
const CANDIDATES: [&str; 8] = [
    "libnvrtc.so",
    "libnvrtc.so.13",
    "libnvrtc.so.12",
    "libnvrtc.so.11.2",
    "/usr/local/cuda/lib64/libnvrtc.so",
    "/usr/local/cuda/targets/x86_64-linux/lib/libnvrtc.so",
    "nvrtc64_130_0.dll",
    "nvrtc64_120_0.dll",
];

type Program = *mut c_void;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Text = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
type Count = unsafe extern "C" fn(*mut c_int) -> c_int;
type Explain = unsafe extern "C" fn(c_int) -> *const c_char;

/// The opened library.
pub struct Compiler {
    create: Create,
    compile: Compile,
    log_size: Size,
    log: Text,
    cubin_size: Size,
    cubin: Text,
    ptx_size: Size,
    ptx: Text,
    destroy: Destroy,
    explain: Explain,
    /// Major and minor.
    version: (i32, i32),
    /// Compute capabilities that it compiles for, such as 90, ascending.
    architectures: Vec<i32>,
    _library: Library,
}

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiler")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// Machine code, or PTX for a device newer than the compiler; what the driver loads.
    pub image: Vec<u8>,
    /// What the compiler said; empty when there was nothing to say.
    pub log: String,
}

fn missing(reason: impl fmt::Display) -> GpuError {
    GpuError::Compiler {
        reason: reason.to_string(),
    }
}

impl Compiler {
    /// Opens the library at `path`, or where CUDA puts it.
    ///
    /// # Errors
    /// When it is not there, or too old.
    pub fn open(path: Option<&Path>) -> Result<Self, GpuError> {
        let names: Vec<PathBuf> = match path {
            Some(path) => vec![path.to_owned()],
            None => CANDIDATES.iter().map(PathBuf::from).collect(),
        };
        let opened = names.iter().find_map(|name| {
            // SAFETY: the initialisers of NVRTC have no conditions.
            unsafe { Library::new(name) }.ok()
        });
        let Some(library) = opened else {
            let tried: Vec<String> = names.iter().map(|name| name.display().to_string()).collect();
            return Err(missing(format!(
                "the library of NVRTC was not found (looked for {}); it is part of the CUDA toolkit and of the Python \
                 package nvidia-cuda-nvrtc-cu12",
                tried.join(", ")
            )));
        };
        // SAFETY: the types are those of nvrtc.h, which are the same in all releases since 11.2.
        unsafe { Self::with(library) }.map_err(missing)
    }

    /// # Safety
    /// The library is NVRTC.
    unsafe fn with(library: Library) -> Result<Self, libloading::Error> {
        // SAFETY: the caller's.
        unsafe {
            let version: Version = *library.get(b"nvrtcVersion\0")?;
            let count: Count = *library.get(b"nvrtcGetNumSupportedArchs\0")?;
            let list: Count = *library.get(b"nvrtcGetSupportedArchs\0")?;
            let (mut major, mut minor, mut architectures) = (0, 0, 0);
            version(&raw mut major, &raw mut minor);
            count(&raw mut architectures);
            let mut supported = vec![0; usize::try_from(architectures).unwrap_or(0).max(1)];
            list(supported.as_mut_ptr());
            Ok(Self {
                create: *library.get(b"nvrtcCreateProgram\0")?,
                compile: *library.get(b"nvrtcCompileProgram\0")?,
                log_size: *library.get(b"nvrtcGetProgramLogSize\0")?,
                log: *library.get(b"nvrtcGetProgramLog\0")?,
                cubin_size: *library.get(b"nvrtcGetCUBINSize\0")?,
                cubin: *library.get(b"nvrtcGetCUBIN\0")?,
                ptx_size: *library.get(b"nvrtcGetPTXSize\0")?,
                ptx: *library.get(b"nvrtcGetPTX\0")?,
                destroy: *library.get(b"nvrtcDestroyProgram\0")?,
                explain: *library.get(b"nvrtcGetErrorString\0")?,
                version: (major, minor),
                architectures: supported,
                _library: library,
            })
        }
    }

    /// Major and minor version.
    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    /// Compiles `source` for devices of compute capability `capability`, 90 say; `options` besides that and the language.
    ///
    /// # Errors
    /// The compiler's log.
    pub fn compile(&self, source: &str, capability: i32, options: &[&str]) -> Result<Compiled, GpuError> {
        let known = self.architectures.contains(&capability);
        let newest = self
            .architectures
            .iter()
            .copied()
            .filter(|&known| known < capability)
            .max();
        let target = match (known, newest) {
            (true, _) => format!("--gpu-architecture=sm_{capability}"),
            // The driver turns PTX of an older architecture into code for the newer device.
            (false, Some(older)) => format!("--gpu-architecture=compute_{older}"),
            (false, None) => {
                return Err(missing(format!(
                    "NVRTC {}.{} does not compile for compute capability {capability}",
                    self.version.0, self.version.1
                )));
            }
        };
        let text = |text: &str| CString::new(text).map_err(missing);
        let source = text(source)?;
        let mut given = vec![text(&target)?, text("-std=c++17")?];
        for option in options {
            given.push(text(option)?);
        }
        let pointers: Vec<*const c_char> = given.iter().map(|option| option.as_ptr()).collect();
        let mut program: Program = ptr::null_mut();
        // SAFETY: the strings end with zero and live until the end of this function; no headers are given.
        let made = unsafe {
            (self.create)(
                &raw mut program,
                source.as_ptr(),
                c"elanus.cu".as_ptr(),
                0,
                ptr::null(),
                ptr::null(),
            )
        };
        self.check(made)?;
        // SAFETY: a program that was just created; as many options as the length says.
        let compiled = unsafe { (self.compile)(program, pointers.len() as c_int, pointers.as_ptr()) };
        let log = self.bytes(program, self.log_size, self.log);
        let (size, image) = if known {
            (self.cubin_size, self.cubin)
        } else {
            (self.ptx_size, self.ptx)
        };
        let image = if compiled == 0 {
            self.bytes(program, size, image)
        } else {
            Ok(Vec::new())
        };
        // SAFETY: created above, not used after this.
        unsafe { (self.destroy)(&raw mut program) };
        let log = String::from_utf8_lossy(&log?)
            .trim_matches(['\0', '\n', ' '])
            .to_owned();
        if compiled != 0 {
            return Err(missing(log));
        }
        Ok(Compiled { image: image?, log })
    }

    /// What a pair of functions of NVRTC gives: how long it is, and the bytes.
    fn bytes(&self, program: Program, size: Size, read: Text) -> Result<Vec<u8>, GpuError> {
        let mut length = 0;
        // SAFETY: the program lives.
        self.check(unsafe { size(program, &raw mut length) })?;
        let mut bytes = vec![0u8; length.max(1)];
        // SAFETY: the program lives, and there is room for what it said.
        self.check(unsafe { read(program, bytes.as_mut_ptr().cast()) })?;
        bytes.truncate(length);
        Ok(bytes)
    }

    fn check(&self, status: c_int) -> Result<(), GpuError> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the library's texts are constants.
        let text = unsafe { CStr::from_ptr((self.explain)(status)) };
        Err(missing(text.to_string_lossy()))
    }

    /// [`Compiler::compile`], or what it made of the same source before, from `folder`. A cache that cannot be read or written
    /// only costs time.
    ///
    /// # Errors
    /// The compiler's log.
    pub fn compile_cached(
        &self,
        source: &str,
        capability: i32,
        options: &[&str],
        folder: Option<&Path>,
    ) -> Result<Compiled, GpuError> {
        let Some(folder) = folder else {
            return self.compile(source, capability, options);
        };
        let path = folder.join(self.cache_name(source, capability, options));
        if let Ok(image) = fs::read(&path)
            && let Some(image) = unsealed(image)
        {
            return Ok(Compiled {
                image,
                log: String::new(),
            });
        }
        let compiled = self.compile(source, capability, options)?;
        if let Err(error) = store(&path, &compiled.image) {
            tracing::warn!(path = %path.display(), %error, "compiled kernels could not be kept");
        }
        Ok(compiled)
    }

    fn cache_name(&self, source: &str, capability: i32, options: &[&str]) -> String {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        // FNV-1a, with a byte between the parts that none of them has.
        for part in std::iter::once(source).chain(options.iter().copied()) {
            for byte in part.bytes().chain([0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        let (major, minor) = self.version;
        format!("kernels-{hash:016x}-sm{capability}-nvrtc{major}.{minor}.bin")
    }
}

/// The image of a cached file, whose last four bytes are the checksum of the others.
fn unsealed(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let (image, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(image).to_le_bytes() != *checksum {
        return None;
    }
    bytes.truncate(bytes.len() - 4);
    Some(bytes)
}

/// Writes a file that is there as a whole or not at all.
fn store(path: &Path, image: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut bytes = image.to_vec();
    bytes.extend_from_slice(&crc32c::crc32c(image).to_le_bytes());
    let unfinished = path.with_extension(format!("tmp{}", std::process::id()));
    fs::write(&unfinished, bytes)?;
    fs::rename(unfinished, path)
}
