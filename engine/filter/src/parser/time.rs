//! Timestamp comparisons: `ts + INTERVAL 'P1D' < ISO '2025-01-01T00:00:00Z'`, in either order of the sides.

use super::{Built, Parser, compare_op};
use crate::ast::{ExprKind, TimeCompare};
use crate::error::Result;
use crate::token::TokenKind;

impl Parser {
    /// `field [+- INTERVAL '..'] op ISO '..'`
    pub(super) fn time_compare(&mut self, field: &str) -> Result<Option<Built>> {
        let has_interval = (self.is_symbol(1, "+") || self.is_symbol(1, "-"))
            && self.is_word(2, "interval")
            && self.is_string(3);
        let op_at = if has_interval { 4 } else { 1 };
        let TokenKind::Symbol(symbol) = &self.ahead(op_at).kind else {
            return Ok(None);
        };
        let Some(op) = compare_op(symbol) else {
            return Ok(None);
        };
        if !(self.is_word(op_at + 1, "iso") && self.is_string(op_at + 2)) {
            return Ok(None);
        }
        let start = self.bump().span;
        let interval = if has_interval {
            Some(self.interval()?)
        } else {
            None
        };
        self.bump();
        self.bump();
        let end = self.peek().span;
        let iso = self.string()?;
        let compare = TimeCompare {
            field: field.to_owned(),
            interval,
            op,
            iso,
            iso_first: false,
        };
        Ok(Some(Built::leaf(ExprKind::TimeCompare(compare), start.to(end))))
    }

    /// `ISO '..' op field [+- INTERVAL '..']`
    pub(super) fn time_compare_iso_first(&mut self) -> Result<Built> {
        let start = self.bump().span;
        let iso = self.string()?;
        let op = self.take_compare()?;
        let mut end = self.peek().span;
        let field = self.identifier("a timestamp field")?;
        let has_interval = (self.is_symbol(0, "+") || self.is_symbol(0, "-"))
            && self.is_word(1, "interval")
            && self.is_string(2);
        let interval = if has_interval {
            end = self.ahead(2).span;
            Some(self.interval()?)
        } else {
            None
        };
        let compare = TimeCompare {
            field,
            interval,
            op,
            iso,
            iso_first: true,
        };
        Ok(Built::leaf(ExprKind::TimeCompare(compare), start.to(end)))
    }

    fn interval(&mut self) -> Result<(bool, String)> {
        let minus = self.is_symbol(0, "-");
        self.bump();
        self.bump();
        Ok((minus, self.string()?))
    }
}
