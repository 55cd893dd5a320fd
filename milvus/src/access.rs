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
use tonic::codegen::http::{Request, Response, header};
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
        Box::pin(async move {
            match caller(&engine, &request).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    service.call(request).await
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

async fn caller(engine: &Engine, request: &Request<Body>) -> Result<Caller, Status> {
    let Some(given) = request.headers().get(header::AUTHORIZATION) else {
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
            door.on_id(context, Privilege::DescribeCollection, (&self.db_name, name), id)
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
        if context.user() == Some(&self.username) {
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
            .is_some_and(|user| context.user() == Some(&user.name));
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
