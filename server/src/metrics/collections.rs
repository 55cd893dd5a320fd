//! Databases, collections, partitions, segments, rows and indexes, counted at every scrape from the snapshots that
//! readers use anyway. Names are Milvus' where it has one, so that its dashboards work.

use std::sync::Arc;

use elanus_collection::{Collection, Collections};
use parking_lot::Mutex;
use prometheus::IntGaugeVec;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::{descriptions, int_gauges, values};

/// Looks at every collection at every scrape.
pub struct CollectionMetrics {
    collections: Arc<Collections>,
    /// Held from the first count to the last read: two scrapes at once would count into each other's figures.
    scrape: Mutex<()>,
    collection_num: IntGaugeVec,
    partition_num: IntGaugeVec,
    segment_num: IntGaugeVec,
    entity_num: IntGaugeVec,
    stored_rows: IntGaugeVec,
    index_pending: IntGaugeVec,
    resident: IntGaugeVec,
}

impl CollectionMetrics {
    /// Gauges with no values yet.
    pub fn new(collections: Arc<Collections>) -> prometheus::Result<Self> {
        const BY_STATE: [&str; 3] = ["db_name", "collection_name", "segment_state"];
        Ok(Self {
            collections,
            scrape: Mutex::new(()),
            collection_num: int_gauges("milvus_rootcoord_collection_num", "Collections.", &["db_name"])?,
            partition_num: int_gauges("milvus_rootcoord_partition_num", "Partitions.", &["db_name"])?,
            segment_num: int_gauges(
                "milvus_querynode_segment_num",
                "Sealed segments and growing chunks of rows.",
                &BY_STATE,
            )?,
            entity_num: int_gauges("milvus_querynode_entity_num", "Live rows.", &BY_STATE)?,
            stored_rows: int_gauges(
                "milvus_datacoord_stored_rows_num",
                "Stored rows, deleted ones that no compaction has dropped included.",
                &BY_STATE,
            )?,
            index_pending: int_gauges(
                "elanus_index_pending_rows",
                "Rows that wait for the index; they are searched exactly.",
                &["db_name", "collection_name", "index_name"],
            )?,
            resident: int_gauges(
                "elanus_collection_resident_bytes",
                "Bytes of scalar columns that are held in memory for reading.",
                &BY_STATE,
            )?,
        })
    }

    fn all(&self) -> [&IntGaugeVec; 7] {
        [
            &self.collection_num,
            &self.partition_num,
            &self.segment_num,
            &self.entity_num,
            &self.stored_rows,
            &self.index_pending,
            &self.resident,
        ]
    }

    fn refresh(&self) {
        // What was dropped must not linger.
        for gauges in self.all() {
            gauges.reset();
        }
        for database in self.collections.databases() {
            let database = database.name.as_str();
            // A database that was dropped a moment ago has nothing to show.
            let Ok(collections) = self.collections.list(database) else {
                continue;
            };
            self.collection_num
                .with_label_values(&[database])
                .set(as_gauge(collections.len() as u64));
            let partitions: usize = collections
                .iter()
                .map(|collection| collection.partitions().len())
                .sum();
            self.partition_num
                .with_label_values(&[database])
                .set(as_gauge(partitions as u64));
            for collection in collections {
                self.count(database, &collection);
            }
        }
    }

    fn count(&self, database: &str, collection: &Collection) {
        let name = collection.name();
        for unit in &collection.snapshot().units {
            let state = if unit.sealed() { "Sealed" } else { "Growing" };
            let labels = [database, name.as_str(), state];
            self.segment_num.with_label_values(&labels).inc();
            self.entity_num
                .with_label_values(&labels)
                .add(as_gauge(unit.live_rows()));
            self.resident
                .with_label_values(&labels)
                .add(as_gauge(unit.resident_bytes() as u64));
            self.stored_rows
                .with_label_values(&labels)
                .add(i64::from(unit.rows()));
        }
        for index in collection.indexes() {
            let labels = [database, name.as_str(), index.name.as_str()];
            self.index_pending
                .with_label_values(&labels)
                .set(as_gauge(index.pending_rows));
        }
    }
}

impl Collector for CollectionMetrics {
    fn desc(&self) -> Vec<&Desc> {
        descriptions(&self.all().map(|gauges| gauges as &dyn Collector))
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _one_at_a_time = self.scrape.lock();
        self.refresh();
        values(&self.all().map(|gauges| gauges as &dyn Collector))
    }
}

fn as_gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use elanus_collection::Options;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn scrapes_at_once_do_not_disturb_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let root = elanus_storage::open_root(directory.path().to_str().unwrap()).unwrap();
        let collections = Collections::open(root.store, Options::default()).await.unwrap();
        let metrics = CollectionMetrics::new(Arc::clone(&collections)).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let families = metrics.collect();
                        let databases = families
                            .iter()
                            .find(|family| family.name() == "milvus_rootcoord_collection_num")
                            .map(|family| family.get_metric().len());
                        assert_eq!(databases, Some(1), "the default database");
                    }
                });
            }
        });
        collections.close().await;
    }
}
