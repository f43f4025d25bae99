//! Every option of lvcreate, as allowed or with the reason why not.

#[derive(Debug)]
pub(super) struct Opt {
    pub(super) short: Option<char>,
    pub(super) long: &'static str,
    pub(super) takes: Takes,
}

#[derive(Debug)]
pub(super) enum Takes {
    /// Allowed, a switch.
    Nothing,
    /// Allowed with any value.
    Any,
    /// Allowed with these values; else the reason.
    OneOf(&'static [&'static str], &'static str),
    /// Refused.
    Refused(&'static str),
}

const fn opt(short: Option<char>, long: &'static str, takes: Takes) -> Opt {
    Opt { short, long, takes }
}

const GIVEN: &str =
    "lvmd gives it itself, from the request, and lvcreate takes no option twice: remove it";
const WHERE: &str = "it changes which disks LVM looks at; lvmd hands over exactly the volume \
                     group's own, so that no other can be touched";
const SETTINGS: &str =
    "it changes LVM's settings behind the engine's back (locking, udev, devices)";
const LOCKS: &str = "without LVM's lock two writers can destroy the volume group's metadata";
const UDEV: &str = "without udev's part stale device nodes can point at another volume";
const POOL: &str = "it is a property of a pool or makes one, and a class creates plain volumes; \
                    set it on the pool";
const KIND: &str = "it would create another kind of volume than the class promises";
const NUMBER: &str = "every volume of the class would ask for the same device number";
const OUTPUT: &str = "it changes what lvcreate prints or whether it works at all";

/// All options of lvcreate 2.03.31, allowed ones first.
pub(super) const OPTIONS: &[Opt] = &[
    // How the volume lies on the disks.
    opt(
        None,
        "type",
        Takes::OneOf(
            &[
                "linear",
                "striped",
                "mirror",
                "raid0",
                "raid0_meta",
                "raid1",
                "raid4",
                "raid5",
                "raid5_la",
                "raid5_ls",
                "raid5_ra",
                "raid5_rs",
                "raid5_n",
                "raid6",
                "raid6_zr",
                "raid6_nr",
                "raid6_nc",
                "raid6_n_6",
                "raid6_la_6",
                "raid6_ls_6",
                "raid6_ra_6",
                "raid6_rs_6",
                "raid10",
                "raid10_near",
            ],
            KIND,
        ),
    ),
    opt(Some('m'), "mirrors", Takes::Any),
    opt(Some('i'), "stripes", Takes::Any),
    opt(Some('I'), "stripesize", Takes::Any),
    opt(Some('R'), "regionsize", Takes::Any),
    opt(None, "mirrorlog", Takes::Any),
    opt(None, "nosync", Takes::Nothing),
    opt(None, "minrecoveryrate", Takes::Any),
    opt(None, "maxrecoveryrate", Takes::Any),
    opt(None, "raidintegrity", Takes::Any),
    opt(None, "raidintegrityblocksize", Takes::Any),
    opt(None, "raidintegritymode", Takes::Any),
    opt(None, "alloc", Takes::Any),
    opt(Some('C'), "contiguous", Takes::Any),
    opt(Some('r'), "readahead", Takes::Any),
    // Marks on the volume.
    opt(None, "addtag", Takes::Any),
    opt(None, "setautoactivation", Takes::Any),
    // Without effect on the volume.
    opt(Some('A'), "autobackup", Takes::Any),
    opt(None, "nohints", Takes::Nothing),
    opt(Some('K'), "ignoreactivationskip", Takes::Nothing),
    opt(None, "ignoremonitoring", Takes::Nothing),
    opt(Some('d'), "debug", Takes::Nothing),
    opt(Some('v'), "verbose", Takes::Nothing),
    opt(Some('q'), "quiet", Takes::Nothing),
    // Allowed with the value that is the default anyway.
    opt(
        Some('a'),
        "activate",
        Takes::OneOf(
            &["y", "ay", "ey", "ly"],
            "a volume that is not active cannot be used",
        ),
    ),
    opt(
        Some('k'),
        "setactivationskip",
        Takes::OneOf(
            &["n"],
            "a volume that is skipped at activation is gone after a reboot",
        ),
    ),
    opt(
        Some('p'),
        "permission",
        Takes::OneOf(
            &["rw"],
            "a new volume that is read-only cannot be formatted",
        ),
    ),
    opt(
        Some('Z'),
        "zero",
        Takes::OneOf(
            &["y"],
            "what stood on the disk before would show in the new volume",
        ),
    ),
    opt(
        None,
        "monitor",
        Takes::OneOf(
            &["n"],
            "there is no dmeventd beside lvmd, and LVM would wait for it",
        ),
    ),
    opt(Some('M'), "persistent", Takes::OneOf(&["n"], NUMBER)),
    // Given by lvmd.
    opt(Some('n'), "name", Takes::Refused(GIVEN)),
    opt(Some('L'), "size", Takes::Refused(GIVEN)),
    opt(Some('l'), "extents", Takes::Refused(GIVEN)),
    opt(Some('V'), "virtualsize", Takes::Refused(GIVEN)),
    opt(Some('T'), "thin", Takes::Refused(GIVEN)),
    opt(None, "thinpool", Takes::Refused(GIVEN)),
    opt(Some('W'), "wipesignatures", Takes::Refused(GIVEN)),
    opt(Some('y'), "yes", Takes::Refused(GIVEN)),
    // Past the engine.
    opt(Some('f'), "force", Takes::Refused("nothing is ever forced")),
    opt(None, "config", Takes::Refused(SETTINGS)),
    opt(None, "profile", Takes::Refused(SETTINGS)),
    opt(None, "commandprofile", Takes::Refused(SETTINGS)),
    opt(None, "metadataprofile", Takes::Refused(SETTINGS)),
    opt(None, "devices", Takes::Refused(WHERE)),
    opt(None, "devicesfile", Takes::Refused(WHERE)),
    opt(None, "nolocking", Takes::Refused(LOCKS)),
    opt(None, "lockopt", Takes::Refused(LOCKS)),
    opt(None, "noudevsync", Takes::Refused(UDEV)),
    opt(None, "driverloaded", Takes::Refused(OUTPUT)),
    opt(None, "journal", Takes::Refused(OUTPUT)),
    opt(
        Some('t'),
        "test",
        Takes::Refused("nothing would be created, and success reported"),
    ),
    opt(None, "reportformat", Takes::Refused(OUTPUT)),
    opt(Some('h'), "help", Takes::Refused(OUTPUT)),
    opt(None, "longhelp", Takes::Refused(OUTPUT)),
    opt(None, "version", Takes::Refused(OUTPUT)),
    opt(Some('j'), "major", Takes::Refused(NUMBER)),
    opt(None, "minor", Takes::Refused(NUMBER)),
    // Another kind of volume, or a pool.
    opt(Some('s'), "snapshot", Takes::Refused(KIND)),
    opt(None, "vdo", Takes::Refused(KIND)),
    opt(None, "vdopool", Takes::Refused(KIND)),
    opt(None, "vdosettings", Takes::Refused(KIND)),
    opt(None, "compression", Takes::Refused(KIND)),
    opt(None, "deduplication", Takes::Refused(KIND)),
    opt(Some('H'), "cache", Takes::Refused(KIND)),
    opt(None, "cachepool", Takes::Refused(KIND)),
    opt(None, "cachevol", Takes::Refused(KIND)),
    opt(None, "cachedevice", Takes::Refused(KIND)),
    opt(None, "cachesize", Takes::Refused(KIND)),
    opt(None, "cachemode", Takes::Refused(KIND)),
    opt(None, "cachepolicy", Takes::Refused(KIND)),
    opt(None, "cachesettings", Takes::Refused(KIND)),
    opt(None, "cachemetadataformat", Takes::Refused(KIND)),
    opt(Some('c'), "chunksize", Takes::Refused(POOL)),
    opt(None, "discards", Takes::Refused(POOL)),
    opt(None, "errorwhenfull", Takes::Refused(POOL)),
    opt(None, "poolmetadatasize", Takes::Refused(POOL)),
    opt(None, "poolmetadataspare", Takes::Refused(POOL)),
];
