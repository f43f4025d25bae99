//! Everything known of the node at one moment: its disks, its host, its LVM.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use lvmd::cmd::{Host, Runner};
use lvmd::lvm::lock_dir::{self, Places, Proof};
use lvmd::lvm::reader::Reader;
use lvmd::lvm::snapshot::{Freeze, Snapshot};
use lvmd::lvm::tool::Tool;
use lvmd::patience::Patience;
use lvmd::units::Bytes;
use tracing::warn;

use crate::facts::{self, DiskFacts, HostFacts, HostProof, Root};
use crate::journal::Files;
use crate::native::NativeClaims;
use crate::partition::{self, Wanted};
use crate::rules::{LvmView, Ours, Peer, PvView, VgView};
use crate::status::NodeCheck;

/// The name under which lvm is called.
pub const PROGRAM: &str = "disk-watcher";
/// The same for the loops over pools. lvm has folders of its own by program and group, and two
/// commands must not share one.
pub const POOLS_PROGRAM: &str = "disk-watcher-pools";

/// The host's files; the rules ask for a proof that PID 1 is the host's.
pub(crate) const HOSTS_ROOT: &str = "/proc/1/root";

/// See the module.
#[derive(Debug)]
pub struct Node {
    /// Its block devices, those that are no disks left out where nobody could want them, then the
    /// partitions that are wanted as disks.
    pub disks: Vec<DiskFacts>,
    /// Who uses them.
    pub host: HostFacts,
    /// What other systems of the host name as theirs.
    pub native: NativeClaims,
    /// Every whole disk, for rules that compare.
    pub peers: Vec<Peer>,
    /// What has to hold before anything is changed here.
    pub preflight: Vec<NodeCheck>,
    /// LVM's groups, or why they are not known.
    pub snapshot: Result<Arc<Snapshot>, String>,
    /// The same, as the rules take it.
    pub lvm: Result<LvmView, String>,
}

/// Reads nodes; keeps what need not be read again.
#[derive(Debug)]
pub struct NodeReader<R = Host> {
    runner: R,
    tool: Tool,
    reader: Reader<R>,
    tools_checked: bool,
}

impl<R: Runner + Clone> NodeReader<R> {
    /// A reader that calls lvm through `runner`.
    pub fn new(runner: R) -> Self {
        Self::for_program(runner, PROGRAM)
    }

    /// A reader that calls lvm in the name of `program`.
    pub fn for_program(runner: R, program: &'static str) -> Self {
        let tool = Tool::beside_us(program);
        Self {
            reader: Reader::new(runner.clone(), tool.clone()),
            runner,
            tool,
            tools_checked: false,
        }
    }

    /// How lvm is called.
    pub fn tool(&self) -> &Tool {
        &self.tool
    }

    /// Asks what a device that hangs would not answer.
    pub fn patience(&self) -> &Patience {
        self.reader.patience()
    }

    /// Something happened to a disk: the next snapshot reads all of them anew.
    pub async fn forget(&self) {
        self.reader.forget().await;
    }

    /// What runs it.
    pub fn runner(&self) -> &R {
        &self.runner
    }

    /// LVM's groups as they are now. `wanted` are the groups somebody waits for.
    ///
    /// # Errors
    /// When they cannot be told.
    pub async fn snapshot(&self, wanted: &[String]) -> Result<Arc<Snapshot>, String> {
        self.reader
            .read(wanted)
            .await
            .map_err(|error| chain(&error))
    }

    /// The node as it is now. `files` are those that stand in for disks; `parts` the partitions that do.
    ///
    /// # Errors
    /// When the disks cannot even be listed.
    pub async fn read(
        &mut self,
        wanted: &[String],
        needs_thin: bool,
        files: &Files,
        parts: &Wanted<'_>,
    ) -> std::io::Result<Node> {
        let root = Root::host();
        let udev = crate::events::list()?;
        let mut disks: Vec<DiskFacts> = facts::read_all(&root, &udev)?
            .into_iter()
            .filter(could_be_a_disk)
            .collect();
        crate::files::recognise(&mut disks, files.values());
        let peers = disks.iter().filter_map(Peer::of).collect();
        let parts = partition::find(&root, &disks, &udev, parts);
        // Behind them, so that what stands on a whole disk is known before.
        disks.extend(parts);
        let host = host();
        let snapshot = self.snapshot(wanted).await;
        let lvm = match &snapshot {
            Ok(snapshot) => Ok(view(snapshot)),
            Err(why) => Err(why.clone()),
        };
        let preflight = self.preflight(needs_thin).await;
        Ok(Node {
            native: NativeClaims::read(Path::new(HOSTS_ROOT)),
            peers,
            disks,
            host,
            preflight,
            snapshot,
            lvm,
        })
    }

    async fn preflight(&mut self, needs_thin: bool) -> Vec<NodeCheck> {
        let locks = match Places::here() {
            Ok(places) => lock_dir::prove(&places).err().map(|e| e.to_string()),
            Err(error) => Some(format!("/proc/self/mountinfo cannot be read: {error}")),
        };
        let tools = if self.tools_checked {
            None
        } else {
            let found = self.tool.preflight(&self.runner).await;
            self.tools_checked = found.is_ok();
            found.err().map(|error| error.to_string())
        };
        let mut checks = vec![
            NodeCheck::new("LockDirectory", locks),
            NodeCheck::new("Tools", tools),
        ];
        if needs_thin {
            let thin_pools = lvmd::host::thin_pools().err();
            checks.push(NodeCheck::new("ThinPools", thin_pools));
        }
        checks
    }
}

/// Memory disks, LVs, empty loops and drives are nobody's disks; listing them hides the rest.
fn could_be_a_disk(facts: &DiskFacts) -> bool {
    let dull = ["ram", "loop", "zram", "sr", "fd", "dm-", "md", "nbd"];
    let is_dull = dull.iter().any(|prefix| facts.name.starts_with(prefix));
    !is_dull || facts.name.starts_with("loop") && facts.size.is_some_and(|size| size.0 > 0)
}

fn view(snapshot: &Snapshot) -> LvmView {
    let mut lvm = LvmView::default();
    for entry in &snapshot.vgs {
        let vg = &entry.vg;
        lvm.vgs.push(VgView {
            name: vg.name.clone(),
            uuid: vg.uuid.clone(),
            tags: vg.tags.clone(),
            missing_pvs: vg.missing_pvs,
            exported: vg.exported,
            clustered: false,
            shared: vg.shared,
            system_id: Some(vg.system_id.clone()).filter(|id| !id.is_empty()),
        });
        lvm.pvs.extend(vg.pvs.iter().map(|pv| {
            PvView {
                device: (!pv.missing).then(|| pv.device.trim_start_matches("/dev/").to_owned()),
                uuid: pv.uuid.clone(),
                vg_uuid: Some(vg.uuid.clone()),
                duplicate: pv.duplicate
                    || entry
                        .frozen
                        .iter()
                        .any(|f| matches!(f, Freeze::DuplicatePv(uuid, _) if *uuid == pv.uuid)),
                shrunk: entry
                    .frozen
                    .iter()
                    .any(|f| matches!(f, Freeze::Shrunk(uuid, _) if *uuid == pv.uuid)),
                extents: Bytes(pv.extent_count.saturating_mul(vg.extent_size.0)),
                extent: vg.extent_size,
            }
        }));
    }
    lvm
}

/// Who uses block devices on this host now.
pub(crate) fn host() -> HostFacts {
    HostFacts::read(&Root::host(), host_proof())
}

/// What the kernel calls its first PID namespace (PROC_PID_INIT_INO of include/linux/proc_ns.h).
const EVERY_PROCESS: &str = "pid:[4026531836]";

/// Shows that `/proc/1` is the host's: it is in the PID namespace that has every process, the mount
/// table of PID 1 has the `/run` on which udevd listens, and it is the same socket that we see.
///
/// A node may run its containers in a PID namespace that it shares with no service of its own, and
/// hostPID means that one there (Talos 1.14, `workloadIsolation`): its PID 1 sees the host's `/run`,
/// but who has a disk open outside of it is not to be seen.
pub fn host_proof() -> HostProof {
    match std::fs::read_link("/proc/1/ns/pid") {
        Ok(namespace) if namespace.as_os_str() == EVERY_PROCESS => {}
        Ok(namespace) => {
            return HostProof::Unproven(format!(
                "it shows the processes of {} only, not all of the kernel's",
                namespace.display()
            ));
        }
        Err(error) => return HostProof::Unproven(format!("/proc/1/ns/pid: {error}")),
    }
    let theirs = match std::fs::read_to_string("/proc/1/mountinfo") {
        Ok(text) => text,
        Err(error) => return HostProof::Unproven(format!("/proc/1/mountinfo: {error}")),
    };
    let same = |a: &Path, b: &Path| {
        use std::os::unix::fs::MetadataExt;
        let id = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino()));
        matches!((id(a), id(b)), (Ok(a), Ok(b)) if a == b)
    };
    let (here, there) = (
        Path::new("/run/udev/control"),
        Path::new("/proc/1/root/run/udev/control"),
    );
    if !same(here, there) {
        return HostProof::Unproven("PID 1 does not see the udevd that we see".into());
    }
    let places = Places {
        mountinfo: theirs,
        lock_dir: "/run/lock/lvm".into(),
        host_run: "/nonexistent".into(),
        udev_control: here.into(),
    };
    match lock_dir::prove(&places) {
        Ok(Proof::OnTheHost) => {
            HostProof::Proven("PID 1 has the /run on which udevd listens".into())
        }
        Ok(other) => HostProof::Unproven(format!("the /run of PID 1 is {other}")),
        Err(error) => HostProof::Unproven(error.found),
    }
}

/// What is ours, for the rules.
pub fn ours(journal: Option<&crate::journal::Journal>) -> Ours {
    match journal {
        None => Ours::default(),
        Some(journal) => Ours {
            owner: Some(journal.owner().to_owned()),
            pv_uuids: journal
                .claims()
                .map(|claim| claim.pv_uuid.clone())
                .collect::<BTreeSet<_>>(),
            disks: (journal.claims()).map(|claim| claim.disk.clone()).collect(),
        },
    }
}

/// An error and its sources in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    if text.is_empty() {
        warn!("an error without words");
    }
    text
}
