//! Properties over random shapes: what is written reads back the same, nothing panics, relations agree with each other.

use elanus_geometry::{Relation, Shape};
use proptest::prelude::*;

/// Corners on a coarse grid, so that shapes touch, share edges and are degenerate often.
fn position() -> impl Strategy<Value = String> {
    (-4i32..5, -4i32..5, any::<bool>()).prop_map(|(x, y, half)| {
        let x = if half { f64::from(x) + 0.1 } else { f64::from(x) };
        format!("{x} {y}")
    })
}

fn positions(least: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(position(), least..7)
}

fn ring() -> impl Strategy<Value = String> {
    positions(3).prop_map(|mut corners| {
        corners.extend(corners.first().cloned());
        format!("({})", corners.join(", "))
    })
}

fn polygon() -> impl Strategy<Value = String> {
    prop::collection::vec(ring(), 1..3).prop_map(|rings| format!("({})", rings.join(", ")))
}

fn text() -> impl Strategy<Value = String> {
    let line = || positions(2).prop_map(|positions| format!("({})", positions.join(", ")));
    let simple = prop_oneof![
        position().prop_map(|position| format!("POINT ({position})")),
        line().prop_map(|line| format!("LINESTRING {line}")),
        polygon().prop_map(|polygon| format!("POLYGON {polygon}")),
        positions(1).prop_map(|positions| format!("MULTIPOINT ({})", positions.join(", "))),
        prop::collection::vec(line(), 1..3)
            .prop_map(|lines| format!("MULTILINESTRING ({})", lines.join(", "))),
        prop::collection::vec(polygon(), 1..3).prop_map(|all| format!("MULTIPOLYGON ({})", all.join(", "))),
        Just("POLYGON EMPTY".to_owned()),
    ];
    simple.prop_recursive(2, 6, 3, |inner| {
        prop::collection::vec(inner, 0..3).prop_map(|shapes| match shapes.as_slice() {
            [] => "GEOMETRYCOLLECTION EMPTY".to_owned(),
            shapes => format!("GEOMETRYCOLLECTION ({})", shapes.join(", ")),
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn shapes_read_back_from_text_and_binary(text in text()) {
        let shape = Shape::from_wkt(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(Shape::from_wkt(&shape.to_wkt()), Ok(shape.clone()));
        prop_assert_eq!(Shape::from_wkb(&shape.to_wkb()), Ok(shape.clone()));
        prop_assert_eq!(Shape::from_bytes(&shape.to_wkb()), Ok(shape.clone()));
        prop_assert_eq!(Shape::from_bytes(text.as_bytes()), Ok(shape));
    }

    #[test]
    fn relations_agree_with_each_other(a in text(), b in text()) {
        let (Ok(a), Ok(b)) = (Shape::from_wkt(&a), Shape::from_wkt(&b)) else {
            return Err(TestCaseError::fail("no shape"));
        };
        let holds = |relation: Relation| relation.holds(&a, &b);
        let back = |relation: Relation| relation.holds(&b, &a);
        prop_assert_eq!(holds(Relation::Contains), back(Relation::Within));
        for symmetric in [Relation::Equals, Relation::Touches, Relation::Overlaps, Relation::Intersects] {
            prop_assert_eq!(holds(symmetric), back(symmetric), "{:?}", symmetric);
        }
        if holds(Relation::Intersects) == Some(false) {
            for relation in Relation::ALL {
                prop_assert_eq!(holds(relation), Some(false));
            }
        }
        if holds(Relation::Equals) == Some(true) {
            prop_assert_eq!(holds(Relation::Touches), Some(false));
            prop_assert_eq!(holds(Relation::Overlaps), Some(false));
        }
        let _ = a.metres_to(&b);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "\\PC{0,60}") {
        let _ = Shape::from_bytes(&bytes);
        let _ = Shape::from_wkb(&[&[1, 7, 0, 0, 0], bytes.as_slice()].concat());
        let _ = Shape::from_wkt(&text);
    }
}
