//! csi-sanity, whole, against the standalone driver on real LVM. Run by `e2e-qemu test`,
//! which builds it (`e2e_qemu::peer`).

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "../guest/harness.rs"]
#[allow(dead_code, reason = "the other guest tests use the rest")]
mod harness;
mod specs;

use std::path::{Path, PathBuf};

use harness::{Driver, THIN, make_vg, output};
use specs::Counts;

/// Where `e2e_qemu::peer` left csi-sanity, or where `BASALT_SANITY` says.
fn built() -> PathBuf {
    let told = std::env::vars()
        .find(|(key, _)| key == "BASALT_SANITY")
        .map(|(_, dir)| dir);
    let there = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/sanity/current");
    let path = told.map_or_else(there, PathBuf::from).join("csi-sanity");
    assert!(
        path.is_file(),
        "{} is not there: `e2e-qemu test` builds it",
        path.display()
    );
    path
}

/// Runs csi-sanity; `more` are arguments of its own.
async fn sanity(config: &str, more: &[&str]) -> Counts {
    let driver = Driver::start(config).await;
    let dir = driver.dir.path();
    let endpoint = format!("unix://{}", driver.socket().display());
    let (mounts, staging) = (dir.join("mount"), dir.join("staging"));
    let mut args = vec![
        "--csi.endpoint".to_owned(),
        endpoint,
        format!("--csi.mountdir={}", mounts.display()),
        format!("--csi.stagingdir={}", staging.display()),
        "--ginkgo.no-color".to_owned(),
    ];
    args.extend(more.iter().map(|word| (*word).to_owned()));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let out = output(built().to_str().unwrap(), &args);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let counts = Counts::of(&text);
    if counts.as_ref().is_none_or(|counts| counts.failed > 0) {
        let summary = Counts::failures(&text);
        panic!("{summary}\n{}", String::from_utf8_lossy(&out.stderr));
    }
    driver.stop();
    println!("{counts:?}");
    counts.unwrap()
}

/// Thick volumes alone.
const THICK: &str =
    "device-classes:\n- {name: thick, volume-group: vg, default: true, spare-gb: 0, zero: none}\n";

#[tokio::test(flavor = "multi_thread")]
async fn thin_volumes_pass_every_spec() {
    make_vg(4, true);
    let counts = sanity(THIN, &specs::THIN_SIZES).await;
    assert_eq!(counts, specs::THIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn thick_volumes_pass_every_spec_that_needs_no_snapshot() {
    make_vg(4, false);
    let [size, larger] = specs::THICK_SIZES;
    let counts = sanity(THICK, &[size, larger, &specs::no_snapshots()]).await;
    assert_eq!(counts, specs::THICK);
}
