//! The two backends behind one set of questions.

use std::io;
use std::path::{Path, PathBuf};

use extension::{Cache, Recipe, TreeError};

use crate::attached::Attached;
use crate::kvm;
use crate::protocol::{DiskKey, Setup};
use crate::qemu;
use crate::scratch::Scratch;
use crate::spec::{Backend, Disk, Share, Spec};
use crate::supervise::Plan;
use crate::uml;

/// What a guest stands on; found once, the same for each of its boots.
#[derive(Debug)]
pub(crate) struct Ground {
    /// What the backend boots.
    pub(crate) boots: Boots,
    /// The `e2e-qemu` executable.
    pub(crate) program: PathBuf,
    /// Host folders, the workspace first.
    pub(crate) shares: Vec<Share>,
}

/// What a backend boots.
#[derive(Debug)]
pub(crate) enum Boots {
    /// A tree with a user-mode kernel in it.
    Uml(PathBuf),
    /// A kernel and a packed tree.
    Qemu(qemu::Parts),
}

impl Boots {
    /// Finds or builds what the backend boots.
    pub(crate) fn find(workspace: &Path, backend: Backend) -> Result<Self, TreeError> {
        let cache = Cache::of_workspace(workspace);
        if backend == Backend::Uml {
            return Ok(Self::Uml(cache.tree(&Recipe::guest())?));
        }
        let kernel = cache.tree(&Recipe::kernel())?;
        Ok(Self::Qemu(qemu::Parts {
            root: cache.squashfs(&Recipe::guest())?,
            kvm: kvm::works(&kernel, &workspace.join(".cache")),
            kernel,
        }))
    }

    /// Makes the image for a disk in a slot. A machine's disk gets its name in the guest when it is there.
    pub(crate) fn attach(
        &self,
        scratch: &Scratch,
        slot: usize,
        mut disk: Disk,
    ) -> io::Result<Attached> {
        let name = match self {
            Self::Uml(_) => {
                disk.serial = None;
                uml::disk_name(slot)
            }
            Self::Qemu(_) => {
                disk.serial.get_or_insert_with(|| qemu::serial(slot));
                qemu::has_slot(slot).then(|| format!("disk{slot}"))
            }
        };
        let name = name.ok_or_else(|| io::Error::other("no free slot in this guest"))?;
        let image = scratch.image(&format!("disk{slot}"), &disk)?;
        Ok(Attached::new(slot, &name, image, disk))
    }

    /// How the agent knows a disk that was just attached.
    pub(crate) fn key(&self, disk: &Attached) -> DiskKey {
        match self {
            Self::Uml(_) => uml::key(disk),
            Self::Qemu(_) => qemu::key(disk),
        }
    }

    /// Attaches a disk while the guest runs.
    pub(crate) fn plug(&self, scratch: &Path, disk: &Attached) -> io::Result<()> {
        match self {
            Self::Uml(_) => uml::plug(scratch, disk),
            Self::Qemu(_) => qemu::plug(scratch, disk),
        }
    }

    /// Detaches a disk while the guest runs.
    pub(crate) fn pull(&self, scratch: &Path, disk: &Attached) -> io::Result<()> {
        match self {
            Self::Uml(_) => uml::pull(scratch, disk),
            Self::Qemu(_) => qemu::pull(scratch, disk),
        }
    }
}

impl Ground {
    /// What the supervisor is to start.
    pub(crate) fn plan(&self, spec: &Spec, scratch: &Path, disks: &[Attached]) -> io::Result<Plan> {
        let Self {
            boots,
            program,
            shares,
        } = self;
        match boots {
            Boots::Uml(tree) => uml::plan(spec, tree, scratch, program, shares, disks),
            Boots::Qemu(parts) => qemu::plan(spec, parts, scratch, program, shares, disks),
        }
    }

    /// What the agent is to make of the booted kernel.
    pub(crate) fn setup(&self, spec: &Spec) -> Setup {
        let mut modules = spec.modules.clone();
        let shares = match self.boots {
            Boots::Uml(_) => uml::share_mounts(&self.shares),
            Boots::Qemu(_) => {
                modules.extend(qemu::MODULES.map(str::to_owned));
                qemu::share_mounts(&self.shares)
            }
        };
        Setup {
            hostname: spec.name.clone(),
            shares,
            modules,
            lock_tmpfs: spec.lock_tmpfs,
            udev: spec.udev,
        }
    }
}
