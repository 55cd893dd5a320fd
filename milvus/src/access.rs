//! Users of this door: who a call is of, and what it needs.
//!
//! [`Authenticated`] stands before the service and finds the user in the metadata `authorization`, base64 of
//! `user:password`; a call without one goes no further. What a call needs, its message says ([`Guarded`]): the privileges
//! are those that Milvus' protocol gives each message, on the collection that it names where the protocol looks at
//! `*`. A message without an entry does not compile into the table of the service, so none can be forgotten.

use std::convert::Infallible;
use std::sync::Arc;
use std::task;

use elanus_collection::access::{Credentials, Need, NoCredentials, Privilege};
use elanus_query::Engine;
use milvus::proto::milvus as wire;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Request, Response, header};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;

use crate::context::Context;
use crate::door::Door;

/// The user of a call, in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub Arc<str>);

/// A service whose calls are of users.
#[derive(Debug, Clone)]
pub(crate) struct Authenticated<S> {
    service: S,
    engine: Arc<Engine>,
}

impl<S> Authenticated<S> {
    /// Asks for users if the engine does.
    pub fn new(service: S, engine: Arc<Engine>) -> Self {
        Self { service, engine }
    }
}

impl<S: NamedService> NamedService for Authenticated<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Authenticated<S>
where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future = BoxFuture<Response<Body>, Infallible>,
        > + Clone
        + Send
        + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !self.engine.authentication() {
            return self.service.call(request);
        }
        let (mut service, engine) = (self.service.clone(), Arc::clone(&self.engine));
        let mut request = request;
        let given = request.headers().get(header::AUTHORIZATION).cloned();
        Box::pin(async move {
            match caller(&engine, given.as_ref()).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    service.call(request).await
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

async fn caller(engine: &Engine, given: Option<&HeaderValue>) -> Result<Caller, Status> {
    let Some(given) = given else {
        return Err(Status::unauthenticated("missing authorization in header"));
    };
    let given = given
        .to_str()
        .map_err(|_| Status::unauthenticated("invalid token format"))?;
    let given = Credentials::from_base64(given.strip_prefix("Bearer ").unwrap_or(given));
    let given = given.map_err(|error| {
        Status::unauthenticated(match error {
            NoCredentials::NotBase64 => "invalid token format",
            NoCredentials::NoColon => {
                "auth check failure, please check api key is correct: this server has no API keys, the token is user:password"
            }
        })
    })?;
    let checked = engine
        .collections()
        .authenticate(&given.user, &given.password)
        .await;
    match checked {
        Ok(()) => Ok(Caller(given.user.into())),
        Err(error @ elanus_collection::Error::NotAuthenticated) => {
            Err(Status::unauthenticated(error.to_string()))
        }
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

/// A message that says what its call needs.
pub(crate) trait Guarded {
    /// All of these.
    fn needs(&self, door: &Door, context: &Context) -> Vec<Need>;
}

impl Door {
    /// Checks that the user of a call has what it needs.
    #[expect(
        clippy::result_large_err,
        reason = "the error is what a call of tonic answers"
    )]
    pub(crate) fn permit(&self, context: &Context, message: &impl Guarded) -> Result<(), Status> {
        if !self.engine().authentication() {
            return Ok(());
        }
        for need in message.needs(self, context) {
            let permitted = self.engine().authorize(context.user(), &need);
            permitted.map_err(|error| Status::permission_denied(error.to_string()))?;
        }
        Ok(())
    }

    /// A privilege on a collection by its own name, also when the message has an alias.
    fn on(&self, context: &Context, privilege: Privilege, db_name: &str, name: &str) -> Need {
        let database = context.database(db_name);
        match self.collections().collection(database, name) {
            Ok(collection) => Need::collection(privilege, collection.database(), collection.name()),
            Err(_) => Need::collection(privilege, database, name),
        }
    }

    /// As [`Door::on`], for messages that may have an id instead of a name.
    fn on_id(&self, context: &Context, privilege: Privilege, (db_name, name): (&str, &str), id: i64) -> Need {
        let database = context.database(db_name);
        let all = if name.is_empty() {
            self.collections().list(database).ok()
        } else {
            None
        };
        match all.into_iter().flatten().find(|one| one.id() == id) {
            Some(found) => Need::collection(privilege, found.database(), found.name()),
            None => self.on(context, privilege, db_name, name),
        }
    }
}

/// Messages that need a privilege on the collection that they name.
macro_rules! on_collection {
    ($($privilege:ident: $($message:ident)*;)*) => {
        $($(impl Guarded for wire::$message {
            fn needs(&self, door: &Door, context: &Context) -> Vec<Need> {
                vec![door.on(context, Privilege::$privilege, &self.db_name, &self.collection_name)]
            }
        })*)*
    };
}

on_collection! {
    Load: LoadCollectionRequest LoadPartitionsRequest;
    Release: ReleaseCollectionRequest ReleasePartitionsRequest;
    AddCollectionField: AddCollectionFieldRequest AddCollectionStructFieldRequest;
    AlterCollectionSchema: AlterCollectionSchemaRequest;
    CreatePartition: CreatePartitionRequest;
    DropPartition: DropPartitionRequest;
    HasPartition: HasPartitionRequest;
    GetStatistics: GetCollectionStatisticsRequest GetPartitionStatisticsRequest GetPersistentSegmentInfoRequest
        GetQuerySegmentInfoRequest;
    CreateIndex: CreateIndexRequest;
    DropIndex: DropIndexRequest;
    IndexDetail: DescribeIndexRequest GetIndexStatisticsRequest GetIndexStateRequest GetIndexBuildProgressRequest;
    Insert: InsertRequest;
    Delete: DeleteRequest;
    Upsert: UpsertRequest;
    Search: SearchRequest HybridSearchRequest;
    Query: QueryRequest;
    GetLoadState: GetLoadingProgressRequest GetLoadStateRequest;
    GetFlushState: GetFlushStateRequest;
}

/// Messages that need a privilege on their database.
macro_rules! on_database {
    ($($privilege:ident: $($message:ident)*;)*) => {
        $($(impl Guarded for wire::$message {
            fn needs(&self, _door: &Door, context: &Context) -> Vec<Need> {
                vec![Need::database(Privilege::$privilege, context.database(&self.db_name))]
            }
        })*)*
    };
}

on_database! {
    CreateCollection: CreateCollectionRequest AlterCollectionRequest AlterCollectionFieldRequest;
    DropCollection: DropCollectionRequest;
    AlterDatabase: AlterDatabaseRequest;
    DescribeDatabase: DescribeDatabaseRequest;
}

/// Messages that need a privilege on the server.
macro_rules! on_cluster {
    ($($privilege:ident: $($message:ident)*;)*) => {
        $($(impl Guarded for wire::$message {
            fn needs(&self, _door: &Door, _context: &Context) -> Vec<Need> {
                vec![Need::cluster(Privilege::$privilege)]
            }
        })*)*
    };
}

on_cluster! {
    FlushAll: FlushAllRequest;
    CreateDatabase: CreateDatabaseRequest;
    DropDatabase: DropDatabaseRequest;
    AddFileResource: AddFileResourceRequest;
    RemoveFileResource: RemoveFileResourceRequest;
    ListFileResources: ListFileResourcesRequest;
    CreateOwnership: CreateCredentialRequest CreateRoleRequest AlterRoleRequest;
    DropOwnership: DeleteCredentialRequest DropRoleRequest;
    SelectOwnership: ListCredUsersRequest SelectRoleRequest;
    ManageOwnership: OperateUserRoleRequest OperatePrivilegeRequest OperatePrivilegeV2Request;
    CreatePrivilegeGroup: CreatePrivilegeGroupRequest;
    DropPrivilegeGroup: DropPrivilegeGroupRequest;
    ListPrivilegeGroups: ListPrivilegeGroupsRequest;
    OperatePrivilegeGroup: OperatePrivilegeGroupRequest;
}

/// Messages that every user may send: names, states by numbers that the server gave out, nothing of rows.
macro_rules! of_every_user {
    ($($message:ident)*) => {
        $(impl Guarded for wire::$message {
            fn needs(&self, _door: &Door, _context: &Context) -> Vec<Need> {
                Vec::new()
            }
        })*
    };
}

of_every_user! {
    HasCollectionRequest ShowCollectionsRequest GetFlushAllStateRequest GetComponentStatesRequest GetVersionRequest
    CheckHealthRequest ConnectRequest AllocTimestampRequest ListDatabasesRequest GetCompactionStateRequest
}

impl Guarded for wire::DescribeCollectionRequest {
    fn needs(&self, door: &Door, context: &Context) -> Vec<Need> {
        let name = (self.db_name.as_str(), self.collection_name.as_str());
        vec![door.on_id(context, Privilege::DescribeCollection, name, self.collection_id)]
    }
}

impl Guarded for wire::BatchDescribeCollectionRequest {
    fn needs(&self, door: &Door, context: &Context) -> Vec<Need> {
        let of = |(name, id): (&str, i64)| {
            door.on_id(
                context,
                Privilege::DescribeCollection,
                (self.db_name.as_str(), name),
                id,
            )
        };
        let names = self.collection_name.iter().map(|name| (name.as_str(), 0));
        names
            .chain(self.collection_id.iter().map(|id| ("", *id)))
            .map(of)
            .collect()
    }
}

impl Guarded for wire::ShowPartitionsRequest {
    fn needs(&self, door: &Door, context: &Context) -> Vec<Need> {
        let name = (self.db_name.as_str(), self.collection_name.as_str());
        vec![door.on_id(context, Privilege::ShowPartitions, name, self.collection_id)]
    }
}

impl Guarded for wire::ManualCompactionRequest {
    fn needs(&self, door: &Door, context: &Context) -> Vec<Need> {
        let name = (self.db_name.as_str(), self.collection_name.as_str());
        vec![door.on_id(context, Privilege::Compaction, name, self.collection_id)]
    }
}

impl Guarded for wire::GetCompactionPlansRequest {
    fn needs(&self, door: &Door, context: &Context) -> Vec<Need> {
        if self.compaction_id != 0 {
            return Vec::new();
        }
        vec![door.on(
            context,
            Privilege::Compaction,
            &self.db_name,
            &self.collection_name,
        )]
    }
}

impl Guarded for wire::FlushRequest {
    fn needs(&self, door: &Door, context: &Context) -> Vec<Need> {
        let names = self.collection_names.iter();
        names
            .map(|name| door.on(context, Privilege::Flush, &self.db_name, name))
            .collect()
    }
}

impl Guarded for wire::RunAnalyzerRequest {
    fn needs(&self, door: &Door, context: &Context) -> Vec<Need> {
        if self.collection_name.is_empty() {
            return Vec::new();
        }
        vec![door.on(
            context,
            Privilege::DescribeCollection,
            &self.db_name,
            &self.collection_name,
        )]
    }
}

impl Guarded for wire::RenameCollectionRequest {
    fn needs(&self, _door: &Door, context: &Context) -> Vec<Need> {
        let database = context.database(&self.db_name);
        let mut needs = vec![Need::database(Privilege::RenameCollection, database)];
        if !self.new_db_name.is_empty() && self.new_db_name != database {
            needs.push(Need::database(Privilege::CreateCollection, &self.new_db_name));
        }
        needs
    }
}

impl Guarded for wire::CreateAliasRequest {
    fn needs(&self, door: &Door, context: &Context) -> Vec<Need> {
        vec![door.on(
            context,
            Privilege::CreateAlias,
            &self.db_name,
            &self.collection_name,
        )]
    }
}

impl Guarded for wire::AlterAliasRequest {
    /// On the collection that the alias is to name, and on the one that it names now.
    fn needs(&self, door: &Door, context: &Context) -> Vec<Need> {
        [&self.collection_name, &self.alias]
            .map(|name| door.on(context, Privilege::CreateAlias, &self.db_name, name))
            .into()
    }
}

impl Guarded for wire::DropAliasRequest {
    fn needs(&self, door: &Door, context: &Context) -> Vec<Need> {
        vec![door.on(context, Privilege::DropAlias, &self.db_name, &self.alias)]
    }
}

impl Guarded for wire::DescribeAliasRequest {
    fn needs(&self, door: &Door, context: &Context) -> Vec<Need> {
        vec![door.on(context, Privilege::DescribeAlias, &self.db_name, &self.alias)]
    }
}

impl Guarded for wire::ListAliasesRequest {
    fn needs(&self, door: &Door, context: &Context) -> Vec<Need> {
        if self.collection_name.is_empty() {
            return vec![Need::database(
                Privilege::ListAliases,
                context.database(&self.db_name),
            )];
        }
        vec![door.on(
            context,
            Privilege::ListAliases,
            &self.db_name,
            &self.collection_name,
        )]
    }
}

impl Guarded for wire::UpdateCredentialRequest {
    /// Everybody may change their own password, knowing the old one.
    fn needs(&self, _door: &Door, context: &Context) -> Vec<Need> {
        if context.user() == Some(self.username.as_str()) {
            return Vec::new();
        }
        vec![Need::cluster(Privilege::UpdateUser)]
    }
}

impl Guarded for wire::SelectUserRequest {
    fn needs(&self, _door: &Door, context: &Context) -> Vec<Need> {
        let own = self
            .user
            .as_ref()
            .is_some_and(|user| context.user() == Some(user.name.as_str()));
        if own {
            Vec::new()
        } else {
            vec![Need::cluster(Privilege::SelectUser)]
        }
    }
}

impl Guarded for wire::SelectGrantRequest {
    /// Everybody may see what their own roles are granted.
    fn needs(&self, door: &Door, context: &Context) -> Vec<Need> {
        let role = self.entity.as_ref().and_then(|entity| entity.role.as_ref());
        let user = context.user().and_then(|user| door.collections().user(user));
        let own = role
            .zip(user)
            .is_some_and(|(role, user)| user.roles.contains(&role.name));
        if own {
            Vec::new()
        } else {
            vec![Need::cluster(Privilege::SelectOwnership)]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use elanus_collection::{Collections, Options};
    use elanus_query::EngineOptions;
    use object_store::memory::InMemory;

    use super::*;
    use crate::metrics::DoorMetrics;
    use crate::server::service;
    use crate::service::{REFUSED, RPCS};

    /// The calls that every user may send with an empty message.
    const OF_EVERY_USER: [&str; 12] = [
        "AllocTimestamp",
        "BatchDescribeCollection",
        "CheckHealth",
        "Connect",
        "Flush",
        "GetCompactionState",
        "GetComponentStates",
        "GetFlushAllState",
        "GetVersion",
        "HasCollection",
        "ListDatabases",
        "ShowCollections",
    ];
    /// Those that the role `public` is for.
    const PUBLIC: [&str; 7] = [
        "DescribeCollection",
        "DescribeIndex",
        "GetIndexBuildProgress",
        "GetIndexState",
        "GetIndexStatistics",
        "ListAliases",
        "RunAnalyzer",
    ];

    async fn engine() -> Arc<Engine> {
        let collections = Collections::open(Arc::new(InMemory::new()), Options::default())
            .await
            .unwrap();
        let options = EngineOptions {
            query_threads: 1,
            sql_threads: 1,
            authentication: true,
            ..EngineOptions::default()
        };
        let engine = Arc::new(Engine::new(collections, &options).unwrap());
        engine
            .collections()
            .create_user("root", "Milvus", "")
            .await
            .unwrap();
        engine
            .collections()
            .create_user("ann", "Secret-1", "")
            .await
            .unwrap();
        engine
    }

    /// Sends every call with an empty message, and gives those that end with this status of gRPC.
    async fn answered(
        engine: &Arc<Engine>,
        authorization: Option<&str>,
        code: tonic::Code,
    ) -> BTreeSet<&'static str> {
        let metrics = DoorMetrics::new(&prometheus::Registry::new()).unwrap();
        let door = Door::new(Arc::clone(engine), Arc::new(metrics));
        let mut service = Authenticated::new(service(door), Arc::clone(engine));
        let mut found = BTreeSet::new();
        for rpc in RPCS {
            let message = Body::new(http_body(&[0; 5]));
            let mut request = Request::builder()
                .method("POST")
                .uri(format!("/milvus.proto.milvus.MilvusService/{rpc}"))
                .header("content-type", "application/grpc");
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            let response = service.call(request.body(message).unwrap()).await.unwrap();
            let status = Status::from_header_map(response.headers());
            if status.map_or(tonic::Code::Ok, |status| status.code()) == code {
                found.insert(*rpc);
            }
        }
        found
    }

    fn http_body(bytes: &'static [u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn without_the_right_password_no_call_goes_through() {
        let engine = engine().await;
        let all: BTreeSet<_> = RPCS.iter().copied().collect();
        // Nothing, root:wrong, an API key, rubbish.
        for authorization in [None, Some("cm9vdDp3cm9uZw=="), Some("YWJj"), Some("root:Milvus")] {
            let refused = answered(&engine, authorization, tonic::Code::Unauthenticated).await;
            assert_eq!(refused, all, "{authorization:?}");
        }
    }

    #[tokio::test]
    async fn a_user_without_rights_is_refused_every_call_that_is_not_listed() {
        let engine = engine().await;
        // ann:Secret-1
        let denied = answered(&engine, Some("YW5uOlNlY3JldC0x"), tonic::Code::PermissionDenied).await;
        let open: BTreeSet<_> = RPCS.iter().copied().filter(|rpc| !denied.contains(rpc)).collect();
        let listed = OF_EVERY_USER.iter().chain(&PUBLIC).chain(REFUSED).copied();
        let listed: BTreeSet<_> = listed.collect();
        assert_eq!(open, listed);
        // root:Milvus
        let denied = answered(&engine, Some("cm9vdDpNaWx2dXM="), tonic::Code::PermissionDenied).await;
        assert_eq!(denied, BTreeSet::new());
    }
}
