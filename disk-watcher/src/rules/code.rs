//! The reason codes: a closed list that users, metrics and events rely on.

use std::fmt;

use serde::{Serialize, Serializer};

#[cfg(test)]
mod tests;

/// Why a disk is not taken. The names never change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The kernel device is no whole disk: a loop, RAM disk, CD drive, device-mapper
    /// device and so on. Way out: none, it is not meant to be taken.
    NotADisk,
    /// Attached in a way that is not allowed, or removable. Way out: name the transport
    /// in `spec.select.transport`, or set `spec.safety.allowRemovable`.
    TransportNotAllowed,
    /// It refuses writes. Way out: remove the write protection.
    ReadOnly,
    /// It is a suspended device-mapper device. Way out: resume it.
    Suspended,
    /// Its state is not running or live. Way out: look at the kernel log, then cables
    /// and the disk itself.
    Offline,
    /// Smaller than the class takes. Way out: `spec.select.size.min`.
    TooSmall,
    /// Larger than the class takes. Way out: `spec.select.size.max`.
    TooLarge,
    /// It has no size: an empty drive or a disk that failed to start.
    ZeroSize,
    /// It is zoned (SMR with zones, ZNS); LVM cannot use it.
    Zoned,
    /// It holds the operating system, or is a partition of one by its name or type. Way out: none.
    SystemDisk,
    /// It, a partition or something on it is mounted. Way out: unmount.
    Mounted,
    /// A directory of it is mounted somewhere, or its device node: a raw block volume of a pod.
    /// Way out: unmount; remove the PersistentVolume.
    BindMounted,
    /// It is swapped to. Way out: swapoff.
    Swap,
    /// It has a partition table. Way out: wipe it if its data is not needed.
    HasPartitions,
    /// The kernel sees partitions where no table with a checksum stands: random data
    /// that looks like one. Way out: as for data, wipe it if it is not needed.
    PhantomPartitions,
    /// Something is stacked on it: device-mapper, md, bcache, a mounted file system of
    /// several devices. Way out: stop that.
    HasHolders,
    /// Somebody has it open. Way out: stop who is named.
    Busy,
    /// It is handed on: by a loop device, LIO, an NVMe target. Way out: remove that.
    BackingLoop,
    /// It has the signature of something. Way out: wipe it if its data is not needed.
    Signature(String),
    /// Bytes that are not zero were found, or not enough of it was read. Way out: wipe
    /// it, or loosen `spec.safety.requireZeroed`.
    NotZeroed,
    /// All of it has to be zero, and it is being read in the background; status shows how far
    /// that is. A write to it, or an event for it, has it begin anew. Way out: wait, or loosen
    /// `spec.safety.requireZeroed`.
    BeingRead,
    /// multipath has taken it. Way out: use the map, or `multipath -w` the disk.
    MultipathMember,
    /// Two devices have one WWID: two paths to one disk. Way out: set up multipath, or
    /// unplug one.
    MultipathSuspect,
    /// Two disks have one id, or two partitions one GUID; neither is taken. Way out: give each
    /// a serial number, or a GUID (`sgdisk -u`).
    DuplicateId,
    /// Its serial number or WWID, or a partition's GUID, is known rubbish. Way out: give it a
    /// real one.
    JunkId,
    /// It has neither serial number nor WWID. Way out: give it one, or set
    /// `spec.safety.allowUniqueIdMissing`.
    NoId,
    /// It is a PV that is not ours. Way out: remove it from its group, or wipe it.
    ForeignPV,
    /// The volume group belongs to another LVM system id. Way out: vgchange --systemid.
    ForeignSystemID,
    /// The volume group is exported. Way out: vgimport.
    Exported,
    /// The volume group is clustered. Way out: none here.
    Clustered,
    /// The volume group is shared through lvmlockd. Way out: none here.
    Shared,
    /// One PV is seen on two devices, a disk and its clone. Way out: unplug the clone.
    DuplicatePV,
    /// The name of the class's group is taken by a group that is not ours, or by two.
    /// Way out: rename or unplug the other, or choose another name.
    DuplicateVGName,
    /// The class's group misses a disk. Way out: plug it in; nothing changes until then.
    VGPartial,
    /// It is ours, and smaller than what its PV has on it; its group is not changed. Way
    /// out: give it its size back.
    DiskShrunk,
    /// It is ours, and larger than its PV. In mode Enforce the PV grows, if nothing else
    /// stands here and the new part is blank. Way out: see the class's line in status;
    /// else `spec.volumeGroup.growPVOnResize`.
    DiskGrown,
    /// A DiskRemovalRequest names it. Way out: delete the request.
    RemovalRequested,
    /// It is ours and was away while its group was changed, so LVM counts it as missing, or
    /// in the group no more, and does not use it. Way out: make sure that nothing is needed of
    /// what was written meanwhile; then vgextend --restoremissing. One that was taken out is
    /// taken again when its label was wiped by hand.
    DiskStale,
    /// Several classes pick it, or it is claimed for another one; none gets it. Way out: make their
    /// selections disjoint; where it was wiped, a DiskRemovalRequest with `lost: true` has the claim
    /// forgotten.
    ClassConflict,
    /// The class has as many disks or bytes as it may, or not yet as many as it needs.
    /// Way out: `spec.limits`.
    LimitReached,
    /// It has not been quiet for long enough, or udev is not done with it. Wait.
    NotSettled,
    /// The class takes no more disks by itself, or a person has to look at it again. Way
    /// out: the line for `spec.approved` that status shows, or `spec.discovery: Continuous`.
    AwaitingApproval,
    /// Its class is known from before and is not in force now. Way out: see the detail.
    ClassNotInForce,
    /// Another system claims it: the host's `/etc/fstab`, `/etc/crypttab`, `/etc/drbd.conf`, or
    /// a `.res` file of DRBD or LINSTOR names it or a partition of it, or cannot be read; an object
    /// in the cluster gives it to another system, or cannot be read; or it is a partition that
    /// Talos formats (`u-`, `s-`). Way out: remove it there.
    NativeOwner,
    /// The node is not fit for changes, or that cannot be told. Way out: see the detail.
    HostNotReady,
    /// It could not be read or not be understood. Way out: see the detail.
    ProbeFailed,
}

/// One reason, with what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Which rule.
    pub code: Code,
    /// What it found: names, numbers, places.
    pub detail: String,
}

impl Code {
    /// The stable name; of a signature, without its type.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotADisk => "NotADisk",
            Self::TransportNotAllowed => "TransportNotAllowed",
            Self::ReadOnly => "ReadOnly",
            Self::Suspended => "Suspended",
            Self::Offline => "Offline",
            Self::TooSmall => "TooSmall",
            Self::TooLarge => "TooLarge",
            Self::ZeroSize => "ZeroSize",
            Self::Zoned => "Zoned",
            Self::SystemDisk => "SystemDisk",
            Self::Mounted => "Mounted",
            Self::BindMounted => "BindMounted",
            Self::Swap => "Swap",
            Self::HasPartitions => "HasPartitions",
            Self::PhantomPartitions => "PhantomPartitions",
            Self::HasHolders => "HasHolders",
            Self::Busy => "Busy",
            Self::BackingLoop => "BackingLoop",
            Self::Signature(_) => "Signature",
            Self::NotZeroed => "NotZeroed",
            Self::BeingRead => "BeingRead",
            Self::MultipathMember => "MultipathMember",
            Self::MultipathSuspect => "MultipathSuspect",
            Self::DuplicateId => "DuplicateId",
            Self::JunkId => "JunkId",
            Self::NoId => "NoId",
            Self::ForeignPV => "ForeignPV",
            Self::ForeignSystemID => "ForeignSystemID",
            Self::Exported => "Exported",
            Self::Clustered => "Clustered",
            Self::Shared => "Shared",
            Self::DuplicatePV => "DuplicatePV",
            Self::DuplicateVGName => "DuplicateVGName",
            Self::VGPartial => "VGPartial",
            Self::DiskShrunk => "DiskShrunk",
            Self::DiskGrown => "DiskGrown",
            Self::RemovalRequested => "RemovalRequested",
            Self::DiskStale => "DiskStale",
            Self::ClassConflict => "ClassConflict",
            Self::LimitReached => "LimitReached",
            Self::NotSettled => "NotSettled",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::ClassNotInForce => "ClassNotInForce",
            Self::NativeOwner => "NativeOwner",
            Self::HostNotReady => "HostNotReady",
            Self::ProbeFailed => "ProbeFailed",
        }
    }

    /// The field of a DiskClass by which a person may loosen the rule, where there is one.
    pub fn loosened_by(&self) -> Option<&'static str> {
        match self {
            Self::TransportNotAllowed => {
                Some("spec.select.transport and spec.safety.allowRemovable")
            }
            Self::TooSmall | Self::TooLarge => Some("spec.select.size"),
            Self::NotZeroed | Self::BeingRead => Some("spec.safety.requireZeroed"),
            Self::NoId => Some("spec.safety.allowUniqueIdMissing"),
            Self::LimitReached => Some("spec.limits"),
            Self::NotSettled => Some("spec.limits.settle"),
            Self::AwaitingApproval => Some("spec.approved and spec.discovery"),
            _ => None,
        }
    }

    /// Whether the configuration can loosen the rule. The state of the disk or of the
    /// node has to change for the others.
    pub fn overridable(&self) -> bool {
        self.loosened_by().is_some()
    }

    /// Whether it says "not yet" rather than "no".
    pub fn only_waits(&self) -> bool {
        matches!(
            self,
            Self::BeingRead
                | Self::LimitReached
                | Self::NotSettled
                | Self::AwaitingApproval
                | Self::ClassNotInForce
        )
    }

    /// Whether it also speaks of a healthy disk of ours that is in use, or only of when and
    /// whether a blank disk would be taken. Any other stands against changing its PV.
    pub fn is_natural_of_a_member(&self) -> bool {
        matches!(
            self,
            Self::HasHolders
                | Self::Busy
                | Self::Mounted
                | Self::BindMounted
                | Self::BackingLoop
                | Self::Swap
                | Self::SystemDisk
                | Self::NoId
                | Self::NotZeroed
                | Self::BeingRead
                | Self::TooSmall
                | Self::TooLarge
                | Self::TransportNotAllowed
                | Self::ClassConflict
                | Self::LimitReached
                | Self::AwaitingApproval
                | Self::ClassNotInForce
                | Self::DiskGrown
        )
    }
}

impl fmt::Display for Code {
    /// The stable name; of a signature, with its type: `Signature:ext4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Signature(kind) => write!(f, ":{kind}"),
            _ => Ok(()),
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}
