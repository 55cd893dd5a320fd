//! From a filter expression to what indexes are asked.

use std::ops::Bound;
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType as ArrowType, Field, Schema, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::{InList, Like, ScalarFunction};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use datafusion::physical_plan::PhysicalExpr;
use elanus_collection::{DataType, IndexTarget};
use elanus_index::scalar::{Key, ScalarTest};
use elanus_udfs::array::{ArrayTest, function as array_function};

use super::like::{Run, literal_runs};
use super::text::text_test;
use super::{IndexFilter, Question, ValueCondition, json, shapes};

/// Makes an expression physical over a schema.
type Physical<'a> = &'a dyn Fn(&Expr, &DFSchema) -> Result<Arc<dyn PhysicalExpr>, DataFusionError>;

/// Longest text of a condition in a report.
const MAX_TEXT: usize = 80;

impl IndexFilter {
    /// What indexes on columns of `schema` may answer of a filter; `None` when that is nothing.
    pub fn of(filter: &Expr, schema: &Schema, physical: Physical<'_>) -> Option<Self> {
        let lowered = Lowerer { schema, physical }.lower(filter);
        lowered.asks().then_some(lowered)
    }
}

impl IndexFilter {
    pub(super) fn test(target: IndexTarget, test: ScalarTest, text: String) -> Self {
        Self::Test {
            target,
            question: Question::Test(test),
            text,
        }
    }
}

struct Lowerer<'a> {
    schema: &'a Schema,
    physical: Physical<'a>,
}

/// What can have an index, and the type of the values there: of an array that of the elements.
pub(super) struct Subject<'a> {
    pub(super) target: IndexTarget,
    pub(super) data_type: &'a ArrowType,
}

impl<'a> Subject<'a> {
    fn of(field: &Field, data_type: &'a ArrowType) -> Self {
        Self {
            target: IndexTarget {
                field: field.name().clone(),
                analyzer: None,
                json: None,
            },
            data_type,
        }
    }
}

/// The column that stands for the values when a condition is evaluated on them: no column of a table has such a name.
const VALUE: &str = "\0value";

impl<'a> Lowerer<'a> {
    fn lower(&self, expr: &Expr) -> IndexFilter {
        let not = |part: IndexFilter| IndexFilter::Not(Box::new(part));
        let is_true = |part: IndexFilter| IndexFilter::IsTrue(Box::new(part));
        let known = match expr {
            Expr::Alias(alias) => return self.lower(&alias.expr),
            Expr::Literal(ScalarValue::Boolean(value), _) => return IndexFilter::Constant(*value),
            Expr::Not(part) => return not(self.lower(part)),
            Expr::IsTrue(part) => return is_true(self.lower(part)),
            Expr::IsNotTrue(part) => return not(is_true(self.lower(part))),
            Expr::IsFalse(part) => return is_true(not(self.lower(part))),
            Expr::IsNotFalse(part) => return not(is_true(not(self.lower(part)))),
            Expr::IsUnknown(part) => return IndexFilter::IsNull(Box::new(self.lower(part))),
            Expr::IsNotUnknown(part) => return not(IndexFilter::IsNull(Box::new(self.lower(part)))),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::And => return IndexFilter::And(vec![self.lower(left), self.lower(right)]),
                Operator::Or => return IndexFilter::Or(vec![self.lower(left), self.lower(right)]),
                _ => self.comparison(left, *op, right, expr),
            },
            Expr::IsNull(part) => self.is_null(part, expr),
            Expr::IsNotNull(part) => self.is_null(part, expr).map(not),
            Expr::InList(list) => self.in_list(list, expr),
            Expr::Between(between) => self.between(between, expr),
            Expr::Like(like) => self.like(like, expr),
            Expr::Column(_) => self.scalar(expr).and_then(|column| {
                let yes = ScalarTest::In(vec![Key::Int(1)]);
                (*column.data_type == ArrowType::Boolean).then(|| test(&column, yes, expr))
            }),
            Expr::ScalarFunction(call) => self
                .array_contains(call, expr)
                .or_else(|| text_test(call, &short(expr)))
                .or_else(|| json::lower(call, &short(expr)))
                .or_else(|| shapes::lower(call, &short(expr))),
            _ => None,
        };
        known.unwrap_or_else(|| self.by_value(expr, Vec::new()).unwrap_or(IndexFilter::Open))
    }

    fn field(&self, expr: &Expr) -> Option<&'a Field> {
        match expr {
            Expr::Column(column) => self.schema.field_with_name(&column.name).ok(),
            _ => None,
        }
    }

    /// A column of scalars, or a text in JSON; a cast that keeps every value as it is may be around it.
    fn scalar(&self, expr: &Expr) -> Option<Subject<'a>> {
        if let Expr::Cast(cast) = expr {
            let column = self.scalar(&cast.expr)?;
            let target = cast.field.data_type();
            let wider_int = column.data_type.is_signed_integer() && *target == ArrowType::Int64;
            let wider_float = *column.data_type == ArrowType::Float32 && *target == ArrowType::Float64;
            return (wider_int || wider_float).then_some(column);
        }
        if let Some(target) = json::text_at(expr) {
            return Some(Subject {
                target,
                data_type: &ArrowType::Utf8,
            });
        }
        let field = self.field(expr)?;
        // Of types that are not ours there are no columns, but of JSON there are texts.
        let ours = elanus_collection::Field::from_arrow(field).ok()?.data_type;
        let is_plain = !ours.is_vector()
            && !matches!(
                ours,
                DataType::Json | DataType::Array { .. } | DataType::StructArray { .. }
            );
        is_plain.then(|| Subject::of(field, field.data_type()))
    }

    fn comparison(&self, left: &Expr, op: Operator, right: &Expr, whole: &Expr) -> Option<IndexFilter> {
        if left == right {
            let column = self.scalar(left)?;
            let any = test(&column, ScalarTest::Any, whole);
            return match op {
                Operator::Eq | Operator::LtEq | Operator::GtEq => Some(any),
                Operator::NotEq | Operator::Lt | Operator::Gt => Some(IndexFilter::Not(Box::new(any))),
                _ => None,
            };
        }
        let (column, literal, op) = match (left, right) {
            (_, Expr::Literal(literal, _)) => (self.scalar(left)?, literal, op),
            (Expr::Literal(literal, _), _) => (self.scalar(right)?, literal, op.swap()?),
            _ => return None,
        };
        let is_comparison = matches!(
            op,
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
        );
        if literal.is_null() {
            return is_comparison.then_some(IndexFilter::Constant(None));
        }
        let key = key(literal, column.data_type)?;
        let tested = |of: ScalarTest| test(&column, of, whole);
        let equal = |key: Key| tested(ScalarTest::In(vec![key]));
        let range = |from, to| tested(ScalarTest::Range(from, to));
        Some(match op {
            Operator::Eq => equal(key),
            Operator::NotEq => IndexFilter::Not(Box::new(equal(key))),
            Operator::Lt => range(Bound::Unbounded, Bound::Excluded(key)),
            Operator::LtEq => range(Bound::Unbounded, Bound::Included(key)),
            Operator::Gt => range(Bound::Excluded(key), Bound::Unbounded),
            Operator::GtEq => range(Bound::Included(key), Bound::Unbounded),
            Operator::IsNotDistinctFrom => IndexFilter::IsTrue(Box::new(equal(key))),
            Operator::IsDistinctFrom => IndexFilter::Not(Box::new(IndexFilter::IsTrue(Box::new(equal(key))))),
            _ => return None,
        })
    }

    fn is_null(&self, part: &Expr, whole: &Expr) -> Option<IndexFilter> {
        let field = self.field(part)?;
        let column = Subject::of(field, field.data_type());
        Some(test(&column, ScalarTest::Null, whole))
    }

    fn in_list(&self, list: &InList, whole: &Expr) -> Option<IndexFilter> {
        let column = self.scalar(&list.expr)?;
        let literals: Option<Vec<Key>> = list
            .list
            .iter()
            .map(|entry| match entry {
                Expr::Literal(literal, _) => key(literal, column.data_type),
                _ => None,
            })
            .collect();
        let keys = literals?;
        // A list has the zeros that are in it and no other; for an index they are one.
        let has = |negative: bool| {
            let is_it = |key: &Key| matches!(key, Key::Float(zero) if *zero == 0.0 && zero.is_sign_negative() == negative);
            keys.iter().any(is_it)
        };
        if has(true) != has(false) {
            return None;
        }
        let tested = test(&column, ScalarTest::In(keys), whole);
        Some(if list.negated {
            IndexFilter::Not(Box::new(tested))
        } else {
            tested
        })
    }

    fn between(&self, between: &Between, whole: &Expr) -> Option<IndexFilter> {
        let column = self.scalar(&between.expr)?;
        let bound = |expr: &Expr| match expr {
            Expr::Literal(literal, _) => key(literal, column.data_type),
            _ => None,
        };
        let (from, to) = (bound(&between.low)?, bound(&between.high)?);
        let range = ScalarTest::Range(Bound::Included(from), Bound::Included(to));
        let tested = test(&column, range, whole);
        Some(if between.negated {
            IndexFilter::Not(Box::new(tested))
        } else {
            tested
        })
    }

    fn like(&self, like: &Like, whole: &Expr) -> Option<IndexFilter> {
        let column = self.scalar(&like.expr)?;
        let Expr::Literal(pattern, _) = like.pattern.as_ref() else {
            return None;
        };
        let pattern = pattern.try_as_str()??;
        if like.escape_char.is_some() || like.case_insensitive || column.data_type != &ArrowType::Utf8 {
            return None;
        }
        let runs = literal_runs(pattern)?;
        let positive = match runs.as_slice() {
            [Run::Text(text)] => test(&column, ScalarTest::In(vec![Key::Text(text.clone())]), whole),
            [Run::Text(prefix), Run::Any] => test(&column, ScalarTest::Prefix(prefix.clone()), whole),
            _ => {
                let pieces = runs.into_iter().filter_map(|run| match run {
                    Run::Text(text) => Some(text),
                    Run::Any | Run::One => None,
                });
                // The pieces are of the condition without its NOT.
                let mut like = like.clone();
                like.negated = false;
                self.by_value(&Expr::Like(like), pieces.collect())?
            }
        };
        Some(if like.negated {
            IndexFilter::Not(Box::new(positive))
        } else {
            positive
        })
    }

    /// `elanus_array_contains(column, list, mode)`.
    fn array_contains(&self, call: &ScalarFunction, whole: &Expr) -> Option<IndexFilter> {
        if call.func != array_function(ArrayTest::Contains) {
            return None;
        }
        let [
            column,
            Expr::Literal(ScalarValue::List(list), _),
            Expr::Literal(mode, _),
        ] = call.args.as_slice()
        else {
            return None;
        };
        let field = self.field(column)?;
        let ArrowType::List(element) = field.data_type() else {
            return None;
        };
        let column = Subject::of(field, element.data_type());
        let list = list.is_valid(0).then(|| list.value(0))?;
        let keys: Option<Vec<Key>> = (0..list.len())
            .map(|place| key(&ScalarValue::try_from_array(&list, place).ok()?, column.data_type))
            .collect();
        let keys = keys?;
        match mode.try_as_str()?? {
            "one" | "any" => Some(test(&column, ScalarTest::In(keys), whole)),
            "all" if keys.is_empty() => Some(test(&column, ScalarTest::Any, whole)),
            "all" => {
                let each = keys
                    .into_iter()
                    .map(|key| test(&column, ScalarTest::In(vec![key]), whole));
                Some(IndexFilter::And(each.collect()))
            }
            _ => None,
        }
    }

    /// A condition on a single column of integers, booleans, instants or texts, or on a text in JSON, evaluated on values.
    fn by_value(&self, expr: &Expr, pieces: Vec<String>) -> Option<IndexFilter> {
        let mut subject = None;
        let find = |part: &Expr| {
            subject = match part {
                Expr::Column(_) | Expr::ScalarFunction(_) => {
                    self.scalar(part).map(|found| (part.clone(), found))
                }
                _ => None,
            };
            Ok(match subject {
                Some(_) => TreeNodeRecursion::Stop,
                None => TreeNodeRecursion::Continue,
            })
        };
        expr.apply(find).ok()?;
        let (part, subject) = subject?;
        if expr.is_volatile() || subject.data_type.is_floating() {
            return None;
        }
        let value = Expr::Column(Column::new_unqualified(VALUE));
        let on_value = expr.clone().transform(|found| {
            Ok(if found == part {
                Transformed::yes(value.clone())
            } else {
                Transformed::no(found)
            })
        });
        let on_value = on_value.ok()?.data;
        // Another column has no values here.
        if on_value.column_refs().iter().any(|column| column.name != VALUE) {
            return None;
        }
        let schema = Arc::new(Schema::new(vec![Field::new(
            VALUE,
            subject.data_type.clone(),
            true,
        )]));
        let df_schema = DFSchema::try_from(Arc::clone(&schema)).ok()?;
        let condition = ValueCondition {
            expr: (self.physical)(&on_value, &df_schema).ok()?,
            schema,
            pieces,
        };
        Some(IndexFilter::Test {
            target: subject.target,
            question: Question::Values(condition),
            text: short(expr),
        })
    }
}

fn test(subject: &Subject<'_>, test: ScalarTest, whole: &Expr) -> IndexFilter {
    IndexFilter::test(subject.target.clone(), test, short(whole))
}

fn short(expr: &Expr) -> String {
    let text = expr.to_string();
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}..", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// A literal as a key of a column of this type; `None` for NULL and for a literal of another family.
fn key(literal: &ScalarValue, data_type: &ArrowType) -> Option<Key> {
    use ScalarValue as S;
    Some(match (data_type, literal) {
        (ArrowType::Boolean, S::Boolean(Some(value))) => Key::Int(i64::from(*value)),
        (ArrowType::Float32 | ArrowType::Float64, S::Float32(Some(value))) if !value.is_nan() => {
            Key::Float(f64::from(*value))
        }
        (ArrowType::Float32 | ArrowType::Float64, S::Float64(Some(value))) if !value.is_nan() => {
            Key::Float(*value)
        }
        (ArrowType::Utf8, S::Utf8(Some(text)) | S::LargeUtf8(Some(text)) | S::Utf8View(Some(text))) => {
            Key::Text(text.clone())
        }
        (ArrowType::Timestamp(TimeUnit::Microsecond, _), S::TimestampMicrosecond(Some(value), _)) => {
            Key::Int(*value)
        }
        (data_type, literal) if data_type.is_signed_integer() && literal.data_type().is_integer() => {
            match literal.cast_to(&ArrowType::Int64).ok()? {
                S::Int64(Some(value)) => Key::Int(value),
                _ => return None,
            }
        }
        _ => return None,
    })
}
