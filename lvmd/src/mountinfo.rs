//! `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::path::PathBuf;

/// A mount of this mount namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number.
    pub id: u32,
    /// The number of the mount it is on.
    pub parent: u32,
    /// Major and minor number of the file system, as `8:1`.
    pub device: String,
    /// The part of the file system that is mounted: `/`, or a folder or file of it.
    pub root: String,
    /// Where.
    pub at: PathBuf,
    /// Options of this mount: `ro`, `noatime` and the like.
    pub options: String,
    /// The file system's type.
    pub kind: String,
    /// What was mounted, in the words of who did.
    pub source: String,
    /// Options of the file system, the same for all its mounts.
    pub super_options: String,
}

impl Mount {
    /// Whether nothing can be written through this mount.
    pub fn is_read_only(&self) -> bool {
        has_ro(&self.options)
    }

    /// Whether nothing can be written to the file system at all. With a mount that is not
    /// read-only it means that the kernel gave up after an error.
    pub fn is_read_only_below(&self) -> bool {
        has_ro(&self.super_options)
    }
}

fn has_ro(options: &str) -> bool {
    options.split(',').any(|option| option == "ro")
}

/// Reads the table. Lines that are not understood are left out; the kernel writes none.
pub fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut words = left.split(' ');
    let mut right = right.split(' ');
    Some(Mount {
        id: words.next()?.parse().ok()?,
        parent: words.next()?.parse().ok()?,
        device: words.next()?.to_owned(),
        root: unescape(words.next()?),
        at: PathBuf::from(unescape(words.next()?)),
        options: words.next()?.to_owned(),
        kind: right.next()?.to_owned(),
        source: unescape(right.next().unwrap_or_default()),
        super_options: right.next().unwrap_or_default().to_owned(),
    })
}

/// Undoes the kernel's `\040` for blanks, tabs, newlines and backslashes.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', more @ ..]) => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = more;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_went_read_only_is_told_from_a_read_only_mount() {
        let text = "61 29 253:3 / /pods/a\\040b rw,noatime shared:4 - ext4 /dev/dm-3 ro,errors=remount-ro\n\
                    62 29 253:4 / /c ro - xfs /dev/dm-4 rw,nouuid\nnonsense\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].at, PathBuf::from("/pods/a b"));
        assert_eq!(
            (mounts[0].kind.as_str(), mounts[0].source.as_str()),
            ("ext4", "/dev/dm-3")
        );
        assert!(!mounts[0].is_read_only() && mounts[0].is_read_only_below());
        assert!(mounts[1].is_read_only() && !mounts[1].is_read_only_below());
    }
}
