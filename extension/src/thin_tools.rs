//! Debian's thin tools as one static program, for systems that bring none.
//!
//! [`source`] fetches the source package from the mirror of this host's apt, [`compile`] builds it for musl with the
//! crates of extension/thin-tools/Cargo.lock, and the result is kept beside the root trees. It needs no library of the
//! system that it runs on; the same bytes wherever it was built.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::arch::Arch;
use crate::oci;
use crate::recipe::SUITE;
use crate::rootfs::{Node, Rootfs, Source};
use crate::tree::Cache;

mod compile;
mod source;

/// The Debian source package.
pub const PACKAGE: &str = "thin-provisioning-tools";
/// Its one program; what it does is by the name that it is called by.
pub const PROGRAM: &str = "pdata_tools";

/// What lvm, and people who look after a pool or a cache, call it by.
pub const NAMES: &[&str] = &[
    "cache_check",
    "cache_dump",
    "cache_metadata_size",
    "cache_repair",
    "cache_restore",
    "cache_writeback",
    "thin_check",
    "thin_delta",
    "thin_dump",
    "thin_ls",
    "thin_metadata_pack",
    "thin_metadata_size",
    "thin_metadata_unpack",
    "thin_repair",
    "thin_restore",
    "thin_rmap",
    "thin_shrink",
    "thin_trim",
];

const LVM_CONF: &str = include_str!("../thin-tools/lvm.conf");
const NOTE: &str = include_str!("../thin-tools/SOURCE");

/// Where the parts go in a system, as absolute paths.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    /// The program and its names.
    pub programs: &'static str,
    /// The folder with an lvm.conf that names them: what LVM_SYSTEM_DIR is set to.
    pub lvm: &'static str,
    /// The licence, and where the source is.
    pub texts: &'static str,
}

/// The tools for one processor, in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThinTools {
    dir: PathBuf,
    arch: Arch,
}

impl ThinTools {
    /// Finds or builds them.
    ///
    /// # Errors
    /// No mirror, no `dpkg-source`, no target of Rust for musl, or Debian has another version than Cargo.lock is for.
    pub fn get(cache: &Cache, arch: Arch) -> anyhow::Result<Self> {
        let name = match arch {
            Arch::Amd64 => "thin-tools",
            Arch::Arm64 => "arm64-thin-tools",
        };
        let key = format!("{name}-{}", compile::hash(arch)?);
        let dir = cache.made(name, &key, "the thin tools", |work| {
            make(work, arch).context("could not build the thin tools")
        })?;
        Ok(Self { dir, arch })
    }

    /// What they run on.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// Debian's version, with its revision.
    ///
    /// # Errors
    /// The folder in the cache is damaged.
    pub fn version(&self) -> anyhow::Result<String> {
        source::version(&self.archives()?)
    }

    /// The files of the source package, as Debian has them.
    ///
    /// # Errors
    /// The folder in the cache is damaged.
    pub fn archives(&self) -> anyhow::Result<Vec<PathBuf>> {
        source::archives(&self.dir.join(ARCHIVES))
    }

    /// The folder that `cargo` built, with its lock file.
    #[must_use]
    pub fn unpacked(&self) -> PathBuf {
        self.dir.join(UNPACKED)
    }

    /// Puts everything below `root`, which stands for `/` of the system.
    ///
    /// # Errors
    /// The folder in the cache is damaged, or something else is at a path.
    pub fn put(&self, out: &mut Rootfs, root: &Path, places: Places) -> anyhow::Result<()> {
        let at = |folder: &str, name: &str| {
            let folder = folder.trim_start_matches('/');
            root.join(folder).join(name)
        };
        let program = Node::File {
            mode: 0o755,
            from: Source::Path(self.dir.join(PROGRAM)),
        };
        out.put(&at(places.programs, PROGRAM), program)?;
        for name in NAMES {
            let target = PROGRAM.into();
            out.put(&at(places.programs, name), Node::Link { target })?;
        }
        let licence = Source::Path(self.unpacked().join("COPYING"));
        let conf = LVM_CONF
            .replace("@PROGRAMS@", places.programs)
            .replace("@DIR@", places.lvm);
        for (path, from) in [
            (at(places.lvm, "lvm.conf"), Source::Bytes(conf.into())),
            (at(places.texts, "COPYING"), licence),
            (
                at(places.texts, "SOURCE"),
                Source::Bytes(self.note()?.into()),
            ),
        ] {
            out.put(&path, Node::File { mode: 0o644, from })?;
        }
        Ok(())
    }

    /// Where the source is, for people.
    fn note(&self) -> anyhow::Result<String> {
        let mut files = String::new();
        for path in self.archives()? {
            let bytes = std::fs::read(&path)
                .with_context(|| format!("could not read {}", path.display()))?;
            let name = path.file_name().unwrap_or_default().display().to_string();
            files.push_str(&format!("    sha256 {}  {name}\n", oci::sha256(&bytes)));
        }
        Ok(NOTE
            .replace("@VERSION@", &self.version()?)
            .replace("@SUITE@", SUITE)
            .replace("@TARGET@", self.arch.static_target())
            .replace("@FILES@\n", &format!("{files}\n")))
    }
}

const ARCHIVES: &str = "debian";
const UNPACKED: &str = "source";

/// Fetches and builds in `work`, and returns the folder to keep.
fn make(work: &Path, arch: Arch) -> anyhow::Result<PathBuf> {
    let out = work.join("out");
    let archives = out.join(ARCHIVES);
    source::fetch(work, &archives)?;
    let unpacked = out.join(UNPACKED);
    source::unpack(&archives, &unpacked)?;
    compile::prepare(&unpacked)?;
    let program = compile::build(&unpacked, &work.join("target"), arch)?;
    let kept = out.join(PROGRAM);
    std::fs::rename(&program, &kept)
        .with_context(|| format!("could not move {}", program.display()))?;
    Ok(out)
}
