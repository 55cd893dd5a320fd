//! The kernels' source, one translation unit for each type of rows, those of 32-bit floats with all that take no other.

use crate::gpu::backend::ElementType;

/// Kernels that there are for rows of every type.
const OF_EVERY_TYPE: [&str; 7] = [
    "scan_lists",
    "row_terms",
    "candidates_128",
    "candidates_32",
    "candidates_4",
    "candidates_1",
    "walk_graph",
];
/// The others.
const OF_FLOATS: [&str; 10] = [
    "select_k",
    "nearest_128",
    "list_means",
    "nearest_words",
    "code_tables",
    "scan_codes",
    "count_detours",
    "best_links",
    "reverse_links",
    "join_links",
];

/// What the names of kernels of rows of a type end in.
pub(super) fn suffix(element: ElementType) -> &'static str {
    match element {
        ElementType::Float => "",
        ElementType::Half => "_half",
        ElementType::BFloat16 => "_bfloat16",
        ElementType::Int8 => "_int8",
        ElementType::Bit => "_bit",
    }
}

/// What `elements.cuh` calls the rows.
fn rows(element: ElementType) -> &'static str {
    match element {
        ElementType::Float => "FloatRows",
        ElementType::Half => "HalfRows",
        ElementType::BFloat16 => "BFloat16Rows",
        ElementType::Int8 => "Int8Rows",
        ElementType::Bit => "BitRows",
    }
}

/// The entry points of [`source`].
pub fn kernel_names(elements: &[ElementType]) -> Vec<String> {
    let typed = elements.iter().flat_map(|&element| {
        let end = suffix(element);
        OF_EVERY_TYPE.map(|name| format!("{name}{end}"))
    });
    let mut names: Vec<String> = typed.collect();
    if elements.contains(&ElementType::Float) {
        names.extend(OF_FLOATS.map(str::to_owned));
    }
    names
}

/// What NVRTC compiles for rows of these types.
pub fn source(elements: &[ElementType]) -> String {
    let mut source = "#define FOR_EACH_ELEMENT(KERNELS)".to_owned();
    for &element in elements {
        source += &format!(" KERNELS({}, {})", rows(element), suffix(element));
    }
    source += "\n";
    source += concat!(
        include_str!("../kernels/common.cuh"),
        include_str!("../kernels/elements.cuh"),
        include_str!("../kernels/terms.cu"),
        include_str!("../kernels/candidates.cu"),
        include_str!("../kernels/walk.cu"),
        include_str!("../kernels/lists.cu"),
    );
    if elements.contains(&ElementType::Float) {
        source += concat!(
            include_str!("../kernels/select.cu"),
            include_str!("../kernels/nearest.cu"),
            include_str!("../kernels/means.cu"),
            include_str!("../kernels/codes.cu"),
            include_str!("../kernels/graph.cu"),
        );
    }
    source
}
