//! Two-dimensional `.npy` files in C order.

use elanus_index::{Rows, VectorRef, Vectors, VectorsRef};

use crate::Result;

/// The rows of a file, of the types that vectors have.
pub enum Table {
    Floats(&'static [f32], usize),
    Halves(&'static [u16], usize),
    BFloat16s(&'static [u16], usize),
    Int8s(&'static [i8], usize),
    Bytes(&'static [u8], usize),
}

impl Table {
    pub fn rows(&self) -> Result<VectorsRef<'static>> {
        Ok(match *self {
            Self::Floats(data, width) => VectorsRef::Floats(Vectors::new(data, width)?),
            Self::Halves(data, width) => VectorsRef::Halves(Rows::new(data, width)?),
            Self::BFloat16s(data, width) => VectorsRef::BFloat16s(Rows::new(data, width)?),
            Self::Int8s(data, width) => VectorsRef::Int8s(Rows::new(data, width)?),
            Self::Bytes(data, width) => VectorsRef::Bits(Rows::new(data, width)?),
        })
    }

    /// Numbers in all rows.
    fn len(&self) -> usize {
        match self {
            Self::Floats(data, _) => data.len(),
            Self::Halves(data, _) | Self::BFloat16s(data, _) => data.len(),
            Self::Int8s(data, _) => data.len(),
            Self::Bytes(data, _) => data.len(),
        }
    }

    /// Bytes of all rows.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Floats(data, _) => size_of_val(*data),
            Self::Halves(data, _) | Self::BFloat16s(data, _) => size_of_val(*data),
            Self::Int8s(data, _) => data.len(),
            Self::Bytes(data, _) => data.len(),
        }
    }
}

/// Type and dimension of `vectors`, in words.
pub fn shape(vectors: VectorsRef<'_>) -> String {
    let row: VectorRef<'_> = vectors.row(0);
    format!("{} of dimension {}", row.kind(), row.dim())
}

/// Reads a file; its numbers stay in memory until the program ends.
pub fn read(path: &str) -> Result<Table> {
    let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let bad = |what: &str| format!("{path}: {what}");
    if bytes.len() < 12 || !bytes.starts_with(b"\x93NUMPY") {
        return Err(bad("not a .npy file").into());
    }
    let (start, len) = match bytes[6] {
        1 => (10, usize::from(u16::from_le_bytes([bytes[8], bytes[9]]))),
        _ => (
            12,
            u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize,
        ),
    };
    let header = bytes
        .get(start..start + len)
        .ok_or_else(|| bad("header cut off"))?;
    let header = String::from_utf8_lossy(header);
    let between = |open: &str, close: &str| {
        let (_, rest) = header.split_once(open)?;
        rest.split_once(close).map(|(inside, _)| inside)
    };
    let shape: Vec<usize> = between("(", ")")
        .unwrap_or_default()
        .split(',')
        .filter_map(|part| part.trim().parse().ok())
        .collect();
    let &[rows, width] = shape.as_slice() else {
        return Err(bad(&format!("expected two dimensions, got {header}")).into());
    };
    if !header.contains("'fortran_order': False") {
        return Err(bad(&format!("expected C order, got {header}")).into());
    }
    let data = &bytes[start + len..];
    let count = rows * width;
    let table = match between("'descr': '", "'").unwrap_or_default() {
        "<f4" => Table::Floats(numbers(data, f32::from_le_bytes), width),
        "<f2" => Table::Halves(numbers(data, u16::from_le_bytes), width),
        "<u2" => Table::BFloat16s(numbers(data, u16::from_le_bytes), width),
        "|i1" => Table::Int8s(numbers(data, i8::from_le_bytes), width),
        "|u1" => Table::Bytes(numbers(data, u8::from_le_bytes), width),
        other => {
            return Err(bad(&format!(
                "numbers of type {other}, allowed are <f4, <f2, <u2, |i1, |u1"
            ))
            .into());
        }
    };
    if table.len() != count {
        return Err(bad("data cut off").into());
    }
    Ok(table)
}

/// The numbers of `bytes` at the start of a cache line, where mapped segments have them: loads that straddle two lines
/// take twice as long. Leaks, which a program this short may.
fn numbers<T: Copy + Default, const SIZE: usize>(bytes: &[u8], number: fn([u8; SIZE]) -> T) -> &'static [T] {
    const LINE: usize = 64;
    let (given, _) = bytes.as_chunks::<SIZE>();
    let mut room = vec![T::default(); given.len() + LINE];
    let start = room.as_ptr().align_offset(LINE).min(LINE);
    for (slot, bytes) in room[start..].iter_mut().zip(given) {
        *slot = number(*bytes);
    }
    &room.leak()[start..start + given.len()]
}

/// Writes rows of `width` row numbers, filled up with -1.
pub fn write_rows(path: &str, rows: &[Vec<u32>], width: usize) -> Result<()> {
    let mut header = format!(
        "{{'descr': '<i4', 'fortran_order': False, 'shape': ({}, {width}), }}",
        rows.len()
    );
    // Magic, version and length are ten bytes; the data starts at a multiple of 64.
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    for row in rows {
        let missing = std::iter::repeat_n(u32::MAX, width.saturating_sub(row.len()));
        bytes.extend(
            row.iter()
                .copied()
                .take(width)
                .chain(missing)
                .flat_map(u32::to_le_bytes),
        );
    }
    std::fs::write(path, bytes).map_err(|error| format!("{path}: {error}").into())
}
