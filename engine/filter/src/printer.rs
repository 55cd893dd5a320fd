//! Tree to canonical text, with the fewest parentheses that keep the meaning: `parse(print(x)) == x`.
//!
//! Two places need parentheses beyond what precedence asks for. A comparison inside a comparison could be read as a
//! range, and `ts > ISO '..'` swallows its neighbours as one unit of the grammar; both are always wrapped.

use std::fmt::{self, Display};

use crate::ast::{
    BinaryOp, CompareOp, ContainsMode, Expr, ExprKind, FieldPath, Literal, PathStep, TimeCompare, UnaryOp,
    precedence,
};
use crate::literal::quote;

impl Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        print(self, 0, &mut out);
        f.write_str(&out)
    }
}

/// Appends `expr`, in parentheses when it binds looser than `min`.
fn print(expr: &Expr, min: u8, out: &mut String) {
    if own_precedence(&expr.kind) < min {
        out.push('(');
        print_kind(&expr.kind, out);
        out.push(')');
    } else {
        print_kind(&expr.kind, out);
    }
}

fn own_precedence(kind: &ExprKind) -> u8 {
    match kind {
        ExprKind::Literal(Literal::Int(value)) if *value < 0 => precedence::PREFIX,
        ExprKind::Literal(Literal::Float(value)) if value.is_sign_negative() => precedence::PREFIX,
        ExprKind::Unary { .. } => precedence::PREFIX,
        ExprKind::Exists(_) => precedence::EXISTS,
        ExprKind::Binary { op, .. } => op.precedence(),
        ExprKind::And(_) => precedence::AND,
        ExprKind::Or(_) => precedence::OR,
        ExprKind::In { .. } => precedence::TERM,
        ExprKind::Range { .. } => precedence::RANGE,
        // just tight enough to stand in `and` without parentheses
        ExprKind::TimeCompare(_) => precedence::AND + 1,
        ExprKind::Literal(_)
        | ExprKind::Field(_)
        | ExprKind::StructField { .. }
        | ExprKind::StructIndexField { .. }
        | ExprKind::StructSubField(_)
        | ExprKind::ElementSelf
        | ExprKind::Template(_)
        | ExprKind::List(_)
        | ExprKind::IsNull { .. }
        | ExprKind::Call { .. }
        | ExprKind::Contains { .. }
        | ExprKind::ArrayLength(_)
        | ExprKind::TextMatch { .. }
        | ExprKind::TextMatchFuzzy { .. }
        | ExprKind::PhraseMatch { .. }
        | ExprKind::MembershipMatch { .. }
        | ExprKind::RandomSample(_)
        | ExprKind::ElementFilter { .. }
        | ExprKind::Match { .. }
        | ExprKind::Spatial { .. }
        | ExprKind::SpatialDistance { .. }
        | ExprKind::SpatialIsValid(_) => precedence::PRIMARY,
    }
}

fn print_kind(kind: &ExprKind, out: &mut String) {
    match kind {
        ExprKind::Literal(literal) => print_literal(literal, out),
        ExprKind::Field(field) => print_field(field, out),
        ExprKind::StructField { field, sub } => write(out, format_args!("{field}[{sub}]")),
        ExprKind::StructIndexField { field, index, sub } => {
            write(out, format_args!("{field}[{index}][{sub}]"))
        }
        ExprKind::StructSubField(sub) => write(out, format_args!("$[{sub}]")),
        ExprKind::ElementSelf => out.push('$'),
        ExprKind::Template(name) => write(out, format_args!("{{{name}}}")),
        ExprKind::List(items) => {
            out.push('[');
            print_items(items, out);
            out.push(']');
        }
        ExprKind::Exists(operand) => {
            out.push_str("exists ");
            print(operand, precedence::EXISTS, out);
        }
        ExprKind::Unary { op, operand } => print_unary(*op, operand, out),
        ExprKind::Binary { op, left, right } => print_binary(*op, left, right, out),
        ExprKind::And(operands) => print_chain(operands, " and ", precedence::AND, out),
        ExprKind::Or(operands) => print_chain(operands, " or ", precedence::OR, out),
        ExprKind::In { negated, value, list } => {
            print(value, precedence::TERM, out);
            out.push_str(if *negated { " not in " } else { " in " });
            print(list, precedence::TERM + 1, out);
        }
        ExprKind::Range {
            left,
            left_op,
            middle,
            right_op,
            right,
        } => {
            print(left, precedence::RANGE + 1, out);
            write(out, format_args!(" {} ", left_op.symbol()));
            print(middle, precedence::PRIMARY, out);
            write(out, format_args!(" {} ", right_op.symbol()));
            print(right, precedence::RANGE + 1, out);
        }
        ExprKind::IsNull { operand, negated } => {
            print(operand, precedence::PRIMARY, out);
            out.push_str(if *negated { " is not null" } else { " is null" });
        }
        ExprKind::TimeCompare(compare) => print_time_compare(compare, out),
        ExprKind::Call { name, args } => {
            write(out, format_args!("{name}("));
            print_items(args, out);
            out.push(')');
        }
        ExprKind::Contains {
            mode,
            container,
            value,
        } => {
            let name = match mode {
                ContainsMode::One => "json_contains",
                ContainsMode::All => "json_contains_all",
                ContainsMode::Any => "json_contains_any",
            };
            print_call(name, None, &[container, value], out);
        }
        ExprKind::ArrayLength(operand) => print_call("array_length", None, &[operand], out),
        ExprKind::TextMatch {
            field,
            query,
            minimum_should_match,
        } => {
            print_call_with_option(
                "text_match",
                field,
                query,
                minimum_should_match.map(|n| ("minimum_should_match", n)),
                out,
            );
        }
        ExprKind::TextMatchFuzzy {
            field,
            query,
            max_edit_distance,
        } => {
            print_call_with_option(
                "text_match_fuzzy",
                field,
                query,
                Some(("max_edit_distance", *max_edit_distance)),
                out,
            );
        }
        ExprKind::PhraseMatch { field, query, slop } => match slop {
            Some(slop) => print_call("phrase_match", Some(field), &[query, slop], out),
            None => print_call("phrase_match", Some(field), &[query], out),
        },
        ExprKind::MembershipMatch { value, set, kind } => {
            out.push_str("membership_match(");
            print(value, 0, out);
            out.push_str(", ");
            print(set, 0, out);
            if let Some(kind) = kind {
                write(out, format_args!(", type={}", kind.name()));
            }
            out.push(')');
        }
        ExprKind::RandomSample(share) => print_call("random_sample", None, &[share], out),
        ExprKind::ElementFilter { field, predicate } => {
            print_call("element_filter", Some(field), &[predicate], out)
        }
        ExprKind::Match {
            mode,
            field,
            predicate,
            threshold,
        } => {
            print_call_with_option(
                mode.name(),
                field,
                predicate,
                threshold.map(|n| ("threshold", n)),
                out,
            );
        }
        ExprKind::Spatial { op, field, shape } => print_call(op.name(), Some(field), &[shape], out),
        ExprKind::SpatialDistance {
            field,
            shape,
            distance,
        } => print_call("st_dwithin", Some(field), &[shape, distance], out),
        ExprKind::SpatialIsValid(field) => print_call("st_isvalid", Some(field), &[], out),
    }
}

fn print_literal(literal: &Literal, out: &mut String) {
    match literal {
        Literal::Bool(value) => write(out, format_args!("{value}")),
        Literal::Int(value) => write(out, format_args!("{value}")),
        // the debug form of a float always has a point or an exponent, and reads back to the same bits
        Literal::Float(value) => write(out, format_args!("{value:?}")),
        Literal::Str(text) => quote(text, out),
    }
}

fn print_field(field: &FieldPath, out: &mut String) {
    out.push_str(&field.name);
    for step in &field.path {
        out.push('[');
        match step {
            PathStep::Key(key) => quote(key, out),
            PathStep::Index(index) => write(out, format_args!("{index}")),
        }
        out.push(']');
    }
}

fn print_unary(op: UnaryOp, operand: &Expr, out: &mut String) {
    out.push_str(match op {
        UnaryOp::Plus => "+",
        UnaryOp::Minus => "-",
        UnaryOp::BitNot => "~",
        UnaryOp::Not => "not ",
    });
    // `-5` is a literal; the negation of the literal 5 needs the parentheses
    let bare_number = matches!(
        operand.kind,
        ExprKind::Literal(Literal::Int(_) | Literal::Float(_))
    );
    let min = if op == UnaryOp::Minus && bare_number {
        precedence::PRIMARY + 1
    } else {
        precedence::PREFIX
    };
    print(operand, min, out);
}

fn print_binary(op: BinaryOp, left: &Expr, right: &Expr, out: &mut String) {
    let relational = matches!(
        op,
        BinaryOp::Compare(CompareOp::Lt | CompareOp::Le | CompareOp::Gt | CompareOp::Ge)
    );
    let (left_min, right_min) = if relational {
        (precedence::RANGE + 1, precedence::RANGE + 1)
    } else {
        (op.precedence(), op.precedence() + 1)
    };
    print(left, left_min, out);
    write(out, format_args!(" {} ", op.symbol()));
    print(right, right_min, out);
}

fn print_chain(operands: &[Expr], separator: &str, own: u8, out: &mut String) {
    for (index, operand) in operands.iter().enumerate() {
        if index > 0 {
            out.push_str(separator);
        }
        print(operand, own + 1, out);
    }
}

fn print_time_compare(compare: &TimeCompare, out: &mut String) {
    let TimeCompare {
        field,
        interval,
        op,
        iso,
        iso_first,
    } = compare;
    let print_iso = |out: &mut String| {
        out.push_str("ISO ");
        quote(iso, out);
    };
    if *iso_first {
        print_iso(out);
        write(out, format_args!(" {} ", op.symbol()));
    }
    out.push_str(field);
    if let Some((minus, duration)) = interval {
        out.push_str(if *minus { " - INTERVAL " } else { " + INTERVAL " });
        quote(duration, out);
    }
    if !*iso_first {
        write(out, format_args!(" {} ", op.symbol()));
        print_iso(out);
    }
}

fn print_items(items: &[Expr], out: &mut String) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        print(item, 0, out);
    }
}

fn print_call(name: &str, field: Option<&str>, args: &[&Expr], out: &mut String) {
    write(out, format_args!("{name}("));
    out.push_str(field.unwrap_or_default());
    for (index, arg) in args.iter().enumerate() {
        if index > 0 || field.is_some() {
            out.push_str(", ");
        }
        print(arg, 0, out);
    }
    out.push(')');
}

fn print_call_with_option(
    name: &str,
    field: &str,
    arg: &Expr,
    option: Option<(&str, i64)>,
    out: &mut String,
) {
    write(out, format_args!("{name}({field}, "));
    print(arg, 0, out);
    if let Some((key, value)) = option {
        write(out, format_args!(", {key}={value}"));
    }
    out.push(')');
}

fn write(out: &mut String, text: fmt::Arguments<'_>) {
    // writing to a String cannot fail
    let _ = fmt::Write::write_fmt(out, text);
}
