//! Which elements of a unit's lists an `element_filter` leaves to a search of elements.
//!
//! The condition is evaluated once over all elements of a unit and kept like the bits of rows. Its elements are those of the
//! structs; those of the searched vectors lie under the same rows, but may begin elsewhere.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::BooleanBuffer;
use datafusion::common::internal_datafusion_err;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use elanus_collection::{Collection, Unit, split_sub_field_name};
use elanus_index::{Bitset, VectorLists};
use elanus_udfs::elements::ElementMatch;

use super::{Key, STEPS_PER_VALUE};
use crate::error::{QueryError, Result, external};
use crate::resources::Resources;

/// The condition on elements of a filter.
#[derive(Debug, Clone)]
pub(crate) struct ElementFilter {
    /// The field whose elements they are.
    field: String,
    /// The condition, as a call of [`ElementMatch`].
    call: Expr,
    /// Id of the collection and version of its schema.
    owner: (i64, u64),
}

impl ElementFilter {
    /// The `element_filter` of a filter, alone or within a conjunction.
    pub fn of(filter: &Expr, collection: &Collection) -> Option<Self> {
        match filter {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::And,
                right,
            }) => Self::of(right, collection).or_else(|| Self::of(left, collection)),
            Expr::Alias(alias) => Self::of(&alias.expr, collection),
            Expr::ScalarFunction(call) => {
                let is_filter = matching(filter).is_some_and(ElementMatch::is_filter);
                let Some(Expr::Column(column)) = call.args.first().filter(|_| is_filter) else {
                    return None;
                };
                Some(Self {
                    field: column.name.clone(),
                    call: filter.clone(),
                    owner: (collection.id(), collection.schema_version()),
                })
            }
            _ => None,
        }
    }

    /// Checks that the elements are those that a search of `column` finds.
    ///
    /// # Errors
    /// [`QueryError::InvalidParameter`] when they are another field's.
    pub fn check(&self, column: &str) -> Result<()> {
        match split_sub_field_name(column) {
            Some((field, _)) if field == self.field => Ok(()),
            _ => Err(QueryError::InvalidParameter(format!(
                "element_filter is on the elements of '{}', the search is of those of '{column}'; conditions on other elements are written match_any",
                self.field
            ))),
        }
    }

    /// The elements of the lists of `column` that the condition is true for.
    pub async fn bits(
        &self,
        unit: &Arc<Unit>,
        column: &str,
        resources: &Resources,
    ) -> Result<Arc<Bitset>, DataFusionError> {
        let name = self.call.clone().alias(column);
        let name = resources.selections.name(self.owner, &name);
        let key: Key = (
            unit.id(),
            unit.rows(),
            (0, unit.values_version(&[&self.field])),
            name,
        );
        if let Some(bits) = resources.selections.get(&key) {
            return Ok(bits);
        }
        let batch = unit.columns(&[&self.field]).await.map_err(external)?;
        let structs = Arc::clone(batch.column(0));
        let elements = unit.lists(column).map_err(external)?.elements().len();
        let (unit, call, column) = (Arc::clone(unit), self.call.clone(), column.to_string());
        let evaluate = move |_: crate::compute::Wanted<'_>| {
            let function = matching(&call)
                .ok_or_else(|| internal_datafusion_err!("{call} is no condition on elements"))?;
            let verdicts = function.elements(&structs)?;
            let lists = unit.lists(&column).map_err(external)?;
            Ok::<_, DataFusionError>(placed(&structs, &verdicts, lists))
        };
        let steps = (elements as u64).saturating_mul(STEPS_PER_VALUE);
        let bits = resources.compute.run(steps, evaluate).await.map_err(external)??;
        let bits = Arc::new(bits);
        resources.selections.put(key, Arc::clone(&bits));
        Ok(bits)
    }
}

fn matching(call: &Expr) -> Option<&ElementMatch> {
    let Expr::ScalarFunction(call) = call else {
        return None;
    };
    call.func.inner().downcast_ref::<ElementMatch>()
}

/// The verdicts on the elements of `structs` as bits of the elements of `lists`, row by row.
fn placed(structs: &ArrayRef, verdicts: &BooleanBuffer, lists: VectorLists<'_>) -> Bitset {
    let mut bits = Bitset::new(lists.elements().len());
    let Some(offsets) = structs.as_list_opt::<i32>().map(|lists| lists.value_offsets()) else {
        return bits;
    };
    let at = |row: usize| {
        offsets
            .get(row)
            .map_or(0, |offset| usize::try_from(*offset).unwrap_or(0))
    };
    let first = at(0);
    for row in 0..lists.len().min(structs.len()) {
        let (of_row, of_lists) = (at(row)..at(row + 1), lists.range(row));
        for (verdict, element) in of_row.zip(of_lists) {
            if verdicts.value(verdict - first) {
                bits.set(element);
            }
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, ListArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Int32Type;
    use elanus_index::{Elements, Vectors};

    use super::*;

    #[test]
    fn verdicts_are_placed_by_rows() {
        let values = Int32Array::from(vec![9, 9, 1, 2, 3, 4]);
        let field = Arc::new(arrow::datatypes::Field::new_list_field(
            arrow::datatypes::DataType::Int32,
            true,
        ));
        let offsets = OffsetBuffer::new(vec![2, 4, 4, 6].into());
        let structs: ArrayRef = Arc::new(ListArray::new(field, offsets, Arc::new(values), None));
        assert_eq!(
            structs
                .as_list::<i32>()
                .value(2)
                .as_primitive::<Int32Type>()
                .value(0),
            3
        );
        let verdicts = BooleanBuffer::from(vec![false, true, true, false]);
        let data = [0.0; 10];
        let elements = Elements::Floats(Vectors::new(&data, 2).unwrap());
        let lists = VectorLists::new(&[1, 3, 3, 5], elements).unwrap();
        let bits = placed(&structs, &verdicts, lists);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [2, 3]);
    }
}
