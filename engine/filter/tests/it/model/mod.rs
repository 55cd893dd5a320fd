//! Random conditions against a naive interpreter that walks the rows one by one with three-valued logic.
//!
//! Every construct that filters evaluate has a [`condition::Condition`], which knows its text and its meaning. The
//! meaning is written down as simply as possible and shares no code with the crate.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "values that a condition does not take are all alike to it"
)]

mod condition;
mod datum;
mod row;
mod strategy;

use elanus_filter::Templates;
use proptest::prelude::*;

use crate::table::truth;

proptest! {
    #![proptest_config(ProptestConfig { cases: 3072, ..ProptestConfig::default() })]

    #[test]
    fn conditions_hold_where_the_model_says(
        rows in prop::collection::vec(strategy::row(), 1..24),
        condition in strategy::condition(),
    ) {
        let batch = row::batch(&rows);
        let filter = condition.text();
        let found = truth(&batch, &filter, &Templates::new()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        for (row, found) in rows.iter().zip(found) {
            prop_assert_eq!(found, condition.truth(row), "{} on {:?}", filter, row);
        }
    }
}
