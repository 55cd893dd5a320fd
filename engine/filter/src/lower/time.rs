//! TIMESTAMPTZ: `ts + INTERVAL 'P1DT2H' < ISO '2025-01-01T00:00:00Z'`.
//!
//! Instants without an offset are in the zone of the filter. A day is 24 hours. An interval of days and shorter units moves to the side of the
//! constant, which keeps the predicate prunable; months and years have no fixed length and are added per row.

use arrow::array::types::IntervalMonthDayNano;
use arrow::datatypes::DataType;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::Tz;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Operator, binary_expr};

use super::compare::operator;
use super::operand::{Kind, Operand, Origin, literal};
use crate::ast::{Span, TimeCompare};
use crate::error::{Issue, Result};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Longest interval whose months are added row by row.
const MAX_YEARS: i64 = 10_000;

/// A duration with its two parts of different nature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Duration {
    months: i64,
    microseconds: i64,
}

/// Lowers the comparison; `field` is what the field's name stands for.
pub(crate) fn time_compare(compare: &TimeCompare, field: Operand, zone: Tz, span: Span) -> Result<Expr> {
    let scalar = match field {
        Operand::Scalar(scalar) if scalar.kind == Kind::Time && scalar.origin == Origin::Column => scalar,
        other @ (Operand::Scalar(_)
        | Operand::Constant { .. }
        | Operand::Array(_)
        | Operand::Json(_)
        | Operand::JsonArithmetic { .. }
        | Operand::Predicate(_)) => {
            let (name, got) = (&compare.field, other.type_name());
            return Err(Issue::types(
                span,
                format!("field '{name}' is not a timestamptz field, got data type {got}"),
            ));
        }
    };
    let Some(instant) = parse_instant(&compare.iso, zone) else {
        let text = &compare.iso;
        let message = format!(
            "invalid timestamp {text:?}; one is written like 2025-01-01T00:00:00Z or 2025-01-01T08:00:00+08:00, or without \
             an offset, in the time zone {zone}"
        );
        return Err(Issue::parse(span, message));
    };
    let op = if compare.iso_first {
        compare.op.reversed()
    } else {
        compare.op
    };
    let Some((minus, text)) = &compare.interval else {
        return Ok(binary_expr(
            scalar.expr,
            operator(op),
            instant_literal(&scalar.data_type, instant),
        ));
    };
    let out_of_range = || {
        let message =
            format!("the interval leaves the range of timestamps; at most {MAX_YEARS} years are allowed");
        Issue::parse(span, message)
    };
    let Some(duration) = parse_duration(text) else {
        let message = format!("invalid interval {text:?}; one is an ISO 8601 duration like P1D or P1DT2H30M");
        return Err(Issue::parse(span, message));
    };
    let duration = if *minus {
        duration.negated().ok_or_else(out_of_range)?
    } else {
        duration
    };
    if duration.months == 0 {
        let moved = instant
            .checked_sub(duration.microseconds)
            .ok_or_else(out_of_range)?;
        return Ok(binary_expr(
            scalar.expr,
            operator(op),
            instant_literal(&scalar.data_type, moved),
        ));
    }
    // rows hold the years 0 to 9999; what is further away than that would fail at the first row
    let (days, rest) = (duration.microseconds / DAY, duration.microseconds % DAY);
    if duration.months.abs() > MAX_YEARS * 12 || days.abs() > MAX_YEARS * 366 {
        return Err(out_of_range());
    }
    let interval = IntervalMonthDayNano::new(duration.months as i32, days as i32, rest * 1_000);
    let moved = binary_expr(
        scalar.expr,
        Operator::Plus,
        literal(ScalarValue::IntervalMonthDayNano(Some(interval))),
    );
    Ok(binary_expr(
        moved,
        operator(op),
        instant_literal(&scalar.data_type, instant),
    ))
}

impl Duration {
    fn negated(self) -> Option<Self> {
        Some(Self {
            months: self.months.checked_neg()?,
            microseconds: self.microseconds.checked_neg()?,
        })
    }
}

/// `microseconds` as a literal with the column's own zone.
fn instant_literal(data_type: &DataType, microseconds: i64) -> Expr {
    let zone = if let DataType::Timestamp(_, zone) = data_type {
        zone.clone()
    } else {
        None
    };
    literal(ScalarValue::TimestampMicrosecond(Some(microseconds), zone))
}

/// Microseconds since 1970 of an ISO 8601 instant; without an offset it is in `zone`, and the first of two that have the
/// same local time.
fn parse_instant(text: &str, zone: Tz) -> Option<i64> {
    let text = text.trim();
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.timestamp_micros());
    }
    // offsets like +0800 and a blank for the T
    for format in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"] {
        if let Ok(instant) = DateTime::parse_from_str(text, format) {
            return Some(instant.timestamp_micros());
        }
    }
    let local = |instant: NaiveDateTime| {
        let instant = zone.from_local_datetime(&instant).earliest()?;
        Some(instant.timestamp_micros())
    };
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(instant) = NaiveDateTime::parse_from_str(text, format) {
            return local(instant);
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    local(date.and_time(NaiveTime::MIN))
}

/// An ISO 8601 duration: `P1Y2M3W4DT5H6M7.5S`, with at least one part.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim().strip_prefix('P')?;
    let mut duration = Duration::default();
    let mut in_time = false;
    let mut parts = 0;
    while !rest.is_empty() {
        if !in_time && let Some(time) = rest.strip_prefix('T') {
            in_time = true;
            rest = time;
            if rest.is_empty() {
                return None;
            }
        }
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit = after.chars().next()?;
        rest = after.get(unit.len_utf8()..)?;
        parts += 1;
        let microseconds_per = match (unit, in_time) {
            ('Y', false) => {
                duration.months = duration
                    .months
                    .checked_add(number.parse::<i64>().ok()?.checked_mul(12)?)?;
                continue;
            }
            ('M', false) => {
                duration.months = duration.months.checked_add(number.parse().ok()?)?;
                continue;
            }
            ('W', false) => 7 * DAY,
            ('D', false) => DAY,
            ('H', true) => 3_600_000_000,
            ('M', true) => 60_000_000,
            ('S', true) => {
                duration.microseconds = duration.microseconds.checked_add(seconds(number)?)?;
                continue;
            }
            _ => return None,
        };
        let part = number.parse::<i64>().ok()?.checked_mul(microseconds_per)?;
        duration.microseconds = duration.microseconds.checked_add(part)?;
    }
    (parts > 0).then_some(duration)
}

/// Microseconds of a decimal number of seconds.
fn seconds(number: &str) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 6 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
    whole.checked_mul(1_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::{Duration, parse_duration, parse_instant};

    #[test]
    fn durations_are_read_or_refused() {
        let read = |months, microseconds| Some(Duration { months, microseconds });
        for (text, expected) in [
            ("P1D", read(0, 86_400_000_000)),
            ("P1DT2H30M", read(0, 95_400_000_000)),
            ("PT0.5S", read(0, 500_000)),
            ("P1Y2M", read(14, 0)),
            ("P2W", read(0, 1_209_600_000_000)),
            ("PT1M", read(0, 60_000_000)),
            ("P", None),
            ("PT", None),
            ("P1DT", None),
            ("1D", None),
            ("P1H", None),
            ("P1.5D", None),
            ("P99999999999999999999D", None),
            ("PD", None),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn instants_without_offset_are_in_the_zone() {
        let new_year = 1_735_689_600_000_000;
        for text in [
            "2025-01-01T00:00:00Z",
            "2025-01-01T08:00:00+08:00",
            "2025-01-01",
            "2025-01-01 00:00:00",
            "2025-01-01T00:00:00.000000",
            "2025-01-01T08:00:00+0800",
        ] {
            assert_eq!(parse_instant(text, Tz::UTC), Some(new_year), "{text}");
        }
        assert_eq!(parse_instant("2025-13-01", Tz::UTC), None);
        assert_eq!(parse_instant("yesterday", Tz::UTC), None);
        let berlin = Tz::Europe__Berlin;
        let of = |text| parse_instant(text, berlin);
        assert_eq!(
            of("2025-07-01T12:00:00"),
            parse_instant("2025-07-01T10:00:00Z", Tz::UTC)
        );
        assert_eq!(of("2025-01-01"), parse_instant("2024-12-31T23:00:00Z", Tz::UTC));
        assert_eq!(of("2025-01-01T00:00:00Z"), Some(new_year));
        // The hour that is there twice is the first one, the one that is skipped is none.
        assert_eq!(
            of("2025-10-26T02:30:00"),
            parse_instant("2025-10-26T00:30:00Z", Tz::UTC)
        );
        assert_eq!(of("2025-03-30T02:30:00"), None);
    }
}
