//! Boolean tests of one JSON value against fixed values, for filters: path, operator and literal are literals of the
//! call, prepared once per batch; each row is scanned once.
//!
//! | function | true when |
//! |---|---|
//! | `elanus_json_compare(json, pointer, op, literal)` | the value compares so; op is one of `== != < <= > >=` |
//! | `elanus_json_arithmetic(json, pointer, op, operand, op, literal)` | `value op operand` compares so |
//! | `elanus_json_in(json, pointer, list)` | the value is in the list |
//! | `elanus_json_compare_cast(..)`, `elanus_json_in_cast(..)` | the same with numbers, text counting as the number that it begins with |
//! | `elanus_json_has(json, pointer, 'one' / 'any' / 'all', list)` | the array has the elements |
//! | `elanus_json_exists(json, pointer)` | there is a value and it is not null; never NULL itself |
//! | `elanus_json_length(json, pointer)` | (`Int64`) number of elements of the array |
//!
//! `literal`, `operand` and `list` are JSON text. A missing path, `null` and a value of another type than the literal
//! give NULL.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::DataType;
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use elanus_text::leading_number;
use serde_json::value::RawValue;

use super::literal::{Literal, LiteralSet, compare_numbers};
use super::path::parse_pointer;
use super::scan::{Leaf, Number, elements, find, leaf};
use crate::arguments::{TextArgument, expect_count, finish, text_literal};

/// Which test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JsonTest {
    /// `elanus_json_compare`
    Compare,
    /// `elanus_json_arithmetic`
    Arithmetic,
    /// `elanus_json_in`
    In,
    /// `elanus_json_compare_cast`
    CompareCast,
    /// `elanus_json_in_cast`
    InCast,
    /// `elanus_json_has`
    Has,
    /// `elanus_json_exists`
    Exists,
    /// `elanus_json_length`
    Length,
}

impl JsonTest {
    /// All tests.
    pub const ALL: [Self; 8] = [
        Self::Compare,
        Self::Arithmetic,
        Self::In,
        Self::CompareCast,
        Self::InCast,
        Self::Has,
        Self::Exists,
        Self::Length,
    ];

    fn arguments(self) -> usize {
        match self {
            Self::Exists | Self::Length => 2,
            Self::In | Self::InCast => 3,
            Self::Compare | Self::CompareCast | Self::Has => 4,
            Self::Arithmetic => 6,
        }
    }
}

/// The scalar function of a [`JsonTest`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct JsonTestFunction {
    test: JsonTest,
    signature: Signature,
}

impl JsonTestFunction {
    /// The function of `test`.
    pub fn new(test: JsonTest) -> Self {
        Self {
            test,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    /// The test with its literals read.
    fn prepare(&self, args: &[ColumnarValue]) -> Result<Prepared> {
        let text = |index| text_literal(self.name(), args, index);
        Ok(match self.test {
            JsonTest::Compare => Prepared::Compare(operator(text(2)?)?, self.literal(text(3)?)?),
            JsonTest::CompareCast => {
                let number = self.number(text(3)?)?;
                Prepared::Compare(operator(text(2)?)?, Literal::Number(number))
            }
            JsonTest::Arithmetic => {
                let operand = self.number(text(3)?)?;
                Prepared::Arithmetic(
                    arithmetic(text(2)?)?,
                    operand,
                    operator(text(4)?)?,
                    self.number(text(5)?)?,
                )
            }
            JsonTest::In | JsonTest::InCast => Prepared::In(LiteralSet::new(self.list(text(2)?)?)),
            JsonTest::Has => {
                let list = self.list(text(3)?)?;
                match text(2)? {
                    "one" | "any" => Prepared::HasAny(LiteralSet::new(list)),
                    "all" => Prepared::HasAll(list),
                    other => return exec_err!("{}: mode must be one, any or all, got {other}", self.name()),
                }
            }
            JsonTest::Exists | JsonTest::Length => Prepared::Nothing,
        })
    }

    fn leaf<'a>(&self, text: &'a str) -> Result<Leaf<'a>> {
        if let Err(error) = serde_json::from_str::<&RawValue>(text) {
            return exec_err!("{}: {text:?} is not JSON: {error}", self.name());
        }
        match leaf(text) {
            Some(leaf) => Ok(leaf),
            None => exec_err!("{}: {text} is out of the range of numbers", self.name()),
        }
    }

    fn literal(&self, text: &str) -> Result<Literal> {
        match Literal::new(self.leaf(text)?) {
            Some(literal) => Ok(literal),
            None => exec_err!("{}: cannot compare with {text}", self.name()),
        }
    }

    fn number(&self, text: &str) -> Result<Number> {
        match self.literal(text)? {
            Literal::Number(number) => Ok(number),
            Literal::Bool(_) | Literal::Text(_) | Literal::Array(_) => {
                exec_err!("{}: {text} is no number", self.name())
            }
        }
    }

    /// The entries of a list; one that equals nothing is none.
    fn list(&self, text: &str) -> Result<Vec<Option<Literal>>> {
        match self.leaf(text)? {
            Leaf::Array(array) => Ok(elements(array)
                .map(|element| leaf(element).and_then(Literal::new))
                .collect()),
            Leaf::Null | Leaf::Bool(_) | Leaf::Number(_) | Leaf::Text(_) | Leaf::Object => {
                exec_err!("{}: {text} is no list", self.name())
            }
        }
    }
}

impl ScalarUDFImpl for JsonTestFunction {
    fn name(&self) -> &str {
        match self.test {
            JsonTest::Compare => "elanus_json_compare",
            JsonTest::Arithmetic => "elanus_json_arithmetic",
            JsonTest::In => "elanus_json_in",
            JsonTest::CompareCast => "elanus_json_compare_cast",
            JsonTest::InCast => "elanus_json_in_cast",
            JsonTest::Has => "elanus_json_has",
            JsonTest::Exists => "elanus_json_exists",
            JsonTest::Length => "elanus_json_length",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(if self.test == JsonTest::Length {
            DataType::Int64
        } else {
            DataType::Boolean
        })
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        expect_count(self.name(), arg_types, self.test.arguments())?;
        Ok(vec![DataType::Utf8; arg_types.len()])
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(json) = args.args.first() else {
            return exec_err!("{} takes a JSON text", self.name());
        };
        let json = TextArgument::new(self.name(), json)?;
        let pointer = text_literal(self.name(), &args.args, 1)?;
        let Some(path) = parse_pointer(pointer) else {
            return exec_err!(
                "{}: {pointer:?} is no JSON pointer; one is written like /key/0",
                self.name()
            );
        };
        let prepared = self.prepare(&args.args)?;
        let rows = if json.is_single() { 1 } else { args.number_rows };
        let value = |row: usize| leaf(find(json.get(row)?, &path)?);
        let result: ArrayRef = match self.test {
            JsonTest::Length => {
                let length = |row: usize| match value(row)? {
                    Leaf::Array(array) => Some(elements(array).count() as i64),
                    Leaf::Null | Leaf::Bool(_) | Leaf::Number(_) | Leaf::Text(_) | Leaf::Object => None,
                };
                Arc::new((0..rows).map(length).collect::<Int64Array>())
            }
            JsonTest::Exists => {
                let exists = |row: usize| Some(value(row).is_some_and(|leaf| leaf != Leaf::Null));
                Arc::new((0..rows).map(exists).collect::<BooleanArray>())
            }
            JsonTest::CompareCast | JsonTest::InCast => Arc::new(
                (0..rows)
                    .map(|row| prepared.holds(&as_number(value(row)?)))
                    .collect::<BooleanArray>(),
            ),
            JsonTest::Compare | JsonTest::Arithmetic | JsonTest::In | JsonTest::Has => Arc::new(
                (0..rows)
                    .map(|row| prepared.holds(&value(row)?))
                    .collect::<BooleanArray>(),
            ),
        };
        finish(result, json.is_single())
    }
}

/// The number that a text begins with; anything else as it is.
fn as_number(value: Leaf<'_>) -> Leaf<'_> {
    match &value {
        Leaf::Text(text) => leading_number(text).map_or(value, |number| Leaf::Number(Number::Float(number))),
        Leaf::Null | Leaf::Bool(_) | Leaf::Number(_) | Leaf::Array(_) | Leaf::Object => value,
    }
}

/// A test with its literals.
enum Prepared {
    Compare(Operator, Literal),
    Arithmetic(ArithmeticOperator, Number, Operator, Number),
    In(LiteralSet),
    HasAny(LiteralSet),
    /// An entry of none is a `null`, which no element equals.
    HasAll(Vec<Option<Literal>>),
    Nothing,
}

impl Prepared {
    fn holds(&self, value: &Leaf<'_>) -> Option<bool> {
        match self {
            Self::Compare(operator, literal) => literal.compare(value).map(|order| operator.holds(order)),
            Self::Arithmetic(arithmetic, operand, operator, literal) => {
                let Leaf::Number(number) = value else { return None };
                let result = arithmetic.apply(*number, *operand)?;
                compare_numbers(result, *literal).map(|order| operator.holds(order))
            }
            Self::In(set) => set.contains(value),
            Self::HasAny(set) => {
                let Leaf::Array(array) = value else { return None };
                Some(
                    elements(array)
                        .filter_map(leaf)
                        .any(|element| set.contains(&element) == Some(true)),
                )
            }
            Self::HasAll(literals) => {
                let Leaf::Array(array) = value else { return None };
                let elements: Vec<_> = elements(array).filter_map(leaf).collect();
                let found = |literal: &Literal| {
                    elements
                        .iter()
                        .any(|element| literal.compare(element) == Some(Ordering::Equal))
                };
                Some(literals.iter().all(|literal| literal.as_ref().is_some_and(found)))
            }
            Self::Nothing => None,
        }
    }
}

#[derive(Clone, Copy)]
struct Operator {
    less: bool,
    equal: bool,
    greater: bool,
}

impl Operator {
    fn holds(self, order: Ordering) -> bool {
        match order {
            Ordering::Less => self.less,
            Ordering::Equal => self.equal,
            Ordering::Greater => self.greater,
        }
    }
}

fn operator(symbol: &str) -> Result<Operator> {
    let (less, equal, greater) = match symbol {
        "==" => (false, true, false),
        "!=" => (true, false, true),
        "<" => (true, false, false),
        "<=" => (true, true, false),
        ">" => (false, false, true),
        ">=" => (false, true, true),
        _ => return exec_err!("{symbol} is no comparison; use == != < <= > >="),
    };
    Ok(Operator { less, equal, greater })
}

#[derive(Clone, Copy)]
enum ArithmeticOperator {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    BitAnd,
    BitOr,
    BitXor,
}

fn arithmetic(symbol: &str) -> Result<ArithmeticOperator> {
    use ArithmeticOperator::{Add, BitAnd, BitOr, BitXor, Div, Mod, Mul, Sub};
    Ok(match symbol {
        "+" => Add,
        "-" => Sub,
        "*" => Mul,
        "/" => Div,
        "%" => Mod,
        "&" => BitAnd,
        "|" => BitOr,
        "^" => BitXor,
        _ => return exec_err!("{symbol} is no arithmetic operator; use + - * / % & | ^"),
    })
}

impl ArithmeticOperator {
    /// Integers stay integers and wrap; division truncates, the remainder has the sign of the dividend. None for a
    /// remainder or a bit operation of floats and for an integer division by zero.
    fn apply(self, a: Number, b: Number) -> Option<Number> {
        let (a, b) = match (a, b) {
            (Number::Int(a), Number::Int(b)) => return self.of_ints(a, b).map(Number::Int),
            (Number::Float(a), Number::Float(b)) => (a, b),
            (Number::Int(a), Number::Float(b)) => (a as f64, b),
            (Number::Float(a), Number::Int(b)) => (a, b as f64),
        };
        Some(Number::Float(match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Mod | Self::BitAnd | Self::BitOr | Self::BitXor => return None,
        }))
    }

    fn of_ints(self, a: i64, b: i64) -> Option<i64> {
        Some(match self {
            Self::Add => a.wrapping_add(b),
            Self::Sub => a.wrapping_sub(b),
            Self::Mul => a.wrapping_mul(b),
            Self::Div if b != 0 => a.wrapping_div(b),
            Self::Mod if b != 0 => a.wrapping_rem(b),
            Self::Div | Self::Mod => return None,
            Self::BitAnd => a & b,
            Self::BitOr => a | b,
            Self::BitXor => a ^ b,
        })
    }
}
