//! The options of a COPY, checked: which file format, and how a CSV file is written.

use std::path::Path;

use sqlparser::ast::CopyOption;

use crate::error::{QueryError, Result};

/// How a file holds rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// Text, fields between delimiters.
    Csv,
    /// An object on each line.
    Json,
    /// Arrow IPC, the file format or the stream format.
    Arrow,
}

impl FileFormat {
    const ALLOWED: &str = "parquet, csv, json, arrow";

    /// The format of this name.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] with the allowed names.
    pub fn named(name: &str) -> Result<Self> {
        match name.to_lowercase().as_str() {
            "parquet" => Ok(Self::Parquet),
            "csv" => Ok(Self::Csv),
            "json" | "ndjson" | "jsonl" => Ok(Self::Json),
            "arrow" => Ok(Self::Arrow),
            _ => Err(QueryError::InvalidParameter(format!(
                "unknown file format '{name}': allowed are {}",
                Self::ALLOWED
            ))),
        }
    }

    /// What the extension of a file says.
    pub fn of_name(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_string_lossy().to_lowercase();
        match extension.as_str() {
            "parquet" | "pq" => Some(Self::Parquet),
            "csv" | "tsv" => Some(Self::Csv),
            "json" | "ndjson" | "jsonl" => Some(Self::Json),
            "arrow" | "arrows" | "feather" | "ipc" => Some(Self::Arrow),
            _ => None,
        }
    }
}

/// How text is cut into fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CsvStyle {
    pub header: bool,
    pub delimiter: u8,
    pub quote: u8,
    pub escape: u8,
    /// A field that is this, and is not in quotes, is NULL.
    pub null: String,
}

/// What the options say.
#[derive(Debug, Default)]
pub(super) struct CopyOptions {
    pub format: Option<FileFormat>,
    header: Option<bool>,
    delimiter: Option<u8>,
    quote: Option<u8>,
    escape: Option<u8>,
    null: Option<String>,
}

impl CopyOptions {
    /// Checks each option for itself.
    ///
    /// # Errors
    /// An option given twice, or a value that is not allowed.
    pub fn check(options: &[CopyOption]) -> Result<Self> {
        let mut checked = Self::default();
        for option in options {
            match option {
                CopyOption::Format(name) => {
                    set(&mut checked.format, FileFormat::named(&name.value)?, "format")?
                }
                CopyOption::Header(header) => set(&mut checked.header, *header, "header")?,
                CopyOption::Delimiter(c) => set(&mut checked.delimiter, byte(*c, "delimiter")?, "delimiter")?,
                CopyOption::Quote(c) => set(&mut checked.quote, byte(*c, "quote")?, "quote")?,
                CopyOption::Escape(c) => set(&mut checked.escape, byte(*c, "escape")?, "escape")?,
                CopyOption::Null(text) => set(&mut checked.null, text.clone(), "null")?,
                CopyOption::Encoding(name) if matches!(name.to_lowercase().as_str(), "utf8" | "utf-8") => {}
                other => return Err(QueryError::Unsupported(format!("the COPY option {other}"))),
            }
        }
        Ok(checked)
    }

    /// The format of `path`.
    ///
    /// # Errors
    /// Neither an option nor the extension says it.
    pub fn format_of(&self, path: &Path) -> Result<FileFormat> {
        self.format.or_else(|| FileFormat::of_name(path)).ok_or_else(|| {
            QueryError::InvalidParameter(format!(
                "the extension of '{}' tells no file format: say it with (FORMAT ..), allowed are {}",
                path.display(),
                FileFormat::ALLOWED
            ))
        })
    }

    /// How the CSV file `path` is written.
    ///
    /// # Errors
    /// Characters that cannot be told apart.
    pub fn csv(&self, path: &Path) -> Result<CsvStyle> {
        let is_tsv = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
        let quote = self.quote.unwrap_or(b'"');
        let style = CsvStyle {
            header: self.header.unwrap_or(true),
            delimiter: self.delimiter.unwrap_or(if is_tsv { b'\t' } else { b',' }),
            quote,
            escape: self.escape.unwrap_or(quote),
            null: self.null.clone().unwrap_or_default(),
        };
        if style.delimiter == style.quote || style.delimiter == style.escape {
            return Err(QueryError::InvalidParameter(
                "the delimiter of a CSV file must differ from its quote and escape".into(),
            ));
        }
        Ok(style)
    }

    /// Refuses what means nothing for `format`.
    ///
    /// # Errors
    /// An option of CSV files for another format.
    pub fn fit(&self, format: FileFormat) -> Result<()> {
        let of_csv = self.header.is_some()
            || self.delimiter.is_some()
            || self.quote.is_some()
            || self.escape.is_some()
            || self.null.is_some();
        if of_csv && format != FileFormat::Csv {
            return Err(QueryError::InvalidParameter(
                "header, delimiter, quote, escape and null are options of the format csv only".into(),
            ));
        }
        Ok(())
    }
}

fn set<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(QueryError::InvalidParameter(format!(
            "the COPY option {name} is given twice"
        ))),
    }
}

fn byte(c: char, name: &str) -> Result<u8> {
    match u8::try_from(c) {
        Ok(byte) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(byte),
        Ok(_) | Err(_) => Err(QueryError::InvalidParameter(format!(
            "{c:?} as the {name} of a CSV file: allowed is one ASCII character other than a line end"
        ))),
    }
}
