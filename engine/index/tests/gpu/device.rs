//! The emulated device, built from the kernels' source the first time that a test asks for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use elanus_index::gpu::Device;
use elanus_index::gpu::backend::ElementType;
use elanus_index::gpu::cuda::{Cuda, Options, kernel_names, open, source};
use libloading::{Library, Symbol};

/// A device, and the emulator behind it unless it is a real one.
type Opened = (Arc<Device<Cuda>>, Option<&'static Library>);

/// A device, lent to one test at a time.
pub struct Lent {
    pub device: Arc<Device<Cuda>>,
    /// `None` when it is a real one.
    emulator: Option<&'static Library>,
    _turn: MutexGuard<'static, ()>,
}

impl Lent {
    /// Decides on the order of blocks and threads; 0 is the plain one.
    pub fn set_seed(&self, seed: u64) {
        self.call("emulator_set_seed", seed);
    }

    /// How much memory it says that it has, from now on.
    pub fn set_memory(&self, bytes: u64) {
        self.call("emulator_set_memory", bytes);
    }

    /// From now on, or no longer, streams of the emulated device do not wait for each other.
    pub fn ignore_waits(&self, ignored: bool) {
        self.call("emulator_ignore_waits", u64::from(ignored));
    }

    pub fn is_emulated(&self) -> bool {
        self.emulator.is_some()
    }

    /// Kernels started so far; `None` on a real device.
    pub fn launches(&self) -> Option<u32> {
        self.emulator.map(|library| {
            // SAFETY: as declared in driver.cpp.
            unsafe {
                let count: Symbol<'_, unsafe extern "C" fn() -> u32> =
                    library.get(b"emulator_launches").unwrap();
                count()
            }
        })
    }

    /// Bytes of page-locked memory; `None` on a real device.
    pub fn locked_bytes(&self) -> Option<usize> {
        self.emulator.map(|library| {
            // SAFETY: as declared in driver.cpp.
            unsafe {
                let locked: Symbol<'_, unsafe extern "C" fn() -> usize> =
                    library.get(b"emulator_locked_bytes").unwrap();
                locked()
            }
        })
    }

    /// Kernels started while another stream had something to do; `None` on a real device.
    pub fn started_beside(&self) -> Option<u32> {
        self.emulator.map(|library| {
            // SAFETY: as declared in driver.cpp.
            unsafe {
                let count: Symbol<'_, unsafe extern "C" fn() -> u32> =
                    library.get(b"emulator_beside").unwrap();
                count()
            }
        })
    }

    /// Bytes allocated; `None` on a real device.
    pub fn used_bytes(&self) -> Option<usize> {
        self.emulator.map(|library| {
            // SAFETY: as declared in driver.cpp.
            unsafe {
                let used: Symbol<'_, unsafe extern "C" fn() -> usize> =
                    library.get(b"emulator_used_bytes").unwrap();
                used()
            }
        })
    }

    /// Kernels started so far on one of the devices; `None` on a real one.
    pub fn launches_of(&self, device: i32) -> Option<u32> {
        self.emulator.map(|library| {
            // SAFETY: as declared in driver.cpp.
            unsafe {
                let count: Symbol<'_, unsafe extern "C" fn(i32) -> u32> =
                    library.get(b"emulator_launches_of").unwrap();
                count(device)
            }
        })
    }

    fn call(&self, name: &str, value: u64) {
        if let Some(library) = self.emulator {
            // SAFETY: as declared in driver.cpp.
            unsafe {
                let set: Symbol<'_, unsafe extern "C" fn(u64)> = library.get(name.as_bytes()).unwrap();
                set(value);
            }
        }
    }
}

/// The device for a test; `None`, and a message, when there is none. Whatever a test sets is set back for the next one.
pub fn lend() -> Option<Lent> {
    static TURN: Mutex<()> = Mutex::new(());
    static OPENED: OnceLock<Option<Opened>> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let opened = OPENED.get_or_init(|| {
        if std::env::var_os("ELANUS_TEST_GPU").is_some() {
            return Some((open(&Options::default()).unwrap(), None));
        }
        let library = emulator()?;
        let device = open(&emulated_options()).unwrap();
        Some((device, Some(library)))
    });
    let (device, emulator) = opened.as_ref()?;
    let lent = Lent {
        device: Arc::clone(device),
        emulator: *emulator,
        _turn: turn,
    };
    lent.ignore_waits(false);
    lent.set_seed(0);
    lent.set_memory(1 << 30);
    Some(lent)
}

/// How the emulated device is opened: the kernels are in the driver already.
pub fn emulated_options() -> Options {
    Options {
        image: Some(b"compiled into the emulator".to_vec()),
        ..Options::default()
    }
}

/// Builds and loads the emulator: a driver under the name by which the real one would be looked for.
fn emulator() -> Option<&'static Library> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if Command::new(&compiler).arg("--version").output().is_err() {
        eprintln!("skipped: no C++ compiler ('{compiler}') for the emulated device");
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("emulator-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = compile(&compiler, &folder);
    // SAFETY: the library's initialisers only fill tables.
    let library = unsafe { Library::new(&path) }.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    // Never unloaded: the driver's functions are called until the end.
    Some(Box::leak(Box::new(library)))
}

fn compile(compiler: &str, folder: &Path) -> PathBuf {
    let table: String = kernel_names(&ElementType::ALL)
        .iter()
        .map(|name| {
            format!(
                "{{\"{name}\", [](void** values) {{ emulator::call({name}, values); }}, emulator::count_of({name}), \
                 emulator::sizes_of({name})}},\n"
            )
        })
        .collect();
    let text = [
        include_str!("emulator/cuda.h"),
        &source(&ElementType::ALL),
        "struct Kernel { const char* name; void (*call)(void**); unsigned arguments; const unsigned* sizes; };\nconst Kernel kernels[] = {\n",
        &table,
        "};\n",
        include_str!("emulator/driver.cpp"),
    ]
    .concat();
    let (code, library) = (folder.join("emulator.cpp"), folder.join("libcuda.so"));
    std::fs::write(&code, text).unwrap();
    let output = Command::new(compiler)
        .args([
            "-std=c++17",
            "-O1",
            "-fPIC",
            "-shared",
            "-Wall",
            "-Werror",
            "-ffp-contract=off",
        ])
        .args([
            "-Wno-unknown-pragmas",
            "-U_FORTIFY_SOURCE",
            "-Wl,-soname,libcuda.so",
        ])
        .arg(&code)
        .arg("-o")
        .arg(&library)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "the kernels are no C++: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    library
}
