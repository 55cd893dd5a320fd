//! The kernels' source, one translation unit.

/// The entry points.
pub const KERNELS: [&str; 6] = [
    "row_terms",
    "candidates_128",
    "candidates_32",
    "candidates_4",
    "candidates_1",
    "select_k",
];

/// What NVRTC compiles.
pub fn source() -> String {
    concat!(
        include_str!("../kernels/common.cuh"),
        include_str!("../kernels/terms.cu"),
        include_str!("../kernels/candidates.cu"),
        include_str!("../kernels/select.cu"),
    )
    .to_owned()
}
