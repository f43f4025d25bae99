//! What another tool changes reaches watchers at once.

use std::time::{Duration, Instant};

use crate::harness::{BOTH, Daemon, disks, eventually, lvm, make_vg, run};
use crate::watching::{Watcher, item};

/// Ten times the goal of 200 ms.
const LIMIT: Duration = Duration::from_secs(2);

fn events(daemon: &Daemon, source: &str) -> u64 {
    let line = format!("lvmd_events_total{{source=\"{source}\"}} ");
    let page = daemon.page("/metrics").1;
    let count = page
        .lines()
        .find_map(|l| l.strip_prefix(&line)?.parse().ok());
    count.unwrap_or(0)
}

/// The median and the largest, in milliseconds.
fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    let (median, last) = (times[times.len() / 2], times[times.len() - 1]);
    format!(
        "{} changes, median {} ms, largest {} ms",
        times.len(),
        median.as_millis(),
        last.as_millis()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_any_tool_reaches_watchers_at_once() {
    make_vg(2, true);
    let daemon = Daemon::start(BOTH).await;
    let watcher = Watcher::of(&daemon).await;
    // What is new to lvmd makes it look too.
    run("udevadm", &["settle"]);
    let commands = [
        "lvcreate -y -l 2 -n a vg",
        "lvextend -l +3 vg/a",
        "lvcreate -y -l 1 -n b vg",
        "lvremove -y vg/a",
        "lvcreate -y -V 16M -T vg/pool -n t",
        "lvextend -L +16M vg/t",
        "lvcreate -y -an -Zn -Wn -l 4 -n c vg",
        "lvremove -y vg/c",
        "lvremove -y vg/t",
        "lvremove -y vg/b",
    ];
    let mut after_end = Vec::new();
    for command in commands {
        let before = watcher.last("thick").unwrap();
        let promised = watcher.last("thin").unwrap().thin_pool.unwrap();
        let seen = watcher.count();
        lvm(&command.split(' ').collect::<Vec<_>>());
        let ended = Instant::now();
        let told = watcher
            .when_from(seen, command, |m| {
                item(m, "thick").is_some_and(|i| i.free_bytes != before.free_bytes)
                    || item(m, "thin").is_some_and(|i| {
                        let now = i.thin_pool.as_ref().unwrap();
                        now.overprovision_bytes != promised.overprovision_bytes
                    })
            })
            .await;
        let took = told.saturating_duration_since(ended);
        println!("{command}: told {took:?} after its end");
        assert!(took < LIMIT, "{command}: {took:?}");
        after_end.push(took);
        // So that the next change is not told with this one.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!(
        "result: from the end of another lvm's command to Watch: {}",
        summary(after_end)
    );
    assert!(events(&daemon, "mapper") > 0 && events(&daemon, "lock") > 0);

    // A change that changes nothing for watchers is heard, and not told.
    let (seen, heard) = (watcher.count(), events(&daemon, "lock"));
    lvm(&["vgchange", "--addtag", "x", "vg"]);
    eventually("the change is heard", async || {
        events(&daemon, "lock") > heard
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(watcher.count(), seen, "only differences are told");

    // A disk that joins, and one that is blank all of a sudden: no lvm says so.
    let third = disks()[2].clone();
    let size = watcher.last("thick").unwrap().size_bytes;
    lvm(&["vgextend", "vg", &third]);
    let ended = Instant::now();
    let told = watcher
        .when("the disk that joined", |m| {
            item(m, "thick").is_some_and(|i| i.size_bytes > size)
        })
        .await;
    println!(
        "vgextend: told {:?} after its end",
        told.saturating_duration_since(ended)
    );
    assert!(told.saturating_duration_since(ended) < LIMIT);
    // While udevd is busy with a disk it does not watch it for writes, and what is written then is told by nobody.
    run("udevadm", &["settle"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (of, heard) = (format!("of={third}"), events(&daemon, "uevent"));
    let blank = [
        "if=/dev/zero",
        of.as_str(),
        "bs=1M",
        "count=1",
        "oflag=direct",
        "status=none",
    ];
    run("dd", &blank);
    let ended = Instant::now();
    let told = watcher
        .when("the group is partial", |m| {
            crate::watching::has(m, "thick", "VGPartial")
        })
        .await;
    let took = told.saturating_duration_since(ended);
    println!(
        "result: from a label that vanished to Watch: {} ms",
        took.as_millis()
    );
    assert!(took < LIMIT, "{took:?}");
    // On a busy machine a late event of the joining may have been the first to make it look.
    eventually("the disk's own event is heard", async || {
        events(&daemon, "uevent") > heard
    })
    .await;
    daemon.stop();
}
