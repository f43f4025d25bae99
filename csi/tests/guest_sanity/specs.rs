//! What csi-sanity is asked to run, and what has to come of it: every spec passes but those that stand here by name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Specs that are not run.
struct Left {
    /// Why.
    why: &'static str,
    /// What their names begin with.
    about: &'static str,
    /// And what they end with.
    specs: &'static [&'static str],
}

/// What csi-sanity leaves out of all volumes.
const NOT_OFFERED: &[Left] = &[
    Left {
        why: "attaching is not offered: a local volume is on its node already",
        about: "Controller Service [Controller Server]",
        specs: &[
            "ControllerPublishVolume should fail when no volume id is provided",
            "ControllerPublishVolume should fail when no node id is provided",
            "ControllerPublishVolume should fail when no volume capability is provided",
            "ControllerPublishVolume should fail when publishing more volumes than the node max attach limit",
            "ControllerPublishVolume should fail when the volume does not exist",
            "ControllerPublishVolume should fail when the node does not exist",
            "ControllerPublishVolume should fail when the volume is already published but is incompatible",
            "ControllerUnpublishVolume should fail when no volume id is provided",
            "volume lifecycle should work",
            "volume lifecycle should be idempotent",
        ],
    },
    Left {
        why: "staging is not offered: a volume is published to each pod by itself",
        about: "Node Service",
        specs: &[
            "NodeStageVolume should fail when no volume id is provided",
            "NodeStageVolume should fail when no staging target path is provided",
            "NodeStageVolume should fail when no volume capability is provided",
            "NodeUnstageVolume should fail when no volume id is provided",
            "NodeUnstageVolume should fail when no staging target path is provided",
        ],
    },
    Left {
        why: "modifying is not offered: no parameter of a volume can change",
        about: "ModifyVolume [Controller Server] should",
        specs: &[
            "fail if no volume id is given",
            "fail if volume does not exist",
            "fail if specified mutable parameters are not supported by the volume",
            "modify a volume created without a volume attribute class",
            "modify a volume created with a volume attribute class",
            "fail to modify a volume created with a volume attribute class if new mutable parameters are not supported by volume",
        ],
    },
    Left {
        why: "modifying is not offered: no parameter of a volume can change",
        about: "Controller Service [Controller Server] CreateVolume should",
        specs: &[
            "create volume with a volume attribute class",
            "not create volume with an invalid volume attribute class",
        ],
    },
    Left {
        why: "groups of snapshots are not offered",
        about: "GroupController Service",
        specs: &[
            "[GroupController Server] GroupControllerGetCapabilities should return appropriate capabilities",
            "[GroupController VolumeGroupSnapshots] CreateVolumeGroupSnapshot should fail when no name is provided",
            "[GroupController VolumeGroupSnapshots] GetVolumeGroupSnapshot should fail when no volume id is provided",
            "[GroupController VolumeGroupSnapshots] GetVolumeGroupSnapshot should fail when an invalid volume id is used",
            "[GroupController VolumeGroupSnapshots] DeleteVolumeGroupSnapshot should fail when no volume id is provided",
            "[GroupController VolumeGroupSnapshots] DeleteVolumeGroupSnapshot should succeed when an invalid volume id is used",
        ],
    },
    Left {
        why: "snapshots at another place are not offered: one is where its volume is",
        about: "CreateSnapshot [Controller Server] should",
        specs: &["succeed when creating a snapshot with accessibility requirements"],
    },
    Left {
        why: "the health calls are of CSI 1.13, and the driver speaks 1.12",
        about: "ControllerGetVolumeHealth [Controller Server] should",
        specs: &[
            "fail when no volume id is provided",
            "return health for a valid volume",
        ],
    },
    Left {
        why: "the health calls are of CSI 1.13, and the driver speaks 1.12",
        about: "ControllerListVolumeHealth [Controller Server] should",
        specs: &["return appropriate response"],
    },
    Left {
        why: "the health calls are of CSI 1.13, and the driver speaks 1.12",
        about: "Node Service",
        specs: &[
            "NodeGetVolumeHealth should fail when no volume id is provided",
            "NodeGetVolumeHealth should return health for a valid volume",
            "NodeGetStorageHealth should return appropriate response",
        ],
    },
    Left {
        why: "csi-sanity itself has it pending",
        about: "Controller Service [Controller Server] ListVolumes pagination should",
        specs: &[
            "detect volumes added between pages and accept tokens when the last volume from a page is deleted",
        ],
    },
];

/// What is left out of thick volumes besides.
const NO_THICK_COPIES: &[Left] = &[
    Left {
        why: "a thick volume has no copies",
        about: "Controller Service [Controller Server] CreateVolume should create volume from an existing source",
        specs: &["snapshot", "volume"],
    },
    Left {
        why: "a thick volume has no snapshots",
        about: "CreateSnapshot [Controller Server] should",
        specs: &[
            "succeed when requesting to create a snapshot with already existing name and same source volume ID",
            "fail when requesting to create a snapshot with already existing name and different source volume ID",
            "succeed when creating snapshot with maximum-length name",
        ],
    },
    Left {
        why: "a thick volume has no snapshots",
        about: "DeleteSnapshot [Controller Server] should",
        specs: &["return appropriate values (no optional values added)"],
    },
    Left {
        why: "a thick volume has no snapshots",
        about: "GetSnapshot [Controller Server] should",
        specs: &["return snapshot that match the specified snapshot id"],
    },
    Left {
        why: "a thick volume has no snapshots",
        about: "ListSnapshots [Controller Server]",
        specs: &[
            "should return snapshots that match the specified snapshot id",
            "should return snapshots that match the specified source volume id",
            "check the presence of new snapshots in the snapshot list",
            "should return next token when a limited number of entries are requested",
        ],
    },
];

/// The names, each once, and why each is left out.
fn names(left: &[Left]) -> BTreeMap<String, &'static str> {
    let named = |left: &Left| {
        assert!(!left.why.is_empty(), "nothing is left out without a reason");
        let (why, about) = (left.why, left.about);
        left.specs
            .iter()
            .map(move |spec| (format!("{about} {spec}"), why))
            .collect::<Vec<_>>()
    };
    left.iter().flat_map(named).collect()
}

/// What a run has to come to.
pub(super) struct Expected {
    passed: usize,
    left: BTreeMap<String, &'static str>,
}

/// Of thin volumes everything passes that is offered.
pub(super) fn thin() -> Expected {
    Expected {
        passed: 66,
        left: names(NOT_OFFERED),
    }
}

/// Of thick volumes everything passes but what needs a copy.
pub(super) fn thick() -> Expected {
    let mut left = names(NOT_OFFERED);
    left.append(&mut names(NO_THICK_COPIES));
    Expected { passed: 55, left }
}

/// The argument that leaves out what needs a copy: a regular expression (RE2).
pub(super) fn no_copies() -> String {
    let escaped = |name: &String| {
        let literal = |letter: char| match letter {
            '[' | ']' | '(' | ')' => format!("\\{letter}"),
            letter => letter.to_string(),
        };
        name.chars().map(literal).collect::<String>()
    };
    let names: Vec<String> = names(NO_THICK_COPIES).keys().map(escaped).collect();
    format!("--ginkgo.skip={}", names.join("|"))
}

/// The argument that has what came of a run written to a file.
pub(super) fn report(path: &str) -> String {
    format!("--ginkgo.json-report={path}")
}

/// What came of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Names of those that passed.
    pub(super) passed: Vec<String>,
    /// Names of those that were not run.
    pub(super) left: BTreeSet<String>,
    failed: Vec<String>,
}

impl Outcome {
    /// Of Ginkgo's report in JSON; `None` when it is none.
    pub(super) fn of(report: &str) -> Option<Self> {
        let suites: Value = serde_json::from_str(report).ok()?;
        let mut outcome = Self::default();
        for suite in suites.as_array()? {
            for spec in suite["SpecReports"].as_array()? {
                let mut name: Vec<&str> = (spec["ContainerHierarchyTexts"].as_array())
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                name.push(spec["LeafNodeText"].as_str()?);
                let name = name.join(" ");
                match (spec["State"].as_str()?, spec["LeafNodeType"].as_str()?) {
                    ("passed", "It") => outcome.passed.push(name),
                    ("passed", _) => {}
                    ("skipped" | "pending", _) => {
                        outcome.left.insert(name);
                    }
                    (state, _) => outcome.failed.push(format!(
                        "{name}: {state}: {}",
                        spec["Failure"]["Message"].as_str().unwrap_or_default()
                    )),
                }
            }
        }
        Some(outcome)
    }

    /// Holds it to what is expected.
    ///
    /// # Errors
    /// The specs that failed, and those that are not run although they stand nowhere, or the other way round.
    pub(super) fn check(&self, expected: &Expected) -> Result<(), String> {
        let should_be_left: BTreeSet<String> = expected.left.keys().cloned().collect();
        let found: Vec<String> = (self.failed.iter().cloned())
            .chain((self.left.difference(&should_be_left)).map(|name| format!("{name}: not run")))
            .chain((should_be_left.difference(&self.left)).map(|name| format!("{name}: was run")))
            .collect();
        match found.is_empty() && self.passed.len() == expected.passed {
            true => Ok(()),
            false => Err(format!(
                "{} specs passed, and {} are to pass\n{}",
                self.passed.len(),
                expected.passed,
                found.join("\n")
            )),
        }
    }

    /// Every spec by its name: what came of it, and why it was not run.
    pub(super) fn table(&self, expected: &Expected) -> String {
        let why = |name| expected.left.get(name).copied().unwrap_or("not known why");
        let passed = self.passed.iter().map(|name| format!("passed   {name}\n"));
        let left = (self.left.iter()).map(|name| format!("not run  {name}: {}\n", why(name)));
        let failed = self.failed.iter().map(|said| format!("failed   {said}\n"));
        failed.chain(left).chain(passed).collect()
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
