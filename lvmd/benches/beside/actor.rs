//! Who does it: our lvmd, one raw lvm command, upstream's lvmd.

use std::future::Future;
use std::time::{Duration, Instant};

use lvmd::proto::lv_service_client::LvServiceClient;
use lvmd::proto::vg_service_client::VgServiceClient;
use lvmd::proto::{
    CreateLvRequest, CreateLvSnapshotRequest, GetFreeBytesRequest, GetLvListRequest,
    RemoveLvRequest, ResizeLvRequest,
};
use tonic::transport::Channel;

use crate::cases::{Case, settle};
use crate::daemon::Daemons;
use crate::host::lvm;

const MIB: i64 = 1 << 20;
/// Sizes before and after growing.
const SMALL: i64 = 8 * MIB;
const LARGE: i64 = 16 * MIB;

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    Ours,
    Raw,
    Peer,
}

/// What is done, each in the state the one before left.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Create(&'static str),
    Resize(&'static str),
    Snapshot,
    Remove(&'static str, &'static str),
    List,
    Free,
}

/// A volume's life in each VG; what no case names is not timed.
pub const STEPS: [(Option<Case>, Step); 12] = [
    (Some(Case::CreateThick), Step::Create("thick")),
    (Some(Case::ResizeThick), Step::Resize("thick")),
    (Some(Case::List), Step::List),
    (Some(Case::Free), Step::Free),
    (Some(Case::RemoveThick), Step::Remove("thick", "x")),
    (Some(Case::CreateThin), Step::Create("thin")),
    (Some(Case::SnapshotThin), Step::Snapshot),
    (Some(Case::ResizeThin), Step::Resize("thin")),
    (Some(Case::RemoveThin), Step::Remove("thin", "x")),
    (None, Step::Remove("thin", "copy")),
    (None, Step::Create("zeroed")),
    (Some(Case::RemoveThickZeroed), Step::Remove("zeroed", "x")),
];

impl Actor {
    pub const ALL: [Self; 3] = [Self::Ours, Self::Raw, Self::Peer];

    /// Does every case once.
    pub async fn round(self, daemons: &Daemons) -> Vec<(Case, Duration)> {
        let mut took = Vec::new();
        for (case, step) in STEPS {
            settle();
            let duration = self.step(daemons, step).await;
            took.extend(case.map(|case| (case, duration)));
        }
        settle();
        took
    }

    /// Does one step; how long it took.
    pub async fn step(self, daemons: &Daemons, step: Step) -> Duration {
        match self {
            Self::Raw => raw(step),
            Self::Ours => ask(&daemons.ours.channel, step).await,
            Self::Peer => ask(&daemons.peer.channel, step).await,
        }
    }
}

/// The lvm command that does the same, with lvm's defaults.
fn raw(step: Step) -> Duration {
    let text = match step {
        Step::Create("thin") => "lvcreate -y -V 8M -T thin/pool -n x".to_owned(),
        Step::Create(vg) => format!("lvcreate -y -W y -L 8M -n x {vg}"),
        Step::Resize(vg) => format!("lvextend -L 16M {vg}/x"),
        Step::Snapshot => "lvcreate -y -s -k n -a y -p r -n copy thin/x".to_owned(),
        Step::Remove(vg, name) => format!("lvremove -y {vg}/{name}"),
        Step::List => "lvs --reportformat json thick".to_owned(),
        Step::Free => "vgs --reportformat json thick".to_owned(),
    };
    let args: Vec<_> = text.split(' ').collect();
    let started = Instant::now();
    lvm(&args);
    started.elapsed()
}

/// The call that does it.
async fn ask(channel: &Channel, step: Step) -> Duration {
    let (mut lv, mut vg) = (
        LvServiceClient::new(channel.clone()),
        VgServiceClient::new(channel.clone()),
    );
    match step {
        Step::Create(class) => {
            timed(lv.create_lv(CreateLvRequest {
                name: "x".into(),
                device_class: class.into(),
                size_bytes: SMALL,
                ..Default::default()
            }))
            .await
        }
        Step::Resize(class) => {
            timed(lv.resize_lv(ResizeLvRequest {
                name: "x".into(),
                device_class: class.into(),
                size_bytes: LARGE,
            }))
            .await
        }
        Step::Snapshot => {
            timed(lv.create_lv_snapshot(CreateLvSnapshotRequest {
                name: "copy".into(),
                source_volume: "x".into(),
                device_class: "thin".into(),
                access_type: "ro".into(),
                size_bytes: SMALL,
                ..Default::default()
            }))
            .await
        }
        Step::Remove(class, name) => {
            timed(lv.remove_lv(RemoveLvRequest {
                name: name.into(),
                device_class: class.into(),
            }))
            .await
        }
        Step::List => {
            timed(vg.get_lv_list(GetLvListRequest {
                device_class: "thick".into(),
            }))
            .await
        }
        Step::Free => {
            timed(vg.get_free_bytes(GetFreeBytesRequest {
                device_class: "thick".into(),
            }))
            .await
        }
    }
}

async fn timed<T>(call: impl Future<Output = Result<T, tonic::Status>>) -> Duration {
    let started = Instant::now();
    let answer = call.await;
    let took = started.elapsed();
    assert!(answer.is_ok(), "{:?}", answer.err());
    took
}
