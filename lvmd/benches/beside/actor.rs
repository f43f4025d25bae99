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
/// How often a read is asked in a row.
const READS: usize = 5;
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
    pub async fn round(self, daemons: &Daemons, answers: &Answers) -> Vec<(Case, Duration)> {
        let mut took = Vec::new();
        for (case, step) in STEPS {
            settle();
            let times = match step {
                Step::List | Step::Free => READS,
                _ => 1,
            };
            for _ in 0..times {
                let duration = self.step(daemons, step, Some(answers)).await;
                took.extend(case.map(|case| (case, duration)));
            }
        }
        settle();
        took
    }

    /// Does one step; how long it took. What a read says is held against `answers`.
    pub async fn step(self, daemons: &Daemons, step: Step, answers: Option<&Answers>) -> Duration {
        match self {
            Self::Raw => raw(step, answers),
            Self::Ours => ask(&daemons.ours.channel, step, answers).await,
            Self::Peer => ask(&daemons.peer.channel, step, answers).await,
        }
    }
}

/// What reads must say, with the volume of the round there.
#[derive(Debug)]
pub struct Answers {
    volumes: usize,
    free: u64,
}

impl Answers {
    /// Beside so many other volumes, before the first round.
    pub fn now(volumes: u32) -> Self {
        let free = "vgs --noheadings --nosuffix --units b -o vg_free thick".split(' ');
        let free: u64 = lvm(&free.collect::<Vec<_>>()).parse().unwrap();
        Self {
            volumes: usize::try_from(volumes).unwrap() + 1,
            free: free - u64::try_from(LARGE).unwrap(),
        }
    }
}

/// The lvm command that does the same, with lvm's defaults.
fn raw(step: Step, answers: Option<&Answers>) -> Duration {
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
    let said = lvm(&args);
    let took = started.elapsed();
    if let (Some(answers), Step::List) = (answers, step) {
        assert_eq!(said.matches("\"lv_name\"").count(), answers.volumes);
    }
    took
}

/// The call that does it.
async fn ask(channel: &Channel, step: Step, answers: Option<&Answers>) -> Duration {
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
            .0
        }
        Step::Resize(class) => {
            timed(lv.resize_lv(ResizeLvRequest {
                name: "x".into(),
                device_class: class.into(),
                size_bytes: LARGE,
            }))
            .await
            .0
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
            .0
        }
        Step::Remove(class, name) => {
            timed(lv.remove_lv(RemoveLvRequest {
                name: name.into(),
                device_class: class.into(),
            }))
            .await
            .0
        }
        Step::List => {
            let (took, said) = timed(vg.get_lv_list(GetLvListRequest {
                device_class: "thick".into(),
            }))
            .await;
            if let Some(answers) = answers {
                assert_eq!(said.into_inner().volumes.len(), answers.volumes);
            }
            took
        }
        Step::Free => {
            let (took, said) = timed(vg.get_free_bytes(GetFreeBytesRequest {
                device_class: "thick".into(),
            }))
            .await;
            if let Some(answers) = answers {
                assert_eq!(said.into_inner().free_bytes, answers.free);
            }
            took
        }
    }
}

async fn timed<T>(call: impl Future<Output = Result<T, tonic::Status>>) -> (Duration, T) {
    let started = Instant::now();
    let answer = call.await;
    (started.elapsed(), answer.unwrap())
}
