//! Every name another program depends on, once.
//!
//! The first block is upstream TopoLVM's: clusters move to us and back because
//! these are equal. The second is our own.

/// The CSI driver, the CRD group, and the prefix of annotations and parameters.
pub const DRIVER: &str = "topolvm.io";
/// Where lvmd listens unless told otherwise.
pub const LVMD_SOCKET: &str = "/run/topolvm/lvmd.sock";
/// Where lvmd finds its configuration unless told otherwise.
pub const LVMD_CONFIG: &str = "/etc/topolvm/lvmd.yaml";

/// Where the CSI driver listens unless told otherwise.
pub const CSI_SOCKET: &str = "/run/topolvm/csi-topolvm.sock";
/// Key of the topology segment that names a volume's node.
pub const TOPOLOGY_NODE: &str = "topology.topolvm.io/node";
/// StorageClass parameter: the device class.
pub const PARAM_CLASS: &str = "topolvm.io/device-class";
/// StorageClass parameter: the lvcreate option class.
pub const PARAM_OPTION_CLASS: &str = "topolvm.io/lvcreate-option-class";

/// Finalizer of a LogicalVolume: its volume has to be removed first.
pub const FINALIZER_LV: &str = "topolvm.io/logicalvolume";
/// Finalizer of a Node that has volumes.
pub const FINALIZER_NODE: &str = "topolvm.io/node";
/// Label of a LogicalVolume, with [`CREATED_BY`] as its value.
pub const LABEL_CREATED_BY: &str = "app.kubernetes.io/created-by";
/// Value of [`LABEL_CREATED_BY`].
pub const CREATED_BY: &str = "topolvm-controller";
/// Annotation of a LogicalVolume: when growing was last asked for.
pub const ANNOTATION_RESIZE: &str = "topolvm.io/resize-requested-at";
/// Annotation of a LogicalVolume that is given up: its node touches neither it nor its volume.
pub const ANNOTATION_PENDING_DELETION: &str = "topolvm.io/pendingdeletion";
/// Annotation of a pod: when its kubelet was last told to grow a file system.
pub const ANNOTATION_RESIZEFS: &str = "topolvm.io/last-resizefs-requested-at";
/// Prefix of a Node's annotations that say how many bytes each class can give.
pub const CAPACITY_PREFIX: &str = "capacity.topolvm.io/";
/// What stands for the default class behind [`CAPACITY_PREFIX`].
pub const CAPACITY_DEFAULT: &str = "00default";
/// Resource that a pod with volumes to be made requests one of, so that kube-scheduler asks the extender.
pub const RESOURCE_CAPACITY: &str = "topolvm.io/capacity";

/// Annotation of a LogicalVolume upstream does not have: `volume/<id>` or `snapshot/<id>`, what it is a copy of.
pub const ANNOTATION_SOURCE: &str = "basalt.storage/source";
/// Annotation of a LogicalVolume that is a snapshot: the id that it has from the moment at which its source is frozen, though
/// not all data is in it. `status.volumeID`, which TopoLVM takes for ready, comes when it is.
pub const ANNOTATION_FROZEN: &str = "basalt.storage/frozen";
/// Annotation of a LogicalVolume: `<namespace>/<name>` of the claim it was made for.
pub const ANNOTATION_CLAIM: &str = "basalt.storage/claim";
/// Annotation of a snapshot's LogicalVolume: `<namespace>/<name>` of the VolumeSnapshot it was made for.
pub const ANNOTATION_SNAPSHOT: &str = "basalt.storage/volume-snapshot";
/// Annotation of a LogicalVolume: `ext4`, `xfs`, `btrfs` or `block`, what it was asked for as.
pub const ANNOTATION_CONTENT: &str = "basalt.storage/content";
/// Annotation of a LogicalVolume that was made for an LV that was there: `<uuid of the VG>/<LV>`.
pub const ANNOTATION_ADOPTED: &str = "basalt.storage/adopted";
/// Annotation of a LogicalVolume that was made to have an LV removed that no other names: `<uuid of the VG>/<LV>`.
pub const ANNOTATION_REMOVAL: &str = "basalt.storage/removal";
/// Annotation of a Node: the LVs of its classes' groups that no LogicalVolume names, as JSON.
pub const ANNOTATION_STRAYS: &str = "basalt.storage/strays";
/// Prefix of StorageClass parameters upstream does not have.
pub const PARAM_OWN: &str = "basalt.storage/";
/// Attribute of an inline volume, which upstream does not have: its size.
pub const PARAM_SIZE: &str = "basalt.storage/size";
/// LVM tag `basalt.owner=<uid>` on a VG: whose it is. See [`tag_value`].
pub const TAG_OWNER: &str = "basalt.owner";
/// LVM tag `basalt.class=<class>` on a VG: the DiskClass it was made for.
pub const TAG_CLASS: &str = "basalt.class";
/// LVM tag `basalt.state=creating|copying|wiping`: work that is under way.
pub const TAG_STATE: &str = "basalt.state";
/// LVM tag `basalt.lv=<LogicalVolume name>` on a volume.
pub const TAG_LV: &str = "basalt.lv";
/// LVM tag `basalt.pvc=<namespace>/<name>` on a volume.
pub const TAG_PVC: &str = "basalt.pvc";
/// LVM tag `basalt.snapshot=<namespace>/<name>` on a snapshot: its VolumeSnapshot.
pub const TAG_SNAPSHOT: &str = "basalt.snapshot";
/// LVM tag `basalt.device-class=<name>` on a volume: the class it was asked for in.
pub const TAG_DEVICE_CLASS: &str = "basalt.device-class";
/// LVM tag `basalt.content=ext4|xfs|btrfs|block` on a volume: what it was asked for as.
pub const TAG_CONTENT: &str = "basalt.content";
/// LVM tag `basalt.ephemeral=<namespace>/<pod>` on a volume that a pod's own specification asked for: it goes with the pod.
pub const TAG_EPHEMERAL: &str = "basalt.ephemeral";
/// LVM tag `basalt.kind=volume|snapshot` on a volume; without Kubernetes always, else on snapshots.
pub const TAG_KIND: &str = "basalt.kind";
/// LVM tag `basalt.size=<bytes>` there: the size that was asked for.
pub const TAG_SIZE: &str = "basalt.size";
/// LVM tag `basalt.source=<volume>` there: what it was copied from.
pub const TAG_SOURCE: &str = "basalt.source";
/// LVM tag `basalt.created=<seconds since 1970>` there.
pub const TAG_CREATED: &str = "basalt.created";
/// LVM tag `basalt.threshold=<percent>` on a thin pool.
pub const TAG_THRESHOLD: &str = "basalt.threshold";
/// Value of [`TAG_STATE`]: made, but not finished.
pub const STATE_CREATING: &str = "creating";
/// LVM tag `basalt.copy=ro|rw/<LV>` on a copy of a thick volume: what may be done with it, and the name of its source.
pub const TAG_COPY: &str = "basalt.copy";
/// Value of [`TAG_STATE`]: data is being copied into it, or it is what the data is copied from.
pub const STATE_COPYING: &str = "copying";
/// Prefix of the name of a copy of a thick volume until all data is in it.
pub const COPYING_PREFIX: &str = "basalt-copying-";
/// Prefix of the name of what such a copy is taken from: its source, frozen at one moment.
pub const FROZEN_PREFIX: &str = "basalt-frozen-";
/// Value of [`TAG_STATE`]: removed for its user, being overwritten with zeroes.
pub const STATE_WIPING: &str = "wiping";
/// Prefix of a removed thick volume's name while it is overwritten with zeroes.
pub const WIPING_PREFIX: &str = "basalt-wiping-";

/// Directory under which the lvm.conf of each command is generated.
pub const LVM_SYSTEM_DIRS: &str = "/run/topolvm/lvm";
/// Directory under which each command finds the device nodes of its VG.
pub const LVM_NODE_DIRS: &str = "/dev/.basalt";
/// LVM's lock directory; it must be the host's.
pub const LVM_LOCK_DIR: &str = "/run/lock/lvm";

/// `key=value`, as an LVM tag.
pub fn tag(key: &str, value: &str) -> String {
    format!("{key}={value}")
}

/// The value of the first tag `key=value` among `tags`.
pub fn tag_value<'a>(tags: &'a [String], key: &str) -> Option<&'a str> {
    tags.iter()
        .find_map(|tag| tag.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_by_its_whole_key() {
        let tags = [tag("basalt.ownership", "x"), tag(TAG_OWNER, "u=1")];
        assert_eq!(tag_value(&tags, TAG_OWNER), Some("u=1"));
        assert_eq!(tag_value(&tags, TAG_STATE), None);
    }
}
