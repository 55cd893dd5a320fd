//! The kernels of product codes in plain Rust.

use super::backend::{
    BooksOf, GROUP, InvertedOf, ListsOf, ProbesOf, QueriesOf, TablesOf, Word, table_entries,
};
use super::error::GpuError;
use super::twin::{Place, dot, outside, scan, squared_differences, term};
use crate::metric::Metric;

/// The codewords of a group, dimension by dimension.
fn book_of<'a>(books: &BooksOf<'a, Vec<u32>>, part: usize) -> Option<&'a [u32]> {
    let floats = (books.width as usize) << books.bits;
    books.data.get(part * floats..(part + 1) * floats)
}

fn set_byte(words: &mut [u32], at: usize, byte: u8) -> Option<()> {
    let word = words.get_mut(at / 4)?;
    let shift = at % 4 * 8;
    *word = *word & !(0xff << shift) | u32::from(byte) << shift;
    Some(())
}

fn byte(words: &[u32], at: usize) -> Option<u32> {
    words.get(at / 4).map(|word| word >> (at % 4 * 8) & 0xff)
}

pub(super) fn nearest_words(
    rows: &[u32],
    (count, stride): (u32, u32),
    books: &BooksOf<'_, Vec<u32>>,
    pitch: u32,
    codes: &mut [u32],
) -> Result<(), GpuError> {
    let (width, words) = (books.width as usize, 1usize << books.bits);
    for row in 0..count as usize {
        for part in 0..books.parts as usize {
            let start = row * stride as usize + part * width;
            let group = rows.get(start..start + width);
            let book = book_of(books, part);
            let (group, book) = group.zip(book).ok_or_else(|| outside("nearest_words"))?;
            let (mut least, mut nearest) = (f32::INFINITY, 0);
            for word in 0..words {
                let mut value = term(books.norms, part * words + word);
                for (&x, column) in group.iter().zip(book.chunks_exact(words)) {
                    value -= f32::from_word(x) * 2.0 * term(column, word);
                }
                if value < least {
                    (least, nearest) = (value, word);
                }
            }
            set_byte(codes, row * pitch as usize + part, nearest as u8)
                .ok_or_else(|| outside("nearest_words"))?;
        }
    }
    Ok(())
}

/// The products of a group of a query, less the mean, with its codewords.
fn products(group: &[u32], mean: &[u32], book: &[u32], words: usize) -> Vec<f32> {
    let mut products = vec![0.0f32; words];
    for ((&x, &mean), column) in group.iter().zip(mean).zip(book.chunks_exact(words)) {
        let value = f32::from_word(x) - f32::from_word(mean);
        for (product, &word) in products.iter_mut().zip(column) {
            *product += value * f32::from_word(word);
        }
    }
    products
}

pub(super) fn code_tables(
    queries: &QueriesOf<'_, Vec<u32>>,
    mean: &[u32],
    books: &BooksOf<'_, Vec<u32>>,
    tables: &mut TablesOf<Vec<u32>>,
) -> Result<(), GpuError> {
    let (parts, width) = (books.parts as usize, books.width as usize);
    let (words, entries) = (1usize << books.bits, table_entries(books.bits));
    for query in 0..queries.count as usize {
        let mut all = Vec::with_capacity(parts);
        for part in 0..parts {
            let start = query * queries.stride as usize + part * width;
            let group = queries.data.get(start..start + width);
            let mean = mean.get(part * width..(part + 1) * width);
            let (group, mean) = group.zip(mean).ok_or_else(|| outside("code_tables"))?;
            let book = book_of(books, part).ok_or_else(|| outside("code_tables"))?;
            all.push(products(group, mean, book, words));
        }
        let lowest = |of: &Vec<f32>| of.iter().copied().fold(f32::INFINITY, f32::min);
        let range = |of: &Vec<f32>| of.iter().copied().fold(f32::NEG_INFINITY, f32::max) - lowest(of);
        let scale = all.iter().map(range).fold(0.0, f32::max) / 255.0;
        let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
        let bias: f64 = all.iter().map(|of| f64::from(lowest(of))).sum();
        let line = tables.lines.get_mut(2 * query..2 * query + 2);
        line.ok_or_else(|| outside("code_tables"))?
            .copy_from_slice(&[scale.to_word(), (bias as f32).to_word()]);
        let room = books.table_words();
        let bytes = tables.bytes.get_mut(query * room..(query + 1) * room);
        let bytes = bytes.ok_or_else(|| outside("code_tables"))?;
        bytes.fill(0);
        for (part, of) in all.iter().enumerate() {
            let low = lowest(of);
            for (word, &value) in of.iter().enumerate() {
                let rounded = ((value - low) * inverse + 0.5) as u8;
                set_byte(bytes, part * entries + word, rounded).ok_or_else(|| outside("code_tables"))?;
            }
        }
    }
    Ok(())
}

pub(super) fn scan_codes(
    metric: Metric,
    (coded, bases, books): (&InvertedOf<'_, Vec<u32>>, &Vec<u32>, &BooksOf<'_, Vec<u32>>),
    (queries, tables): (&QueriesOf<'_, Vec<u32>>, &TablesOf<Vec<u32>>),
    probes: &ProbesOf<'_, Vec<u32>>,
    seen: &mut [u32],
    lists: &mut ListsOf<Vec<u32>>,
) -> Result<(), GpuError> {
    let (parts, words, room) = (books.parts as usize, books.code_words(), books.table_words());
    let (entries, per_word) = (table_entries(books.bits), books.per_word());
    let number_bits = 32 / per_word;
    let (stride, is_l2) = (queries.stride as usize, metric == Metric::L2);
    let times = if is_l2 { -2.0 } else { -1.0 };
    let estimate = |place: Place<'_>| -> Option<f32> {
        let base = bases.get(place.list as usize * stride..(place.list as usize + 1) * stride)?;
        let base = if is_l2 {
            squared_differences(place.vector, base)
        } else {
            0.0 - dot(place.vector, base)
        };
        let (group, lane) = (place.at / GROUP, place.at % GROUP);
        let table = tables.bytes.get(place.query * room..(place.query + 1) * room)?;
        let mut sum = 0;
        for part in 0..parts {
            let word = coded.data.get((group * words + part / per_word) * GROUP + lane)?;
            let number = word >> (part % per_word * number_bits) & ((1 << number_bits) - 1);
            sum += byte(table, part * entries + number as usize)?;
        }
        let line = tables.lines.get(2 * place.query..2 * place.query + 2)?;
        let [scale, bias] = [line[0], line[1]].map(f32::from_word);
        let mut found = scale * times * sum as f32 + bias * times;
        if is_l2 {
            found += term(coded.terms, place.at);
        }
        found += base;
        Some(if found.is_nan() { f32::NEG_INFINITY } else { found })
    };
    scan(coded, queries, probes, (seen, lists), |place| {
        estimate(place).ok_or_else(|| outside("scan_codes"))
    })
}
