//! Which indexes answered which conditions, for `EXPLAIN ANALYZE`.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use datafusion::physical_plan::metrics::{
    CustomMetricValue, ExecutionPlanMetricsSet, MetricBuilder, MetricCategory, MetricValue,
};
use parking_lot::Mutex;

/// What indexes did for the filters of some units.
#[derive(Debug, Default)]
pub(crate) struct IndexUse {
    /// Index and condition, with the number of units.
    answered: BTreeMap<(Arc<str>, String), usize>,
    /// Rows that were evaluated after the indexes had been asked.
    checked: usize,
    /// Units where no row could be true.
    pruned: usize,
}

impl IndexUse {
    /// Notes what the indexes of one unit were asked, and how many rows were left open.
    pub fn add(&mut self, answered: Vec<(Arc<str>, String)>, checked: usize) {
        for answer in answered {
            *self.answered.entry(answer).or_default() += 1;
        }
        self.checked += checked;
    }

    /// Notes a unit that was left out for the bounds of its values.
    pub fn add_pruned(&mut self) {
        self.pruned += 1;
    }

    /// Adds `units_pruned`, if there were any, and `index=[price_idx: price < 10]` and the rows evaluated to the metrics of an operator, if any index was used.
    pub fn report(self, metrics: &ExecutionPlanMetricsSet, partition: usize) {
        if self.pruned > 0 {
            MetricBuilder::new(metrics)
                .with_category(MetricCategory::Rows)
                .counter("units_pruned", partition)
                .add(self.pruned);
        }
        if self.answered.is_empty() {
            return;
        }
        MetricBuilder::new(metrics)
            .with_category(MetricCategory::Rows)
            .counter("rows_checked", partition)
            .add(self.checked);
        let value = MetricValue::Custom {
            name: "index".into(),
            value: Arc::new(Answered(Mutex::new(self.answered))),
        };
        MetricBuilder::new(metrics)
            .with_category(MetricCategory::Rows)
            .with_partition(partition)
            .build(value);
    }
}

/// Conditions and the indexes that answered them; of several units where there are several.
#[derive(Debug, Default)]
struct Answered(Mutex<BTreeMap<(Arc<str>, String), usize>>);

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[")?;
        for (place, ((index, condition), units)) in self.0.lock().iter().enumerate() {
            write!(f, "{}{index}: {condition}", if place == 0 { "" } else { ", " })?;
            if *units > 1 {
                write!(f, " x{units}")?;
            }
        }
        write!(f, "]")
    }
}

impl CustomMetricValue for Answered {
    fn new_empty(&self) -> Arc<dyn CustomMetricValue> {
        Arc::new(Self::default())
    }

    fn aggregate(&self, other: Arc<dyn CustomMetricValue>) {
        if let Some(other) = other.as_any().downcast_ref::<Self>() {
            let others = other.0.lock().clone();
            let mut answered = self.0.lock();
            for (answer, units) in others {
                *answered.entry(answer).or_default() += units;
            }
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_eq(&self, other: &Arc<dyn CustomMetricValue>) -> bool {
        let Some(other) = other.as_any().downcast_ref::<Self>() else {
            return false;
        };
        let theirs = other.0.lock().clone();
        *self.0.lock() == theirs
    }
}
