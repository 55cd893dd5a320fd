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

use proptest::prelude::*;

use self::condition::Constants;
use crate::table::truth;

proptest! {
    #![proptest_config(ProptestConfig { cases: 3072, ..ProptestConfig::default() })]

    #[test]
    fn conditions_hold_where_the_model_says(
        rows in prop::collection::vec(strategy::row(), 1..24),
        condition in strategy::condition(),
        as_templates in any::<bool>(),
    ) {
        let batch = row::batch(&rows);
        let mut constants = Constants { as_templates, ..Constants::default() };
        let filter = condition.text(&mut constants);
        let found = truth(&batch, &filter, &constants.templates).map_err(|error| TestCaseError::fail(error.to_string()))?;
        for (row, found) in rows.iter().zip(found) {
            prop_assert_eq!(found, condition.truth(row), "{} with {:?} on {:?}", filter, constants, row);
        }
    }
}
