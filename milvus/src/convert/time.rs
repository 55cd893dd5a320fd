//! TIMESTAMPTZ values: text in ISO 8601 on the wire, microseconds since 1970 UTC inside.
//!
//! Text without an offset is in the zone of the request, collection or database (`timezone`
//! property), UTC when none is set; answers are written in that zone.

use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Offset, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use crate::status::{Error, Result};

/// Key of the zone in properties and request parameters.
pub(crate) const TIMEZONE: &str = "timezone";

/// How instants of a reply are shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    /// The zone they are in.
    pub zone: Tz,
    /// What is shown of each, as a list of integers; nothing: all, as text.
    pub parts: Vec<Part>,
}

/// An integer of an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Of the calendar, negative before the year 0.
    Year,
    /// 1 to 12.
    Month,
    /// 1 to 31.
    Day,
    /// 0 to 23.
    Hour,
    /// 0 to 59.
    Minute,
    /// 0 to 59.
    Second,
    /// 0 to 999,999.
    Microsecond,
}

const PARTS: [(&str, Part); 7] = [
    ("year", Part::Year),
    ("month", Part::Month),
    ("day", Part::Day),
    ("hour", Part::Hour),
    ("minute", Part::Minute),
    ("second", Part::Second),
    ("microsecond", Part::Microsecond),
];

/// The parts of `time_fields`, names with commas or spaces between them.
pub(crate) fn parts(text: &str) -> Result<Vec<Part>> {
    let names = text.split([',', ' ']).filter(|name| !name.is_empty());
    let part = |name: &str| {
        let known = PARTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map(|(_, part)| *part).ok_or_else(|| {
            let allowed: Vec<_> = PARTS.iter().map(|(known, _)| *known).collect();
            Error::invalid(format!(
                "unsupported field for extraction: {name}; time_fields has {}, with ',' or ' ' between them",
                allowed.join(", ")
            ))
        })
    };
    names.map(part).collect()
}

impl Shown {
    /// The parts of an instant.
    pub fn parts_of(&self, micros: i64) -> Vec<i64> {
        // Every instant that can be stored is within the range of chrono.
        let instant = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or_default();
        let local = instant.with_timezone(&self.zone);
        let part = |part: &Part| match part {
            Part::Year => i64::from(local.year()),
            Part::Month => i64::from(local.month()),
            Part::Day => i64::from(local.day()),
            Part::Hour => i64::from(local.hour()),
            Part::Minute => i64::from(local.minute()),
            Part::Second => i64::from(local.second()),
            Part::Microsecond => micros.rem_euclid(1_000_000),
        };
        self.parts.iter().map(part).collect()
    }
}

const NAIVE_FORMATS: [&str; 4] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
];
const OFFSET_FORMATS: [&str; 2] = ["%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%dT%H:%M:%S%.f%#z"];

/// A time zone by its IANA name.
pub(crate) fn zone(name: &str) -> Result<Tz> {
    Tz::from_str(name).map_err(|_| {
        Error::invalid(format!(
            "unknown or invalid IANA Time Zone ID: {name}; allowed are names such as UTC, Asia/Shanghai, America/New_York"
        ))
    })
}

/// Instants that ISO 8601 writes with a year of four digits: the years 0000 to 9999 of UTC.
const INSTANTS: RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

/// Checks that an instant can be written as text.
pub(crate) fn check(micros: i64) -> Result<()> {
    if INSTANTS.contains(&micros) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "timestamp {micros} (microseconds since 1970) is out of range: allowed are {} to {}",
        format(*INSTANTS.start(), Tz::UTC),
        format(*INSTANTS.end(), Tz::UTC)
    )))
}

/// Microseconds since 1970 UTC of ISO 8601 text.
pub(crate) fn parse(text: &str, zone: Tz) -> Result<i64> {
    let micros = micros_of(text.trim(), zone)?;
    check(micros)?;
    Ok(micros)
}

fn micros_of(text: &str, zone: Tz) -> Result<i64> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.timestamp_micros());
    }
    if let Some(instant) = OFFSET_FORMATS
        .iter()
        .find_map(|format| DateTime::parse_from_str(text, format).ok())
    {
        return Ok(instant.timestamp_micros());
    }
    let naive = NAIVE_FORMATS
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| {
            NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .ok()
                .and_then(|day| day.and_hms_opt(0, 0, 0))
        });
    let invalid = |why: &str| {
        Error::invalid(format!(
            "invalid timestamp string: '{text}'. {why}; allowed is ISO 8601 such as 2025-01-31T08:30:00+08:00 or, without an offset, in the time zone {zone}"
        ))
    };
    let naive = naive.ok_or_else(|| invalid("Does not match any known format"))?;
    match zone.from_local_datetime(&naive).earliest() {
        Some(instant) => Ok(instant.timestamp_micros()),
        None => Err(invalid("This local time does not exist")),
    }
}

/// ISO 8601 text in a zone: no needless digits, `Z` for UTC.
pub(crate) fn format(micros: i64, zone: Tz) -> String {
    let Some(instant) = DateTime::<Utc>::from_timestamp_micros(micros) else {
        return micros.to_string();
    };
    let mut local = instant.with_timezone(&zone);
    // Local mean times of long ago differ from UTC by odd seconds, which ISO 8601 cannot say.
    if local.offset().fix().local_minus_utc() % 60 != 0 {
        local = instant.with_timezone(&Tz::UTC);
    }
    let mut text = local.format("%Y-%m-%dT%H:%M:%S").to_string();
    let fraction = micros.rem_euclid(1_000_000);
    if fraction != 0 {
        text.push('.');
        text.push_str(format!("{fraction:06}").trim_end_matches('0'));
    }
    let offset = local.format("%:z").to_string();
    text.push_str(if offset == "+00:00" { "Z" } else { &offset });
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_without_an_offset_is_in_the_zone() {
        let shanghai = zone("Asia/Shanghai").unwrap();
        let instant = parse("2025-01-01T00:00:00+08:00", Tz::UTC).unwrap();
        assert_eq!(parse("2025-01-01T00:00:00", shanghai).unwrap(), instant);
        assert_eq!(parse("2025-01-01 00:00:00", shanghai).unwrap(), instant);
        assert_eq!(parse("2025-01-01", shanghai).unwrap(), instant);
        assert_eq!(parse("2024-12-31T16:00:00Z", shanghai).unwrap(), instant);
        assert_eq!(format(instant, shanghai), "2025-01-01T00:00:00+08:00");
        assert_eq!(format(instant, Tz::UTC), "2024-12-31T16:00:00Z");
    }

    #[test]
    fn fractions_keep_microseconds_and_no_more() {
        let instant = parse("2025-01-01T00:00:00.1234567Z", Tz::UTC).unwrap();
        assert_eq!(format(instant, Tz::UTC), "2025-01-01T00:00:00.123456Z");
        assert_eq!(format(1_500_000, Tz::UTC), "1970-01-01T00:00:01.5Z");
        assert_eq!(format(-1, Tz::UTC), "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn bad_text_and_bad_zones_are_named() {
        assert!(
            parse("yesterday", Tz::UTC)
                .unwrap_err()
                .to_string()
                .contains("'yesterday'")
        );
        assert!(
            zone("Mars/Phobos")
                .unwrap_err()
                .to_string()
                .contains("IANA Time Zone ID: Mars/Phobos")
        );
    }

    #[test]
    fn years_have_four_digits() {
        for edge in [*INSTANTS.start(), *INSTANTS.end()] {
            assert_eq!(parse(&format(edge, Tz::UTC), Tz::UTC).unwrap(), edge);
        }
        for (micros, text) in [
            (*INSTANTS.start() - 1, "-0001-12-31T23:59:59"),
            (*INSTANTS.end() + 1, "+10000-01-01T00:00:00"),
        ] {
            check(micros).unwrap_err();
            parse(text, Tz::UTC).unwrap_err();
            // A stored one is shown all the same, in every zone.
            for name in ["UTC", "Asia/Shanghai", "America/New_York"] {
                assert!(!format(micros, zone(name).unwrap()).is_empty());
            }
        }
        let reason = check(i64::MAX).unwrap_err().to_string();
        assert!(
            reason.contains("0000-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z"),
            "{reason}"
        );
    }

    proptest! {
        #[test]
        fn formatted_instants_parse_back(micros in -60_000_000_000_000_000_i64..200_000_000_000_000_000) {
            for name in ["UTC", "Asia/Kathmandu", "America/New_York"] {
                // A local time that occurs twice is told apart by its offset.
                let zone = zone(name).unwrap();
                prop_assert_eq!(parse(&format(micros, zone), Tz::UTC).unwrap(), micros);
            }
        }
    }
}
