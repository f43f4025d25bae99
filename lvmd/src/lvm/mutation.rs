//! Every change we ask LVM for, as data, and the argv it becomes.
//!
//! No `-f` anywhere. `-y` stands only on lvcreate, on lvremove of a volume that the
//! request names, and on the lvconvert that splits off the store of our own thick snapshot;
//! it answers questions about signatures in a new volume and about removing or splitting an
//! active one.

use crate::names;

/// The unit in which a thick snapshot keeps what its source had, as lvcreate takes it: [`crate::volumes`] counts on it.
const FREEZE_CHUNK: &str = "4k";

/// One lvm command that changes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutation {
    /// A thick volume of `extents` extents.
    CreateThick {
        /// Its name.
        name: String,
        /// Its size in extents.
        extents: u64,
        /// Its tags.
        tags: Vec<String>,
        /// Further lvcreate options (stripes, RAID), already checked.
        options: Vec<String>,
    },
    /// A thin volume in `pool`.
    CreateThin {
        /// The pool's name.
        pool: String,
        /// Its name.
        name: String,
        /// Its virtual size in bytes.
        bytes: u64,
        /// Its tags.
        tags: Vec<String>,
        /// Further lvcreate options, already checked.
        options: Vec<String>,
    },
    /// A thin snapshot, active at once.
    Snapshot {
        /// The volume it is taken of.
        source: String,
        /// Its name.
        name: String,
        /// Nobody may write to it.
        read_only: bool,
        /// Its tags.
        tags: Vec<String>,
    },
    /// A thick snapshot with a store of `extents` extents, active at once.
    Freeze {
        /// The volume it is taken of.
        source: String,
        /// Its name.
        name: String,
        /// The size of its store in extents; LVM makes no more than can ever be used.
        extents: u64,
        /// Its tags.
        tags: Vec<String>,
    },
    /// Makes a thick snapshot a volume of its own with what its store held.
    Split {
        /// Its name.
        name: String,
    },
    /// Says whether a volume may be written to.
    Permission {
        /// Its name.
        name: String,
        /// It may.
        writable: bool,
    },
    /// Grows a volume to `extents` extents; never shrinks.
    Extend {
        /// Its name.
        name: String,
        /// Its new size in extents.
        extents: u64,
    },
    /// Grows a pool's metadata, and the VG's spare with it, to `bytes`; never shrinks. lvextend
    /// has no option to leave the spare as it is.
    ExtendMetadata {
        /// The pool's name.
        name: String,
        /// Its new metadata size in bytes.
        bytes: u64,
    },
    /// Says whether writes fail at once when the pool is full, or wait.
    ErrorWhenFull {
        /// The pool's name.
        name: String,
        /// They fail.
        error: bool,
    },
    /// Removes a volume, if it still is the one that was looked at.
    Remove {
        /// Its name.
        name: String,
        /// Its uuid as LVM prints it.
        uuid: String,
    },
    /// Renames a volume.
    Rename {
        /// Its name.
        from: String,
        /// Its new name.
        to: String,
    },
    /// Gives a volume tags and takes others from it, at once.
    Retag {
        /// Its name.
        name: String,
        /// Its uuid as LVM prints it, when it must be the one that was looked at; of another
        /// volume of this name nothing is changed.
        uuid: Option<String>,
        /// What it gets.
        add: Vec<String>,
        /// What it loses.
        remove: Vec<String>,
    },
    /// Activates a volume, also one that asks to be skipped.
    Activate {
        /// Its name.
        name: String,
    },
    /// Deactivates volumes, in this order; the kernel refuses what is open.
    Deactivate {
        /// Their names.
        names: Vec<String>,
    },
    /// Reloads a pool's table, so that its low-water mark is ours.
    Refresh {
        /// The pool's name.
        name: String,
    },
    /// A thin pool of `extents` extents, tagged `basalt.state=creating`.
    CreatePool {
        /// Its name.
        name: String,
        /// Its data size in extents.
        extents: u64,
        /// Chunk size in bytes.
        chunk_bytes: u64,
        /// Metadata size in bytes.
        metadata_bytes: u64,
        /// Whether the VG keeps a spare metadata volume for repairs.
        spare: bool,
        /// Whether a chunk reads as zeroes where nobody wrote to it since it was given out.
        zero: bool,
        /// What it does with discards: `passdown`, `nopassdown` or `ignore`.
        discards: &'static str,
        /// Its tags.
        tags: Vec<String>,
    },
    /// Writes the VG's newest metadata to all its PVs.
    RewriteMetadata,
}

impl Mutation {
    /// The lvm sub-command, for metrics and logs.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::CreateThick { .. }
            | Self::CreateThin { .. }
            | Self::Snapshot { .. }
            | Self::Freeze { .. }
            | Self::CreatePool { .. } => "lvcreate",
            Self::Extend { .. } | Self::ExtendMetadata { .. } => "lvextend",
            Self::Remove { .. } => "lvremove",
            Self::Rename { .. } => "lvrename",
            Self::Split { .. } => "lvconvert",
            Self::RewriteMetadata => "vgck",
            Self::Retag { .. }
            | Self::Permission { .. }
            | Self::ErrorWhenFull { .. }
            | Self::Activate { .. }
            | Self::Deactivate { .. }
            | Self::Refresh { .. } => "lvchange",
        }
    }

    /// The arguments after `lvm` (lvcreate(8), lvextend(8), lvremove(8), lvchange(8), lvrename(8), vgck(8)).
    /// `threshold` is given to commands that may reload a thin pool: without it lvm
    /// loads a low-water mark of 0 and the kernel never reports that the pool fills.
    pub fn args(&self, vg: &str, threshold: u8) -> Vec<String> {
        let mut args = vec![self.verb().to_owned()];
        let mut add = |words: &[&str]| args.extend(words.iter().map(|w| (*w).to_owned()));
        let config = format!("activation/thin_pool_autoextend_threshold={threshold}");
        match self {
            Self::CreateThick {
                name,
                extents,
                tags,
                options,
            } => {
                add(&["-y", "-W", "y", "-n", name, "-l", &extents.to_string()]);
                add(&as_options("--addtag", tags));
                add(&options.iter().map(String::as_str).collect::<Vec<_>>());
                add(&[vg]);
            }
            Self::CreateThin {
                pool,
                name,
                bytes,
                tags,
                options,
            } => {
                add(&[
                    "--config",
                    &config,
                    "-y",
                    "-W",
                    "y",
                    "-n",
                    name,
                    "-V",
                    &format!("{bytes}b"),
                ]);
                add(&as_options("--addtag", tags));
                add(&options.iter().map(String::as_str).collect::<Vec<_>>());
                add(&["-T", &format!("{vg}/{pool}")]);
            }
            Self::Snapshot {
                source,
                name,
                read_only,
                tags,
            } => {
                add(&[
                    "--config",
                    &config,
                    "-y",
                    "-s",
                    "-k",
                    "n",
                    "-a",
                    "y",
                    "-p",
                    if *read_only { "r" } else { "rw" },
                    "-n",
                    name,
                ]);
                add(&as_options("--addtag", tags));
                add(&[&format!("{vg}/{source}")]);
            }
            Self::Freeze {
                source,
                name,
                extents,
                tags,
            } => {
                add(&["-y", "-s", "-k", "n", "-a", "y"]);
                add(&["-c", FREEZE_CHUNK, "-l", &extents.to_string(), "-n", name]);
                add(&as_options("--addtag", tags));
                add(&[&format!("{vg}/{source}")]);
            }
            Self::Split { name } => {
                add(&["-y", "--splitsnapshot", &format!("{vg}/{name}")]);
            }
            Self::Permission { name, writable } => {
                let allowed = if *writable { "rw" } else { "r" };
                add(&["-p", allowed, &format!("{vg}/{name}")]);
            }
            Self::Extend { name, extents } => {
                add(&[
                    "--config",
                    &config,
                    "-l",
                    &extents.to_string(),
                    &format!("{vg}/{name}"),
                ]);
            }
            Self::ExtendMetadata { name, bytes } => add(&[
                "--config",
                &config,
                "--poolmetadatasize",
                &format!("{bytes}b"),
                &format!("{vg}/{name}"),
            ]),
            Self::ErrorWhenFull { name, error } => add(&[
                "--config",
                &config,
                "--errorwhenfull",
                if *error { "y" } else { "n" },
                &format!("{vg}/{name}"),
            ]),
            // Without a match lvremove does nothing and ends with 0.
            Self::Remove { name, uuid } => add(&[
                "--config",
                &config,
                "-y",
                "-S",
                &format!("lv_uuid={uuid}"),
                &format!("{vg}/{name}"),
            ]),
            Self::Rename { from, to } => add(&[vg, from, to]),
            Self::Retag {
                name,
                uuid,
                add: added,
                remove,
            } => {
                add(&as_options("--deltag", remove));
                add(&as_options("--addtag", added));
                if let Some(uuid) = uuid {
                    add(&["-S", &format!("lv_uuid={uuid}")]);
                }
                add(&[&format!("{vg}/{name}")]);
            }
            Self::RewriteMetadata => add(&["--updatemetadata", vg]),
            // No process of lvm's stays behind, that would end a pvmove whatever could not be copied.
            Self::Activate { name } => add(&[
                "--config",
                &config,
                "-a",
                "y",
                "-K",
                "--poll",
                "n",
                &format!("{vg}/{name}"),
            ]),
            Self::Deactivate { names } => {
                add(&["-a", "n"]);
                for name in names {
                    add(&[&format!("{vg}/{name}")]);
                }
            }
            Self::Refresh { name } => {
                let lv = format!("{vg}/{name}");
                add(&["--config", &config, "--refresh", "--poll", "n", &lv]);
            }
            Self::CreatePool {
                name,
                extents,
                chunk_bytes,
                metadata_bytes,
                spare,
                zero,
                discards,
                tags,
            } => {
                let yes = |yes: bool| if yes { "y" } else { "n" };
                add(&[
                    "--config",
                    &config,
                    "-y",
                    "--type",
                    "thin-pool",
                    "-n",
                    name,
                    "-l",
                    &extents.to_string(),
                ]);
                add(&[
                    "-c",
                    &format!("{chunk_bytes}b"),
                    "--poolmetadatasize",
                    &format!("{metadata_bytes}b"),
                ]);
                add(&[
                    "--poolmetadataspare",
                    yes(*spare),
                    "-Z",
                    yes(*zero),
                    "--discards",
                    discards,
                ]);
                add(&[
                    "--addtag",
                    &names::tag(names::TAG_STATE, names::STATE_CREATING),
                ]);
                add(&as_options("--addtag", tags));
                add(&[vg]);
            }
        }
        args
    }
}

fn as_options<'a>(option: &'a str, values: &'a [String]) -> Vec<&'a str> {
    values
        .iter()
        .flat_map(|value| [option, value.as_str()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_one_command_and_none_is_forced() {
        let (name, tags) = ("v".to_owned(), vec!["a=b".to_owned()]);
        let options = vec!["--type".to_owned(), "raid1".to_owned()];
        let cases = [
            (
                Mutation::CreateThick {
                    name: name.clone(),
                    extents: 3,
                    tags: tags.clone(),
                    options: options.clone(),
                },
                "lvcreate -y -W y -n v -l 3 --addtag a=b --type raid1 vg",
            ),
            (
                Mutation::CreateThin {
                    pool: "p".into(),
                    name: name.clone(),
                    bytes: 4096,
                    tags: tags.clone(),
                    options: vec![],
                },
                "lvcreate --config activation/thin_pool_autoextend_threshold=70 -y -W y -n v -V 4096b --addtag a=b -T vg/p",
            ),
            (
                Mutation::Snapshot {
                    source: "s".into(),
                    name: name.clone(),
                    read_only: true,
                    tags: vec![],
                },
                "lvcreate --config activation/thin_pool_autoextend_threshold=70 -y -s -k n -a y -p r -n v vg/s",
            ),
            (
                Mutation::Freeze {
                    source: "s".into(),
                    name: name.clone(),
                    extents: 9,
                    tags: tags.clone(),
                },
                "lvcreate -y -s -k n -a y -c 4k -l 9 -n v --addtag a=b vg/s",
            ),
            (
                Mutation::Split { name: name.clone() },
                "lvconvert -y --splitsnapshot vg/v",
            ),
            (
                Mutation::Permission {
                    name: name.clone(),
                    writable: false,
                },
                "lvchange -p r vg/v",
            ),
            (
                Mutation::Extend {
                    name: name.clone(),
                    extents: 9,
                },
                "lvextend --config activation/thin_pool_autoextend_threshold=70 -l 9 vg/v",
            ),
            (
                Mutation::ExtendMetadata {
                    name: name.clone(),
                    bytes: 8192,
                },
                "lvextend --config activation/thin_pool_autoextend_threshold=70 --poolmetadatasize 8192b vg/v",
            ),
            (
                Mutation::ErrorWhenFull {
                    name: name.clone(),
                    error: true,
                },
                "lvchange --config activation/thin_pool_autoextend_threshold=70 --errorwhenfull y vg/v",
            ),
            (
                Mutation::Remove {
                    name: name.clone(),
                    uuid: "u-1".into(),
                },
                "lvremove --config activation/thin_pool_autoextend_threshold=70 -y -S lv_uuid=u-1 vg/v",
            ),
            (
                Mutation::Rename {
                    from: name.clone(),
                    to: "w".into(),
                },
                "lvrename vg v w",
            ),
            (
                Mutation::Retag {
                    name: name.clone(),
                    uuid: Some("u-1".into()),
                    add: vec!["x".into(), "y".into()],
                    remove: tags,
                },
                "lvchange --deltag a=b --addtag x --addtag y -S lv_uuid=u-1 vg/v",
            ),
            (
                Mutation::Deactivate {
                    names: vec![name.clone(), "p".into()],
                },
                "lvchange -a n vg/v vg/p",
            ),
            (
                Mutation::Activate { name: name.clone() },
                "lvchange --config activation/thin_pool_autoextend_threshold=70 -a y -K --poll n vg/v",
            ),
        ];
        for (mutation, expected) in cases {
            let args = mutation.args("vg", 70);
            assert_eq!(args.join(" "), expected);
            assert!(
                !args
                    .iter()
                    .any(|a| a == "-f" || a == "--force" || a == "-ff"),
                "{args:?}"
            );
            let may_answer = matches!(args[0].as_str(), "lvcreate" | "lvremove")
                || args.iter().any(|arg| arg == "--splitsnapshot");
            assert!(
                may_answer || !args.iter().any(|a| a == "-y" || a == "--yes"),
                "{args:?}"
            );
        }
    }
}
