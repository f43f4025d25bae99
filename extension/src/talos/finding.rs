//! What can be wrong with an extension.

use std::fmt;

/// A rule that something breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Neither `manifest.yaml` nor `rootfs` at the top.
    TopLevel,
    /// There is no `manifest.yaml`.
    ManifestMissing,
    /// There is no `rootfs`.
    RootfsMissing,
    /// No YAML, or a list where a text has to be, and so on.
    Malformed,
    /// The manifest's version is not `v1alpha1`.
    ManifestVersion,
    /// The range of Talos versions cannot be read.
    Constraint,
    /// It is not for the Talos version asked about.
    Incompatible,
    /// A file where Talos allows none.
    Path,
    /// A device, a pipe or a socket.
    SpecialFile,
    /// A service's name, restart kind, entrypoint or one of its dependencies.
    Service,

    /// A key that Talos does not know and passes over in silence.
    UnknownKey,
    /// A number or a word where a text or a boolean is meant: which text that is depends on who reads it.
    Scalar,
    /// More than the one document that Talos reads.
    MoreDocuments,
    /// Name, version, author or description is missing, or not as Talos' own builder wants it.
    Metadata,
    /// It claims to be for any Talos.
    NoConstraint,
    /// A path that passes Talos' check only because that compares the beginnings of words: `/usr/localfoo`.
    PathPrefix,
    /// Everybody may write to it.
    WorldWritable,
    /// Set-user-ID, set-group-ID or sticky.
    SetId,
    /// Two names for one file: Talos' imager makes an empty file of the second.
    HardLink,
    /// A link that leads nowhere, or out of the root that it is in.
    DanglingLink,
    /// An ELF file for another processor.
    Machine,
    /// A program without its loader, a library that it needs, or the interpreter of its first line.
    Loader,
    /// A service's description and its root do not fit together.
    ServiceRoot,
    /// A mount that is no bind of an absolute path, or hides what is in the root.
    Mount,
    /// In a tar: before its folder, twice, with a path that leads elsewhere, not of root, or with attributes.
    Tar,
    /// In an image: a digest, a size, a platform, or not the one layer.
    Image,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::TopLevel,
        Self::ManifestMissing,
        Self::RootfsMissing,
        Self::Malformed,
        Self::ManifestVersion,
        Self::Constraint,
        Self::Incompatible,
        Self::Path,
        Self::SpecialFile,
        Self::Service,
        Self::UnknownKey,
        Self::Scalar,
        Self::MoreDocuments,
        Self::Metadata,
        Self::NoConstraint,
        Self::PathPrefix,
        Self::WorldWritable,
        Self::SetId,
        Self::HardLink,
        Self::DanglingLink,
        Self::Machine,
        Self::Loader,
        Self::ServiceRoot,
        Self::Mount,
        Self::Tar,
        Self::Image,
    ];

    /// Whether Talos' own code takes what breaks this rule.
    #[must_use]
    pub fn stricter_than_talos(self) -> bool {
        self >= Self::UnknownKey
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// The file, as a path in the extension, and where in it.
    pub at: String,
    /// What is there.
    pub what: String,
}

impl Finding {
    /// A finding.
    pub fn new(rule: Rule, at: impl fmt::Display, what: impl Into<String>) -> Self {
        Self {
            rule,
            at: at.to_string(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, at, what } = self;
        write!(f, "{rule:?}: {at}: {what}")
    }
}
