//! The processors that are built for, and what everybody calls them.

/// A kind of processor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Arch {
    /// x86-64; what the tests run on.
    #[default]
    Amd64,
    /// AArch64.
    Arm64,
}

impl Arch {
    /// As Go, Debian, OCI and Talos call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As Rust calls it, with Debian's C library.
    #[must_use]
    pub fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// As Rust calls it where a program is to need no library of where it runs.
    #[must_use]
    pub fn static_target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// As GNU calls it: the folder of Debian's libraries, and how names of cross compilers begin.
    #[must_use]
    pub fn triplet(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu",
            Self::Arm64 => "aarch64-linux-gnu",
        }
    }
}
