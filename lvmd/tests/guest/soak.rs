//! A long life in a short time: two writers change one VG at once, lvmd and its lvm are killed at random moments, and
//! at the end every volume is one that somebody asked for, of the right size, with the data that was written to it.

#[path = "soak/model.rs"]
mod model;
#[path = "soak/other.rs"]
mod other;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tonic::{Code, Status};

use crate::bystander::Bystanders;
use crate::harness::{BOTH, Daemon, all, anonymous, descriptors, eventually, lvm, make_vg, rss};
use crate::random::Random;
use crate::whole::{left_over, wrecks};
use model::{Change, Model};
use other::OtherTool;

/// Removed thick volumes are overwritten.
const ZEROED: &str = "device-classes:
- {name: thick, volume-group: vg, default: true, spare-gb: 0}
- {name: thin, volume-group: vg, spare-gb: 0, type: thin, thin-pool: {name: pool, overprovision-ratio: 5.0}}
";

/// The changes and reads in one guest. `make test-all` runs four guests at once.
fn counts() -> (u32, u32) {
    if all() { (1000, 25_000) } else { (20, 500) }
}

/// What happened.
#[derive(Debug, Default)]
struct Tally {
    done: BTreeMap<&'static str, u32>,
    full: u32,
    kills: u32,
    in_the_middle: u32,
}

/// lvmd, which is killed now and then.
struct Mortal {
    config: &'static str,
    daemon: Option<Daemon>,
    random: Random,
    usual: Duration,
    tally: Tally,
}

impl Mortal {
    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    /// Asks until it is answered; now and then one is cut by a kill of lvmd with all it started.
    async fn ask(&mut self, change: &Change) -> Result<(), Status> {
        if self.random.below(if all() { 12 } else { 4 }) == 0 {
            let micros = u64::try_from(self.usual.as_micros()).unwrap();
            let moment = Duration::from_micros(self.random.below(micros));
            let answer = tokio::time::timeout(moment, change.ask(self.daemon())).await;
            self.kill_and_restart().await;
            match answer {
                Ok(answer) => return answer,
                Err(_) => self.tally.in_the_middle += 1,
            }
        }
        let started = Instant::now();
        let answer = change.ask(self.daemon()).await;
        self.usual = (self.usual * 7 + started.elapsed()) / 8;
        answer
    }

    async fn kill_and_restart(&mut self) {
        self.tally.kills += 1;
        let mut dir = self.daemon.take().unwrap().kill();
        // What it does about what was left is cut too, every third time.
        if self.random.below(3) == 0 {
            let healing = Daemon::start_in(dir, self.config).await;
            tokio::time::sleep(Duration::from_millis(self.random.below(300))).await;
            dir = healing.kill();
            self.tally.kills += 1;
        }
        self.daemon = Some(Daemon::start_in(dir, self.config).await);
    }
}

/// How often lvmd found which wreck, and what came of it.
fn found(log: &str) -> BTreeMap<String, u32> {
    let mut kinds = BTreeMap::new();
    for line in log
        .lines()
        .filter(|line| line.contains("volumes::heal: found"))
    {
        let text = line.split("wreck=").nth(1).unwrap_or_default();
        let words = text
            .split(' ')
            .filter(|word| !word.contains(char::is_numeric));
        let words = words.filter(|word| !word.starts_with("LVM-"));
        *kinds
            .entry(words.collect::<Vec<_>>().join(" "))
            .or_default() += 1;
    }
    kinds
}

async fn soak(config: &'static str) {
    let (changes, reads) = counts();
    let began = Instant::now();
    make_vg(4, true);
    let random = Random::new();
    println!("from {random:?}");
    let mut lvmd = Mortal {
        config,
        daemon: Some(Daemon::start(config).await),
        random,
        usual: Duration::from_millis(500),
        tally: Tally::default(),
    };
    let bystanders = Bystanders::start(lvmd.daemon(), "thin").await;
    let other = OtherTool::start();
    let mut model = Model::default();
    let mut made = 0;
    while made + other.changes() < changes {
        let change = model.next(&mut lvmd.random);
        match lvmd.ask(&change).await {
            Ok(()) => {
                model.done(&change, lvmd.daemon()).await;
                *lvmd.tally.done.entry(change.kind()).or_default() += 1;
                made += 1;
            }
            Err(status) if status.code() == Code::ResourceExhausted => lvmd.tally.full += 1,
            Err(status) => panic!("{change:?}: {status}"),
        }
        other.is_well();
        if made % 100 == 0 {
            bystanders.are_well(lvmd.daemon()).await;
            println!("{made} changes after {:.0?}", began.elapsed());
        }
    }
    let (others, theirs) = other.finish().await;
    let changed = began.elapsed();

    // Then it is read from, without a restart.
    let daemon = lvmd.daemon.take().unwrap();
    eventually("the VG is whole", async || wrecks().is_empty()).await;
    read(&daemon, reads / 10).await;
    let before = Held::by(daemon.pid());
    read(&daemon, reads).await;
    let after = Held::by(daemon.pid());
    println!("result: before and after {reads} reads: {before:?}, {after:?}");
    // A working set that is larger than any before stays allocated; 400,000 reads showed one such step of 0.9 MB and
    // nothing else.
    assert!(after.anonymous_kib <= before.anonymous_kib + 2048);
    assert!(after.descriptors <= before.descriptors + 2);

    // Nothing is there that nobody asked for, and what is there is as it was left.
    model.verify(&daemon).await;
    let mut expected = model.names();
    expected.extend(theirs);
    expected.extend([Bystanders::LIVE, Bystanders::REST, "pool"].map(str::to_owned));
    expected.sort();
    let listed = lvm(&["lvs", "--noheadings", "-o", "lv_name", "vg"]);
    let mut names: Vec<_> = listed.split_whitespace().map(str::to_owned).collect();
    names.sort();
    assert_eq!(
        names, expected,
        "the volumes LVM has, and those somebody asked for"
    );
    let wrecks = found(&daemon.log());
    daemon.stop();
    let writes = bystanders.finish();
    // LVM (2.03.31) forgets a device when another tool works in a pool before it is healed.
    let left = left_over();
    assert!(
        left.len() <= usize::try_from(lvmd.tally.in_the_middle).unwrap(),
        "{left:?}"
    );
    let tally = lvmd.tally;
    let kinds: Vec<_> = tally
        .done
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    println!(
        "result: soak: {made} changes ({}) and {others} by another tool at once in {changed:.0?}, {} more refused for \
         lack of space; {} kills, {} in the middle of a change; lvmd found and treated {wrecks:?}; {} volumes left, none \
         unexplained, {} devices left over in the pool, {} blocks checked; {writes} writes of a neighbour kept",
        kinds.join(", "),
        tally.full,
        tally.kills,
        tally.in_the_middle,
        names.len(),
        left.len(),
        model.checked,
    );
}

/// What a process holds.
#[derive(Debug)]
#[expect(dead_code, reason = "printed")]
struct Held {
    /// Flat; all that is resident grows as code is run for the first time, and a debug build has much of it.
    anonymous_kib: u64,
    resident_kib: u64,
    descriptors: usize,
}

impl Held {
    fn by(pid: i32) -> Self {
        Self {
            anonymous_kib: anonymous(pid),
            resident_kib: rss(pid),
            descriptors: descriptors(pid),
        }
    }
}

/// Reads of all kinds, eight at a time.
async fn read(daemon: &Daemon, count: u32) {
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (mut vg, count) = (daemon.vg(), count / 8);
        readers.spawn(async move {
            for i in 0..count {
                let device_class = ["thick", "thin"][i as usize % 2].to_owned();
                if i % 4 < 2 {
                    let request = lvmd::proto::GetLvListRequest { device_class };
                    let listed = vg.get_lv_list(request).await.unwrap().into_inner();
                    assert!(!listed.volumes.is_empty() || i % 2 == 0);
                } else {
                    let request = lvmd::proto::GetFreeBytesRequest { device_class };
                    vg.get_free_bytes(request).await.unwrap();
                }
            }
        });
    }
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_and_random_kills_in_the_first_guest() {
    soak(ZEROED).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "more of the first"]
async fn two_writers_and_random_kills_in_the_second_guest() {
    soak(BOTH).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "more of the first"]
async fn two_writers_and_random_kills_in_the_third_guest() {
    soak(ZEROED).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "more of the first"]
async fn two_writers_and_random_kills_in_the_fourth_guest() {
    soak(BOTH).await;
}
