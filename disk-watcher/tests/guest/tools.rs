//! What programs make in the guest itself, with the versions that nodes have.

/// Name, size of the disk in MiB, what the watcher has to report, and the script that makes it on `$D`.
pub(crate) type Tool = (&'static str, u64, &'static [&'static str], &'static str);

/// One line for each signature.
pub(crate) const TOOLS: &[Tool] = &[
    ("mkfs.ext2", 64, &["Signature:ext2"], "mkfs.ext2 -q -F $D"),
    ("mkfs.ext3", 64, &["Signature:ext3"], "mkfs.ext3 -q -F $D"),
    ("mkfs.ext4", 64, &["Signature:ext4"], "mkfs.ext4 -q -F $D"),
    ("mke2fs journal", 64, &["Signature:jbd"], "mke2fs -q -F -O journal_dev $D"),
    ("mkfs.xfs", 320, &["Signature:xfs"], "mkfs.xfs -q -f $D"),
    ("mkfs.btrfs", 128, &["Signature:btrfs"], "mkfs.btrfs -q -f $D"),
    ("mkfs.f2fs", 64, &["Signature:f2fs"], "mkfs.f2fs -q -f $D"),
    ("mkfs.vfat", 64, &["Signature:vfat"], "mkfs.vfat -I $D"),
    ("mkfs.exfat", 64, &["Signature:exfat"], "mkfs.exfat -q $D"),
    ("mkfs.ntfs", 64, &["Signature:ntfs"], "mkfs.ntfs -q -Q -F $D"),
    ("mkfs.udf", 64, &["Signature:udf"], "mkfs.udf $D"),
    ("mkfs.erofs", 64, &["Signature:erofs"], "mkfs.erofs --quiet $D /usr/share/basalt"),
    ("mksquashfs", 64, &["Signature:squashfs"], "mksquashfs /usr/share/basalt $D -quiet -no-progress -noappend"),
    ("mkswap", 64, &["Signature:swap"], "mkswap -q $D"),
    ("sgdisk", 64, &["Signature:gpt", "Signature:gpt-backup", "Signature:pmbr", "HasPartitions"], "sgdisk -n 1:0:0 $D"),
    ("sgdisk, its end only", 64, &["Signature:gpt-backup", "HasPartitions"],
        "sgdisk -n 1:0:0 $D; dd if=/dev/zero of=$D bs=1M count=1 conv=fsync status=none"),
    ("sgdisk, the protective MBR only", 64, &["Signature:pmbr"],
        "sgdisk -n 1:0:0 $D; dd if=/dev/zero of=$D bs=512 seek=1 count=131071 conv=fsync status=none"),
    ("sgdisk, an EFI partition", 64, &["Signature:gpt", "SystemDisk"], "sgdisk -n 1:0:0 -t 1:ef00 $D"),
    ("sgdisk, Talos' EPHEMERAL", 64, &["Signature:gpt", "SystemDisk"], "sgdisk -n 1:0:0 -c 1:EPHEMERAL $D"),
    ("sfdisk, an empty table", 64, &["Signature:dos"], "echo 'label: dos' | sfdisk -q $D"),
    ("sfdisk, one partition", 64, &["Signature:dos", "HasPartitions"], "echo ',,83' | sfdisk -q -X dos $D"),
    ("sfdisk sgi", 64, &["Signature:sgi"], "echo 'label: sgi' | sfdisk -q $D"),
    ("sfdisk sun", 64, &["Signature:sun"], "echo 'label: sun' | sfdisk -q $D"),
    ("parted mac", 64, &["Signature:mac"], "parted -s $D mklabel mac"),
    ("parted amiga", 64, &["Signature:amiga"], "parted -s $D mklabel amiga"),
    ("parted bsd", 64, &["Signature:bsd"], "parted -s $D mklabel bsd"),
    ("cryptsetup luks1", 64, &["Signature:luks1"],
        "echo secret | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 $D -"),
    ("cryptsetup luks2", 64, &["Signature:luks2", "Signature:luks2-secondary"],
        "echo secret | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 $D -"),
    ("cryptsetup luks2, its second header only", 64, &["Signature:luks2-secondary"],
        "echo secret | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 $D -
         dd if=/dev/zero of=$D bs=4096 count=1 conv=fsync status=none"),
    ("mdadm 0.90", 64, &["Signature:md0.90"], "mdadm -C /dev/md/t -q -R -f -e 0.90 -l 1 -n 2 $D missing; udevadm settle; mdadm -S -q --scan"),
    ("mdadm 1.0", 64, &["Signature:md1.0"], "mdadm -C /dev/md/t -q -R -f -e 1.0 -l 1 -n 2 $D missing; udevadm settle; mdadm -S -q --scan"),
    ("mdadm 1.1", 64, &["Signature:md1.1"], "mdadm -C /dev/md/t -q -R -f -e 1.1 -l 1 -n 2 $D missing; udevadm settle; mdadm -S -q --scan"),
    ("mdadm 1.2", 64, &["Signature:md1.2"], "mdadm -C /dev/md/t -q -R -f -e 1.2 -l 1 -n 2 $D missing; udevadm settle; mdadm -S -q --scan"),
    ("make-bcache -B", 64, &["Signature:bcache"], "make-bcache -B $D"),
    ("make-bcache -C", 64, &["Signature:bcache"], "make-bcache -C $D"),
    ("drbdmeta", 64, &["Signature:drbd"], "drbdmeta --force 0 v09 $D internal create-md 1"),
    ("thin_restore", 64, &["Signature:dm_thin_metadata"],
        "echo '<superblock uuid=\"\" time=\"0\" transaction=\"0\" data_block_size=\"128\" nr_data_blocks=\"64\"></superblock>' >/run/thin.xml
         thin_restore -q -i /run/thin.xml -o $D; rm /run/thin.xml"),
    ("integritysetup", 64, &["Signature:dm_integrity"], "integritysetup format -q --no-wipe $D"),
    ("veritysetup", 64, &["Signature:dm_verity_hash"],
        "dd if=/dev/urandom of=/run/data bs=1M count=4 status=none; veritysetup format /run/data $D; rm /run/data"),
    ("pvcreate, an orphan", 64, &["ForeignPV"], "lvm pvcreate -q $D"),
    ("pvcreate without metadata areas", 64, &["ForeignPV"], "lvm pvcreate -q --pvmetadatacopies 0 $D"),
    ("pvcreate, label in sector 3", 64, &["ForeignPV"], "lvm pvcreate -q --labelsector 3 $D"),
    ("vgcreate", 64, &["ForeignPV"], "lvm vgcreate -q other $D; lvm lvcreate -q -an -Zn -l 1 -n data other"),
    ("vgcreate of our name", 64, &["ForeignPV"], "lvm vgcreate -q fast $D"),
    ("vgexport", 64, &["ForeignPV"], "lvm vgcreate -q given $D; lvm vgexport -q given"),
];

/// Data without any signature: what `requireZeroed: Full` finds.
pub(crate) const DATA: &[Tool] = &[
    (
        "random bytes at the start",
        64,
        &["NotZeroed"],
        "dd if=/dev/urandom of=$D bs=1M count=1 conv=fsync status=none",
    ),
    (
        "random bytes after 1 MiB",
        64,
        &["NotZeroed"],
        "dd if=/dev/urandom of=$D bs=1M seek=1 count=1 conv=fsync status=none",
    ),
    (
        "one byte in the middle",
        64,
        &["NotZeroed"],
        "printf x | dd of=$D bs=1 seek=31415926 conv=fsync status=none",
    ),
    (
        "one byte at the end",
        64,
        &["NotZeroed"],
        "printf x | dd of=$D bs=1 seek=67108863 conv=fsync status=none",
    ),
];
