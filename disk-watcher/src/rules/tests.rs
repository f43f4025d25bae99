mod partition;

use std::collections::BTreeSet;
use std::time::Duration;

use lvmd::units::{Bytes, GIB};

use super::*;
use crate::config::{Config, Recalled, RequireZeroed};
use crate::facts::fixture::Tree;
use crate::facts::{HostFacts, HostProof, Part, UdevDb};

/// A host with one clean disk that one class picks; tests spoil one thing each.
struct Case {
    tree: Tree,
    disk: &'static str,
    config: String,
    proof: HostProof,
    preflight: Vec<String>,
    ours: Ours,
    lvm: Result<LvmView, String>,
    content: Content,
    claim: ClaimSeen,
    usage: Option<ClassUsage>,
    quiet_for: Option<Duration>,
    native_owner: Option<String>,
    claimed: Option<String>,
    removal: Option<&'static str>,
    fingerprint: Option<String>,
    bound: Option<String>,
    recalled: Option<Recalled>,
    /// The disk's partition of this name is judged, with this said of it.
    part: Option<(&'static str, Part)>,
    around: Content,
}

const CLASS: &str = "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\n\
    metadata: {name: fast}\nspec:\n  select: {vendor: [ATA, '0x*'], transport: [sata]}\n  \
    safety: {requireZeroed: HeadAndTail}\n  volumeGroup: {name: vg}\n";

impl Case {
    fn clean() -> Self {
        let mut tree = Tree::new();
        tree.sata("sda", "8:0", "A1");
        Self {
            tree,
            disk: "sda",
            config: CLASS.to_owned(),
            proof: HostProof::Proven("a test".to_owned()),
            preflight: Vec::new(),
            ours: Ours {
                owner: Some("me".to_owned()),
                ..Ours::default()
            },
            lvm: Ok(LvmView::default()),
            content: Content::Probed(blank()),
            claim: ClaimSeen::Held(Vec::new()),
            usage: Some(ClassUsage {
                candidates: 1,
                ..ClassUsage::default()
            }),
            quiet_for: Some(Duration::from_secs(10)),
            native_owner: None,
            claimed: None,
            removal: None,
            fingerprint: Some("ab".repeat(32)),
            bound: None,
            recalled: None,
            part: None,
            around: Content::Probed(blank()),
        }
    }

    fn content(&mut self) -> &mut ContentReport {
        match &mut self.content {
            Content::Probed(content) => content,
            Content::Unknown(_) => panic!("not probed"),
        }
    }

    fn lvm(&mut self) -> &mut LvmView {
        self.lvm.as_mut().unwrap()
    }

    /// Our own group, as the class makes it.
    fn group(&mut self) -> &mut VgView {
        self.lvm().vgs.push(VgView {
            name: "vg".to_owned(),
            uuid: "vg-uuid".to_owned(),
            tags: vec!["basalt.owner=me".to_owned(), "basalt.class=fast".to_owned()],
            ..VgView::default()
        });
        self.lvm().vgs.last_mut().unwrap()
    }

    fn replace(&mut self, from: &str, to: &str) {
        assert!(self.config.contains(from));
        self.config = self.config.replace(from, to);
    }

    fn judge(&self) -> Judgement {
        let config = Config::load(&self.config).unwrap();
        let root = self.tree.root();
        let disks = crate::facts::read_all(&root, &self.tree.udev).unwrap();
        let peers: Vec<Peer> = disks.iter().filter_map(Peer::of).collect();
        let host = HostFacts::read(&root, self.proof.clone());
        let facts = disks.iter().find(|disk| disk.name == self.disk).unwrap();
        let part = self.part.as_ref().map(|(name, said)| {
            let part = crate::facts::read_partition(&root, facts, name, &self.tree.udev);
            let mut part = part.unwrap();
            let disk = facts.clone();
            part.part = Some(Box::new(Part {
                disk,
                ..said.clone()
            }));
            part
        });
        let facts = part.as_ref().unwrap_or(facts);
        let mut classes = config.classes;
        classes
            .iter_mut()
            .for_each(|class| class.recalled = self.recalled);
        judge(
            &classes,
            &Evidence {
                facts,
                host: &host,
                preflight: &self.preflight,
                ours: &self.ours,
                lvm: self.lvm.as_ref().map_err(String::as_str),
                peers: &peers,
                content: self.content.clone(),
                around: self.part.as_ref().map(|_| &self.around),
                claim: self.claim.clone(),
                usage: self.usage,
                quiet_for: self.quiet_for,
                native_owner: self.native_owner.clone(),
                claimed: self.claimed.clone(),
                removal: self.removal,
                consent: Consent {
                    node: "n1",
                    fingerprint: self.fingerprint.as_deref(),
                    bound: self.bound.as_deref(),
                },
            },
        )
    }

    fn codes(&self) -> BTreeSet<String> {
        let judgement = self.judge();
        judgement
            .reasons
            .iter()
            .map(|r| r.code.to_string())
            .collect()
    }
}

fn blank() -> ContentReport {
    ContentReport {
        signatures: Vec::new(),
        partitions: Vec::new(),
        pv: None,
        zeroes_checked: RequireZeroed::HeadAndTail,
        not_zeroed_at: None,
        reading: None,
    }
}

fn opener(writes: bool) -> Opener {
    Opener {
        pid: 7,
        name: "qemu".to_owned(),
        writes,
    }
}

/// A clean case with one change.
fn case(spoil: impl FnOnce(&mut Case)) -> Case {
    let mut case = Case::clean();
    spoil(&mut case);
    case
}

fn mount(case: &mut Case, line: &str) {
    case.tree.write(
        "proc/1/mountinfo",
        format!("22 1 0:21 / /proc rw - proc proc rw\n{line}\n"),
    );
}

/// A process in a mount namespace of its own, with this mount.
fn in_a_container(case: &mut Case, line: &str) {
    case.tree.link("mnt:[1]", "proc/1/ns/mnt");
    case.tree.link("mnt:[2]", "proc/70/ns/mnt");
    case.tree.write(
        "proc/70/mountinfo",
        format!("90 1 0:30 / / rw - overlay overlay rw\n{line}\n"),
    );
}

/// Every code, and all the ways to earn it that have a branch of their own.
fn table() -> Vec<(&'static str, Case)> {
    let usb = "pci0000:00/usb1/1-1/host6/target6:0:0/6:0:0:0";
    vec![
        (
            "NotADisk",
            case(|c| {
                c.tree.block("virtual/block/loop0", "7:0");
                c.disk = "loop0";
            }),
        ),
        ("NotADisk", case(|c| c.tree.set("sda", "hidden", "1"))),
        ("NotADisk", case(|c| c.tree.set("sda", "slaves/sdb/x", ""))),
        ("NotADisk", case(|c| c.tree.set("sda", "device/type", "5"))),
        ("NotADisk", case(|c| c.tree.write("proc/devices", ""))),
        ("NotADisk", case(|c| c.tree.set("sda", "dev", "43:0"))),
        (
            "TransportNotAllowed",
            case(|c| {
                c.tree.scsi(usb, "sdb", "8:16", "B1");
                c.disk = "sdb";
            }),
        ),
        (
            "TransportNotAllowed",
            case(|c| c.tree.set("sda", "removable", "1")),
        ),
        (
            "TransportNotAllowed",
            case(|c| {
                c.tree
                    .block("tcm_loop_0/host5/target5:0:1/5:0:1:0/block/sdb", "8:16");
                c.disk = "sdb";
            }),
        ),
        (
            "TransportNotAllowed",
            case(|c| {
                c.tree.block(
                    "platform/mmc_host/mmc0/mmc0:0001/block/mmcblk0boot0",
                    "179:8",
                );
                c.disk = "mmcblk0boot0";
                c.replace("[sata]", "[mmc]");
            }),
        ),
        ("ReadOnly", case(|c| c.tree.set("sda", "ro", "1"))),
        (
            "Suspended",
            case(|c| c.tree.set("sda", "dm/suspended", "1")),
        ),
        (
            "Offline",
            case(|c| c.tree.set("sda", "device/state", "offline")),
        ),
        ("Offline", case(|c| c.tree.set("sda", "device/state", ""))),
        ("TooSmall", case(|c| c.tree.set("sda", "size", "2048"))),
        (
            "TooLarge",
            case(|c| c.replace("transport:", "size: {max: 15Gi}, transport:")),
        ),
        ("ZeroSize", case(|c| c.tree.set("sda", "size", "0"))),
        (
            "Zoned",
            case(|c| c.tree.set("sda", "queue/zoned", "host-managed")),
        ),
        ("Zoned", case(|c| c.tree.set("sda", "device/type", "20"))),
        (
            "SystemDisk",
            case(|c| {
                c.content().partitions.push(PartitionSeen {
                    label: "EPHEMERAL".to_owned(),
                    type_guid: String::new(),
                });
            }),
        ),
        (
            "SystemDisk",
            case(|c| {
                c.content().partitions.push(PartitionSeen {
                    label: String::new(),
                    type_guid: "C12A7328-F81F-11D2-BA4B-00A0C93EC93B".to_owned(),
                });
            }),
        ),
        (
            "SystemDisk",
            case(|c| {
                c.tree.partition("sda", "sda1", "8:1");
                let record = c.tree.udev.records.get_mut("sda1").unwrap();
                record.properties.insert(
                    "ID_PART_ENTRY_NAME".into(),
                    "Microsoft reserved partition".into(),
                );
            }),
        ),
        (
            "SystemDisk",
            case(|c| mount(c, "23 1 8:0 / /data rw - xfs /dev/sda rw")),
        ),
        (
            "Mounted",
            case(|c| mount(c, "23 1 8:0 / /data rw - xfs /dev/x rw")),
        ),
        (
            "Mounted",
            case(|c| {
                c.tree.partition("sda", "sda1", "8:1");
                mount(c, "23 1 8:1 / /data rw - xfs /dev/x rw");
            }),
        ),
        (
            "Mounted",
            case(|c| mount(c, "23 1 0:40 / /data rw - btrfs /dev/sda rw")),
        ),
        (
            "Mounted",
            case(|c| mount(c, "23 1 0:40 / /data rw - bcachefs /dev/sdz:/dev/sda rw")),
        ),
        (
            "Mounted",
            case(|c| mount(c, "23 1 8:99 / /data rw - xfs /dev/sdz rw,logdev=/dev/sda")),
        ),
        (
            "Mounted",
            case(|c| {
                mount(
                    c,
                    "23 1 0:40 / /data rw - btrfs /dev/disk/by-id/ata-TEST_DISK_20G_A1 rw",
                );
            }),
        ),
        (
            "Mounted",
            case(|c| {
                c.tree.block("virtual/block/dm-3", "252:3");
                c.tree.set("sda", "holders/dm-3/x", "");
                mount(c, "23 1 252:3 / /data rw - xfs /dev/mapper/x rw");
            }),
        ),
        (
            "BindMounted",
            case(|c| mount(c, "23 1 8:0 /sub /data rw - xfs /dev/sda rw")),
        ),
        (
            "BindMounted",
            case(|c| mount(c, "23 1 0:6 /sda /pods/uid rw - devtmpfs udev rw")),
        ),
        (
            "BindMounted",
            case(|c| {
                c.tree.partition("sda", "sda1", "8:1");
                in_a_container(c, "23 1 0:6 /sda1 /dev/x rw - devtmpfs udev rw");
            }),
        ),
        (
            "Mounted",
            case(|c| in_a_container(c, "23 1 8:0 / /data rw - vfat /dev/x rw")),
        ),
        (
            "Swap",
            case(|c| {
                c.tree.partition("sda", "sda2", "8:2");
                c.tree
                    .write("proc/swaps", "Filename Type\n/dev/sda2 partition 1 0 -2\n");
            }),
        ),
        (
            "HasPartitions",
            case(|c| {
                c.tree.partition("sda", "sda1", "8:1");
                c.content().signatures.push(SignatureSeen {
                    kind: "gpt".into(),
                    offset: 512,
                });
            }),
        ),
        (
            "HasPartitions",
            case(|c| {
                c.content().partitions.push(PartitionSeen {
                    label: "data".into(),
                    type_guid: String::new(),
                });
            }),
        ),
        (
            "PhantomPartitions",
            case(|c| c.tree.partition("sda", "sda1", "8:1")),
        ),
        (
            "PhantomPartitions",
            case(|c| {
                c.tree.partition("sda", "sda1", "8:1");
                c.content().signatures.push(SignatureSeen {
                    kind: "atari".into(),
                    offset: 0,
                });
            }),
        ),
        (
            "HasHolders",
            case(|c| c.tree.set("sda", "holders/md0/x", "")),
        ),
        (
            "HasHolders",
            case(|c| {
                c.tree.link(
                    "../../../../devices/x/block/sda",
                    "sys/fs/btrfs/uuid/devices/sda",
                );
            }),
        ),
        (
            "HasHolders",
            case(|c| c.tree.write("sys/fs/ext4/sda/x", "0")),
        ),
        (
            "HasHolders",
            case(|c| {
                c.tree.link(
                    "../../../devices/x/block/sda/bcache",
                    "sys/fs/bcache/u/bdev0",
                )
            }),
        ),
        ("Busy", case(|c| c.claim = ClaimSeen::Refused(Vec::new()))),
        (
            "Busy",
            case(|c| c.claim = ClaimSeen::Refused(vec![opener(false)])),
        ),
        (
            "Busy",
            case(|c| c.claim = ClaimSeen::Held(vec![opener(true)])),
        ),
        (
            "Busy",
            case(|c| c.claim = ClaimSeen::NotTried(vec![opener(true)])),
        ),
        (
            "Busy",
            case(|c| c.claim = ClaimSeen::Unknown("not tried".into())),
        ),
        (
            "BackingLoop",
            case(|c| {
                c.tree
                    .write("sys/block/loop1/loop/backing_file", "/dev/sda\n")
            }),
        ),
        (
            "BackingLoop",
            case(|c| {
                c.tree.write(
                    "sys/kernel/config/target/core/iblock_0/x/udev_path",
                    "/mnt/dev/sda\n",
                );
            }),
        ),
        (
            "Signature:ext4",
            case(|c| {
                c.content().signatures.push(SignatureSeen {
                    kind: "ext4".into(),
                    offset: 1080,
                });
            }),
        ),
        (
            "NotZeroed",
            case(|c| c.content().not_zeroed_at = Some(4096)),
        ),
        (
            "NotZeroed",
            case(|c| c.content().zeroes_checked = RequireZeroed::None),
        ),
        ("NotZeroed", case(|c| c.replace("HeadAndTail", "Full"))),
        (
            "BeingRead",
            case(|c| {
                c.content().reading = Some(Progress::new(Bytes(0), Bytes(1 << 30)));
                c.replace("HeadAndTail", "Full");
            }),
        ),
        (
            "MultipathMember",
            case(|c| {
                c.tree.block("virtual/block/dm-0", "252:0");
                c.tree.set("dm-0", "dm/uuid", "mpath-35000c500");
                c.tree.set("sda", "holders/dm-0/x", "");
            }),
        ),
        (
            "MultipathMember",
            case(|c| {
                let record = c.tree.udev.records.get_mut("sda").unwrap();
                record
                    .properties
                    .insert("DM_MULTIPATH_DEVICE_PATH".into(), "1".into());
            }),
        ),
        (
            "MultipathMember",
            case(|c| {
                c.tree
                    .write("proc/1/root/etc/multipath/wwids", "/35000c500000000A1/\n");
            }),
        ),
        (
            "MultipathSuspect",
            case(|c| c.tree.sata("sdb", "8:16", "A1")),
        ),
        ("DuplicateId", case(|c| c.tree.sata("sdb", "8:16", "A1"))),
        (
            "DuplicateId",
            case(|c| {
                c.tree.sata("sdb", "8:16", "A1");
                c.tree.set("sdb", "device/wwid", "");
            }),
        ),
        (
            "JunkId",
            case(|c| {
                c.tree.set("sda", "device/wwid", "naa.0000000000000000");
                c.tree.set("sda", "device/serial", "QEMU");
            }),
        ),
        (
            "NoId",
            case(|c| {
                c.tree.set("sda", "device/wwid", "");
                c.tree.set("sda", "device/vpd_pg80", "");
            }),
        ),
        (
            "ForeignPV",
            case(|c| {
                c.content().pv = Some(PvSeen {
                    uuid: "p1".into(),
                    ..PvSeen::default()
                })
            }),
        ),
        (
            "ForeignPV",
            case(|c| {
                c.content().pv = Some(PvSeen {
                    uuid: "p1".into(),
                    vg_name: Some("vg".into()),
                    tags: vec!["basalt.owner=you".into()],
                    used: true,
                    ..PvSeen::default()
                });
            }),
        ),
        (
            "ForeignPV",
            case(|c| {
                // Nobody's tag is not ours while we do not know who we are.
                c.ours.owner = None;
                c.content().pv = Some(PvSeen {
                    uuid: "p1".into(),
                    ..PvSeen::default()
                });
            }),
        ),
        (
            "ForeignSystemID",
            case(|c| c.group().system_id = Some("other".into())),
        ),
        ("Exported", case(|c| c.group().exported = true)),
        (
            "Exported",
            case(|c| {
                // The group the disk is found in, not the one it would join.
                let mut group = c.group().clone();
                group.name = "old".into();
                group.uuid = "old-uuid".into();
                group.exported = true;
                c.lvm().vgs = vec![group];
                c.content().pv = Some(PvSeen {
                    uuid: "p1".into(),
                    vg_uuid: Some("old-uuid".into()),
                    ..PvSeen::default()
                });
            }),
        ),
        ("RemovalRequested", case(|c| c.removal = Some("out"))),
        (
            "DiskStale",
            case(|c| {
                member(c, 1 << 20, false);
                c.lvm().pvs[0].device = None;
            }),
        ),
        (
            "DiskStale",
            case(|c| {
                member(c, 1 << 20, false);
                let group = c.group().uuid.clone();
                c.content().pv.as_mut().unwrap().vg_uuid = Some(group);
            }),
        ),
        ("DiskShrunk", case(|c| member(c, 1, true))),
        ("DiskGrown", case(|c| member(c, 1, false))),
        ("Clustered", case(|c| c.group().clustered = true)),
        ("Shared", case(|c| c.group().shared = true)),
        (
            "DuplicatePV",
            case(|c| {
                c.group();
                let pv = PvView {
                    device: Some("sdx".into()),
                    uuid: "p9".into(),
                    vg_uuid: Some("vg-uuid".into()),
                    ..PvView::default()
                };
                c.lvm().pvs = vec![
                    pv.clone(),
                    PvView {
                        device: Some("sdy".into()),
                        ..pv
                    },
                ];
            }),
        ),
        (
            "DuplicatePV",
            case(|c| {
                c.content().pv = Some(PvSeen {
                    uuid: "p9".into(),
                    ..PvSeen::default()
                });
                c.lvm().pvs = vec![PvView {
                    device: Some("sda".into()),
                    uuid: "p9".into(),
                    vg_uuid: None,
                    duplicate: true,
                    ..PvView::default()
                }];
            }),
        ),
        (
            "DuplicateVGName",
            case(|c| {
                c.group();
                c.group().uuid = "twin-uuid".into();
            }),
        ),
        (
            "DuplicateVGName",
            case(|c| c.group().tags = vec!["basalt.owner=you".into()]),
        ),
        (
            "DuplicateVGName",
            case(|c| c.group().tags = vec!["basalt.owner=me".into(), "basalt.class=slow".into()]),
        ),
        ("VGPartial", case(|c| c.group().missing_pvs = 1)),
        (
            "ClassConflict",
            case(|c| {
                let other = c
                    .config
                    .replace("fast", "other")
                    .replace("name: vg", "name: vg2");
                c.config = format!("{}---\n{other}", c.config);
            }),
        ),
        (
            "LimitReached",
            case(|c| {
                c.config.push_str("  limits: {maxDisks: 2}\n");
                c.usage = Some(ClassUsage {
                    disks: 2,
                    ..ClassUsage::default()
                });
            }),
        ),
        (
            "LimitReached",
            case(|c| {
                c.config.push_str("  limits: {maxTotal: 30Gi}\n");
                c.usage = Some(ClassUsage {
                    disks: 1,
                    size: Bytes(10 * GIB + 1),
                    ..ClassUsage::default()
                });
            }),
        ),
        (
            "LimitReached",
            case(|c| c.config.push_str("  limits: {minDisks: 2}\n")),
        ),
        ("LimitReached", case(|c| c.usage = None)),
        (
            "NotSettled",
            case(|c| c.quiet_for = Some(Duration::from_millis(9999))),
        ),
        ("NotSettled", case(|c| c.quiet_for = None)),
        (
            "NotSettled",
            case(|c| c.tree.udev.records.get_mut("sda").unwrap().initialized = false),
        ),
        (
            "AwaitingApproval",
            case(|c| {
                c.usage = Some(ClassUsage {
                    established: true,
                    candidates: 1,
                    ..ClassUsage::default()
                });
            }),
        ),
        (
            "ClassConflict",
            case(|c| c.claimed = Some("it is claimed for class raw".into())),
        ),
        (
            "ClassNotInForce",
            case(|c| c.recalled = Some(Recalled::Unheard)),
        ),
        (
            "NativeOwner",
            case(|c| c.native_owner = Some("rook".into())),
        ),
        (
            "HostNotReady",
            case(|c| c.proof = HostProof::Unproven("a pod".into())),
        ),
        (
            "HostNotReady",
            case(|c| c.preflight = vec!["no dm_thin_pool".into()]),
        ),
        (
            "HostNotReady",
            case(|c| c.tree.write("proc/1/mountinfo", "rubbish")),
        ),
        ("HostNotReady", case(|c| c.tree.write("proc/swaps", ""))),
        ("HostNotReady", case(|c| c.lvm = Err("lvm hangs".into()))),
        ("HostNotReady", case(|c| c.ours.owner = None)),
        (
            "ProbeFailed",
            case(|c| c.content = Content::Unknown("I/O error at byte 0".into())),
        ),
        ("ProbeFailed", case(|c| c.tree.set("sda", "size", "many"))),
        (
            "ProbeFailed",
            case(|c| {
                std::fs::remove_file(c.tree.path("sys/block/sda/diskseq")).unwrap();
            }),
        ),
    ]
}

#[test]
fn a_clean_wanted_disk_is_cleared() {
    let judgement = Case::clean().judge();
    assert_eq!(judgement.reasons, Vec::new());
    let class = "fast".to_owned();
    assert_eq!(judgement.verdict, Verdict::Cleared { class });
}

#[test]
fn every_rule_denies_what_it_is_there_for() {
    for (index, (code, case)) in table().into_iter().enumerate() {
        let judgement = case.judge();
        let codes = case.codes();
        assert!(
            codes.contains(code),
            "row {index}: {code} is not among {codes:?}"
        );
        assert!(
            !matches!(judgement.verdict, Verdict::Cleared { .. })
                && (judgement.verdict != Verdict::Ours || code.starts_with("Disk")),
            "row {index}: {code}"
        );
    }
}

#[test]
fn every_code_has_a_case() {
    let source = include_str!("code.rs");
    let names: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \""))
        .map(|(_, rest)| rest.trim_end_matches("\","))
        .collect();
    assert_eq!(names.len(), 46, "{names:?}");
    let cases = table();
    let tried: BTreeSet<&str> = cases
        .iter()
        .map(|(code, _)| code.split(':').next().unwrap())
        .collect();
    assert_eq!(names, tried);
}

#[test]
fn a_class_may_loosen_what_is_its_to_loosen() {
    let passes = |spoil: fn(&mut Case)| {
        let case = case(spoil);
        let judgement = case.judge();
        assert!(
            matches!(judgement.verdict, Verdict::Cleared { .. }),
            "{:?}",
            judgement.reasons
        );
    };
    passes(|c| {
        c.tree.set("sda", "removable", "1");
        c.replace("safety: {", "safety: {allowRemovable: true, ");
    });
    passes(|c| {
        c.tree.set("sda", "device/wwid", "");
        c.tree.set("sda", "device/vpd_pg80", "");
        c.replace("safety: {", "safety: {allowUniqueIdMissing: true, ");
    });
    passes(|c| {
        c.content().not_zeroed_at = Some(0);
        c.replace("HeadAndTail", "None");
    });
    passes(|c| {
        c.tree.scsi(
            "pseudo_0/adapter0/host4/target4:0:0/4:0:0:0",
            "sdb",
            "8:16",
            "B1",
        );
        c.disk = "sdb";
        c.replace("[sata]", "[scsi_debug]");
    });
    passes(|c| {
        c.content().zeroes_checked = RequireZeroed::Full;
        c.replace("HeadAndTail", "Full");
    });
    passes(|c| {
        c.usage = Some(ClassUsage {
            established: true,
            candidates: 1,
            ..ClassUsage::default()
        });
        c.config.push_str("  discovery: Continuous\n");
    });
    passes(|c| {
        c.config
            .push_str("  limits: {minDisks: 2, maxDisks: 2, settle: 0s}\n");
        c.quiet_for = Some(Duration::ZERO);
        c.usage = Some(ClassUsage {
            disks: 1,
            candidates: 1,
            ..ClassUsage::default()
        });
    });
    passes(|c| {
        c.group();
    });
    passes(|c| c.claim = ClaimSeen::Held(vec![opener(false)]));
    passes(|c| {
        // Without udevd nothing will ever be initialized.
        c.tree.udev = UdevDb::default();
    });
}

#[test]
fn a_virtio_disk_has_no_state_and_a_serial() {
    let case = case(|c| {
        c.tree
            .block("pci0000:00/0000:00:05.0/virtio2/block/vda", "254:0");
        c.tree.set("vda", "serial", "basalt-1");
        c.tree.link(
            "../..",
            "sys/devices/pci0000:00/0000:00:05.0/virtio2/block/vda/device",
        );
        c.tree.set("vda", "device/vendor", "0x1af4");
        c.disk = "vda";
        c.replace("[sata]", "[virtio]");
    });
    let judgement = case.judge();
    assert_eq!(judgement.reasons, Vec::new());
    assert_eq!(
        judgement.id.id().unwrap().as_str(),
        "serial.0x1af4.basalt-1"
    );
}

#[test]
fn namespaces_of_one_controller_share_a_serial_and_are_two_disks() {
    let case = case(|c| {
        c.tree.sata("sdb", "8:16", "A1");
        c.tree.set("sdb", "device/wwid", "naa.5000c50000000002");
    });
    assert_eq!(case.codes(), BTreeSet::new());
}

#[test]
fn all_reasons_are_reported_not_the_first() {
    let case = case(|c| {
        c.tree.set("sda", "ro", "1");
        c.claim = ClaimSeen::Refused(Vec::new());
        c.content().not_zeroed_at = Some(1);
        c.quiet_for = None;
    });
    let codes: Vec<String> = case.codes().into_iter().collect();
    assert_eq!(codes, ["Busy", "NotSettled", "NotZeroed", "ReadOnly"]);
    assert_eq!(case.judge().verdict, Verdict::Rejected);
}

#[test]
fn a_disk_that_only_has_to_wait_is_not_rejected() {
    let judgement = case(|c| c.quiet_for = None).judge();
    assert_eq!(judgement.verdict, Verdict::Waiting);
}

#[test]
fn a_disk_nobody_wants_still_shows_what_speaks_against_it() {
    let judgement = case(|c| {
        c.replace("ATA", "NOBODY");
        c.tree.set("sda", "ro", "1");
    })
    .judge();
    assert_eq!(judgement.verdict, Verdict::NotSelected);
    assert_eq!(judgement.reasons[0].code, Code::ReadOnly);
}

#[test]
fn a_pv_of_ours_is_never_taken_anew() {
    let pv = |tags: &[&str]| PvSeen {
        uuid: "p1".into(),
        vg_name: Some("vg".into()),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..PvSeen::default()
    };
    let assigned = case(|c| {
        c.ours.pv_uuids.insert("p1".into());
        c.content().pv = Some(pv(&[]));
    });
    assert_eq!(assigned.codes(), BTreeSet::new());
    assert_eq!(assigned.judge().verdict, Verdict::Ours);
    let tagged = case(|c| c.content().pv = Some(pv(&["basalt.owner=me"])));
    assert_eq!(tagged.judge().verdict, Verdict::Ours);
}

/// A disk of ours with `extents` bytes in its PV.
fn member(c: &mut Case, extents: u64, shrunk: bool) {
    c.ours.pv_uuids.insert("p1".into());
    c.content().pv = Some(PvSeen {
        uuid: "p1".into(),
        data_start: Bytes(1 << 20),
        ..PvSeen::default()
    });
    c.lvm().pvs = vec![PvView {
        device: Some("sda".into()),
        uuid: "p1".into(),
        shrunk,
        extents: Bytes(extents),
        extent: Bytes(4 << 20),
        ..PvView::default()
    }];
}

#[test]
fn of_a_disk_of_ours_a_change_of_size_is_told() {
    let size = crate::facts::read_all(&Case::clean().tree.root(), &UdevDb::default()).unwrap()[0]
        .size
        .unwrap()
        .0;
    let room = |bytes: u64| case(|c| member(c, size - (1 << 20) - bytes, false));
    assert_eq!(room((4 << 20) - 1).codes(), BTreeSet::new());
    let grown = room(4 << 20);
    assert_eq!(grown.codes(), ["DiskGrown".to_owned()].into());
    let judgement = grown.judge();
    assert_eq!(judgement.verdict, Verdict::Ours);
    assert!(judgement.reasons[0].code.is_natural_of_a_member());
    let shrunk = case(|c| member(c, size, true)).judge();
    assert_eq!(shrunk.reasons[0].code, Code::DiskShrunk);
    assert!(!shrunk.reasons[0].code.is_natural_of_a_member());
    // Somebody else's may have any size.
    let mut foreign = room(4 << 20);
    foreign.ours.pv_uuids.clear();
    assert_eq!(foreign.codes(), ["ForeignPV".to_owned()].into());
}

#[test]
fn what_only_udev_saw_counts_too() {
    let udev = |key: &str, value: &str, pv: bool| {
        case(|c| {
            let record = c.tree.udev.records.get_mut("sda").unwrap();
            record.properties.insert(key.into(), value.into());
            if pv {
                c.ours.pv_uuids.insert("p1".into());
                c.content().pv = Some(PvSeen {
                    uuid: "p1".into(),
                    ..PvSeen::default()
                });
            }
        })
        .codes()
    };
    let one = |code: &str| BTreeSet::from([code.to_owned()]);
    assert_eq!(udev("ID_FS_TYPE", "ext4", false), one("Signature:ext4"));
    assert_eq!(
        udev("ID_PART_TABLE_TYPE", "gpt", false),
        one("Signature:gpt")
    );
    assert_eq!(
        udev("ID_FS_AMBIVALENT", "a b", false),
        one("Signature:ambivalent")
    );
    assert_eq!(
        udev("ID_FS_TYPE", "LVM2_member", false),
        one("Signature:LVM2_member")
    );
    assert_eq!(udev("ID_FS_TYPE", "LVM2_member", true), BTreeSet::new());
}

#[test]
fn one_label_is_a_pv_and_two_are_a_past() {
    let label = |offset| SignatureSeen {
        kind: "lvm2_pv".into(),
        offset,
    };
    let labels = |count: u64| {
        case(|c| {
            c.ours.pv_uuids.insert("p1".into());
            c.content().pv = Some(PvSeen {
                uuid: "p1".into(),
                ..PvSeen::default()
            });
            c.content().signatures = (1..=count).map(|n| label(n * 512)).collect();
        })
    };
    assert_eq!(labels(1).codes(), BTreeSet::new());
    assert!(labels(2).codes().contains("Signature:lvm2_pv"));
    let damaged = case(|c| c.content().signatures = vec![label(512)]);
    assert!(damaged.codes().contains("Signature:lvm2_pv"));
}

#[test]
fn reasons_read_well() {
    let judgement = case(|c| {
        for offset in [0, 4096] {
            c.content().signatures.push(SignatureSeen {
                kind: "zfs".into(),
                offset,
            });
        }
        mount(c, "23 1 8:0 /sub /data rw - xfs /dev/sda rw");
    })
    .judge();
    let texts: Vec<String> = judgement.reasons.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "SystemDisk: the host has /dev/sda (xfs) mounted at /data",
            "BindMounted: /sub of /dev/sda is mounted at /data",
            "Signature:zfs: at byte 0, 4096",
        ]
    );
    assert_eq!(
        serde_json::to_value(&judgement.reasons[2]).unwrap(),
        serde_json::json!({"code": "Signature:zfs", "detail": "at byte 0, 4096"})
    );
}

#[test]
fn an_approval_lifts_only_the_wait_for_it_and_only_for_the_disk_as_it_was() {
    let approved = |node: &str, id: &str, digit: &str| {
        case(|c| {
            c.usage = Some(ClassUsage {
                established: true,
                candidates: 1,
                ..ClassUsage::default()
            });
            c.config.push_str(&format!(
                "  approved: [{{node: {node}, diskId: {id}, fingerprint: \"sha256:{}\"}}]\n",
                digit.repeat(32)
            ));
        })
    };
    let id = "naa.5000c500000000A1";
    let good = approved("n1", id, "ab");
    assert_eq!(
        good.judge().verdict,
        Verdict::Cleared {
            class: "fast".to_owned()
        }
    );
    for other in [approved("n2", id, "ab"), approved("n1", "naa.1", "ab")] {
        assert_eq!(other.codes(), ["AwaitingApproval".to_owned()].into());
    }
    let changed = approved("n1", id, "cd").judge();
    assert!(
        changed.reasons[0].detail.contains("is void"),
        "{:?}",
        changed.reasons
    );
    // It overrides no rule.
    let mut unsafe_disk = approved("n1", id, "ab");
    unsafe_disk.content().signatures.push(SignatureSeen {
        kind: "ext4".to_owned(),
        offset: 1080,
    });
    assert_eq!(unsafe_disk.judge().verdict, Verdict::Rejected);
    let mut unread = approved("n1", id, "ab");
    unread.fingerprint = None;
    assert_eq!(unread.codes(), ["AwaitingApproval".to_owned()].into());
}
