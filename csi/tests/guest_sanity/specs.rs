//! What csi-sanity is asked to run, and what has to come of it.

/// What a run came to: specs that passed, failed, and were skipped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u32,
    pub(super) failed: u32,
    pub(super) skipped: u32,
}

impl Counts {
    /// Of what csi-sanity prints; `None` when it did not come to its end.
    ///
    /// `Ran 90 of 92 Specs`, then `SUCCESS! -- 90 Passed | 0 Failed | 1 Pending | 1 Skipped`.
    pub(super) fn of(text: &str) -> Option<Self> {
        let line = text
            .lines()
            .rev()
            .find(|line| line.contains(" Passed | "))?;
        let number = |word: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = words.iter().position(|w| *w == word)?;
            words.get(at.checked_sub(1)?)?.parse().ok()
        };
        Some(Self {
            passed: number("Passed")?,
            failed: number("Failed")?,
            skipped: number("Skipped")?,
        })
    }

    /// The part of csi-sanity's output that says what failed.
    pub(super) fn failures(text: &str) -> &str {
        text.find("Summarizing").map_or(text, |at| &text[at..])
    }
}

/// Volumes of 1 GiB, as upstream's own run has them.
pub(super) const THIN_SIZES: [&str; 2] = [
    "--csi.testvolumesize=1073741824",
    "--csi.testvolumeexpandsize=2147483648",
];
/// Small enough for the guest's disks.
pub(super) const THICK_SIZES: [&str; 2] = [
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

/// The argument that leaves those out.
pub(super) fn no_snapshots() -> String {
    format!("--ginkgo.skip={}", SNAPSHOTS.join("|"))
}

/// The specs that csi-sanity itself skips: they are about calls this driver does not offer (attaching, staging,
/// modifying, groups of snapshots, the health calls of CSI 1.13).
const NOT_OFFERED: u32 = 36;

/// What has to come of thin volumes: everything passes.
pub(super) const THIN: Counts = Counts {
    passed: 66,
    failed: 0,
    skipped: NOT_OFFERED,
};
/// What has to come of thick volumes: everything passes but what needs a snapshot.
pub(super) const THICK: Counts = Counts {
    passed: 55,
    failed: 0,
    skipped: NOT_OFFERED + 11,
};
