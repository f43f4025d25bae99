//! `/proc/<pid>/mountinfo`, proc_pid_mountinfo(5).

use serde::Serialize;

use super::DevNo;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// A number no other mount of this machine has, in whatever mount namespace.
    pub id: u64,
    /// The device of the mounted file system; not always that of a disk (btrfs).
    pub dev: DevNo,
    /// The directory of the file system that is mounted; not `/` for bind mounts.
    pub root: String,
    /// Where it is mounted.
    pub mount_point: String,
    /// The type of the file system.
    pub fs_type: String,
    /// What was mounted: often a device, sometimes several, sometimes any word.
    pub source: String,
    /// The options of the file system; some name devices (`logdev=`, `journal_path=`).
    pub super_options: String,
}

/// File systems of this machine that may have device nodes; to ask for a file of theirs never waits
/// for a server.
const LOCAL: [&str; 18] = [
    "devtmpfs", "tmpfs", "ramfs", "rootfs", "overlay", "ext2", "ext3", "ext4", "xfs", "btrfs",
    "f2fs", "zfs", "bcachefs", "jfs", "erofs", "squashfs", "hostfs", "aufs",
];

/// A line that is not of the documented form. Nothing is concluded from the rest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of mountinfo is not understood: {text:?}")]
pub struct BadMountinfo {
    /// The line, from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
}

impl Mount {
    /// Whether its files may be device nodes and can be asked what they are without waiting for
    /// another machine.
    pub fn is_local(&self) -> bool {
        LOCAL.contains(&self.fs_type.as_str())
    }

    /// Whether it is the mount of one file or folder of a file system, as `mount --bind` makes it.
    pub fn is_part(&self) -> bool {
        self.root != "/"
    }

    /// The device paths named in the source and in the options of the file system.
    pub fn named_devices(&self) -> impl Iterator<Item = &str> {
        // A colon separates the devices of bcachefs, and is part of names by-path; so
        // both readings count.
        let options = self.super_options.split([',', '=']);
        let lists = [self.source.as_str(), self.super_options.as_str()];
        let listed = lists.into_iter().flat_map(|t| t.split([',', '=', ':']));
        [self.source.as_str()]
            .into_iter()
            .chain(options)
            .chain(listed)
            .map(|word| word.trim_matches('"'))
            .filter(|word| word.starts_with("/dev/"))
    }
}

/// Reads the whole table.
///
/// # Errors
/// The first line that is not understood.
pub(super) fn parse(table: &[u8]) -> Result<Vec<Mount>, BadMountinfo> {
    table
        .split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| {
            parse_line(line).ok_or_else(|| BadMountinfo {
                line: index + 1,
                text: String::from_utf8_lossy(line).into_owned(),
            })
        })
        .collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let separator = 6 + fields.get(6..)?.iter().position(|field| *field == b"-")?;
    let text = |index: usize| fields.get(index).map(|field| unescape(field));
    Some(Mount {
        id: text(0)?.parse().ok()?,
        dev: text(2)?.parse().ok()?,
        root: text(3)?,
        mount_point: text(4)?,
        fs_type: text(separator + 1)?,
        source: text(separator + 2)?,
        super_options: text(separator + 3)?,
    })
}

/// Undoes the kernel's escapes: a backslash and three octal digits stand for a byte.
pub(super) fn unescape(field: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    /// The kernel's `mangle()`: space, tab, newline, backslash and `#`.
    fn escape(text: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            if " \t\n\\#".contains(c) {
                out.push_str(&format!("\\{:03o}", u32::from(c)));
            } else {
                out.push(c);
            }
        }
        out
    }

    #[test]
    fn reads_the_line_of_the_manual_and_of_a_bind_mount() {
        let table =
            b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
            37 35 8:17 /a\\040b /c rw - xfs /dev/sdb1 rw,logdev=/dev/sdc1,rtdev=/dev/sdd1\n\
            38 35 0:40 / /b rw shared:2 master:1 - bcachefs /dev/sde:/dev/sdf rw\n";
        let mounts = parse(table).unwrap();
        assert_eq!(
            mounts[0].dev,
            DevNo {
                major: 98,
                minor: 0
            }
        );
        assert_eq!(mounts[1].root, "/a b");
        let named: Vec<&str> = mounts[1].named_devices().collect();
        assert!(
            ["/dev/sdb1", "/dev/sdc1", "/dev/sdd1"]
                .iter()
                .all(|d| named.contains(d))
        );
        let named: Vec<&str> = mounts[2].named_devices().collect();
        assert!(["/dev/sde", "/dev/sdf"].iter().all(|d| named.contains(d)));
    }

    #[test]
    fn a_line_that_is_not_understood_spoils_the_table() {
        let error = parse(b"36 35 98:0 / / rw - ext4 /dev/a rw\nnonsense\n").unwrap_err();
        assert_eq!(error.line, 2);
        assert!(parse(b"36 35 98:0 / / rw ext4 /dev/a rw\n").is_err());
        assert!(parse(b"36 35 98 / / rw - ext4 /dev/a rw\n").is_err());
    }

    proptest! {
        #[test]
        fn any_path_survives_the_kernels_escapes(path in any::<String>()) {
            prop_assert_eq!(unescape(escape(&path).as_bytes()), path);
        }

        #[test]
        fn any_mount_is_found_again(source in "[^\u{0}]{1,40}", point in "[^\u{0}]{1,40}", major in any::<u32>()) {
            let line = format!("1 2 {major}:3 / {} rw shared:1 - ext4 {} rw\n", escape(&point), escape(&source));
            let mounts = parse(line.as_bytes()).unwrap();
            prop_assert_eq!(&mounts[0].source, &source);
            prop_assert_eq!(&mounts[0].mount_point, &point);
            prop_assert_eq!(mounts[0].dev.major, major);
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&bytes).is_ok() || parse(&bytes).is_err());
        }
    }
}
