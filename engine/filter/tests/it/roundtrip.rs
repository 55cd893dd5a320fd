//! Properties of the parser and the printer: random trees survive the way through text, random text never panics.

use elanus_filter::ast::{
    BinaryOp, CompareOp, ContainsMode, Expr, ExprKind, FieldPath, Literal, MatchMode, MembershipKind,
    PathStep, SpatialOp, TimeCompare, UnaryOp,
};
use elanus_filter::{Templates, compile, parse};
use proptest::prelude::*;

use crate::table::table;

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a",
        "b",
        "ts",
        "iso",
        "interval",
        "threshold",
        "array_length",
        "_x9",
        "L",
        "r",
        "is",
        "null",
        // columns of the table that filters are compiled for; other names are dynamic keys
        "id",
        "real",
        "flag",
        "text",
        "ts",
        "ints",
        "tags",
        "meta",
        "vec",
        "chunks",
        // sub-fields of the column chunks
        "n",
        "word",
    ])
    .prop_map(str::to_owned)
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<bool>().prop_map(Literal::Bool),
        any::<i64>().prop_map(Literal::Int),
        (-9i64..9).prop_map(Literal::Int),
        Just(Literal::Int(i64::MIN)),
        prop::num::f64::NORMAL.prop_map(Literal::Float),
        prop::num::f64::SUBNORMAL.prop_map(Literal::Float),
        (-9i32..9).prop_map(|value| Literal::Float(f64::from(value) / 2.0)),
        any::<String>().prop_map(Literal::Str),
        "[\"'\\\\%_nxu01\\r\\n]{0,6}".prop_map(Literal::Str),
    ]
}

fn path() -> impl Strategy<Value = Vec<PathStep>> {
    prop::collection::vec(
        prop_oneof![
            any::<String>().prop_map(PathStep::Key),
            any::<u64>().prop_map(PathStep::Index)
        ],
        0..3,
    )
}

fn field() -> impl Strategy<Value = FieldPath> {
    (prop_oneof![4 => name(), 1 => Just("$meta".to_owned())], path())
        .prop_map(|(name, path)| FieldPath { name, path })
}

fn time_compare() -> impl Strategy<Value = TimeCompare> {
    (
        name(),
        prop::option::of((any::<bool>(), "P[0-9]D")),
        compare_op(),
        "[0-9-]{0,10}",
        any::<bool>(),
    )
        .prop_map(|(field, interval, op, iso, iso_first)| TimeCompare {
            field,
            interval,
            op,
            iso,
            iso_first,
        })
}

fn compare_op() -> impl Strategy<Value = CompareOp> {
    use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
    prop::sample::select(vec![Eq, Ne, Lt, Le, Gt, Ge])
}

fn binary_op() -> impl Strategy<Value = BinaryOp> {
    use BinaryOp::{
        Add, BitAnd, BitOr, BitXor, Div, Like, Mod, Mul, Pow, RegexMatch, RegexNotMatch, Shl, Shr, Sub,
    };
    let plain = vec![
        Like,
        RegexMatch,
        RegexNotMatch,
        Pow,
        Mul,
        Div,
        Mod,
        Add,
        Sub,
        Shl,
        Shr,
        BitAnd,
        BitXor,
        BitOr,
    ];
    prop_oneof![
        prop::sample::select(plain),
        compare_op().prop_map(BinaryOp::Compare)
    ]
}

fn match_mode() -> impl Strategy<Value = MatchMode> {
    use MatchMode::{All, Any, Exact, Least, Most};
    prop::sample::select(vec![All, Any, Least, Most, Exact])
}

fn leaf() -> impl Strategy<Value = ExprKind> {
    prop_oneof![
        4 => literal().prop_map(ExprKind::Literal),
        4 => field().prop_map(ExprKind::Field),
        1 => (name(), name()).prop_map(|(field, sub)| ExprKind::StructField { field, sub }),
        1 => (name(), any::<u64>(), name()).prop_map(|(field, index, sub)| ExprKind::StructIndexField { field, index, sub }),
        1 => name().prop_map(ExprKind::StructSubField),
        1 => Just(ExprKind::ElementSelf),
        1 => name().prop_map(ExprKind::Template),
        2 => time_compare().prop_map(ExprKind::TimeCompare),
        1 => field().prop_filter("$meta alone has no null test", |field| field.name != "$meta" || !field.path.is_empty())
            .prop_flat_map(|field| any::<bool>().prop_map(move |negated| ExprKind::IsNull {
                operand: Box::new(ExprKind::Field(field.clone()).into()),
                negated,
            })),
        1 => field().prop_filter("$meta alone has no length", |field| field.name != "$meta" || !field.path.is_empty())
            .prop_map(|field| ExprKind::ArrayLength(Box::new(ExprKind::Field(field).into()))),
        1 => (name(), name())
            .prop_map(|(field, sub)| ExprKind::ArrayLength(Box::new(ExprKind::StructField { field, sub }.into()))),
        1 => name().prop_map(ExprKind::SpatialIsValid),
    ]
}

fn tree() -> impl Strategy<Value = Expr> {
    leaf().prop_map(Expr::from).prop_recursive(6, 60, 4, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        let middle = prop_oneof![
            field().prop_filter("$meta alone is no range middle", |field| field.name != "$meta" || !field.path.is_empty())
                .prop_map(ExprKind::Field),
            name().prop_map(ExprKind::StructSubField),
            Just(ExprKind::ElementSelf),
        ];
        prop_oneof![
            4 => (binary_op(), boxed(), boxed()).prop_map(|(op, left, right)| ExprKind::Binary { op, left, right }),
            3 => (prop::sample::select(vec![UnaryOp::Plus, UnaryOp::Minus, UnaryOp::BitNot, UnaryOp::Not]), boxed())
                .prop_map(|(op, operand)| ExprKind::Unary { op, operand }),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(ExprKind::And),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(ExprKind::Or),
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(ExprKind::List),
            1 => boxed().prop_map(ExprKind::Exists),
            1 => boxed().prop_map(ExprKind::RandomSample),
            1 => (boxed(), boxed(), prop::option::of(prop_oneof![Just(MembershipKind::Bloom), Just(MembershipKind::Roaring)]))
                .prop_map(|(value, set, kind)| ExprKind::MembershipMatch { value, set, kind }),
            2 => (any::<bool>(), boxed(), boxed()).prop_map(|(negated, value, list)| ExprKind::In { negated, value, list }),
            2 => (boxed(), any::<[bool; 3]>(), middle, boxed()).prop_map(|(left, [up, first, second], middle, right)| {
                let op = |equal| match (up, equal) {
                    (true, false) => CompareOp::Lt,
                    (true, true) => CompareOp::Le,
                    (false, false) => CompareOp::Gt,
                    (false, true) => CompareOp::Ge,
                };
                ExprKind::Range { left, left_op: op(first), middle: Box::new(middle.into()), right_op: op(second), right }
            }),
            1 => (prop::sample::select(vec!["foo", "starts_with", "Json_Contains"]), prop::collection::vec(inner.clone(), 0..3))
                .prop_map(|(name, args)| ExprKind::Call { name: name.to_owned(), args }),
            1 => (prop::sample::select(vec![ContainsMode::One, ContainsMode::All, ContainsMode::Any]), boxed(), boxed())
                .prop_map(|(mode, container, value)| ExprKind::Contains { mode, container, value }),
            1 => (name(), boxed(), prop::option::of(0..i64::MAX)).prop_map(|(field, query, minimum_should_match)| {
                ExprKind::TextMatch { field, query, minimum_should_match }
            }),
            1 => (name(), boxed(), prop::option::of(boxed())).prop_map(|(field, query, slop)| ExprKind::PhraseMatch { field, query, slop }),
            1 => (name(), boxed()).prop_map(|(field, predicate)| ExprKind::ElementFilter { field, predicate }),
            2 => (match_mode(), prop_oneof![Just("chunks".to_owned()), name()], boxed(), 0..i64::MAX).prop_map(|(mode, field, predicate, threshold)| {
                let threshold = (!matches!(mode, MatchMode::Any | MatchMode::All)).then_some(threshold);
                ExprKind::Match { mode, field, predicate, threshold }
            }),
            1 => (name(), boxed()).prop_map(|(field, shape)| ExprKind::Spatial { op: SpatialOp::Touches, field, shape }),
        ]
        .prop_map(Expr::from)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn printed_trees_parse_to_themselves(tree in tree()) {
        let text = tree.to_string();
        match parse(&text) {
            Ok(parsed) => prop_assert_eq!(&parsed, &tree, "{}", text),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn what_parses_compiles_or_is_refused_with_its_place(tree in tree()) {
        let text = tree.to_string();
        match compile(&text, &table().schema(), &Templates::new()) {
            Ok(expr) => prop_assert!(!expr.to_string().is_empty()),
            Err(error) => {
                prop_assert!(error.span().start <= error.span().end && error.span().end <= text.len());
                prop_assert!(!error.excerpt().is_empty());
            }
        }
    }

    #[test]
    fn random_text_never_panics(text in any::<String>()) {
        if let Err(error) = parse(&text) {
            prop_assert!(error.to_string().starts_with("cannot parse expression: "));
            prop_assert!(!error.excerpt().is_empty());
        }
    }

    #[test]
    fn random_tokens_never_panic_and_what_parses_survives_printing(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "a", "b", "$meta", "$", "$[x]", "m[\"k\"]", "arr[0]", "s[x]", "s[0][x]", "{t}", "1", "-", "9223372036854775808", "2.5",
            "0x", "'s'", "\"", "r'x'", "true", "(", ")", "[", "]", ",", "<", "<=", ">", "==", "!=", "=~", "!~", "like", "in", "not", "!",
            "and", "||", "**", "*", "%", "+", "<<", "&", "|", "^", "~", "exists", "is null", "is not null", "array_length(", "json_contains(",
            "text_match(", "match_least(", "threshold=1", "ISO 'x'", "ISO", "INTERVAL 'y'", "f(", "\n", "é",
        ]), 0..12),
        glue in prop::sample::select(vec![" ", ""]),
    ) {
        let text = tokens.join(glue);
        match parse(&text) {
            Ok(tree) => {
                let printed = tree.to_string();
                let again = parse(&printed);
                prop_assert!(again.is_ok(), "{} printed as {}", text, printed);
                prop_assert_eq!(again.ok(), Some(tree), "{} printed as {}", text, printed);
            }
            Err(error) => prop_assert!(!error.excerpt().is_empty()),
        }
    }
}
