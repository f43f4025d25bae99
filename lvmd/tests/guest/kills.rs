//! lvmd and its lvm are killed together at random moments of each change, and started again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lvmd::proto::CreateLvSnapshotRequest;
use tonic::{Code, Status};

use crate::bystander::Bystanders;
use crate::harness::{BOTH, Daemon, MIB, all, eventually, make_vg, node, run};
use crate::random::Random;
use crate::thick_copies;
use crate::whole::{check_pool, wrecks};

/// How often each change is cut.
fn cuts() -> u32 {
    if all() { 20 } else { 3 }
}

/// A change of one kind: what it needs, itself, and that it is done.
struct Change<P, A, C> {
    what: &'static str,
    /// Where the bystanders are.
    class: &'static str,
    config: &'static str,
    prepare: P,
    act: A,
    check: C,
}

impl<P, A, C> Change<P, A, C>
where
    P: AsyncFn(&Daemon, u32),
    A: AsyncFn(&Daemon, u32) -> Result<(), Status>,
    C: AsyncFn(&Daemon, u32),
{
    /// Cuts it at random moments. After each cut and a restart the VG becomes whole by itself, the same request is
    /// done when asked again, and the bystanders have lost nothing.
    async fn cut(self) {
        let Self {
            what,
            class,
            config,
            prepare,
            act,
            check,
        } = self;
        make_vg(2, true);
        let mut random = Random::new();
        println!("{what}: moments from {random:?}");
        let mut daemon = Daemon::start(config).await;
        let bystanders = Bystanders::start(&daemon, class).await;
        // Twice without a cut: how long the second takes tells when to cut.
        let mut takes = Duration::ZERO;
        for i in 0..2 {
            prepare(&daemon, i).await;
            let started = Instant::now();
            act(&daemon, i).await.unwrap();
            takes = started.elapsed();
            check(&daemon, i).await;
        }
        let (mut cut, mut late, mut left) = (0, 0, BTreeMap::<String, u32>::new());
        let mut healed_after = Duration::ZERO;
        for i in 2.. {
            prepare(&daemon, i).await;
            let micros = random.below(u64::try_from(takes.as_micros()).unwrap());
            let moment = Duration::from_micros(micros);
            let started = Instant::now();
            let ended = tokio::time::timeout(moment, act(&daemon, i)).await.is_ok();
            if ended {
                // The first ones were slow: the machine has other things to do.
                takes = takes.min(started.elapsed());
            }
            let mut dir = daemon.kill();
            let found = wrecks();
            println!("  {moment:?}: ended {ended}, left {found:?}");
            for wreck in &found {
                *left.entry(wreck.replace(char::is_numeric, "")).or_default() += 1;
            }
            // Every other time what it does about that is cut too.
            if i % 2 == 0 {
                let healing = Daemon::start_in(dir, config).await;
                tokio::time::sleep(Duration::from_millis(random.below(200))).await;
                dir = healing.kill();
            }
            daemon = Daemon::start_in(dir, config).await;
            let restarted = Instant::now();
            eventually("the VG is whole", async || wrecks().is_empty()).await;
            healed_after = healed_after.max(restarted.elapsed());
            act(&daemon, i).await.expect("asked again");
            check(&daemon, i).await;
            bystanders.are_well(&daemon).await;
            // A call that had ended was not cut.
            *(if ended { &mut late } else { &mut cut }) += 1;
            if cut == cuts() {
                break;
            }
            assert!(late < 4 * cuts(), "it is too fast to be cut: {takes:?}");
        }
        eventually("the VG is whole", async || wrecks().is_empty()).await;
        daemon.stop();
        let writes = bystanders.finish();
        check_pool();
        println!(
            "result: {what}: cut at {cut} random moments of {takes:.0?}, {cut} done when asked again; the cuts left \
             {left:?}, whole at most {healed_after:.1?} after a restart; {writes} writes of a neighbour kept"
        );
    }
}

async fn nothing(_: &Daemon, _: u32) {}

/// The volume of this class has this size, in the metadata and in the kernel.
async fn has_size(daemon: &Daemon, class: &str, name: &str, size: i64) {
    let listed = daemon.list(class).await.unwrap();
    let volume = listed.iter().find(|volume| volume.name == name).unwrap();
    assert_eq!(volume.size_bytes, size, "{name}");
    let device = node(volume);
    let mapped = run("blockdev", &["--getsize64", device.to_str().unwrap()]);
    assert_eq!(mapped, size.to_string(), "{name}");
}

async fn create(class: &'static str, what: &'static str) {
    Change {
        what,
        class,
        config: BOTH,
        prepare: nothing,
        act: async |d: &Daemon, i: u32| {
            let name = format!("v{i}");
            let made = d.create_tagged(&name, class, 8 * MIB, &["basalt.lv=v"]);
            made.await.map(drop)
        },
        check: async |d: &Daemon, i: u32| has_size(d, class, &format!("v{i}"), 8 * MIB).await,
    }
    .cut()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_creating_a_thick_volume() {
    create("thick", "create thick").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_creating_a_thin_volume() {
    create("thin", "create thin").await;
}

async fn grow(class: &'static str, what: &'static str) {
    let size = |i: u32| (i64::from(i) + 3) * 4 * MIB;
    Change {
        what,
        class,
        config: BOTH,
        prepare: async |d: &Daemon, i: u32| {
            if i == 0 {
                let tags = &["basalt.lv=g"];
                d.create_tagged("g", class, 8 * MIB, tags).await.unwrap();
            }
        },
        act: async |d: &Daemon, i: u32| d.resize("g", class, size(i)).await.map(drop),
        check: async |d: &Daemon, i: u32| has_size(d, class, "g", size(i)).await,
    }
    .cut()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn killed_while_growing_a_thick_volume() {
    grow("thick", "grow thick").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn killed_while_growing_a_thin_volume() {
    grow("thin", "grow thin").await;
}

/// The source is written to all the while.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn killed_while_taking_a_snapshot_that_grows() {
    Change {
        what: "snapshot that grows",
        class: "thin",
        config: BOTH,
        prepare: nothing,
        act: async |d: &Daemon, i: u32| {
            let request = CreateLvSnapshotRequest {
                name: format!("s{i}"),
                source_volume: Bystanders::LIVE.into(),
                device_class: "thin".into(),
                access_type: "rw".into(),
                size_bytes: 16 * MIB,
                tags: vec!["basalt.lv=s".into()],
            };
            d.lv().create_lv_snapshot(request).await.map(drop)
        },
        check: async |d: &Daemon, i: u32| {
            let name = format!("s{i}");
            has_size(d, "thin", &name, 16 * MIB).await;
            d.remove(&name, "thin").await.unwrap();
        },
    }
    .cut()
    .await;
}

/// The source is written to all the while, and what its frozen state kept is overwritten afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_copying_a_thick_volume() {
    Change {
        what: "copy thick",
        class: "thick",
        config: thick_copies::OVERWRITTEN,
        prepare: nothing,
        act: async |d: &Daemon, i: u32| {
            thick_copies::whole(d, Bystanders::LIVE, &format!("c{i}"), "rw", 16 * MIB)
                .await
                .map(drop)
        },
        check: async |d: &Daemon, i: u32| {
            let name = format!("c{i}");
            has_size(d, "thick", &name, 16 * MIB).await;
            d.remove(&name, "thick").await.unwrap();
        },
    }
    .cut()
    .await;
}

async fn remove(class: &'static str, config: &'static str, what: &'static str) {
    Change {
        what,
        class,
        config,
        prepare: async |d: &Daemon, i: u32| {
            let tags = &["basalt.lv=r"];
            let made = d
                .create_tagged(&format!("r{i}"), class, 16 * MIB, tags)
                .await
                .unwrap();
            let to = format!("of={}", node(&made).display());
            run(
                "dd",
                &[
                    "if=/dev/urandom",
                    &to,
                    "bs=1M",
                    "count=4",
                    "oflag=direct",
                    "status=none",
                ],
            );
            run("udevadm", &["settle"]);
        },
        act: async |d: &Daemon, i: u32| match d.remove(&format!("r{i}"), class).await {
            // The cut request had done it.
            Err(status) if status.code() == Code::NotFound => Ok(()),
            other => other,
        },
        check: async |d: &Daemon, i: u32| {
            assert!(!d.names(class).await.contains(&format!("r{i}")));
            eventually("it is overwritten and gone", async || wrecks().is_empty()).await;
        },
    }
    .cut()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: `make test-all` runs it"]
async fn killed_while_removing_a_thick_volume() {
    remove("thick", BOTH, "remove thick").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_removing_a_thick_volume_that_is_overwritten() {
    const ZEROED: &str = "device-classes:
- {name: thick, volume-group: vg, default: true, spare-gb: 0}
";
    remove("thick", ZEROED, "remove thick, overwritten").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_removing_a_thin_volume() {
    remove("thin", BOTH, "remove thin").await;
}
