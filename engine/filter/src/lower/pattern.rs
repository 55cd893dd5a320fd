//! `like`, `=~`, `!~`.
//!
//! In a `like` pattern `%` stands for any run of characters, `_` for one, and a backslash takes the next character as it
//! is. The pattern is restated with exactly the escapes Arrow knows, so that its fast paths (equal, prefix, suffix,
//! contains) apply.

use datafusion::logical_expr::expr::Like;
use datafusion::logical_expr::{Expr, Operator, binary_expr};

use super::operand::{Kind, Operand, literal, text_scalar};
use super::value::Value;
use crate::ast::Span;
use crate::error::{Issue, Result};
use arrow::datatypes::DataType;

/// The text that a pattern is matched against.
struct Text {
    expr: Expr,
    data_type: DataType,
    json: bool,
}

fn text(operand: Operand, operation: &str, span: Span) -> Result<Text> {
    match operand {
        Operand::Scalar(scalar) if scalar.kind == Kind::Text => Ok(Text {
            expr: scalar.expr,
            data_type: scalar.data_type,
            json: false,
        }),
        Operand::Json(path) => Ok(Text {
            expr: path.text(),
            data_type: DataType::Utf8,
            json: true,
        }),
        other @ (Operand::Scalar(_)
        | Operand::Constant { .. }
        | Operand::Array(_)
        | Operand::JsonArithmetic { .. }
        | Operand::Predicate(_)) => {
            let got = other.type_name();
            let message = format!(
                "'{operation}' takes a VarChar field, an element of a VarChar array or a JSON path, got {got}"
            );
            Err(Issue::types(span, message))
        }
    }
}

fn pattern(operand: &Operand, operation: &str, span: Span) -> Result<String> {
    if let Operand::Constant {
        value: Value::Str(pattern),
        ..
    } = operand
    {
        return Ok(pattern.clone());
    }
    Err(Issue::types(
        span,
        format!("the pattern of '{operation}' must be a string or a template with a string"),
    ))
}

/// `left like right`
pub(crate) fn like(left: Operand, right: &Operand, span: Span) -> Result<Expr> {
    let text = text(left, "like", span)?;
    let pattern = pattern(right, "like", span)?;
    let Some(pattern) = normalize_like(&pattern) else {
        return Err(Issue::parse(
            span,
            "the like pattern ends with a lone backslash; write \\\\ for a backslash",
        ));
    };
    let pattern = literal(text_scalar(&text.data_type, &pattern));
    Ok(Expr::Like(Like::new(
        false,
        Box::new(text.expr),
        Box::new(pattern),
        None,
        false,
    )))
}

/// Drops needless escapes; none when the pattern ends inside one.
fn normalize_like(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        let escaped = characters.next()?;
        if matches!(escaped, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(escaped);
    }
    Some(out)
}

/// `left =~ right`, `left !~ right`: a partial match.
pub(crate) fn regex(left: Operand, right: &Operand, negated: bool, span: Span) -> Result<Expr> {
    let operation = if negated { "!~" } else { "=~" };
    let text = text(left, operation, span)?;
    let pattern = pattern(right, operation, span)?;
    if let Err(error) = regex::Regex::new(&pattern) {
        // the last line of the report is the reason, the lines before draw the pattern
        let report = error.to_string();
        let reason = report
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        return Err(Issue::parse(
            span,
            format!("invalid regular expression {pattern:?}: {reason}"),
        ));
    }
    let pattern = literal(text_scalar(&text.data_type, &pattern));
    if negated && text.json {
        // a path that is missing, null or no string does not match, and so `!~` holds there
        let matches = binary_expr(text.expr, Operator::RegexMatch, pattern);
        return Ok(Expr::IsNotTrue(Box::new(matches)));
    }
    let op = if negated {
        Operator::RegexNotMatch
    } else {
        Operator::RegexMatch
    };
    Ok(binary_expr(text.expr, op, pattern))
}

#[cfg(test)]
mod tests {
    use super::normalize_like;

    #[test]
    fn escapes_are_kept_only_where_they_matter() {
        for (pattern, expected) in [
            ("a%b_", Some("a%b_")),
            ("50\\%", Some("50\\%")),
            ("a\\_b", Some("a\\_b")),
            ("a\\\\b", Some("a\\\\b")),
            ("\\a\\.", Some("a.")),
            ("a\\", None),
            ("a\\\\\\", None),
        ] {
            assert_eq!(normalize_like(pattern).as_deref(), expected, "{pattern}");
        }
    }
}
