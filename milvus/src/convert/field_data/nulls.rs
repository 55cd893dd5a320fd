//! Which rows of a column are there, and the way from compact values to one value per row.

use arrow::buffer::NullBuffer;
use elanus_collection::Field;

use crate::status::{Error, Result};

/// Which rows of a column are there.
pub(super) struct Nulls {
    pub rows: usize,
    /// `None`: every row.
    pub valid: Option<Vec<bool>>,
}

impl Nulls {
    pub fn of(field: &Field, valid: Vec<bool>, rows: usize) -> Result<Self> {
        if valid.is_empty() {
            return Ok(Self { rows, valid: None });
        }
        if valid.len() != rows {
            return Err(Error::expected(
                format!("the length of valid_data of field({}) is wrong", field.name),
                rows,
                valid.len(),
            ));
        }
        if valid.iter().all(|valid| *valid) {
            return Ok(Self { rows, valid: None });
        }
        if !field.nullable && field.default.is_none() {
            return Err(Error::invalid(format!(
                "field {} is not nullable and has no default value, but some of its values are null",
                field.name
            )));
        }
        Ok(Self {
            rows,
            valid: Some(valid),
        })
    }

    /// Values that the wire carries.
    fn present(&self) -> usize {
        self.valid
            .as_ref()
            .map_or(self.rows, |valid| valid.iter().filter(|valid| **valid).count())
    }

    /// Checks the number of values that came.
    pub fn check(&self, field: &Field, given: usize) -> Result<()> {
        let wanted = self.present();
        if given == wanted {
            return Ok(());
        }
        if self.valid.is_some() {
            return Err(Error::expected(
                format!(
                    "the length of field({}) is wrong: data of a column with nulls holds only the values that are there",
                    field.name
                ),
                wanted,
                given,
            ));
        }
        Err(Error::expected(
            format!(
                "the num_rows ({given}) of field ({}) is not equal to passed num_rows ({})",
                field.name, self.rows
            ),
            self.rows,
            given,
        ))
    }

    /// Spreads compact values over all rows.
    pub fn spread<T: Clone + Default>(&self, values: Vec<T>) -> Vec<T> {
        let Some(valid) = &self.valid else { return values };
        let mut values = values.into_iter();
        valid
            .iter()
            .map(|valid| {
                if *valid {
                    values.next().unwrap_or_default()
                } else {
                    T::default()
                }
            })
            .collect()
    }

    /// As [`Nulls::spread`], with `None` where there is no value.
    pub fn options<T>(&self, values: impl IntoIterator<Item = T>) -> impl Iterator<Item = Option<T>> {
        let mut values = values.into_iter();
        (0..self.rows).map(move |row| {
            let there = self
                .valid
                .as_ref()
                .is_none_or(|valid| valid.get(row).copied().unwrap_or(false));
            if there { values.next() } else { None }
        })
    }

    pub fn buffer(&self) -> Option<NullBuffer> {
        self.valid.clone().map(NullBuffer::from)
    }
}
