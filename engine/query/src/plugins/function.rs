//! [`PluginFunction`]: a scalar function of SQL that a plugin computes, a batch at a time.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use elanus_plugins::{
    Argument, ColumnKind, Digest, Functions, Signature as Declared, Volatility as Declares,
};
use elanus_udfs::vector::VectorKind;

use super::columns::{FlatColumn, arrow_type, to_arrow};
use super::{failure, ipc};
use crate::error::{QueryError, external};

/// Most rows of one call: what a batch has beyond is another call.
const ROWS: usize = 1 << 16;

/// One function of a plugin, under the name that it was registered as.
#[derive(Debug)]
pub(super) struct PluginFunction {
    name: String,
    plugin: Arc<Functions>,
    /// Its place in the plugin.
    place: usize,
    declared: Declared,
    returns: DataType,
    rows: usize,
    signature: Signature,
}

impl PluginFunction {
    /// The function `symbol` of the plugin as the SQL function `name`; a call takes at most `rows` rows.
    ///
    /// # Errors
    /// A function that the plugin has not, and types that SQL has not.
    pub fn udf(
        name: &str,
        symbol: &str,
        plugin: &Arc<Functions>,
        rows: usize,
    ) -> Result<Arc<ScalarUDF>, QueryError> {
        let functions = &plugin.descriptor().functions;
        let found = plugin
            .find(symbol)
            .and_then(|place| Some((place, functions.get(place)?)));
        let Some((place, declared)) = found else {
            let known: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
            return Err(QueryError::InvalidParameter(format!(
                "the plugin has no function '{symbol}', only {}",
                known.join(", ")
            )));
        };
        let unknown = |kind: &ColumnKind| matches!(kind, ColumnKind::Ipc(name) if ipc::named(name).is_none());
        if let Some(parameter) = declared
            .parameters
            .iter()
            .find(|parameter| unknown(&parameter.kind))
        {
            return Err(QueryError::InvalidParameter(format!(
                "function '{symbol}' of the plugin takes {} as '{}', which is no Arrow type",
                parameter.kind, parameter.name
            )));
        }
        let Some(returns) = arrow_type(&declared.returns) else {
            return Err(QueryError::Unsupported(format!(
                "function '{symbol}' of the plugin returns {}",
                match declared.returns {
                    ColumnKind::Vectors(_) => "vectors of no declared dimension".to_owned(),
                    _ => declared.returns.to_string(),
                }
            )));
        };
        let volatility = match declared.volatility {
            Declares::Immutable => Volatility::Immutable,
            Declares::Stable => Volatility::Stable,
            Declares::Volatile => Volatility::Volatile,
        };
        let signature = match declared.parameters.is_empty() {
            true => Signature::nullary(volatility),
            false => Signature::user_defined(volatility),
        };
        Ok(Arc::new(ScalarUDF::from(Self {
            name: name.to_owned(),
            plugin: Arc::clone(plugin),
            place,
            declared: declared.clone(),
            returns,
            rows: rows.min(ROWS),
            signature,
        })))
    }

    fn identity(&self) -> (&str, Digest, usize) {
        (&self.name, self.plugin.digest(), self.place)
    }

    /// How it is called, for messages.
    fn usage(&self) -> String {
        let parameters = self.declared.parameters.iter();
        let parameters: Vec<String> = parameters
            .map(|parameter| format!("{} {}", parameter.name, sql_name(&parameter.kind)))
            .collect();
        format!("{}({})", self.name, parameters.join(", "))
    }

    /// One call.
    fn call(&self, arguments: &[ColumnarValue], rows: usize) -> Result<ArrayRef> {
        let mut columns = Vec::with_capacity(arguments.len());
        for (parameter, argument) in self.declared.parameters.iter().zip(arguments) {
            let array = match argument {
                ColumnarValue::Array(array) => Arc::clone(array),
                ColumnarValue::Scalar(value) => value.to_array()?,
            };
            columns.push(FlatColumn::new(&parameter.kind, &array, None)?);
        }
        let given = columns.iter().zip(arguments);
        let given: Vec<Argument<'_>> = given
            .map(|(column, argument)| match argument {
                ColumnarValue::Array(_) => Argument::Column(column.view()),
                ColumnarValue::Scalar(_) => Argument::Constant(column.view()),
            })
            .collect();
        let (column, _) = self
            .plugin
            .invoke(self.place, &given, rows)
            .map_err(|error| external(failure(error)))?;
        to_arrow(column, &self.returns, rows)
    }
}

impl PartialEq for PluginFunction {
    fn eq(&self, other: &Self) -> bool {
        // The same file under other limits is another function.
        Arc::ptr_eq(&self.plugin, &other.plugin) && self.identity() == other.identity()
    }
}

impl Eq for PluginFunction {}

impl Hash for PluginFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl ScalarUDFImpl for PluginFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let parameters = &self.declared.parameters;
        if parameters.len() != given.len() {
            return plan_err!(
                "{} takes {} arguments, not {}: {}",
                self.name,
                parameters.len(),
                given.len(),
                self.usage()
            );
        }
        let pairs = parameters.iter().zip(given);
        pairs
            .map(|(parameter, given)| match taken(&parameter.kind, given) {
                Some(data_type) => Ok(data_type),
                None => plan_err!(
                    "argument '{}' of {} is {}, not {given}: {}",
                    parameter.name,
                    self.name,
                    sql_name(&parameter.kind),
                    self.usage()
                ),
            })
            .collect()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ScalarFunctionArgs {
            args, number_rows, ..
        } = args;
        let is_constant = args
            .iter()
            .all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        if is_constant && self.declared.volatility != Declares::Volatile {
            let value = self.call(&args, 1)?;
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&value, 0)?));
        }
        if number_rows == 0 {
            return Ok(ColumnarValue::Array(new_empty_array(&self.returns)));
        }
        if number_rows <= self.rows {
            return self.call(&args, number_rows).map(ColumnarValue::Array);
        }
        let mut parts = Vec::new();
        for start in (0..number_rows).step_by(self.rows.max(1)) {
            let rows = self.rows.min(number_rows - start);
            let part: Vec<ColumnarValue> = args
                .iter()
                .map(|argument| match argument {
                    ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(start, rows)),
                    ColumnarValue::Scalar(value) => ColumnarValue::Scalar(value.clone()),
                })
                .collect();
            parts.push(self.call(&part, rows)?);
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        if parts.is_empty() {
            return exec_err!("{} was called for no rows", self.name);
        }
        Ok(ColumnarValue::Array(concat(&parts)?))
    }
}

/// The type that an argument of type `given` is converted to for a parameter; none when it does not fit.
fn taken(kind: &ColumnKind, given: &DataType) -> Option<DataType> {
    let is_null = *given == DataType::Null;
    let fits = match kind {
        ColumnKind::F32s | ColumnKind::F64s => given.is_numeric(),
        ColumnKind::S64s => given.is_integer() || matches!(given, DataType::Timestamp(..)),
        ColumnKind::Bools => *given == DataType::Boolean,
        ColumnKind::Text => given.is_string(),
        ColumnKind::Vectors(declared) => return taken_vectors(*declared, given),
        ColumnKind::Ipc(_) => arrow_type(kind).is_some_and(|wanted| ipc::fits(given, &wanted)),
    };
    match given {
        // As microseconds, which is done where it is called.
        DataType::Timestamp(_, zone) if fits && !matches!(kind, ColumnKind::Ipc(_)) => Some(
            DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, zone.clone()),
        ),
        _ => arrow_type(kind).filter(|_| fits || is_null),
    }
}

fn taken_vectors(declared: u32, given: &DataType) -> Option<DataType> {
    let fixed = i32::try_from(declared).ok().filter(|dim| *dim > 0);
    let vectors = |dim: i32| VectorKind::Float(dim).data_type();
    match (given, fixed) {
        (DataType::FixedSizeList(item, dim), fixed)
            if item.data_type().is_numeric() && fixed.is_none_or(|fixed| fixed == *dim) =>
        {
            Some(vectors(*dim))
        }
        (DataType::List(item) | DataType::LargeList(item), Some(dim)) if item.data_type().is_numeric() => {
            Some(vectors(dim))
        }
        (DataType::Null, Some(dim)) => Some(vectors(dim)),
        _ => None,
    }
}

/// A form as SQL calls it.
pub(crate) fn sql_name(kind: &ColumnKind) -> String {
    match kind {
        ColumnKind::F32s => "REAL".to_owned(),
        ColumnKind::F64s => "DOUBLE PRECISION".to_owned(),
        ColumnKind::S64s => "BIGINT".to_owned(),
        ColumnKind::Bools => "BOOLEAN".to_owned(),
        ColumnKind::Text => "TEXT".to_owned(),
        ColumnKind::Vectors(0) => "VECTOR".to_owned(),
        ColumnKind::Vectors(dim) => format!("VECTOR({dim})"),
        ColumnKind::Ipc(name) => name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_fit_are_converted_and_others_are_not() {
        let list = DataType::new_list(DataType::Float64, true);
        for (kind, given, wanted) in [
            (ColumnKind::F64s, DataType::Int32, Some(DataType::Float64)),
            (ColumnKind::F64s, DataType::Null, Some(DataType::Float64)),
            (ColumnKind::F64s, DataType::Utf8, None),
            (ColumnKind::S64s, DataType::Float64, None),
            (ColumnKind::S64s, DataType::UInt8, Some(DataType::Int64)),
            (ColumnKind::Bools, DataType::Int64, None),
            (ColumnKind::Text, DataType::Utf8View, Some(DataType::Utf8)),
            (
                ColumnKind::Vectors(3),
                list.clone(),
                Some(VectorKind::Float(3).data_type()),
            ),
            (ColumnKind::Vectors(0), list, None),
            (
                ColumnKind::Vectors(0),
                VectorKind::Half(4).data_type(),
                Some(VectorKind::Float(4).data_type()),
            ),
            (ColumnKind::Vectors(3), VectorKind::Float(4).data_type(), None),
            (
                ColumnKind::Ipc("Decimal128(10, 2)".to_owned()),
                DataType::Int64,
                Some(DataType::Decimal128(10, 2)),
            ),
            (
                ColumnKind::Ipc("Decimal128(10, 2)".to_owned()),
                DataType::Utf8,
                None,
            ),
        ] {
            assert_eq!(taken(&kind, &given), wanted, "{kind} of {given}");
        }
    }
}
