//! Which trees the texts give, and what is said about texts that give none.

use elanus_filter::{FilterErrorKind, parse};

/// Canonical text of `text`; parentheses show how it was understood.
fn canonical(text: &str) -> String {
    parse(text).unwrap_or_else(|error| panic!("{error}")).to_string()
}

fn error(text: &str) -> String {
    match parse(text) {
        Ok(tree) => panic!("{text} parsed as {tree}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_production_parses_and_prints_canonically() {
    for (text, expected) in [
        ("a>1", "a > 1"),
        ("1 < a <= 5", "1 < a <= 5"),
        ("5>=a>1", "5 >= a > 1"),
        ("1 < a and b < 5", "1 < a and b < 5"),
        ("1 < meta[\"x\"] < 5", "1 < meta[\"x\"] < 5"),
        ("1 < $[x] < 5", "1 < $[x] < 5"),
        ("1 < s[0][x] < 5", "1 < s[0][x] < 5"),
        ("1 < $ < 5", "1 < $ < 5"),
        ("a in [1, 2,]", "a in [1, 2]"),
        ("a not in []", "a not in []"),
        ("a ! in [1]", "a not in [1]"),
        ("a NOT IN {list}", "a not in {list}"),
        ("a like 'x%' && b LIKE \"y\"", "a like \"x%\" and b like \"y\""),
        ("a =~ '^x' || a !~ r'\\d+'", "a =~ \"^x\" or a !~ \"\\\\d+\""),
        ("!(a == 1)", "not (a == 1)"),
        ("not a == 1", "not a == 1"),
        ("not (a) == 1", "not a == 1"),
        ("~a == -1", "~a == -1"),
        ("(a + 1) * 2 == 4", "(a + 1) * 2 == 4"),
        ("a + 1 * 2 == 4", "a + 1 * 2 == 4"),
        ("a - 1 - 2 == 0", "a - 1 - 2 == 0"),
        ("a - (1 - 2) == 0", "a - (1 - 2) == 0"),
        ("2 ** 3 ** 2 == 64", "2 ** 3 ** 2 == 64"),
        ("2 ** (3 ** 2) == 512", "2 ** (3 ** 2) == 512"),
        ("-5 ** 2 == 25", "-5 ** 2 == 25"),
        ("(-5) ** 2 == 25", "(-5) ** 2 == 25"),
        ("-(5) == a", "-(5) == a"),
        ("a << 2 >> 1 == 4", "a << 2 >> 1 == 4"),
        ("a & 4 != 0", "a & 4 != 0"),
        ("a & (4 != 0)", "a & 4 != 0"),
        ("(a & 4) != 0", "(a & 4) != 0"),
        ("a | b ^ c & d", "a | b ^ c & d"),
        ("a == 1 or b == 2 and c == 3", "a == 1 or b == 2 and c == 3"),
        ("(a == 1 or b == 2) and c == 3", "(a == 1 or b == 2) and c == 3"),
        ("exists meta['a']['b'][0]", "exists meta[\"a\"][\"b\"][0]"),
        ("exists $meta[\"a\"]", "exists $meta[\"a\"]"),
        (
            "a is null and meta[\"x\"] is not null",
            "a is null and meta[\"x\"] is not null",
        ),
        ("a IS NULL or b IS NOT NULL", "a is null or b is not null"),
        ("not a is null", "not a is null"),
        ("array_contains(a, 1)", "json_contains(a, 1)"),
        (
            "JSON_CONTAINS_ALL(m[\"a\"], [1, 'x'])",
            "json_contains_all(m[\"a\"], [1, \"x\"])",
        ),
        ("array_contains_any(a, [1])", "json_contains_any(a, [1])"),
        ("array_length(a) == 3", "array_length(a) == 3"),
        ("array_length(s[x]) == 3", "array_length(s[x]) == 3"),
        ("array_length(m['x']) == 3", "array_length(m[\"x\"]) == 3"),
        ("text_match(t, 'a b')", "text_match(t, \"a b\")"),
        (
            "TEXT_MATCH(t, 'a', MINIMUM_SHOULD_MATCH=2)",
            "text_match(t, \"a\", minimum_should_match=2)",
        ),
        (
            "text_match_fuzzy(t, 'a', max_edit_distance=1)",
            "text_match_fuzzy(t, \"a\", max_edit_distance=1)",
        ),
        ("phrase_match(t, 'a b', 2)", "phrase_match(t, \"a b\", 2)"),
        ("a > 1 and random_sample(0.5)", "a > 1 and random_sample(0.5)"),
        ("element_filter(s, $[x] > 1)", "element_filter(s, $[x] > 1)"),
        ("match_any(s, $[x] > 1)", "match_any(s, $[x] > 1)"),
        (
            "match_least(s, $[x] > 1, threshold=2)",
            "match_least(s, $[x] > 1, threshold=2)",
        ),
        ("st_within(g, 'POINT(1 2)')", "st_within(g, \"POINT(1 2)\")"),
        (
            "st_dwithin(g, 'POINT(1 2)', 5.0)",
            "st_dwithin(g, \"POINT(1 2)\", 5.0)",
        ),
        ("st_isvalid(g)", "st_isvalid(g)"),
        ("starts_with(s, 'x',)", "starts_with(s, \"x\")"),
        ("now()", "now()"),
        (
            "ts > ISO '2025-01-01T00:00:00Z'",
            "ts > ISO \"2025-01-01T00:00:00Z\"",
        ),
        (
            "iso '2025-01-01' <= ts - interval 'P1D'",
            "ISO \"2025-01-01\" <= ts - INTERVAL \"P1D\"",
        ),
        (
            "ts + INTERVAL 'P1D' < ISO '2025-01-01' and a == 1",
            "ts + INTERVAL \"P1D\" < ISO \"2025-01-01\" and a == 1",
        ),
        ("iso > 1", "iso > 1"),
        ("threshold == 1", "threshold == 1"),
        ("x < 1 < a < 2", "x < (1 < a < 2)"),
        ("(1 < a) < 2", "(1 < a) < 2"),
        ("TRUE or False", "true or false"),
        ("a == 0x1F", "a == 31"),
        ("a == 0b101 or a == 017 or a == 0", "a == 5 or a == 15 or a == 0"),
        (
            "a == 1. or a == .5 or a == 1e3 or a == 1.e-2",
            "a == 1.0 or a == 0.5 or a == 1000.0 or a == 0.01",
        ),
        ("a == 0x1.8p3 or a == 0xAp-1", "a == 12.0 or a == 5.0"),
        ("a == -9223372036854775808", "a == -9223372036854775808"),
        ("a == 1and b == 2", "a == 1 and b == 2"),
        (
            "a == 'it\\'s' or a == \"q\\\"q\"",
            "a == \"it's\" or a == \"q\\\"q\"",
        ),
        ("a == '\\x41\\101\\u00e9\\U0001F600\\n'", "a == \"AAé😀\\n\""),
        ("a like '\\%x\\_'", "a like \"\\\\%x\\\\_\""),
        ("a == u8'x' or a == L\"y\"", "a == \"x\" or a == \"y\""),
        ("a == R'\\n\\''", "a == \"\\\\n\\\\'\""),
        ("a == '日本'", "a == \"日本\""),
        ("\ta\n==\r\n1 ", "a == 1"),
    ] {
        assert_eq!(canonical(text), expected, "{text}");
        assert_eq!(canonical(expected), expected, "{text}");
        assert_eq!(parse(text).unwrap(), parse(expected).unwrap(), "{text}");
    }
}

#[test]
fn precedence_is_milvus_own() {
    // each pair parses to the same tree: the right one says it with parentheses
    for (loose, explicit) in [
        ("not a == 1", "(not a) == 1"),
        ("a & 4 != 0", "a & (4 != 0)"),
        ("exists a == 1", "(exists a) == 1"),
        ("-a ** 2", "-(a ** 2)"),
        ("not a like 'x'", "not (a like 'x')"),
        ("a + b in c", "(a + b) in c"),
        ("a in b == c", "(a in b) == c"),
        ("a == b < c", "a == (b < c)"),
        ("a < b + 1 < c", "(a < (b + 1)) < c"),
        ("1 < b >= c", "(1 < b) >= c"),
        ("a << 1 + 2", "a << (1 + 2)"),
        ("a | b ^ c & d == e", "a | (b ^ (c & (d == e)))"),
        ("a or b and c | d", "a or (b and (c | d))"),
        ("a like 'x' =~ 'y' !~ 'z'", "((a like 'x') =~ 'y') !~ 'z'"),
        ("2 ** -3 ** 2 * 4", "(2 ** (-(3 ** 2))) * 4"),
        ("1 * not a + 2", "(1 * (not a)) + 2"),
        ("1 < true < 5", "(1 < true) < 5"),
        ("5 >= FALSE > 1", "(5 >= false) > 1"),
    ] {
        assert_eq!(
            parse(loose).unwrap(),
            parse(explicit).unwrap(),
            "{loose} is {}",
            canonical(loose)
        );
    }
    assert_ne!(parse("1 < a < 5").unwrap(), parse("(1 < a) < 5").unwrap());
}

#[test]
fn errors_say_what_where_and_what_is_expected() {
    for (text, expected) in [
        (
            "",
            "cannot parse expression: , error: the expression is empty (line 1, column 1)",
        ),
        (
            "a = 1",
            "cannot parse expression: a = 1, error: unexpected '=', expected an operator or the end of the expression; \
             write == to compare (line 1, column 3)",
        ),
        (
            "a == 1 And b == 2",
            "cannot parse expression: a == 1 And b == 2, error: unexpected 'And', expected an operator or the end of the \
             expression; keywords are written all lower or all upper case (line 1, column 8)",
        ),
        (
            "a ==\n  ",
            "cannot parse expression: a ==\n  , error: unexpected end of the expression, expected a field, a literal, '(' \
             or '[' (line 2, column 3)",
        ),
        (
            "a == 'x",
            "cannot parse expression: a == 'x, error: string is not closed; a string ends on the line where it begins (line 1, column 6)",
        ),
        (
            "(a == 1",
            "cannot parse expression: (a == 1, error: unexpected end of the expression, expected ')' (line 1, column 8)",
        ),
        (
            "a == 9223372036854775808",
            "cannot parse expression: a == 9223372036854775808, error: integer 9223372036854775808 is out of the range of \
             int64 (line 1, column 6)",
        ),
        (
            "a == 1e999",
            "cannot parse expression: a == 1e999, error: number 1e999 is out of the range of a double (line 1, column 6)",
        ),
        (
            "é == 1",
            "cannot parse expression: é == 1, error: unexpected character 'é'; field names are made of a-z, A-Z, 0-9 and _, \
             other text must be quoted (line 1, column 1)",
        ),
        (
            "a is  null",
            "cannot parse expression: a is  null, error: unexpected 'is', expected an operator or the end of the expression \
             (line 1, column 3)",
        ),
        (
            "a in[1]",
            "cannot parse expression: a in[1], error: unexpected 'in[..]', expected an operator or the end of the expression; \
             a blank belongs before '[' (line 1, column 3)",
        ),
        (
            "array_length(true) == 1",
            "cannot parse expression: array_length(true) == 1, error: unexpected 'true', expected an array field or a JSON \
             path (line 1, column 14)",
        ),
        (
            "text_match(t)",
            "cannot parse expression: text_match(t), error: unexpected ')', expected ',' (line 1, column 13)",
        ),
        (
            "match_most(s, $[x] > 1)",
            "cannot parse expression: match_most(s, $[x] > 1), error: unexpected ')', expected ',' (line 1, column 23)",
        ),
        (
            "'\\xzz' == a",
            "cannot parse expression: '\\xzz' == a, error: \\x needs two hexadecimal digits (line 1, column 2)",
        ),
    ] {
        assert_eq!(error(text), expected);
    }
    assert_eq!(*parse("a = 1").unwrap_err().kind(), FilterErrorKind::Parse);
}

#[test]
fn error_texts_stay_short_whatever_the_expression_quotes() {
    let long = "x".repeat(1_000_000);
    for text in [
        long.clone(),
        format!("a == 1 {long}"),
        format!("a == 1{}", "0".repeat(1_000_000)),
    ] {
        match parse(&text) {
            Ok(tree) => assert_eq!(tree.to_string(), text),
            Err(error) => assert!(error.to_string().len() < 2_000, "{}", error.to_string().len()),
        }
    }
}

#[test]
fn a_text_of_more_tokens_than_allowed_is_refused() {
    let text = format!("a in [{}]", "1,".repeat(2_200_000));
    let error = error(&text);
    assert!(
        error.contains("more than 4194304 words and symbols; send a long list as a template"),
        "{error}"
    );
}

#[test]
fn the_caret_stands_under_the_piece() {
    let excerpt = |text: &str| parse(text).unwrap_err().excerpt();
    assert_eq!(excerpt("a == 1 and\n\tb == ) 2"), "\tb == ) 2\n\t     ^");
    let long = format!("{}a == = {}", "a == 1 and ".repeat(20), "b".repeat(200));
    let lines = excerpt(&long);
    let (line, carets) = lines.split_once('\n').unwrap();
    assert!(line.starts_with("...") && line.len() < 200, "{line}");
    let place = carets.find('^').unwrap();
    assert_eq!(line.get(place - 5..=place), Some("a == ="));
}

#[test]
fn nesting_without_end_is_an_error_and_long_chains_are_not() {
    let on_a_small_stack = || {
        for (open, count) in [
            ("(", 100_000),
            ("not ", 100_000),
            ("-", 100_000),
            ("[", 100_000),
            ("exists ", 100_000),
            ("f(", 100_000),
        ] {
            assert!(error(&open.repeat(count)).contains("nested too deeply"), "{open}");
        }
        assert!(error(&format!("a == {}1", "1 + ".repeat(100_000))).contains("nested too deeply"));
        assert!(error(&format!("a {}", "< a ".repeat(100_000))).contains("nested too deeply"));
        let nested = format!("{}a == 1{}", "(".repeat(150), ")".repeat(150));
        assert_eq!(canonical(&nested), "a == 1");
        let chain = vec!["a == 1"; 50_000].join(" or ");
        assert_eq!(canonical(&chain), chain);
        // chains in chains become towers of balanced trees: 10 levels for each thousand
        let mut towers = "a == 1".to_owned();
        for level in 0..30 {
            let op = if level % 2 == 0 { " and " } else { " or " };
            towers = format!("({}{op}{towers})", vec!["a == 1"; 1_000].join(op));
        }
        assert!(error(&towers).contains("nested too deeply"));
        let list = format!("a in [{}]", vec!["1"; 50_000].join(", "));
        assert_eq!(canonical(&list), list);
    };
    std::thread::Builder::new()
        .stack_size(512 * 1024)
        .spawn(on_a_small_stack)
        .unwrap()
        .join()
        .unwrap();
}
