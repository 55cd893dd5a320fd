//! `sum` of 64-bit integers that fails where the total does not fit, instead of wrapping around.
//!
//! DataFusion's own `sum` does the work, on 128-bit decimals; the total becomes an integer again at the end. Sums of
//! other types are DataFusion's as they are.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, exec_datafusion_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, Expr, GroupsAccumulator,
    ReversedUDAF, SetMonotonicity, Signature,
};

/// What totals are kept as: no number of 64-bit integers that fits into memory overflows it.
const WIDE: DataType = DataType::Decimal128(38, 0);

static FUNCTION: LazyLock<Arc<AggregateUDF>> =
    LazyLock::new(|| Arc::new(AggregateUDF::from(CheckedSum { inner: Sum::new() })));

/// The function.
pub fn function() -> Arc<AggregateUDF> {
    Arc::clone(&FUNCTION)
}

/// The sum of an expression.
pub fn sum(expr: Expr) -> Expr {
    FUNCTION.call(vec![expr])
}

/// The aggregate function `sum`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CheckedSum {
    inner: Sum,
}

fn is_wide(total: &DataType) -> bool {
    matches!(total, DataType::Int64 | DataType::UInt64)
}

/// The same field, of the type that totals are kept as.
fn widened_field(field: &Field) -> FieldRef {
    Arc::new(field.clone().with_data_type(WIDE))
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if !is_wide(args.return_field.data_type()) {
            return self.inner.state_fields(args);
        }
        let return_field = widened_field(&args.return_field);
        self.inner.state_fields(StateFieldsArgs { return_field, ..args })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let total = args.return_field.data_type().clone();
        if !is_wide(&total) {
            return self.inner.accumulator(args);
        }
        let return_field = widened_field(&args.return_field);
        let inner = self.inner.accumulator(AccumulatorArgs { return_field, ..args })?;
        Ok(Box::new(Checked { inner, total }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let total = args.return_field.data_type().clone();
        if !is_wide(&total) {
            return self.inner.create_groups_accumulator(args);
        }
        let return_field = widened_field(&args.return_field);
        let inner = self
            .inner
            .create_groups_accumulator(AccumulatorArgs { return_field, ..args })?;
        Ok(Box::new(Checked { inner, total }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let total = args.return_field.data_type().clone();
        // Different values in a sliding frame are only there for 64-bit integers.
        if !is_wide(&total) || args.is_distinct {
            return self.inner.create_sliding_accumulator(args);
        }
        let return_field = widened_field(&args.return_field);
        let inner = self
            .inner
            .create_sliding_accumulator(AccumulatorArgs { return_field, ..args })?;
        Ok(Box::new(Checked { inner, total }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(data_type)
    }
}

/// An accumulator of decimals for integers.
#[derive(Debug)]
struct Checked<A> {
    inner: A,
    /// Type of the total.
    total: DataType,
}

fn widened(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let exact = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let cast = |values: &ArrayRef| Ok(cast_with_options(values, &WIDE, &exact)?);
    values.iter().map(cast).collect()
}

fn too_large(total: &DataType) -> datafusion::error::DataFusionError {
    exec_datafusion_err!(
        "a sum is out of the range of {total}: cast its argument to DECIMAL(38) or DOUBLE PRECISION"
    )
}

impl Accumulator for Checked<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&widened(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let total = self.inner.evaluate()?;
        total.cast_to(&self.total).map_err(|_| too_large(&self.total))
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&widened(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

impl GroupsAccumulator for Checked<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let values = widened(values)?;
        self.inner
            .update_batch(&values, group_indices, opt_filter, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let exact = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let totals = self.inner.evaluate(emit_to)?;
        cast_with_options(&totals, &self.total, &exact).map_err(|_| too_large(&self.total))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.inner.merge_batch(values, group_indices, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(&widened(values)?, opt_filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
