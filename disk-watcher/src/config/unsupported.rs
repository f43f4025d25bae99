//! Fields of the planned API that do nothing, and why. They are refused by name, since a setting that is silently ignored
//! is worse than one that is missing; docs/disk-watcher.md has this list.

/// Each field, and what is said of it.
pub(super) const UNSUPPORTED: [(&str, &str); 12] = [
    (
        "spec.nodeSelector",
        "a file is for the node it is on; a DiskClass object may have it",
    ),
    (
        "spec.priority",
        "disks that two classes pick go to none of them, so nothing would read it",
    ),
    (
        "spec.safety.allowRAIDMembers",
        "a member of a RAID has data; wipe the disk by a DiskWipeRequest",
    ),
    (
        "spec.safety.requireZeroed: Trimmed",
        "nothing that the kernel shows tells a block that was trimmed from one with data; Full reads, and a disk that was \
         trimmed answers fast",
    ),
    (
        "spec.existing.adoptOwnedVG",
        "a group with our tags is always taken up again",
    ),
    (
        "spec.volumeGroup.nameTemplate",
        "write one class for each group",
    ),
    (
        "spec.volumeGroup.metadataCopies",
        "by its own copy a disk is told to be ours after a power cut, so each has one",
    ),
    (
        "spec.thinPool.metadataDevice",
        "LVM places the metadata; make a class of fast disks for it all",
    ),
    (
        "spec.thinPool.chunkSize.policy: Performance",
        "write a value; 256Ki to 1Mi suit large files, with zero: false or on fast disks",
    ),
    (
        "spec.thinPool.stripes",
        "a striped pool grows only while that many disks have room, and then stops with room left",
    ),
    (
        "spec.thinPool.raid",
        "a disk that is lost takes the group's pool with it; keep copies above, such as by the application",
    ),
    (
        "spec.thinPool.onExhaustion",
        "the condition is always shown, lvmd makes no volumes from its gate-percent on, and whenFull says what becomes of writes",
    ),
];

/// Why the field does nothing.
pub(super) fn why(field: &str) -> &'static str {
    let mut all = UNSUPPORTED.iter();
    all.find(|(name, _)| *name == field)
        .map_or("it does nothing yet", |(_, why)| why)
}
