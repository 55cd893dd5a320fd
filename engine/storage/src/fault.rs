//! A store that fails on command, to prove what survives.
//!
//! [`FaultStore`] wraps any store, numbers its operations from zero and applies a [`Fault`] to the one asked for.
//! Crash enumeration runs a workload once to count the operations, then once for every operation with
//! [`Fault::CrashBefore`] and [`Fault::CrashAfter`] there, calls [`FaultStore::restart`] and checks what is left.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, UploadPart,
};
use parking_lot::Mutex;

/// What kind of call an operation was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// Any write of an object.
    Put,
    /// Any read of an object or of its metadata.
    Get,
    /// Any listing.
    List,
    /// The removal of one object.
    Delete,
    /// Copy or rename.
    Copy,
}

/// One call that reached the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its kind.
    pub kind: OperationKind,
    /// The object or prefix it was about.
    pub path: String,
}

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before the operation has an effect: it and all later ones fail until `restart`.
    CrashBefore,
    /// The process dies after the operation took effect: it and all later ones fail until `restart`.
    CrashAfter,
    /// This operation fails without effect, once.
    FailBefore,
    /// This operation takes effect but reports an error, once.
    FailAfter,
    /// A read returns half of the bytes without an error, once. Other operations fail without effect.
    ShortRead,
}

/// See the module documentation. Clones share the counter and the faults.
#[derive(Debug, Clone)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    history: Vec<Operation>,
    crashed: bool,
    by_number: BTreeMap<u64, Fault>,
    by_match: Vec<(OperationKind, String, Fault)>,
}

/// How an operation that was let through goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Normally,
    FailAfterEffect,
    Short,
}

impl FaultStore {
    /// Wraps `inner`; without faults it only counts.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            state: Arc::default(),
        }
    }

    /// Applies `fault` to operation number `number` (counted from zero over the life of the store).
    pub fn inject_at(&self, number: u64, fault: Fault) {
        self.state.lock().by_number.insert(number, fault);
    }

    /// Applies `fault` to the next operation of `kind` whose path contains `path_part`.
    pub fn inject_next(&self, kind: OperationKind, path_part: &str, fault: Fault) {
        self.state
            .lock()
            .by_match
            .push((kind, path_part.to_owned(), fault));
    }

    /// Number of operations so far, including those that failed.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state.lock().history.len() as u64
    }

    /// Every operation so far, in order.
    #[must_use]
    pub fn history(&self) -> Vec<Operation> {
        self.state.lock().history.clone()
    }

    /// True after a crash fault fired and until [`restart`](Self::restart).
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// Removes all faults and lets operations through again. The numbering goes on.
    pub fn restart(&self) {
        let mut state = self.state.lock();
        state.crashed = false;
        state.by_number.clear();
        state.by_match.clear();
    }

    fn enter(&self, kind: OperationKind, path: &str) -> object_store::Result<Pass> {
        let mut state = self.state.lock();
        let number = state.history.len() as u64;
        state.history.push(Operation {
            kind,
            path: path.to_owned(),
        });
        if state.crashed {
            return Err(injected(kind, path, "the process has crashed"));
        }
        let matching = state
            .by_match
            .iter()
            .position(|(fault_kind, part, _)| *fault_kind == kind && path.contains(part.as_str()));
        let fault = match matching {
            Some(position) => Some(state.by_match.remove(position).2),
            None => state.by_number.remove(&number),
        };
        match fault {
            None => Ok(Pass::Normally),
            Some(Fault::CrashBefore) => {
                state.crashed = true;
                Err(injected(kind, path, "crash before the operation"))
            }
            Some(Fault::CrashAfter) => {
                state.crashed = true;
                Ok(Pass::FailAfterEffect)
            }
            Some(Fault::FailBefore) => Err(injected(kind, path, "failure before the operation")),
            Some(Fault::FailAfter) => Ok(Pass::FailAfterEffect),
            Some(Fault::ShortRead) if kind == OperationKind::Get => Ok(Pass::Short),
            Some(Fault::ShortRead) => Err(injected(kind, path, "failure before the operation")),
        }
    }
}

fn injected(kind: OperationKind, path: &str, what: &str) -> object_store::Error {
    object_store::Error::Generic {
        store: "FaultStore",
        source: format!("injected fault: {what} ({kind:?} {path})").into(),
    }
}

/// The result of an operation that ran, or the injected error in its place.
fn leave<T>(
    pass: Pass,
    kind: OperationKind,
    path: &str,
    result: object_store::Result<T>,
) -> object_store::Result<T> {
    match pass {
        Pass::FailAfterEffect => {
            result?;
            Err(injected(kind, path, "failure after the operation took effect"))
        }
        Pass::Normally | Pass::Short => result,
    }
}

async fn shorten(result: GetResult) -> object_store::Result<GetResult> {
    let meta = result.meta.clone();
    let range = result.range.clone();
    let whole = result.bytes().await?;
    let half: Bytes = whole.slice(..whole.len() / 2);
    Ok(GetResult {
        payload: GetResultPayload::Stream(futures::stream::iter([Ok(half)]).boxed()),
        meta,
        range,
        attributes: Attributes::default(),
    })
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        let pass = self.enter(OperationKind::Put, location.as_ref())?;
        let result = self.inner.put_opts(location, payload, opts).await;
        leave(pass, OperationKind::Put, location.as_ref(), result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let pass = self.enter(OperationKind::Put, location.as_ref())?;
        let result = self.inner.put_multipart_opts(location, opts).await;
        let inner = leave(pass, OperationKind::Put, location.as_ref(), result)?;
        Ok(Box::new(FaultUpload {
            store: self.clone(),
            path: location.to_string(),
            inner,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let pass = self.enter(OperationKind::Get, location.as_ref())?;
        let result = self.inner.get_opts(location, options).await;
        if pass == Pass::Short {
            return shorten(result?).await;
        }
        leave(pass, OperationKind::Get, location.as_ref(), result)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let store = self.clone();
        // One after the other, so that the numbering of operations is deterministic.
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    let pass = store.enter(OperationKind::Delete, location.as_ref())?;
                    let one = futures::stream::iter([Ok(location.clone())]).boxed();
                    let result = match store.inner.delete_stream(one).next().await {
                        Some(result) => result,
                        None => Ok(location.clone()),
                    };
                    leave(pass, OperationKind::Delete, location.as_ref(), result)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let path = prefix.map_or("", |prefix| prefix.as_ref());
        let entered = self.enter(OperationKind::List, path);
        match entered.and_then(|pass| leave(pass, OperationKind::List, path, Ok(()))) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let path = prefix.map_or("", |prefix| prefix.as_ref());
        let pass = self.enter(OperationKind::List, path)?;
        let result = self.inner.list_with_delimiter(prefix).await;
        leave(pass, OperationKind::List, path, result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        let pass = self.enter(OperationKind::Copy, to.as_ref())?;
        let result = self.inner.copy_opts(from, to, options).await;
        leave(pass, OperationKind::Copy, to.as_ref(), result)
    }
}

/// A multipart upload through a [`FaultStore`]: beginning, every part and the end are operations.
#[derive(Debug)]
struct FaultUpload {
    store: FaultStore,
    path: String,
    inner: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let pass = match self.store.enter(OperationKind::Put, &self.path) {
            Ok(pass) => pass,
            Err(error) => return Box::pin(futures::future::ready(Err(error))),
        };
        let (part, path) = (self.inner.put_part(data), self.path.clone());
        Box::pin(async move { leave(pass, OperationKind::Put, &path, part.await) })
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let pass = self.store.enter(OperationKind::Put, &self.path)?;
        let result = self.inner.complete().await;
        leave(pass, OperationKind::Put, &self.path, result)
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    fn store() -> FaultStore {
        FaultStore::new(Arc::new(InMemory::new()))
    }

    #[tokio::test]
    async fn a_crash_lasts_until_restart() {
        let store = store();
        store.inject_at(1, Fault::CrashAfter);
        store.put(&Path::from("a"), "1".into()).await.unwrap();
        store.put(&Path::from("b"), "2".into()).await.unwrap_err();
        store.put(&Path::from("c"), "3".into()).await.unwrap_err();
        assert!(store.crashed());
        store.restart();
        assert_eq!(
            store.get(&Path::from("b")).await.unwrap().bytes().await.unwrap(),
            "2"
        );
        assert!(store.get(&Path::from("c")).await.is_err());
        assert_eq!(store.operations(), 5);
    }

    #[tokio::test]
    async fn single_faults_hit_the_named_operation_once() {
        let store = store();
        let path = Path::from("x/y");
        store.inject_next(OperationKind::Put, "x/", Fault::FailBefore);
        store.put(&path, "12".into()).await.unwrap_err();
        store.put(&path, "12".into()).await.unwrap();
        store.inject_next(OperationKind::Get, "y", Fault::ShortRead);
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "1");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "12");
        store.inject_next(OperationKind::Delete, "y", Fault::FailAfter);
        store.delete(&path).await.unwrap_err();
        assert!(store.get(&path).await.is_err());
    }
}
