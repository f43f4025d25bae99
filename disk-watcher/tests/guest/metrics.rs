//! What Prometheus gets.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::{CLASS, Watcher, is_ready, make_data, run, wait_for};

pub(crate) const ADDRESS: &str = "127.0.0.1:9109";

pub(crate) fn page() -> String {
    let Ok(mut stream) = TcpStream::connect(ADDRESS) else {
        return String::new();
    };
    let request = "GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn an_onboarding_and_an_extension_are_seen_in_the_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let watcher = Watcher::with(
        dir.path(),
        &CLASS.replace("60%", "30%"),
        &["--metrics-bind-address", ADDRESS],
    );
    wait_for(dir.path(), "Ready", || is_ready(dir.path()));
    make_data();
    run("sync", &[]);
    for line in [
        "diskwatcher_class_disks{class=\"fast\",state=\"Ready\"} 1",
        "diskwatcher_vg_missing_pvs{vg=\"fast\",class=\"fast\"} 0",
        "diskwatcher_pool_extendable{class=\"fast\",pool=\"pool0\"} 1",
        "diskwatcher_volume_writes_total{vg=\"fast\",volume=\"data\"} ",
        "diskwatcher_lvm_command_seconds_count{command=\"pvcreate\",result=\"ok\"} 1",
        "diskwatcher_extend_seconds_count{class=\"fast\",part=\"Data\",result=\"done\"} ",
        "diskwatcher_preflight{check=\"ThinPools\"} 1",
        "diskwatcher_resyncs_total 1",
        "diskwatcher_uevent_lag_seconds_count ",
    ] {
        wait_for(dir.path(), line, || page().contains(line));
    }
    let page = page();
    let kept = page.lines().filter(|line| !line.starts_with('#'));
    println!("result: {} samples", kept.count());
    drop(watcher);
    run("lvm", &["vgremove", "-q", "-y", "fast"]);
}
