//! The kernels' source, one translation unit.

/// The entry points.
pub const KERNELS: [&str; 14] = [
    "row_terms",
    "candidates_128",
    "candidates_32",
    "candidates_4",
    "candidates_1",
    "select_k",
    "nearest_128",
    "list_means",
    "scan_lists",
    "nearest_words",
    "code_tables",
    "scan_codes",
    "count_detours",
    "walk_graph",
];

/// What NVRTC compiles.
pub fn source() -> String {
    concat!(
        include_str!("../kernels/common.cuh"),
        include_str!("../kernels/terms.cu"),
        include_str!("../kernels/candidates.cu"),
        include_str!("../kernels/select.cu"),
        include_str!("../kernels/nearest.cu"),
        include_str!("../kernels/means.cu"),
        include_str!("../kernels/lists.cu"),
        include_str!("../kernels/codes.cu"),
        include_str!("../kernels/graph.cu"),
    )
    .to_owned()
}
