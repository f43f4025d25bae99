//! What is done for requests to wipe disks, as [`crate::wipe`] says. One disk at a time, and
//! passes go on meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lvmd::cmd::Runner;
use lvmd::units::Bytes;
use tokio::task::JoinHandle;
use tracing::error;

use super::{Judged, Watcher, id_of};
use crate::apply::wipe::{Job, Progress, wipe};
use crate::config::{Config, DiskWipeRequest, write_instant};
use crate::facts::DiskId;
use crate::identity::Identity;
use crate::journal::{Journal, Wiped};
use crate::node;
use crate::status::{GroupPv, NodeRequest, NodeVolumeGroup, RequestState};
use crate::wipe::{Answer, Seen, decide, offer};

/// How long a request is good that status offers, in seconds.
const OFFERED: u64 = 24 * 3600;

/// A wipe under way.
#[derive(Debug)]
pub(super) struct Wiping {
    /// As it was when the wipe began.
    request: DiskWipeRequest,
    record: Wiped,
    /// The disk's kernel name.
    name: String,
    size: Bytes,
    progress: Watched,
    task: JoinHandle<Result<(), String>>,
}

/// The progress of a wipe that somebody watches over. Dropped, as when the loop over the disks breaks, it stops the wipe:
/// nobody would take note that its request was taken back.
#[derive(Debug, Default)]
struct Watched(Arc<Progress>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

impl Wiping {
    /// The disk.
    pub(super) fn disk(&self) -> &DiskId {
        &self.record.disk
    }

    /// Stops it after the step that is under way.
    pub(super) async fn stop(self) {
        self.progress.0.stop.store(true, Ordering::Relaxed);
        let _ = self.task.await;
    }
}

impl<R: Runner + Clone> Watcher<R> {
    /// Looks at all requests, ends a wipe that has come to its end, and begins one.
    pub(super) async fn wipe_disks(
        &mut self,
        config: &Config,
        judged: &[Judged],
        groups: &[NodeVolumeGroup],
    ) {
        self.end_wipe(config).await;
        let node = self.node_name.clone();
        for request in config.wipes.iter().filter(|request| request.node == node) {
            let (state, message) = self.wipe_one(request, config.why_held(), judged, groups);
            self.requests.push(NodeRequest {
                kind: "DiskWipeRequest",
                name: request.name.clone(),
                disk: Some(request.disk.clone()),
                state,
                message,
            });
        }
    }

    fn wipe_one(
        &mut self,
        request: &DiskWipeRequest,
        held: Option<&str>,
        judged: &[Judged],
        groups: &[NodeVolumeGroup],
    ) -> (RequestState, String) {
        let Some(journal) = &self.journal else {
            return (RequestState::Waiting, "nothing is changed here".into());
        };
        let before = match journal.wiped(&request.fingerprint) {
            Ok(before) => before,
            Err(error) => return (RequestState::Refused, node::chain(&error)),
        };
        if before.as_ref().is_some_and(|wiped| wiped.finished) {
            return (RequestState::Done, "wiped".into());
        }
        match &self.wiping {
            Some(running) if running.request.is_still(request) => {
                let done = Bytes(running.progress.0.done.load(Ordering::Relaxed));
                return (RequestState::Wiping, format!("{done} of {}", running.size));
            }
            Some(_) => return (RequestState::Waiting, "another wipe is under way".into()),
            None => {}
        }
        if let Some(why) = held {
            return (RequestState::Waiting, format!("nothing is begun: {why}"));
        }
        if let Some(why) = self.refusals.waits(&request.fingerprint, Instant::now()) {
            return (RequestState::Refused, why);
        }
        let disks: Vec<&Judged> = judged
            .iter()
            .filter(|j| id_of(&j.facts).as_ref() == Some(&request.disk))
            .collect();
        let seen: Vec<Seen<'_>> = disks.iter().map(|j| self.seen(j, groups)).collect();
        match decide(request, now(), &seen) {
            Answer::Waiting(why) => (RequestState::Waiting, why),
            Answer::Refused(why) if before.is_some() => (
                RequestState::Refused,
                format!(
                    "it was begun and cut off, look at the disk and write a new request; {why}"
                ),
            ),
            Answer::Refused(why) => (RequestState::Refused, why),
            Answer::Go => match request.stands(Instant::now()) {
                Err(why) => (RequestState::Waiting, why),
                Ok(()) => match self.begin_wipe(request, disks[0]) {
                    Ok(()) => (RequestState::Wiping, "begun".into()),
                    Err(why) => (RequestState::Refused, why),
                },
            },
        }
    }

    fn seen<'a>(&self, judged: &'a Judged, groups: &[NodeVolumeGroup]) -> Seen<'a> {
        let id = id_of(&judged.facts);
        let mut claims = self.journal.iter().flat_map(Journal::claims);
        let pvs = || (judged.reading.iter()).flat_map(|r| r.report.pv.iter().chain(&r.members));
        let family = judged.facts.family();
        let is_here = |device: &String| {
            let name = device.strip_prefix("/dev/").unwrap_or(device);
            family.paths.contains(device) || family.names.contains(name)
        };
        // By its label and by what LVM says of the device: either is enough.
        let is_listed = |member: &GroupPv| {
            member.device.as_ref().is_some_and(is_here) || pvs().any(|pv| pv.uuid == member.uuid)
        };
        Seen {
            facts: &judged.facts,
            judgement: &judged.judgement,
            reading: judged.reading.as_ref(),
            listed: (groups.iter().flat_map(|group| &group.pvs)).any(is_listed),
            claimed: claims.any(|claim| {
                let is_it = |id: &DiskId| claim.disk == *id || claim.disk.is_part_of(id);
                id.as_ref().is_some_and(is_it) || pvs().any(|pv| pv.uuid == claim.pv_uuid)
            }),
        }
    }

    /// Records the intent, then begins.
    fn begin_wipe(&mut self, request: &DiskWipeRequest, disk: &Judged) -> Result<(), String> {
        let journal = self.journal.as_ref().ok_or("the journal vanished")?;
        let reading = disk.reading.as_ref().ok_or("it was not read")?;
        let record = Wiped {
            request: request.name.clone(),
            disk: request.disk.clone(),
            fingerprint: request.fingerprint.clone(),
            method: request.method,
            finished: false,
        };
        journal.record_wipe(&record).map_err(|e| node::chain(&e))?;
        // A journal that hangs takes its time.
        request.stands(Instant::now())?;
        let job = Job {
            facts: disk.facts.clone(),
            identity: Identity {
                id: request.disk.clone(),
                device: reading.device,
                fingerprint: request.fingerprint.clone(),
            },
            method: request.method,
            keep: journal.wipes_dir(),
        };
        let progress = Watched::default();
        let told = progress.0.clone();
        self.wiping = Some(Wiping {
            request: request.clone(),
            record,
            name: disk.facts.name.clone(),
            size: reading.device.size,
            progress,
            task: tokio::task::spawn_blocking(move || wipe(&job, &told)),
        });
        Ok(())
    }

    /// Ends a wipe that has come to its end; stops one whose request is gone or was changed.
    async fn end_wipe(&mut self, config: &Config) {
        let Some(wiping) = &self.wiping else { return };
        let wanted = |r: &DiskWipeRequest| r.is_still(&wiping.request);
        if !config.wipes.iter().any(wanted) {
            wiping.progress.0.stop.store(true, Ordering::Relaxed);
        }
        if !wiping.task.is_finished() {
            return;
        }
        let Some(Wiping {
            mut record,
            name,
            task,
            ..
        }) = self.wiping.take()
        else {
            return;
        };
        self.readings.forget(&name);
        let ended = match task.await {
            Ok(Ok(())) => {
                record.finished = true;
                let journal = self.journal.as_ref();
                journal
                    .map_or(Ok(()), |journal| journal.record_wipe(&record))
                    .map_err(|e| node::chain(&e))
            }
            Ok(Err(why)) => Err(why),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = ended {
            error!(disk = %record.disk, %why, "the disk was not wiped, or not all of it");
            let now = Instant::now();
            self.refusals.refused(record.fingerprint, now, now, &why);
        }
    }

    /// The request that would wipe this disk, for people to copy.
    pub(super) fn wipe_offer(&self, judged: &Judged, groups: &[NodeVolumeGroup]) -> Option<String> {
        let until = write_instant(now() + OFFERED);
        let id = id_of(&judged.facts)?;
        self.journal.as_ref()?;
        offer(&self.node_name, &id, &self.seen(judged, groups), &until)
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        // A clock that is not set voids every request.
        .map_or(u64::MAX, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Standing, WipeMethod};
    use lvmd::cmd::Host;
    use std::time::Duration;

    fn request() -> DiskWipeRequest {
        DiskWipeRequest {
            name: "w".into(),
            node: "n1".into(),
            disk: DiskId::from("naa.1".to_owned()),
            fingerprint: "ab".into(),
            signatures: ["ext4".to_owned()].into(),
            method: WipeMethod::Full,
            not_after: u64::MAX,
            confirm: Some("destroy naa.1 on n1".into()),
            standing: Standing::Object {
                uid: "u".into(),
                until: Some(Instant::now() + Duration::from_secs(10)),
            },
        }
    }

    /// A wipe that goes on until it is stopped, and then ends as a real one does.
    fn endless(request: DiskWipeRequest) -> Wiping {
        let progress = Watched::default();
        let told = progress.0.clone();
        Wiping {
            record: Wiped {
                request: request.name.clone(),
                disk: request.disk.clone(),
                fingerprint: request.fingerprint.clone(),
                method: request.method,
                finished: false,
            },
            request,
            name: "sda".into(),
            size: Bytes(1),
            progress,
            task: tokio::task::spawn_blocking(move || {
                while !told.stop.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                Err("it was stopped".into())
            }),
        }
    }

    #[tokio::test]
    async fn a_wipe_stops_when_its_request_says_anything_else() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let mut watcher = Watcher::new(Host, Some(journal), None, "n1".to_owned());
        let asked = |wipes| Config {
            wipes,
            ..Config::default()
        };
        let of = |change: fn(&mut DiskWipeRequest)| {
            let mut request = request();
            change(&mut request);
            asked(vec![request])
        };
        // The API server is away: nobody took it back.
        let silent = of(|r| {
            r.standing = Standing::Object {
                uid: "u".into(),
                until: None,
            };
        });
        for stops in [
            of(|r| r.confirm = None),
            of(|r| r.confirm = Some("no".into())),
            of(|r| r.name = "another".into()),
            of(|r| {
                r.standing = Standing::Object {
                    uid: "another".into(),
                    until: None,
                };
            }),
            asked(Vec::new()),
        ] {
            watcher.wiping = Some(endless(request()));
            watcher.end_wipe(&silent).await;
            let running = watcher.wiping.as_ref().unwrap();
            assert!(!running.progress.0.stop.load(Ordering::Relaxed));
            while watcher.wiping.is_some() {
                watcher.end_wipe(&stops).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let wiped = watcher.journal.as_ref().unwrap().wiped("ab").unwrap();
        assert_eq!(wiped, None, "none of them is written down as done");
    }

    #[tokio::test]
    async fn a_wipe_stops_when_the_loop_that_watches_over_it_breaks() {
        let mut watcher = Watcher::new(Host, None, None, "n1".to_owned());
        watcher.wiping = Some(endless(request()));
        let progress = watcher.wiping.as_ref().unwrap().progress.0.clone();
        fn breaks(_watcher: &mut Watcher<Host>) {
            panic!("the loop broke")
        }
        let broken = tokio::spawn(async move { breaks(&mut watcher) });
        assert!(broken.await.unwrap_err().is_panic());
        let stopped = progress.stop.swap(true, Ordering::Relaxed);
        assert!(stopped);
    }

    #[test]
    fn a_disk_is_ours_while_a_partition_of_it_is_claimed() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        let mut tree = crate::facts::fixture::Tree::new();
        tree.sata("sda", "8:0", "A1");
        let facts = tree.disk("sda");
        let id = id_of(&facts).unwrap();
        let part = id.of_part("f47ac10b-58cc-4372-a567-0e02b2c3d479");
        let judged = Judged {
            judgement: crate::rules::Judgement {
                disk: "sda".into(),
                id: facts.identify(),
                explanations: vec![],
                selection: crate::select::Selection::Nobody,
                reasons: vec![],
                verdict: crate::rules::Verdict::NotSelected,
            },
            facts,
            reading: None,
        };
        let claim = |disk: DiskId| crate::journal::Claim {
            pv_uuid: "u".into(),
            disk,
            class: "fast".into(),
            volume_group: "fast".into(),
            vg_uuid: None,
            size: Bytes(1),
            zeroes: crate::config::RequireZeroed::None,
            fingerprint: String::new(),
            stage: crate::journal::Stage::Claimed,
            leaving: None,
        };
        for (claimed, is) in [(DiskId::from("naa.2".to_owned()), false), (part, true)] {
            journal.record(claim(claimed)).unwrap();
            let watcher = Watcher::new(Host, Some(journal), None, "n1".to_owned());
            assert_eq!(watcher.seen(&judged, &[]).claimed, is);
            journal = watcher.journal.unwrap();
        }
    }
}
