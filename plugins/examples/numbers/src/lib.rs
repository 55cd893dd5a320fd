//! SQL functions of numbers: the distance between two places on earth, and a linear function.

use elanus_plugin::{Argument, Error, Functions, Kind, Library, Output, Signature};

/// Mean radius of the earth in kilometres (IUGG).
const EARTH: f64 = 6371.008_8;

struct Numbers;

impl Functions for Numbers {
    fn describe() -> Library {
        let place = [
            ("latitude1", Kind::F64s),
            ("longitude1", Kind::F64s),
            ("latitude2", Kind::F64s),
            ("longitude2", Kind::F64s),
        ];
        let numbers = [("slope", Kind::F32s), ("x", Kind::F32s), ("offset", Kind::F32s)];
        Library {
            name: "numbers".to_owned(),
            version: "1.0.0".to_owned(),
            functions: vec![
                Signature::new(
                    "haversine",
                    &place,
                    Kind::F64s,
                    "Kilometres between two places in degrees.",
                ),
                Signature::new("linear", &numbers, Kind::F32s, "slope * x + offset."),
            ],
        }
    }

    fn invoke(function: usize, arguments: &[Argument], rows: usize) -> Result<Output, Error> {
        match (function, arguments) {
            (0, [latitude1, longitude1, latitude2, longitude2]) => {
                let columns = [
                    latitude1.f64s()?.rows(rows),
                    longitude1.f64s()?.rows(rows),
                    latitude2.f64s()?.rows(rows),
                    longitude2.f64s()?.rows(rows),
                ];
                let row = |at: usize| haversine(columns.each_ref().map(|column| column[at]));
                Ok(Output::f64s((0..rows).map(row).collect()))
            }
            (1, [slope, x, offset]) => {
                let (slope, x, offset) = (slope.f32s()?, x.f32s()?, offset.f32s()?);
                let (slope, x, offset) = (slope.rows(rows), x.rows(rows), offset.rows(rows));
                let row = |((slope, x), offset): ((&f32, &f32), &f32)| slope * x + offset;
                Ok(Output::f32s(
                    slope.iter().zip(x.iter()).zip(offset.iter()).map(row).collect(),
                ))
            }
            _ => Err(Error::Internal(format!(
                "there is no function {function} of {}",
                arguments.len()
            ))),
        }
    }
}

/// Sinnott (1984): exact also for places close to each other.
fn haversine([latitude1, longitude1, latitude2, longitude2]: [f64; 4]) -> f64 {
    let (first, second) = (latitude1.to_radians(), latitude2.to_radians());
    let half = |difference: f64| (difference / 2.0).sin().powi(2);
    let longitudes = (longitude2 - longitude1).to_radians();
    let chord = half(second - first) + first.cos() * second.cos() * half(longitudes);
    2.0 * EARTH * chord.clamp(0.0, 1.0).sqrt().asin()
}

elanus_plugin::functions!(Numbers);
