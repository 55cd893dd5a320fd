//! Conditions: their text and their meaning.

use std::cmp::Ordering;

use elanus_filter::{TemplateValue, Templates};

use super::datum::Datum;
use super::row::{Field, Row};

pub const DAY: i64 = 86_400_000_000;

/// An instant as filters write it, and its microseconds since 1970.
pub type Instant = (&'static str, i64);

#[derive(Debug, Clone)]
pub enum Condition {
    /// `field op constant`, or with the constant first.
    Compare {
        field: Field,
        op: &'static str,
        constant: Datum,
        constant_first: bool,
    },
    /// `field op field`
    Fields(Field, &'static str, Field),
    /// `field in list`, `field not in list`
    In(Field, Vec<Datum>, bool),
    /// `low < field < high`, or from high to low when falling; whether each bound is included.
    Range {
        field: Field,
        low: (Datum, bool),
        high: (Datum, bool),
        falling: bool,
    },
    /// `(field op operand) comparison constant`
    Arithmetic {
        field: Field,
        op: &'static str,
        operand: i64,
        comparison: &'static str,
        constant: Datum,
    },
    /// `field like pattern`
    Like(Field, Vec<Pattern>),
    /// `field =~ letters`, `field !~ letters`
    Regex(Field, String, bool),
    /// `field is null`, `field is not null`
    IsNull(Field, bool),
    /// `exists path`
    Exists(Field),
    /// The function's name, the array, the elements.
    Contains(&'static str, Field, Vec<Datum>),
    /// `array_length(field) op constant`
    Length(Field, &'static str, i64),
    /// `ts + INTERVAL 'P1D' op ISO '..'`: the days added.
    Time {
        days: Option<i64>,
        op: &'static str,
        instant: Instant,
        instant_first: bool,
    },
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
}

/// How a filter gets its constants: written into the text, or as templates beside it.
#[derive(Debug, Default)]
pub struct Constants {
    pub as_templates: bool,
    pub templates: Templates,
}

impl Constants {
    fn text(&mut self, value: &Datum) -> String {
        if !self.as_templates {
            return value.text();
        }
        let name = format!("t{}", self.templates.0.len());
        self.templates.0.insert(name.clone(), template(value));
        format!("{{{name}}}")
    }

    fn list(&mut self, values: &[Datum]) -> String {
        self.text(&Datum::Array(values.to_vec()))
    }
}

fn template(value: &Datum) -> TemplateValue {
    match value {
        Datum::Bool(value) => TemplateValue::Bool(*value),
        Datum::Int(value) => TemplateValue::Int(*value),
        Datum::Float(value) => TemplateValue::Float(*value),
        Datum::Text(text) => TemplateValue::String(text.clone()),
        Datum::Array(values) => TemplateValue::Array(values.iter().map(template).collect()),
        Datum::Null | Datum::Object => panic!("{value:?} is no constant"),
    }
}

/// A piece of a `like` pattern.
#[derive(Debug, Clone, Copy)]
pub enum Pattern {
    /// `%`
    Run,
    /// `_`
    One,
    Exactly(char),
}

impl Condition {
    pub fn text(&self, constants: &mut Constants) -> String {
        match self {
            Self::Compare {
                field,
                op,
                constant,
                constant_first,
            } => {
                let (field, constant) = (field.name(), constants.text(constant));
                if *constant_first {
                    format!("{constant} {op} {field}")
                } else {
                    format!("{field} {op} {constant}")
                }
            }
            Self::Fields(left, op, right) => format!("{} {op} {}", left.name(), right.name()),
            Self::In(field, list, negated) => {
                let op = if *negated { "not in" } else { "in" };
                format!("{} {op} {}", field.name(), constants.list(list))
            }
            Self::Range {
                field,
                low,
                high,
                falling,
            } => {
                let sign = if *falling { ">" } else { "<" };
                let op =
                    |(_, included): &(Datum, bool)| format!("{sign}{}", if *included { "=" } else { "" });
                let (first, last) = if *falling { (high, low) } else { (low, high) };
                let (left, right) = (constants.text(&first.0), constants.text(&last.0));
                format!("{left} {} {} {} {right}", op(first), field.name(), op(last))
            }
            Self::Arithmetic {
                field,
                op,
                operand,
                comparison,
                constant,
            } => {
                let (operand, constant) = (constants.text(&Datum::Int(*operand)), constants.text(constant));
                format!("({} {op} {operand}) {comparison} {constant}", field.name())
            }
            Self::Like(field, pattern) => {
                let pattern: String = pattern.iter().map(Pattern::text).collect();
                format!("{} like {}", field.name(), constants.text(&Datum::Text(pattern)))
            }
            Self::Regex(field, letters, negated) => {
                let op = if *negated { "!~" } else { "=~" };
                format!(
                    "{} {op} {}",
                    field.name(),
                    constants.text(&Datum::Text(letters.clone()))
                )
            }
            Self::IsNull(field, negated) => {
                let test = if *negated { "is not null" } else { "is null" };
                format!("{} {test}", field.name())
            }
            Self::Exists(field) => format!("exists {}", field.name()),
            Self::Contains(function, field, elements) => {
                let elements = match elements.as_slice() {
                    [one] if is_one(function) => constants.text(one),
                    many => constants.list(many),
                };
                format!("{function}({}, {elements})", field.name())
            }
            Self::Length(field, op, length) => {
                let length = constants.text(&Datum::Int(*length));
                format!("array_length({}) {op} {length}", field.name())
            }
            Self::Time {
                days,
                op,
                instant: (instant, _),
                instant_first,
            } => {
                let field = match days {
                    None => "ts".to_owned(),
                    Some(days) if *days < 0 => format!("ts - INTERVAL 'P{}D'", -days),
                    Some(days) => format!("ts + INTERVAL 'P{days}D'"),
                };
                if *instant_first {
                    format!("ISO '{instant}' {op} {field}")
                } else {
                    format!("{field} {op} ISO '{instant}'")
                }
            }
            Self::Not(inner) => format!("not ({})", inner.text(constants)),
            Self::And(inner) => join(inner, " and ", constants),
            Self::Or(inner) => join(inner, " or ", constants),
        }
    }

    /// None is unknown.
    pub fn truth(&self, row: &Row) -> Option<bool> {
        match self {
            Self::Compare {
                field,
                op,
                constant,
                constant_first,
            } => {
                let order = field.value(row)?.order(&field.rounded(constant))?;
                Some(holds(op, if *constant_first { order.reverse() } else { order }))
            }
            Self::Fields(left, op, right) => {
                let (left, right) = (left.value(row)?, right.value(row)?);
                let order = if matches!(
                    (&left, &right),
                    (Datum::Int(_), Datum::Float(_)) | (Datum::Float(_), Datum::Int(_))
                ) {
                    // as in SQL and in C++
                    left.as_f64().partial_cmp(&right.as_f64())
                } else {
                    left.order(&right)
                };
                Some(holds(op, order?))
            }
            Self::In(field, constants, negated) if field.is_json() && constants.is_empty() => Some(*negated),
            Self::In(field, constants, negated) => {
                let value = field.value(row)?;
                let constants: Vec<_> = constants.iter().map(|constant| field.rounded(constant)).collect();
                let comparable = constants.iter().any(|constant| constant.same_kind(&value));
                let found = constants.iter().any(|constant| constant.equals(&value));
                (comparable || !field.is_json()).then_some(found != *negated)
            }
            Self::Range { field, low, high, .. } => {
                let value = field.value(row)?;
                let above = value.order(&field.rounded(&low.0))?;
                let below = value.order(&field.rounded(&high.0))?;
                let inside = |order, outside: Ordering, included| {
                    order == outside.reverse() || (included && order == Ordering::Equal)
                };
                Some(inside(above, Ordering::Less, low.1) && inside(below, Ordering::Greater, high.1))
            }
            Self::Arithmetic {
                field,
                op,
                operand,
                comparison,
                constant,
            } => {
                let result = match field.value(row)? {
                    Datum::Int(value) => Datum::Int(of_ints(value, op, *operand)),
                    Datum::Float(value) if *field == Field::Real => {
                        Datum::Float(of_floats(value as f32, op, *operand as f32)?.into())
                    }
                    Datum::Float(value) => Datum::Float(of_floats(value, op, *operand as f64)?),
                    _ => return None,
                };
                Some(holds(comparison, result.order(&field.rounded(constant))?))
            }
            Self::Like(field, pattern) => match field.value(row)? {
                Datum::Text(text) => Some(matches(&text.chars().collect::<Vec<_>>(), pattern)),
                _ => None,
            },
            Self::Regex(field, letters, negated) => match field.value(row) {
                Some(Datum::Text(text)) => Some(text.contains(letters) != *negated),
                _ => (*negated && field.is_json()).then_some(true),
            },
            Self::IsNull(field, negated) => Some(field.value(row).is_none() != *negated),
            Self::Exists(field) => Some(field.value(row).is_some()),
            Self::Contains(function, field, elements) => {
                let Datum::Array(array) = field.value(row)? else {
                    return None;
                };
                let has = |element: &Datum| array.iter().any(|value| value.equals(element));
                Some(if function.ends_with("_all") {
                    elements.iter().all(has)
                } else {
                    elements.iter().any(has)
                })
            }
            Self::Length(field, op, length) => match field.value(row)? {
                Datum::Array(array) => Some(holds(op, (array.len() as i64).cmp(length))),
                _ => None,
            },
            Self::Time {
                days,
                op,
                instant: (_, instant),
                instant_first,
            } => {
                let order = (row.ts? + days.unwrap_or(0) * DAY).cmp(instant);
                Some(holds(op, if *instant_first { order.reverse() } else { order }))
            }
            Self::Not(inner) => inner.truth(row).map(|truth| !truth),
            Self::And(inner) => fold(inner.iter().map(|inner| inner.truth(row)), false),
            Self::Or(inner) => fold(inner.iter().map(|inner| inner.truth(row)), true),
        }
    }
}

impl Pattern {
    fn text(&self) -> String {
        match self {
            Self::Run => "%".to_owned(),
            Self::One => "_".to_owned(),
            Self::Exactly(character @ ('%' | '_' | '\\')) => format!("\\{character}"),
            Self::Exactly(character) => character.to_string(),
        }
    }
}

fn is_one(function: &str) -> bool {
    function.ends_with("_contains")
}

fn holds(op: &str, order: Ordering) -> bool {
    match op {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        other => panic!("{other}"),
    }
}

fn of_ints(a: i64, op: &str, b: i64) -> i64 {
    match op {
        "+" => a.wrapping_add(b),
        "-" => a.wrapping_sub(b),
        "*" => a.wrapping_mul(b),
        "/" => a.wrapping_div(b),
        "%" => a.wrapping_rem(b),
        "&" => a & b,
        "|" => a | b,
        "^" => a ^ b,
        other => panic!("{other}"),
    }
}

fn of_floats<T>(a: T, op: &str, b: T) -> Option<T>
where
    T: std::ops::Add<Output = T>
        + std::ops::Sub<Output = T>
        + std::ops::Mul<Output = T>
        + std::ops::Div<Output = T>,
{
    match op {
        "+" => Some(a + b),
        "-" => Some(a - b),
        "*" => Some(a * b),
        "/" => Some(a / b),
        _ => None,
    }
}

fn matches(text: &[char], pattern: &[Pattern]) -> bool {
    match (pattern, text) {
        ([], text) => text.is_empty(),
        ([Pattern::Run, rest @ ..], text) => (0..=text.len()).any(|skip| matches(&text[skip..], rest)),
        ([Pattern::One, rest @ ..], [_, text @ ..]) => matches(text, rest),
        ([Pattern::Exactly(expected), rest @ ..], [found, text @ ..]) => {
            expected == found && matches(text, rest)
        }
        ([Pattern::One | Pattern::Exactly(_), ..], []) => false,
    }
}

fn join(inner: &[Condition], separator: &str, constants: &mut Constants) -> String {
    inner
        .iter()
        .map(|inner| format!("({})", inner.text(constants)))
        .collect::<Vec<_>>()
        .join(separator)
}

/// `decisive` decides alone; otherwise one unknown makes the whole unknown.
fn fold(truths: impl Iterator<Item = Option<bool>>, decisive: bool) -> Option<bool> {
    let mut result = Some(!decisive);
    for truth in truths {
        match truth {
            Some(truth) if truth == decisive => return Some(decisive),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}
