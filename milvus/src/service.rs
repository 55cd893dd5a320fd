//! The service as one table: every RPC of Milvus, its handler, or that it is not supported.
//!
//! Every message says what its call needs of the user ([`crate::access::Guarded`]).
//!
//! Four lists: RPCs whose handler waits for something; RPCs that are answered from memory; RPCs that
//! answer `not supported: <name>` in the status of their reply, so that clients raise their ordinary
//! exception; and the few whose reply has no status, which answer the same text as a gRPC error.

use std::future::Future;
use std::time::{Duration, Instant};

use milvus::proto::milvus::milvus_service_server::MilvusService;
use milvus::proto::{common, feder, milvus as wire};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;

use crate::context::Context;
use crate::door::Door;
use crate::reply::Reply;
use crate::rpc::{
    alias, analyzer, collection, compaction, database, dml, file_resource, flush, hybrid, index, load, misc,
    partition, query, schema, search, users,
};
use crate::status::{Error, Result as Outcome};

impl Door {
    /// Runs a handler; counts it, and turns an error into the status of its reply.
    async fn answer<R: Reply>(
        &self,
        rpc: &'static str,
        handler: impl Future<Output = Outcome<R>> + Send,
    ) -> Response<R> {
        let started = Instant::now();
        self.metrics().call_started(rpc);
        let outcome = handler.await;
        self.metrics()
            .call_finished(rpc, outcome.is_ok(), started.elapsed());
        Response::new(match outcome {
            Ok(reply) => reply.succeeded(),
            Err(error) => {
                debug!(rpc, code = ?error.code(), %error, "call refused");
                R::failed(&error)
            }
        })
    }

    /// Answers a call that is not there.
    fn refuse<R: Reply>(&self, rpc: &'static str) -> Response<R> {
        self.metrics().call_started(rpc);
        self.metrics().call_finished(rpc, false, Duration::ZERO);
        Response::new(R::failed(&Error::unimplemented(rpc)))
    }
}

macro_rules! milvus_service {
    (
        awaited { $($awaited:ident($request:ty) -> $reply:ty = $name:literal => $handler:path;)* }
        answered_at_once { $($at_once:ident($now_request:ty) -> $now_reply:ty = $now_name:literal => $now:path;)* }
        refused { $($refused:ident($no_request:ty) -> $no_reply:ty = $no_name:literal;)* }
        refused_without_status { $($bare:ident($bare_request:ty) -> $bare_reply:ty = $bare_name:literal;)* }
    ) => {
        /// The names of all RPCs.
        #[cfg(test)]
        pub(crate) const RPCS: &[&str] = &[$($name,)* $($now_name,)* $($no_name,)* $($bare_name,)*];
        /// The names of those that do nothing yet.
        #[cfg(test)]
        pub(crate) const REFUSED: &[&str] = &[$($no_name,)* $($bare_name,)*];

        #[tonic::async_trait]
        impl MilvusService for Door {
            $(async fn $awaited(&self, request: Request<$request>) -> Result<Response<$reply>, Status> {
                let context = Context::of(&request);
                self.permit(&context, request.get_ref())?;
                Ok(self.answer($name, $handler(self, &context, request.into_inner())).await)
            })*

            $(async fn $at_once(&self, request: Request<$now_request>) -> Result<Response<$now_reply>, Status> {
                let context = Context::of(&request);
                self.permit(&context, request.get_ref())?;
                Ok(self.answer($now_name, async { $now(self, &context, request.get_ref()) }).await)
            })*

            $(async fn $refused(&self, _request: Request<$no_request>) -> Result<Response<$no_reply>, Status> {
                Ok(self.refuse($no_name))
            })*

            $(async fn $bare(&self, _request: Request<$bare_request>) -> Result<Response<$bare_reply>, Status> {
                Err(Status::unimplemented(concat!("not supported: ", $bare_name)))
            })*
        }
    };
}

milvus_service! {
    awaited {
        create_collection(wire::CreateCollectionRequest) -> common::Status = "CreateCollection" => collection::create;
        drop_collection(wire::DropCollectionRequest) -> common::Status = "DropCollection" => collection::drop;
        load_collection(wire::LoadCollectionRequest) -> common::Status = "LoadCollection" => load::load_collection;
        release_collection(wire::ReleaseCollectionRequest) -> common::Status = "ReleaseCollection" => load::release_collection;
        alter_collection(wire::AlterCollectionRequest) -> common::Status = "AlterCollection" => collection::alter;
        alter_collection_field(wire::AlterCollectionFieldRequest) -> common::Status = "AlterCollectionField" => schema::alter_field;
        add_collection_field(wire::AddCollectionFieldRequest) -> common::Status = "AddCollectionField" => schema::add_field;
        add_collection_struct_field(wire::AddCollectionStructFieldRequest) -> common::Status = "AddCollectionStructField" => schema::add_struct_field;
        alter_collection_schema(wire::AlterCollectionSchemaRequest) -> wire::AlterCollectionSchemaResponse = "AlterCollectionSchema" => schema::alter;
        create_partition(wire::CreatePartitionRequest) -> common::Status = "CreatePartition" => partition::create;
        drop_partition(wire::DropPartitionRequest) -> common::Status = "DropPartition" => partition::drop;
        load_partitions(wire::LoadPartitionsRequest) -> common::Status = "LoadPartitions" => load::load_partitions;
        release_partitions(wire::ReleasePartitionsRequest) -> common::Status = "ReleasePartitions" => load::release_partitions;
        create_alias(wire::CreateAliasRequest) -> common::Status = "CreateAlias" => alias::create;
        drop_alias(wire::DropAliasRequest) -> common::Status = "DropAlias" => alias::drop;
        alter_alias(wire::AlterAliasRequest) -> common::Status = "AlterAlias" => alias::alter;
        create_index(wire::CreateIndexRequest) -> common::Status = "CreateIndex" => index::create;
        drop_index(wire::DropIndexRequest) -> common::Status = "DropIndex" => index::drop;
        insert(wire::InsertRequest) -> wire::MutationResult = "Insert" => dml::insert;
        delete(wire::DeleteRequest) -> wire::MutationResult = "Delete" => dml::delete;
        upsert(wire::UpsertRequest) -> wire::MutationResult = "Upsert" => dml::upsert;
        search(wire::SearchRequest) -> wire::SearchResults = "Search" => search::search;
        hybrid_search(wire::HybridSearchRequest) -> wire::SearchResults = "HybridSearch" => hybrid::hybrid_search;
        flush(wire::FlushRequest) -> wire::FlushResponse = "Flush" => flush::flush;
        query(wire::QueryRequest) -> wire::QueryResults = "Query" => query::query;
        flush_all(wire::FlushAllRequest) -> wire::FlushAllResponse = "FlushAll" => flush::flush_all;
        rename_collection(wire::RenameCollectionRequest) -> common::Status = "RenameCollection" => collection::rename;
        create_database(wire::CreateDatabaseRequest) -> common::Status = "CreateDatabase" => database::create;
        drop_database(wire::DropDatabaseRequest) -> common::Status = "DropDatabase" => database::drop;
        alter_database(wire::AlterDatabaseRequest) -> common::Status = "AlterDatabase" => database::alter;
        add_file_resource(wire::AddFileResourceRequest) -> common::Status = "AddFileResource" => file_resource::add;
        remove_file_resource(wire::RemoveFileResourceRequest) -> common::Status = "RemoveFileResource" => file_resource::remove;
        run_analyzer(wire::RunAnalyzerRequest) -> wire::RunAnalyzerResponse = "RunAnalyzer" => analyzer::run;
        create_credential(wire::CreateCredentialRequest) -> common::Status = "CreateCredential" => users::create_user;
        update_credential(wire::UpdateCredentialRequest) -> common::Status = "UpdateCredential" => users::update_user;
        delete_credential(wire::DeleteCredentialRequest) -> common::Status = "DeleteCredential" => users::delete_user;
        create_role(wire::CreateRoleRequest) -> common::Status = "CreateRole" => users::create_role;
        alter_role(wire::AlterRoleRequest) -> common::Status = "AlterRole" => users::alter_role;
        drop_role(wire::DropRoleRequest) -> common::Status = "DropRole" => users::drop_role;
        operate_user_role(wire::OperateUserRoleRequest) -> common::Status = "OperateUserRole" => users::operate_user_role;
        operate_privilege(wire::OperatePrivilegeRequest) -> common::Status = "OperatePrivilege" => users::operate_privilege;
        operate_privilege_v2(wire::OperatePrivilegeV2Request) -> common::Status = "OperatePrivilegeV2" => users::operate_privilege_v2;
        create_privilege_group(wire::CreatePrivilegeGroupRequest) -> common::Status = "CreatePrivilegeGroup" => users::create_group;
        drop_privilege_group(wire::DropPrivilegeGroupRequest) -> common::Status = "DropPrivilegeGroup" => users::drop_group;
        operate_privilege_group(wire::OperatePrivilegeGroupRequest) -> common::Status = "OperatePrivilegeGroup" => users::operate_group;
    }
    answered_at_once {
        has_collection(wire::HasCollectionRequest) -> wire::BoolResponse = "HasCollection" => collection::has;
        describe_collection(wire::DescribeCollectionRequest) -> wire::DescribeCollectionResponse = "DescribeCollection" => collection::describe;
        batch_describe_collection(wire::BatchDescribeCollectionRequest) -> wire::BatchDescribeCollectionResponse = "BatchDescribeCollection" => collection::describe_batch;
        get_collection_statistics(wire::GetCollectionStatisticsRequest) -> wire::GetCollectionStatisticsResponse = "GetCollectionStatistics" => collection::statistics;
        show_collections(wire::ShowCollectionsRequest) -> wire::ShowCollectionsResponse = "ShowCollections" => collection::show;
        has_partition(wire::HasPartitionRequest) -> wire::BoolResponse = "HasPartition" => partition::has;
        get_partition_statistics(wire::GetPartitionStatisticsRequest) -> wire::GetPartitionStatisticsResponse = "GetPartitionStatistics" => partition::statistics;
        show_partitions(wire::ShowPartitionsRequest) -> wire::ShowPartitionsResponse = "ShowPartitions" => partition::show;
        get_loading_progress(wire::GetLoadingProgressRequest) -> wire::GetLoadingProgressResponse = "GetLoadingProgress" => load::progress;
        get_load_state(wire::GetLoadStateRequest) -> wire::GetLoadStateResponse = "GetLoadState" => load::state;
        describe_alias(wire::DescribeAliasRequest) -> wire::DescribeAliasResponse = "DescribeAlias" => alias::describe;
        list_aliases(wire::ListAliasesRequest) -> wire::ListAliasesResponse = "ListAliases" => alias::list;
        describe_index(wire::DescribeIndexRequest) -> wire::DescribeIndexResponse = "DescribeIndex" => index::describe;
        get_index_statistics(wire::GetIndexStatisticsRequest) -> wire::GetIndexStatisticsResponse = "GetIndexStatistics" => index::statistics;
        get_index_state(wire::GetIndexStateRequest) -> wire::GetIndexStateResponse = "GetIndexState" => index::state;
        get_index_build_progress(wire::GetIndexBuildProgressRequest) -> wire::GetIndexBuildProgressResponse = "GetIndexBuildProgress" => index::build_progress;
        get_flush_state(wire::GetFlushStateRequest) -> wire::GetFlushStateResponse = "GetFlushState" => flush::flush_state;
        get_flush_all_state(wire::GetFlushAllStateRequest) -> wire::GetFlushAllStateResponse = "GetFlushAllState" => flush::flush_all_state;
        get_component_states(wire::GetComponentStatesRequest) -> wire::ComponentStates = "GetComponentStates" => misc::component_states;
        get_version(wire::GetVersionRequest) -> wire::GetVersionResponse = "GetVersion" => misc::version;
        check_health(wire::CheckHealthRequest) -> wire::CheckHealthResponse = "CheckHealth" => misc::health;
        connect(wire::ConnectRequest) -> wire::ConnectResponse = "Connect" => misc::connect;
        alloc_timestamp(wire::AllocTimestampRequest) -> wire::AllocTimestampResponse = "AllocTimestamp" => misc::alloc_timestamp;
        list_databases(wire::ListDatabasesRequest) -> wire::ListDatabasesResponse = "ListDatabases" => database::list;
        describe_database(wire::DescribeDatabaseRequest) -> wire::DescribeDatabaseResponse = "DescribeDatabase" => database::describe;
        get_persistent_segment_info(wire::GetPersistentSegmentInfoRequest) -> wire::GetPersistentSegmentInfoResponse = "GetPersistentSegmentInfo" => compaction::persistent_segments;
        get_query_segment_info(wire::GetQuerySegmentInfoRequest) -> wire::GetQuerySegmentInfoResponse = "GetQuerySegmentInfo" => compaction::loaded_segments;
        manual_compaction(wire::ManualCompactionRequest) -> wire::ManualCompactionResponse = "ManualCompaction" => compaction::start;
        get_compaction_state(wire::GetCompactionStateRequest) -> wire::GetCompactionStateResponse = "GetCompactionState" => compaction::state;
        get_compaction_state_with_plans(wire::GetCompactionPlansRequest) -> wire::GetCompactionPlansResponse = "GetCompactionStateWithPlans" => compaction::plans;
        list_file_resources(wire::ListFileResourcesRequest) -> wire::ListFileResourcesResponse = "ListFileResources" => file_resource::list;
        list_cred_users(wire::ListCredUsersRequest) -> wire::ListCredUsersResponse = "ListCredUsers" => users::list_users;
        select_role(wire::SelectRoleRequest) -> wire::SelectRoleResponse = "SelectRole" => users::select_role;
        select_user(wire::SelectUserRequest) -> wire::SelectUserResponse = "SelectUser" => users::select_user;
        select_grant(wire::SelectGrantRequest) -> wire::SelectGrantResponse = "SelectGrant" => users::select_grant;
        list_privilege_groups(wire::ListPrivilegeGroupsRequest) -> wire::ListPrivilegeGroupsResponse = "ListPrivilegeGroups" => users::list_groups;
    }
    refused {
        add_collection_function(wire::AddCollectionFunctionRequest) -> common::Status = "AddCollectionFunction";
        alter_collection_function(wire::AlterCollectionFunctionRequest) -> common::Status = "AlterCollectionFunction";
        drop_collection_function(wire::DropCollectionFunctionRequest) -> common::Status = "DropCollectionFunction";
        truncate_collection(wire::TruncateCollectionRequest) -> wire::TruncateCollectionResponse = "TruncateCollection";
        prewarm(wire::PrewarmRequest) -> wire::PrewarmResponse = "Prewarm";
        describe_prewarm_task(wire::DescribePrewarmTaskRequest) -> wire::DescribePrewarmTaskResponse = "DescribePrewarmTask";
        create_namespace(wire::CreateNamespaceRequest) -> wire::CreateNamespaceResponse = "CreateNamespace";
        describe_namespace(wire::DescribeNamespaceRequest) -> wire::DescribeNamespaceResponse = "DescribeNamespace";
        list_namespaces(wire::ListNamespacesRequest) -> wire::ListNamespacesResponse = "ListNamespaces";
        drop_namespace(wire::DropNamespaceRequest) -> wire::DropNamespaceResponse = "DropNamespace";
        has_namespace(wire::HasNamespaceRequest) -> wire::HasNamespaceResponse = "HasNamespace";
        get_namespace_stats(wire::GetNamespaceStatsRequest) -> wire::GetNamespaceStatsResponse = "GetNamespaceStats";
        alter_index(wire::AlterIndexRequest) -> common::Status = "AlterIndex";
        calc_distance(wire::CalcDistanceRequest) -> wire::CalcDistanceResults = "CalcDistance";
        get_replicas(wire::GetReplicasRequest) -> wire::GetReplicasResponse = "GetReplicas";
        register_link(wire::RegisterLinkRequest) -> wire::RegisterLinkResponse = "RegisterLink";
        get_metrics(wire::GetMetricsRequest) -> wire::GetMetricsResponse = "GetMetrics";
        load_balance(wire::LoadBalanceRequest) -> common::Status = "LoadBalance";
        import(wire::ImportRequest) -> wire::ImportResponse = "Import";
        get_import_state(wire::GetImportStateRequest) -> wire::GetImportStateResponse = "GetImportState";
        list_import_tasks(wire::ListImportTasksRequest) -> wire::ListImportTasksResponse = "ListImportTasks";
        create_resource_group(wire::CreateResourceGroupRequest) -> common::Status = "CreateResourceGroup";
        drop_resource_group(wire::DropResourceGroupRequest) -> common::Status = "DropResourceGroup";
        update_resource_groups(wire::UpdateResourceGroupsRequest) -> common::Status = "UpdateResourceGroups";
        transfer_node(wire::TransferNodeRequest) -> common::Status = "TransferNode";
        transfer_replica(wire::TransferReplicaRequest) -> common::Status = "TransferReplica";
        list_resource_groups(wire::ListResourceGroupsRequest) -> wire::ListResourceGroupsResponse = "ListResourceGroups";
        describe_resource_group(wire::DescribeResourceGroupRequest) -> wire::DescribeResourceGroupResponse = "DescribeResourceGroup";
        list_indexed_segment(feder::ListIndexedSegmentRequest) -> feder::ListIndexedSegmentResponse = "ListIndexedSegment";
        describe_segment_index_data(feder::DescribeSegmentIndexDataRequest) -> feder::DescribeSegmentIndexDataResponse = "DescribeSegmentIndexData";
        replicate_message(wire::ReplicateMessageRequest) -> wire::ReplicateMessageResponse = "ReplicateMessage";
        backup_rbac(wire::BackupRbacMetaRequest) -> wire::BackupRbacMetaResponse = "BackupRBAC";
        restore_rbac(wire::RestoreRbacMetaRequest) -> common::Status = "RestoreRBAC";
        add_user_tags(wire::AddUserTagsRequest) -> common::Status = "AddUserTags";
        delete_user_tags(wire::DeleteUserTagsRequest) -> common::Status = "DeleteUserTags";
        get_user_tags(wire::GetUserTagsRequest) -> wire::GetUserTagsResponse = "GetUserTags";
        list_users_with_tag(wire::ListUsersWithTagRequest) -> wire::ListUsersWithTagResponse = "ListUsersWithTag";
        create_row_policy(wire::CreateRowPolicyRequest) -> common::Status = "CreateRowPolicy";
        drop_row_policy(wire::DropRowPolicyRequest) -> common::Status = "DropRowPolicy";
        list_row_policies(wire::ListRowPoliciesRequest) -> wire::ListRowPoliciesResponse = "ListRowPolicies";
        update_row_policy(wire::UpdateRowPolicyRequest) -> common::Status = "UpdateRowPolicy";
        set_rls_principal_tags(wire::SetRlsPrincipalTagsRequest) -> common::Status = "SetRLSPrincipalTags";
        get_rls_principal_tags(wire::GetRlsPrincipalTagsRequest) -> wire::GetRlsPrincipalTagsResponse = "GetRLSPrincipalTags";
        list_rls_principals(wire::ListRlsPrincipalsRequest) -> wire::ListRlsPrincipalsResponse = "ListRLSPrincipals";
        delete_rls_principal_tags(wire::DeleteRlsPrincipalTagsRequest) -> common::Status = "DeleteRLSPrincipalTags";
        update_replicate_configuration(wire::UpdateReplicateConfigurationRequest) -> common::Status = "UpdateReplicateConfiguration";
        get_replicate_configuration(wire::GetReplicateConfigurationRequest) -> wire::GetReplicateConfigurationResponse = "GetReplicateConfiguration";
        compute_phrase_match_slop(wire::ComputePhraseMatchSlopRequest) -> wire::ComputePhraseMatchSlopResponse = "ComputePhraseMatchSlop";
        create_snapshot(wire::CreateSnapshotRequest) -> common::Status = "CreateSnapshot";
        drop_snapshot(wire::DropSnapshotRequest) -> common::Status = "DropSnapshot";
        list_snapshots(wire::ListSnapshotsRequest) -> wire::ListSnapshotsResponse = "ListSnapshots";
        describe_snapshot(wire::DescribeSnapshotRequest) -> wire::DescribeSnapshotResponse = "DescribeSnapshot";
        restore_snapshot(wire::RestoreSnapshotRequest) -> wire::RestoreSnapshotResponse = "RestoreSnapshot";
        restore_external_snapshot(wire::RestoreExternalSnapshotRequest) -> wire::RestoreExternalSnapshotResponse = "RestoreExternalSnapshot";
        export_snapshot(wire::ExportSnapshotRequest) -> wire::ExportSnapshotResponse = "ExportSnapshot";
        get_export_snapshot_state(wire::GetExportSnapshotStateRequest) -> wire::GetExportSnapshotStateResponse = "GetExportSnapshotState";
        get_restore_snapshot_state(wire::GetRestoreSnapshotStateRequest) -> wire::GetRestoreSnapshotStateResponse = "GetRestoreSnapshotState";
        list_restore_snapshot_jobs(wire::ListRestoreSnapshotJobsRequest) -> wire::ListRestoreSnapshotJobsResponse = "ListRestoreSnapshotJobs";
        pin_snapshot_data(wire::PinSnapshotDataRequest) -> wire::PinSnapshotDataResponse = "PinSnapshotData";
        unpin_snapshot_data(wire::UnpinSnapshotDataRequest) -> common::Status = "UnpinSnapshotData";
        batch_update_manifest(wire::BatchUpdateManifestRequest) -> common::Status = "BatchUpdateManifest";
        refresh_external_collection(wire::RefreshExternalCollectionRequest) -> wire::RefreshExternalCollectionResponse = "RefreshExternalCollection";
        get_refresh_external_collection_progress(wire::GetRefreshExternalCollectionProgressRequest) -> wire::GetRefreshExternalCollectionProgressResponse = "GetRefreshExternalCollectionProgress";
        list_refresh_external_collection_jobs(wire::ListRefreshExternalCollectionJobsRequest) -> wire::ListRefreshExternalCollectionJobsResponse = "ListRefreshExternalCollectionJobs";
    }
    refused_without_status {
        dummy(wire::DummyRequest) -> wire::DummyResponse = "Dummy";
        get_replicate_info(wire::GetReplicateInfoRequest) -> wire::GetReplicateInfoResponse = "GetReplicateInfo";
        create_replicate_stream(Streaming<wire::ReplicateRequest>) -> BoxStream<wire::ReplicateResponse> = "CreateReplicateStream";
        dump_messages(wire::DumpMessagesRequest) -> BoxStream<wire::DumpMessagesResponse> = "DumpMessages";
    }
}
