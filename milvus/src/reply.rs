//! Every reply message carries a status; this is the one way to set it.

use milvus::proto::{common, feder, milvus as wire};

use crate::status::{Error, success};

/// A reply that can say whether the call went well.
pub(crate) trait Reply: Default {
    /// Sets the status field.
    fn set_status(&mut self, status: common::Status);

    /// The reply of a failed call: the status and nothing else.
    fn failed(error: &Error) -> Self {
        let mut reply = Self::default();
        reply.set_status(error.to_status());
        reply
    }

    /// The same reply marked as gone well.
    fn succeeded(mut self) -> Self {
        self.set_status(success());
        self
    }
}

impl Reply for common::Status {
    fn set_status(&mut self, status: common::Status) {
        *self = status;
    }
}

impl Reply for wire::AlterCollectionSchemaResponse {
    fn set_status(&mut self, status: common::Status) {
        self.alter_status = Some(status);
    }
}

macro_rules! replies {
    ($($message:path),* $(,)?) => {
        $(impl Reply for $message {
            fn set_status(&mut self, status: common::Status) {
                self.status = Some(status);
            }
        })*
    };
}

replies! {
    feder::DescribeSegmentIndexDataResponse,
    feder::ListIndexedSegmentResponse,
    wire::AllocTimestampResponse,
    wire::BackupRbacMetaResponse,
    wire::BatchDescribeCollectionResponse,
    wire::BoolResponse,
    wire::CalcDistanceResults,
    wire::CheckHealthResponse,
    wire::ClientHeartbeatResponse,
    wire::ComponentStates,
    wire::ComputePhraseMatchSlopResponse,
    wire::ConnectResponse,
    wire::CreateNamespaceResponse,
    wire::DeleteClientCommandResponse,
    wire::DescribeAliasResponse,
    wire::DescribeCollectionResponse,
    wire::DescribeDatabaseResponse,
    wire::DescribeIndexResponse,
    wire::DescribeNamespaceResponse,
    wire::DescribePrewarmTaskResponse,
    wire::DescribeResourceGroupResponse,
    wire::DescribeSnapshotResponse,
    wire::DropNamespaceResponse,
    wire::ExportSnapshotResponse,
    wire::FlushAllResponse,
    wire::FlushResponse,
    wire::GetClientTelemetryResponse,
    wire::GetCollectionStatisticsResponse,
    wire::GetCompactionPlansResponse,
    wire::GetCompactionStateResponse,
    wire::GetExportSnapshotStateResponse,
    wire::GetFlushAllStateResponse,
    wire::GetFlushStateResponse,
    wire::GetImportStateResponse,
    wire::GetIndexBuildProgressResponse,
    wire::GetIndexStateResponse,
    wire::GetIndexStatisticsResponse,
    wire::GetLoadStateResponse,
    wire::GetLoadingProgressResponse,
    wire::GetMetricsResponse,
    wire::GetNamespaceStatsResponse,
    wire::GetPartitionStatisticsResponse,
    wire::GetPersistentSegmentInfoResponse,
    wire::GetQuerySegmentInfoResponse,
    wire::GetRefreshExternalCollectionProgressResponse,
    wire::GetReplicasResponse,
    wire::GetReplicateConfigurationResponse,
    wire::GetRestoreSnapshotStateResponse,
    wire::GetRlsPrincipalTagsResponse,
    wire::GetUserTagsResponse,
    wire::GetVersionResponse,
    wire::HasNamespaceResponse,
    wire::ImportResponse,
    wire::ListAliasesResponse,
    wire::ListCredUsersResponse,
    wire::ListDatabasesResponse,
    wire::ListFileResourcesResponse,
    wire::ListImportTasksResponse,
    wire::ListNamespacesResponse,
    wire::ListPrivilegeGroupsResponse,
    wire::ListRefreshExternalCollectionJobsResponse,
    wire::ListResourceGroupsResponse,
    wire::ListRestoreSnapshotJobsResponse,
    wire::ListRlsPrincipalsResponse,
    wire::ListRowPoliciesResponse,
    wire::ListSnapshotsResponse,
    wire::ListUsersWithTagResponse,
    wire::ManualCompactionResponse,
    wire::MutationResult,
    wire::PinSnapshotDataResponse,
    wire::PrewarmResponse,
    wire::PushClientCommandResponse,
    wire::QueryResults,
    wire::RefreshExternalCollectionResponse,
    wire::RegisterLinkResponse,
    wire::ReplicateMessageResponse,
    wire::RestoreExternalSnapshotResponse,
    wire::RestoreSnapshotResponse,
    wire::RunAnalyzerResponse,
    wire::SearchResults,
    wire::SelectGrantResponse,
    wire::SelectRoleResponse,
    wire::SelectUserResponse,
    wire::ShowCollectionsResponse,
    wire::ShowPartitionsResponse,
    wire::TruncateCollectionResponse,
}
