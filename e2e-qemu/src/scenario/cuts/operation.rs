//! What is done to the disks, and how it is told that it is done.

use serde_json::Value;

const MIB: u64 = 1 << 20;
/// The two disks, the disk of the journal, and one that is nobody's business; all of different sizes, which tell them apart.
pub(super) const DISKS: [u64; 2] = [256 * MIB, 288 * MIB];
pub(super) const JOURNAL: u64 = 16 * MIB;
pub(super) const BYSTANDER: u64 = 8 * MIB;
/// Where the recording guest leaves notes; no judge sees it.
pub(super) const NOTES: u64 = MIB;

/// What is recorded in one guest, one after another.
pub(super) struct Story {
    pub(super) name: &'static str,
    pub(super) operations: Vec<Operation>,
}

/// A change of the configuration that has the watcher change disks.
pub(super) struct Operation {
    pub(super) title: &'static str,
    config: String,
    /// Whether the first disk is asked to leave.
    leaves: bool,
    /// How many disks are taken in the end.
    disks: usize,
    /// How large the pool is at least in the end, its data and its metadata; `None`: there is none.
    pool: Option<(u64, u64)>,
    /// What is done in the guest before it: a volume is made.
    pub(super) volume_first: bool,
    /// Whether there is a volume with data in it.
    pub(super) has_volume: bool,
}

/// The class. It has one disk, or two; `pool` in the words of `spec.thinPool`.
fn class(disks: usize, pool: Option<&str>) -> String {
    let max = DISKS[disks - 1] / MIB;
    let pool = pool.map_or(String::new(), |pool| {
        format!("  thinPool: {{name: pool0, size: 40%, metadata: {{min: 4Mi}}{pool}}}\n")
    });
    format!(
        "apiVersion: basalt.storage/v1alpha1
kind: DiskClass
metadata: {{name: fast}}
spec:
  mode: Enforce
  discovery: Continuous
  select: {{transport: [ubd, virtio], size: {{min: 200Mi, max: {max}Mi}}}}
  limits: {{settle: 200ms, minDisks: {min}, maxDisks: {disks}}}
  safety: {{allowUniqueIdMissing: true, requireZeroed: HeadAndTail}}
  volumeGroup: {{name: fast}}
{pool}",
        min = disks,
    )
}

impl Story {
    pub(super) fn one_disk() -> Self {
        let pool = Some((64 * MIB, 4 * MIB));
        let volume = |title, config, pool| Operation {
            title,
            config,
            leaves: false,
            disks: 2,
            pool: Some(pool),
            volume_first: false,
            has_volume: true,
        };
        let grow = |what: &str| format!(", autoExtend: {{cooldown: 1s, {what}}}");
        let data = grow("data: {minFree: 70Mi, step: 60%}");
        // It is the free part that makes it grow: 4 MiB never have so much, and 8 MiB do.
        let metadata =
            grow("data: {minFree: 70Mi, step: 60%}, metadata: {minFree: 5Mi, step: 100%}");
        Self {
            name: "one",
            operations: vec![
                Operation {
                    title: "Onboarding one disk",
                    config: class(1, Some("")),
                    leaves: false,
                    disks: 1,
                    pool,
                    volume_first: false,
                    has_volume: false,
                },
                Operation {
                    volume_first: true,
                    ..volume(
                        "Extending the group",
                        class(2, Some("")),
                        (64 * MIB, 4 * MIB),
                    )
                },
                volume(
                    "Extending the pool's data",
                    class(2, Some(&data)),
                    (120 * MIB, 4 * MIB),
                ),
                volume(
                    "Extending the pool's metadata",
                    class(2, Some(&metadata)),
                    (120 * MIB, 8 * MIB),
                ),
                Operation {
                    leaves: true,
                    disks: 1,
                    ..volume(
                        "Taking a disk from the group",
                        class(2, Some("")),
                        (120 * MIB, 8 * MIB),
                    )
                },
            ],
        }
    }

    pub(super) fn two_disks() -> Self {
        let operation = |title, config, pool| Operation {
            title,
            config,
            leaves: false,
            disks: 2,
            pool,
            volume_first: false,
            has_volume: false,
        };
        Self {
            name: "two",
            operations: vec![
                operation("Onboarding two disks", class(2, None), None),
                operation(
                    "Making the pool",
                    class(2, Some("")),
                    Some((128 * MIB, 4 * MIB)),
                ),
            ],
        }
    }

    pub(super) fn only_the_first(mut self) -> Self {
        self.operations.truncate(1);
        self
    }
}

impl Operation {
    /// The configuration that has it done; `first_pv` is the UUID of the first disk's PV.
    pub(super) fn config(&self, first_pv: &str) -> String {
        if !self.leaves {
            return self.config.clone();
        }
        format!(
            "{}---\napiVersion: basalt.storage/v1alpha1\nkind: DiskRemovalRequest\nmetadata: {{name: out}}\n\
             spec: {{node: n1, pvUUID: {first_pv}}}\n",
            self.config
        )
    }

    /// Whether it is done, by the stages of the journal's claims and what `disk-watcher` says in status.json.
    pub(super) fn is_done(&self, stages: &[String], status: &Value) -> bool {
        // Both: the journal may say so before the watcher has looked.
        let shown = status["disks"].as_array().into_iter().flatten();
        let taken = stages.len() == self.disks
            && stages.iter().all(|stage| stage == "Ready")
            && shown.filter(|disk| disk["state"] == "Ready").count() == self.disks;
        let pool = &status["pools"][0];
        let grown = self.pool.is_none_or(|(data, metadata)| {
            let at_least = |key: &str, size| pool[key].as_u64().is_some_and(|now| now >= size);
            pool["state"] == "Active"
                && at_least("size", data)
                && at_least("metadataSize", metadata)
                && pool["conditions"].as_array().is_some_and(|all| {
                    all.iter()
                        .any(|c| c["type"] == "LowWaterArmed" && c["status"] == true)
                })
        });
        let left = !self.leaves || status["requests"][0]["state"] == "Done";
        taken && grown && left
    }

    /// The volumes that are in the group in the end, without their numbers.
    pub(super) fn volumes(&self) -> Vec<&'static str> {
        let mut volumes = Vec::new();
        if self.pool.is_some() {
            volumes.extend([
                "[lvol_pmspare] linear",
                "[pool0_tdata] linear",
                "[pool0_tmeta] linear",
            ]);
        }
        if self.has_volume {
            volumes.push("data thin");
        }
        if self.pool.is_some() {
            volumes.push("pool0 thin-pool");
        }
        volumes
    }

    pub(super) fn has_pool(&self) -> bool {
        self.pool.is_some()
    }

    pub(super) fn disks(&self) -> usize {
        self.disks
    }
}
