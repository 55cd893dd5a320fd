//! A real server under load is killed with `kill -9`, again and again: what was acknowledged is there afterwards, and
//! a batch whose reply was lost is there as a whole or not at all.
//!
//! The moment of the kill is a number of acknowledged batches drawn from a seed; four writers are at different points
//! of their inserts when it comes. `ELANUS_TEST_SEED` repeats a run.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::SystemTime;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;

use crate::milvus_client::{Client, vector_of};
use crate::process::Server;

const ROUNDS: usize = 5;
const WRITERS: usize = 4;
/// Rows of one insert: small and large ones, so that groups of several and of one batch form in the log.
const BATCH: Range<i64> = 1..2_000;

/// What one writer was doing when the server died.
struct Batch {
    ids: Vec<i64>,
    acknowledged: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_rows_survive_kill_nine() {
    let seed = match std::env::var("ELANUS_TEST_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
    };
    eprintln!("ELANUS_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut known: Vec<Batch> = Vec::new();
    let mut next_id = 0;
    for round in 0..ROUNDS {
        let server = Server::start(directory.path());
        let mut client = Client::connect(server.milvus, "crash").await;
        if round == 0 {
            client.create().await;
        }
        check(&mut client, &mut known).await;

        let kill_after = rng.random_range(1..60);
        let (done, mut acknowledgements) = mpsc::unbounded_channel();
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let first = next_id;
                next_id += 1_000_000_000;
                tokio::spawn(write(
                    client.clone(),
                    StdRng::seed_from_u64(rng.random()),
                    first,
                    done.clone(),
                ))
            })
            .collect();
        for _ in 0..kill_after {
            acknowledgements.recv().await.unwrap();
        }
        server.kill();
        let before = known.len();
        for writer in writers {
            known.extend(writer.await.unwrap());
        }
        let acknowledged = known
            .iter()
            .skip(before)
            .filter(|batch| batch.acknowledged)
            .count();
        assert!(acknowledged >= kill_after);
        eprintln!("round {round}: killed after {kill_after} batches, {acknowledged} were acknowledged");
    }
    let server = Server::start(directory.path());
    let mut client = Client::connect(server.milvus, "crash").await;
    check(&mut client, &mut known).await;
    assert_eq!(server.signal(libc::SIGTERM).code(), Some(0));
}

/// Inserts until the connection breaks; every batch that was sent, the last one without a reply.
async fn write(
    mut client: Client,
    mut rng: StdRng,
    first: i64,
    done: mpsc::UnboundedSender<()>,
) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut next = first;
    loop {
        let ids: Vec<i64> = (next..next + rng.random_range(BATCH)).collect();
        next += ids.len() as i64;
        let acknowledged = client.insert(&ids).await.is_ok();
        batches.push(Batch { ids, acknowledged });
        if !acknowledged {
            return batches;
        }
        // Nobody listens any more once the kill is on its way.
        let _late = done.send(());
    }
}

/// Every acknowledged row is there with its own vector, every other batch as a whole or not at all, and nothing else.
/// What is there now must stay, acknowledged or not.
async fn check(client: &mut Client, known: &mut Vec<Batch>) {
    let mut rows = 0;
    for batch in known.iter_mut() {
        let found = client.get(&batch.ids).await;
        let missing: BTreeSet<i64> = batch
            .ids
            .iter()
            .copied()
            .filter(|id| !found.contains_key(id))
            .collect();
        assert!(
            missing.is_empty() || (!batch.acknowledged && found.is_empty()),
            "{} of {} rows are missing, acknowledged: {}",
            missing.len(),
            batch.ids.len(),
            batch.acknowledged
        );
        for (id, vector) in &found {
            assert_eq!(vector[..], vector_of(*id), "row {id} has another vector");
        }
        batch.acknowledged = missing.is_empty();
        rows += found.len() as i64;
    }
    known.retain(|batch| batch.acknowledged);
    assert_eq!(client.count().await, rows, "rows that nobody inserted");
}
