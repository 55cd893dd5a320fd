//! Privileges, and the groups of them that are always there.
//!
//! The names, the levels and the groups are those of Milvus 3.0, so that what its users grant means the same here.
//! [`Privilege::RegisterPlugin`] and [`Privilege::UseFiles`] are ours: Milvus has neither plugins nor statements that
//! read files.

/// What a privilege is granted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// A collection, all collections of a database, or all collections.
    Collection,
    /// A database, or all of them.
    Database,
    /// The whole server.
    Cluster,
}

impl Level {
    /// The word for it in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Collection => "collection",
            Self::Database => "database",
            Self::Cluster => "cluster",
        }
    }
}

macro_rules! privileges {
    ($($level:ident { $($name:ident)* })*) => {
        /// What a user may be allowed to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "the names are Milvus' own and say what they allow")]
        pub enum Privilege {
            $($($name,)*)*
        }

        impl Privilege {
            /// Every privilege.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)*)*];

            /// Its name, as it is granted.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $($(Self::$name => stringify!($name),)*)*
                }
            }

            /// What it is granted on.
            #[must_use]
            pub fn level(self) -> Level {
                match self {
                    $($(Self::$name => Level::$level,)*)*
                }
            }
        }
    };
}

privileges! {
    Collection {
        Query Search
        IndexDetail GetFlushState GetLoadState GetLoadingProgress HasPartition ShowPartitions DescribeCollection
        DescribeAlias GetStatistics ListAliases GetImportProgress ListImport DescribeSnapshot ListSnapshots
        Load Release Insert Delete Upsert Import Flush Compaction LoadBalance CreateIndex DropIndex CreatePartition
        DropPartition AddCollectionField AlterCollectionSchema RefreshExternalCollection CreateSnapshot DropSnapshot
        CreateAlias DropAlias RestoreSnapshot
    }
    Database {
        ShowCollections DescribeDatabase AlterDatabase CreateCollection DropCollection RenameCollection
    }
    Cluster {
        ListDatabases SelectOwnership SelectUser DescribeResourceGroup ListResourceGroups ListPrivilegeGroups
        GetReplicateConfiguration ListFileResources
        FlushAll TransferNode TransferReplica UpdateResourceGroups AddFileResource RemoveFileResource PinSnapshotData
        UnpinSnapshotData
        BackupRBAC RestoreRBAC CreateDatabase DropDatabase CreateOwnership DropOwnership ManageOwnership
        CreateResourceGroup DropResourceGroup UpdateUser CreatePrivilegeGroup DropPrivilegeGroup
        OperatePrivilegeGroup UpdateReplicateConfiguration Expr RestoreExternalSnapshot ExportSnapshot
        RegisterPlugin UseFiles
    }
}

/// The position of the last privilege of each group that is always there; a group has those before it of its level too.
const GROUPS: [(&str, Level, Privilege, Privilege); 9] = [
    (
        "CollectionReadOnly",
        Level::Collection,
        Privilege::Query,
        Privilege::ListSnapshots,
    ),
    (
        "CollectionReadWrite",
        Level::Collection,
        Privilege::Query,
        Privilege::DropSnapshot,
    ),
    (
        "CollectionAdmin",
        Level::Collection,
        Privilege::Query,
        Privilege::RestoreSnapshot,
    ),
    (
        "DatabaseReadOnly",
        Level::Database,
        Privilege::ShowCollections,
        Privilege::DescribeDatabase,
    ),
    (
        "DatabaseReadWrite",
        Level::Database,
        Privilege::ShowCollections,
        Privilege::AlterDatabase,
    ),
    (
        "DatabaseAdmin",
        Level::Database,
        Privilege::ShowCollections,
        Privilege::RenameCollection,
    ),
    (
        "ClusterReadOnly",
        Level::Cluster,
        Privilege::ListDatabases,
        Privilege::ListFileResources,
    ),
    (
        "ClusterReadWrite",
        Level::Cluster,
        Privilege::ListDatabases,
        Privilege::UnpinSnapshotData,
    ),
    (
        "ClusterAdmin",
        Level::Cluster,
        Privilege::ListDatabases,
        Privilege::ExportSnapshot,
    ),
];

impl Privilege {
    /// The privilege of this name, which some clients begin with `Privilege`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let bare = name.strip_prefix("Privilege").unwrap_or(name);
        Self::ALL
            .iter()
            .copied()
            .find(|privilege| privilege.name() == bare)
    }

    /// What clients of Milvus call the kind of thing that it is granted on.
    #[must_use]
    pub fn object_type(self) -> &'static str {
        if matches!(self, Self::SelectUser | Self::UpdateUser) {
            return "User";
        }
        match self.level() {
            Level::Collection => "Collection",
            Level::Database | Level::Cluster => "Global",
        }
    }
}

/// The privileges of a group that is always there.
#[must_use]
pub fn group(name: &str) -> Option<&'static [Privilege]> {
    let (_, _, first, last) = GROUPS.iter().find(|(known, ..)| *known == name)?;
    Privilege::ALL.get(*first as usize..=*last as usize)
}

/// The level of a group that is always there.
#[must_use]
pub fn group_level(name: &str) -> Option<Level> {
    GROUPS
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(_, level, ..)| *level)
}

/// The names of the groups that are always there.
pub fn group_names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|(name, ..)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_what_milvus_says_they_do() {
        for (name, level, ..) in GROUPS {
            let privileges = group(name).unwrap();
            assert!(
                privileges.iter().all(|privilege| privilege.level() == level),
                "{name}"
            );
        }
        let size = |name| group(name).unwrap().len();
        assert_eq!(
            [
                size("CollectionReadOnly"),
                size("CollectionReadWrite"),
                size("CollectionAdmin"),
                size("DatabaseReadOnly"),
                size("DatabaseReadWrite"),
                size("DatabaseAdmin"),
                size("ClusterReadOnly"),
                size("ClusterReadWrite"),
                size("ClusterAdmin"),
            ],
            [16, 34, 37, 2, 3, 6, 8, 16, 33]
        );
        assert!(
            !group("ClusterAdmin")
                .unwrap()
                .contains(&Privilege::RegisterPlugin)
        );
        assert!(group("Nothing").is_none());
    }

    #[test]
    fn names_are_found_with_and_without_their_prefix() {
        assert_eq!(Privilege::named("Query"), Some(Privilege::Query));
        assert_eq!(Privilege::named("PrivilegeQuery"), Some(Privilege::Query));
        assert_eq!(Privilege::named("query"), None);
        assert!(Privilege::ALL.len() <= 128, "PrivilegeSet has 128 bits");
        for privilege in Privilege::ALL {
            assert_eq!(Privilege::named(privilege.name()), Some(*privilege));
        }
    }
}
