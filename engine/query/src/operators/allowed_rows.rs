//! [`AllowedInput`]: the rows that a search may find, given by a plan.
//!
//! ```text
//!   AnnSearchExec: ..
//!     ProjectionExec: expr=[__elanus_row]          addresses: unit << 32 | row
//!       HashJoinExec: join_type=LeftSemi, ..
//! ```
//!
//! The plan is read once, by the partition of the search that comes first, into one bitset for each unit with such a row;
//! the bitsets are charged to the statement's memory. Addresses that come several times count once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use datafusion::common::internal_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::ExecutionPlan;
use elanus_collection::Snapshot;
use elanus_index::Bitset;
use futures::TryStreamExt;
use tokio::sync::OnceCell;

/// The rows that may be found, by the position of their unit in the snapshot.
#[derive(Debug)]
pub(super) struct AllowedRows {
    units: HashMap<u32, Arc<Bitset>>,
    /// Held as long as the rows.
    _memory: MemoryReservation,
}

impl AllowedRows {
    /// The rows of each unit that has any.
    pub fn of_units(&self) -> &HashMap<u32, Arc<Bitset>> {
        &self.units
    }
}

/// Read once, whatever comes of it: a plan cannot be run by two.
type Read = OnceCell<Result<Arc<AllowedRows>, Arc<DataFusionError>>>;

/// A plan of one partition that gives addresses, and what it gave.
#[derive(Clone)]
pub(super) struct AllowedInput {
    plan: Arc<dyn ExecutionPlan>,
    read: Arc<Read>,
}

impl fmt::Debug for AllowedInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllowedInput")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl AllowedInput {
    /// Rows of this plan.
    pub fn new(plan: Arc<dyn ExecutionPlan>) -> Self {
        Self {
            plan,
            read: Arc::default(),
        }
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<dyn ExecutionPlan> {
        &self.plan
    }

    /// Its rows of this snapshot; waits until it has been read.
    ///
    /// # Errors
    /// What made the plan fail; no memory for the rows.
    pub async fn rows(&self, snapshot: &Snapshot, context: &Arc<TaskContext>) -> Result<Arc<AllowedRows>> {
        let read = || async {
            self.collect(snapshot, context)
                .await
                .map(Arc::new)
                .map_err(Arc::new)
        };
        match self.read.get_or_init(read).await {
            Ok(rows) => Ok(Arc::clone(rows)),
            Err(error) => Err(DataFusionError::Shared(Arc::clone(error))),
        }
    }

    async fn collect(&self, snapshot: &Snapshot, context: &Arc<TaskContext>) -> Result<AllowedRows> {
        let memory = MemoryConsumer::new("AnnSearchExec").register(context.memory_pool());
        let mut units: HashMap<u32, Bitset> = HashMap::new();
        let mut addresses = self.plan.execute(0, Arc::clone(context))?;
        while let Some(batch) = addresses.try_next().await? {
            let column = batch.columns().first();
            let column = column.and_then(|column| column.as_primitive_opt::<UInt64Type>());
            let column =
                column.ok_or_else(|| internal_datafusion_err!("rows of a search have no addresses"))?;
            for address in column.values() {
                let number = u32::try_from(address >> 32).unwrap_or(u32::MAX);
                let row = (address & u64::from(u32::MAX)) as usize;
                let bits = match units.get_mut(&number) {
                    Some(bits) => bits,
                    None => {
                        let unit = snapshot.units.get(number as usize);
                        let unit =
                            unit.ok_or_else(|| internal_datafusion_err!("there is no unit {number}"))?;
                        let rows = unit.rows() as usize;
                        memory.try_grow(rows.div_ceil(8))?;
                        units.entry(number).or_insert_with(|| Bitset::new(rows))
                    }
                };
                bits.set(row);
            }
        }
        let units = units.into_iter().map(|(number, bits)| (number, Arc::new(bits)));
        Ok(AllowedRows {
            units: units.collect(),
            _memory: memory,
        })
    }
}
