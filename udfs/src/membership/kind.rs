//! The two kinds of sets. The grammar of filters knows them by name, and its fuzz target takes in this file alone.

/// Which kind of set the bytes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MembershipKind {
    /// A Bloom filter: what it finds is in the set perhaps.
    Bloom,
    /// A bitmap of integers, which is exact.
    Roaring,
}

impl MembershipKind {
    /// As `type=` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bloom => "bloom",
            Self::Roaring => "roaring",
        }
    }
}
