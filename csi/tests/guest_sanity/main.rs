//! csi-sanity, whole, against the standalone driver on real LVM. Run by `e2e-qemu test`,
//! which builds it (`e2e_qemu::peer`).

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

#[path = "../guest/harness.rs"]
#[allow(dead_code, reason = "the other guest tests use the rest")]
mod harness;

use std::path::{Path, PathBuf};

use harness::{Driver, THIN, make_vg, output};

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

/// What a run came to: specs that passed, failed, and were skipped.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    passed: u32,
    failed: u32,
    skipped: u32,
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
    let counts = counts(&text);
    if counts.as_ref().is_none_or(|counts| counts.failed > 0) {
        let summary = text
            .find("Summarizing")
            .map_or(text.as_str(), |at| &text[at..]);
        panic!("{summary}\n{}", String::from_utf8_lossy(&out.stderr));
    }
    driver.stop();
    println!("{counts:?}");
    counts.unwrap()
}

/// `Ran 90 of 92 Specs`, then `SUCCESS! -- 90 Passed | 0 Failed | 1 Pending | 1 Skipped`.
fn counts(text: &str) -> Option<Counts> {
    let line = text
        .lines()
        .rev()
        .find(|line| line.contains(" Passed | "))?;
    let number = |word: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|w| *w == word)?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    };
    Some(Counts {
        passed: number("Passed")?,
        failed: number("Failed")?,
        skipped: number("Skipped")?,
    })
}

/// Thick volumes alone.
const THICK: &str =
    "device-classes:\n- {name: thick, volume-group: vg, default: true, spare-gb: 0, zero: none}\n";

/// Volumes of 1 GiB, as upstream's own run has them.
const THIN_SIZES: [&str; 2] = [
    "--csi.testvolumesize=1073741824",
    "--csi.testvolumeexpandsize=2147483648",
];
/// Small enough for the guest's disks.
const THICK_SIZES: [&str; 2] = [
    "--csi.testvolumesize=67108864",
    "--csi.testvolumeexpandsize=134217728",
];

/// The specs that take a snapshot of a volume, or a copy.
const SNAPSHOTS: [&str; 6] = [
    "CreateVolume should create volume from an existing source",
    "CreateSnapshot .* should (fail|succeed) when requesting to create a snapshot with already existing name",
    "CreateSnapshot .* should succeed when creating snapshot with maximum-length name",
    "DeleteSnapshot .* should return appropriate values",
    "ListSnapshots .* (should return snapshots that match|check the presence|should return next token)",
    "GetSnapshot .* should return snapshot",
];

/// The specs that csi-sanity itself skips: they are about calls this driver does not offer (attaching, staging,
/// modifying, groups of snapshots, the health calls of CSI 1.13).
const NOT_OFFERED: u32 = 36;

#[tokio::test(flavor = "multi_thread")]
async fn thin_volumes_pass_every_spec() {
    make_vg(4, true);
    let counts = sanity(THIN, &THIN_SIZES).await;
    assert_eq!(
        counts,
        Counts {
            passed: 66,
            failed: 0,
            skipped: NOT_OFFERED
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn thick_volumes_pass_every_spec_that_needs_no_snapshot() {
    make_vg(4, false);
    let skip = format!("--ginkgo.skip={}", SNAPSHOTS.join("|"));
    let counts = sanity(THICK, &[THICK_SIZES[0], THICK_SIZES[1], &skip]).await;
    assert_eq!(
        counts,
        Counts {
            passed: 55,
            failed: 0,
            skipped: NOT_OFFERED + 11
        }
    );
}
