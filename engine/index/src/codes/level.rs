//! The instruction sets that scans of codes use, chosen once.

use std::sync::OnceLock;

/// An instruction set of this machine: values other than [`Level::Plain`] come from [`Level::available`] only, which is
/// what calls of functions with target features rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Plain Rust.
    Plain,
    /// AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 with its byte operations: F, BW, VNNI and VBMI.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 64-bit ARM.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Level {
    /// What this machine has, best first; [`Level::Plain`] is always last.
    pub(crate) fn available() -> Vec<Self> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx512f")
                && std::arch::is_x86_feature_detected!("avx512bw")
                && std::arch::is_x86_feature_detected!("avx512vnni")
                && std::arch::is_x86_feature_detected!("avx512vbmi")
            {
                levels.push(Self::Avx512);
            }
            if std::arch::is_x86_feature_detected!("avx2") {
                levels.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            levels.push(Self::Neon);
        }
        levels.push(Self::Plain);
        levels
    }

    /// The best one of this machine.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().first().copied().unwrap_or(Self::Plain))
    }
}

/// A function of plain Rust, compiled once for every level: `on_level!(fn name(level, ..) -> T = body)` calls `body` with the
/// registers of the level. There is no contraction of products and sums, so all levels give the same bits.
macro_rules! on_level {
    ($(#[$doc:meta])* fn $name:ident(level $(, $arg:ident: $type:ty)* $(,)?) $(-> $result:ty)? = $body:ident) => {
        $(#[$doc])*
        #[inline]
        fn $name(level: $crate::codes::level::Level, $($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw")]
            fn avx512($($arg: $type),*) $(-> $result)? {
                $body($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $type),*) $(-> $result)? {
                $body($($arg),*)
            }
            match level {
                $crate::codes::level::Level::Plain => $body($($arg),*),
                // Plain code has these registers anyway.
                #[cfg(target_arch = "aarch64")]
                $crate::codes::level::Level::Neon => $body($($arg),*),
                // SAFETY: a level is only handed out on a machine that has its instruction set.
                #[cfg(target_arch = "x86_64")]
                $crate::codes::level::Level::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::codes::level::Level::Avx512 => unsafe { avx512($($arg),*) },
            }
        }
    };
}
pub(crate) use on_level;
