//! csi-sanity, whole, against the standalone driver on real LVM. Run by `e2e-qemu test`,
//! which builds it (`e2e_qemu::peer`).

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "../guest/harness.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the other guest tests use the rest"
)]
mod harness;
mod specs;

use std::path::{Path, PathBuf};

use harness::{Driver, THIN, make_vg, output};
use specs::{Expected, Outcome};

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
async fn sanity(config: &str, more: &[&str], expected: &Expected) {
    let driver = Driver::start(config).await;
    let dir = driver.dir.path();
    let endpoint = format!("unix://{}", driver.socket().display());
    let (mounts, staging) = (dir.join("mount"), dir.join("staging"));
    let report = dir.join("report.json");
    let mut args = vec![
        "--csi.endpoint".to_owned(),
        endpoint,
        format!("--csi.mountdir={}", mounts.display()),
        format!("--csi.stagingdir={}", staging.display()),
        "--ginkgo.no-color".to_owned(),
        specs::report(report.to_str().unwrap()),
    ];
    args.extend(more.iter().map(|word| (*word).to_owned()));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let out = output(built().to_str().unwrap(), &args);
    let said = || {
        let (out, errors) = (
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr),
        );
        format!("{out}\n{errors}")
    };
    let report = std::fs::read_to_string(report).unwrap_or_else(|_| panic!("{}", said()));
    let outcome = Outcome::of(&report).unwrap();
    print!("{}", outcome.table(expected));
    if let Err(found) = outcome.check(expected) {
        panic!("{}\n{found}", said());
    }
    driver.stop();
    println!(
        "result: {} specs passed, {} are not for these volumes",
        outcome.passed.len(),
        outcome.left.len()
    );
}

/// Thick volumes alone.
const THICK: &str =
    "device-classes:\n- {name: thick, volume-group: vg, default: true, spare-gb: 0, zero: none}\n";

/// Thick volumes whose snapshots are copies.
const COPIED: &str = "device-classes:
- {name: thick, volume-group: vg, default: true, spare-gb: 0, zero: none, thick-snapshots: copy}
";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: csi-sanity copies many volumes"]
async fn thick_volumes_that_are_copied_pass_every_spec_that_thin_ones_do() {
    make_vg(4, false);
    sanity(COPIED, &specs::THICK_SIZES, &specs::thin()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thin_volumes_pass_every_spec() {
    make_vg(4, true);
    sanity(THIN, &specs::THIN_SIZES, &specs::thin()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thick_volumes_pass_every_spec_that_needs_no_snapshot() {
    make_vg(4, false);
    let [size, larger] = specs::THICK_SIZES;
    let all = [size, larger, &specs::no_copies()];
    sanity(THICK, &all, &specs::thick()).await;
}
