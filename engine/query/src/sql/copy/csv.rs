//! CSV files: reading records, and writing fields.
//!
//! An unquoted empty field is NULL and a quoted one is the empty text, as in PostgreSQL; readers that forget the quotes
//! cannot tell the two apart, hence this one.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::options::CsvStyle;
use super::{BATCH_ROWS, FileBatch};
use crate::error::{QueryError, Result};

/// Longest record, so that a quote which is never closed does not read a whole disk.
const MAX_RECORD: usize = 64 << 20;

/// One record: its fields, `None` for NULL.
type Record = Vec<Option<String>>;

/// Cuts a file into records.
struct Records {
    input: BufReader<File>,
    style: CsvStyle,
    line: Vec<u8>,
}

impl Records {
    /// The next record; `None` at the end. Lines without anything in them are none.
    fn next(&mut self) -> Result<Option<Record>> {
        loop {
            self.line.clear();
            if self.read_line()? == 0 {
                return Ok(None);
            }
            while self.is_open() {
                if self.line.len() > MAX_RECORD {
                    return Err(QueryError::Execution(format!(
                        "a record is longer than {MAX_RECORD} bytes: a quote is not closed"
                    )));
                }
                if self.read_line()? == 0 {
                    return Err(QueryError::Execution("the file ends within quotes".into()));
                }
            }
            let end = self.line.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
            let Some(end) = end else { continue };
            self.line.truncate(end + 1);
            return self.fields().map(Some);
        }
    }

    fn read_line(&mut self) -> Result<usize> {
        self.input
            .read_until(b'\n', &mut self.line)
            .map_err(|error| QueryError::Execution(error.to_string()))
    }

    /// Whether what was read so far ends within quotes.
    fn is_open(&self) -> bool {
        let CsvStyle { quote, escape, .. } = self.style;
        let mut open = false;
        let mut bytes = self.line.iter().peekable();
        while let Some(byte) = bytes.next() {
            if open && *byte == escape && escape != quote && bytes.peek().is_some() {
                bytes.next();
            } else if *byte == quote {
                open = !open;
            }
        }
        open
    }

    fn fields(&self) -> Result<Record> {
        let CsvStyle {
            delimiter,
            quote,
            escape,
            ..
        } = self.style;
        let mut record = Vec::new();
        let mut field = Vec::new();
        let (mut quoted, mut open) = (false, false);
        let mut bytes = self.line.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            let next = bytes.peek().copied();
            if open
                && byte == escape
                && next.is_some_and(|next| next == quote || (next == escape && escape != quote))
            {
                field.extend(bytes.next());
            } else if byte == quote && (open || field.is_empty()) {
                open = !open;
                quoted = true;
            } else if byte == delimiter && !open {
                record.push(self.field(&field, quoted)?);
                field.clear();
                quoted = false;
            } else {
                field.push(byte);
            }
        }
        record.push(self.field(&field, quoted)?);
        Ok(record)
    }

    fn field(&self, bytes: &[u8], quoted: bool) -> Result<Option<String>> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| QueryError::Execution("the file is not UTF-8 text".into()))?;
        Ok((quoted || text != self.style.null).then(|| text.to_string()))
    }
}

/// Reads a file, all fields as text. Columns are named by the header, or `None`: by their places.
pub(super) struct CsvFile {
    records: Records,
    names: Option<Vec<String>>,
    file: usize,
    next_row: u64,
}

impl CsvFile {
    pub fn open(input: File, file: usize, style: CsvStyle) -> Result<Self> {
        let mut input = BufReader::with_capacity(1 << 20, input);
        // A byte order mark, as Excel writes it.
        let start = input
            .fill_buf()
            .map_err(|error| QueryError::Execution(error.to_string()))?;
        if start.starts_with(b"\xef\xbb\xbf") {
            input.consume(3);
        }
        let mut records = Records {
            input,
            style,
            line: Vec::new(),
        };
        let names = if records.style.header {
            let header = records.next()?.unwrap_or_default();
            Some(
                header
                    .into_iter()
                    .map(|name| name.unwrap_or_default().trim().to_string())
                    .collect(),
            )
        } else {
            None
        };
        Ok(Self {
            records,
            names,
            file,
            next_row: 1,
        })
    }

    /// The next rows; `columns` are the names of the columns when the file does not tell.
    pub fn next(&mut self, columns: &[String]) -> Result<Option<FileBatch>> {
        let names = self.names.as_deref().unwrap_or(columns);
        let mut builders: Vec<StringBuilder> = names.iter().map(|_| StringBuilder::new()).collect();
        let first_row = self.next_row;
        let mut rows = 0;
        while rows < BATCH_ROWS {
            let row = self.next_row;
            let at_row = |error: QueryError| QueryError::Execution(format!("row {row}: {error}"));
            let Some(record) = self.records.next().map_err(at_row)? else {
                break;
            };
            if record.len() != names.len() {
                return Err(QueryError::Execution(format!(
                    "row {row}: it has {} fields, expected are {}",
                    record.len(),
                    names.len()
                )));
            }
            for (builder, field) in builders.iter_mut().zip(&record) {
                builder.append_option(field.as_deref());
            }
            self.next_row += 1;
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let fields: Vec<Field> = names
            .iter()
            .map(|name| Field::new(name, DataType::Utf8, true))
            .collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let columns = builders
            .iter_mut()
            .map(|builder| Arc::new(builder.finish()) as ArrayRef)
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(FileBatch {
            file: self.file,
            first_row,
            rows: RecordBatch::try_new_with_options(schema, columns, &options)?,
        }))
    }
}

/// Appends one field to a line that is being written; `None` is NULL.
pub(super) fn write_field(line: &mut Vec<u8>, field: Option<&str>, style: &CsvStyle) {
    let Some(text) = field else {
        line.extend_from_slice(style.null.as_bytes());
        return;
    };
    let special = |byte: &u8| [style.delimiter, style.quote, style.escape, b'\n', b'\r'].contains(byte);
    // What would be read as NULL, or would lose its blanks elsewhere, is in quotes too.
    let blank = text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace);
    if text != style.null && !text.is_empty() && !blank && !text.as_bytes().iter().any(special) {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    line.push(style.quote);
    for byte in text.bytes() {
        if byte == style.quote || byte == style.escape {
            line.push(style.escape);
        }
        line.push(byte);
    }
    line.push(style.quote);
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    fn style() -> CsvStyle {
        CsvStyle {
            header: false,
            delimiter: b',',
            quote: b'"',
            escape: b'"',
            null: String::new(),
        }
    }

    fn read(text: &str, style: CsvStyle) -> Result<Vec<Record>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        let mut records = Records {
            input: BufReader::new(file),
            style,
            line: Vec::new(),
        };
        let mut all = Vec::new();
        while let Some(record) = records.next()? {
            all.push(record);
        }
        Ok(all)
    }

    #[test]
    fn quotes_lines_and_nulls_are_told_apart() {
        let records = read("1,\"a,\"\"b\"\"\n\",\"\"\r\n\n2,,x y", style()).unwrap();
        let text = |text: &str| Some(text.to_string());
        assert_eq!(
            records,
            [
                vec![text("1"), text("a,\"b\"\n"), text("")],
                vec![text("2"), None, text("x y")]
            ]
        );
        assert!(
            read("1,\"a", style())
                .unwrap_err()
                .to_string()
                .contains("within quotes")
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        for escape in [b'"', b'\\'] {
            let style = CsvStyle { escape, ..style() };
            let fields = [
                "plain",
                "",
                "a\"b",
                "a\\b",
                "a\\",
                "x,y",
                "line\nline",
                " blank",
                "\\\"",
            ];
            let mut line = Vec::new();
            for field in fields {
                write_field(&mut line, Some(field), &style);
                line.push(b',');
            }
            write_field(&mut line, None, &style);
            let records = read(std::str::from_utf8(&line).unwrap(), style).unwrap();
            let mut expected: Record = fields.iter().map(|field| Some((*field).to_string())).collect();
            expected.push(None);
            assert_eq!(records, [expected], "escape {}", char::from(escape));
        }
    }
}
