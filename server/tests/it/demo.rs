//! `elanus demo` checks its own claims; here it only has to succeed and say the promised things.

use crate::process::{elanus, run};

#[test]
fn the_demo_runs_and_checks_itself() {
    let finished = run(elanus().arg("demo"));
    assert_eq!(finished.code, Some(0), "{}\n{}", finished.out, finished.err);
    for part in [
        "AnnSearchExec",
        "the ids are equal",
        "recall@10",
        "accuracy",
        "USING HNSW",
        "all results as expected",
    ] {
        assert!(
            finished.out.contains(part),
            "{part} is missing:\n{}",
            finished.out
        );
    }
    assert_eq!(finished.err, "");
}
