//! What the SDKs' pages show is what the examples are.

use std::fs;

use crate::support::plugins;

#[test]
fn the_code_of_the_pages_is_the_code_of_the_examples() {
    for (page, examples) in [
        (
            "python",
            ["popular-python/reranker.py", "clean-python/functions.py"],
        ),
        ("js", ["diversity-js/reranker.js", "web-js/functions.js"]),
        ("c", ["fusion-c/reranker.c", "levenshtein-c/functions.c"]),
    ] {
        let text = fs::read_to_string(plugins().join(format!("sdk/{page}/README.md"))).unwrap();
        let first = fs::read_to_string(plugins().join("examples").join(examples[0])).unwrap();
        assert!(
            text.contains(first.trim()),
            "sdk/{page}/README.md does not show {}",
            examples[0]
        );
        assert!(
            text.contains(examples[1]),
            "sdk/{page}/README.md does not name {}",
            examples[1]
        );
    }
}
