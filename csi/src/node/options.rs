//! Mount options: which belong to a mount, which to its file system.

use rustix::mount::MountAttrFlags;

use crate::error::Error;
use crate::filesystem::Kind;

/// Options, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// Of the mount.
    pub(super) attributes: MountAttrFlags,
    /// Of the file system, in order: `key` or `key=value`.
    pub(super) parameters: Vec<String>,
    /// Nothing may be written.
    pub(super) read_only: bool,
}

/// Options of a mount, with the attribute each is; the second list takes one away.
const ATTRIBUTES: [(&str, MountAttrFlags); 7] = [
    ("nosuid", MountAttrFlags::MOUNT_ATTR_NOSUID),
    ("nodev", MountAttrFlags::MOUNT_ATTR_NODEV),
    ("noexec", MountAttrFlags::MOUNT_ATTR_NOEXEC),
    ("noatime", MountAttrFlags::MOUNT_ATTR_NOATIME),
    ("strictatime", MountAttrFlags::MOUNT_ATTR_STRICTATIME),
    ("nodiratime", MountAttrFlags::MOUNT_ATTR_NODIRATIME),
    ("nosymfollow", MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
];
/// Options that say what is so anyway.
const USUAL: [&str; 13] = [
    "", "defaults", "rw", "suid", "dev", "exec", "relatime", "diratime", "atime", "async", "auto",
    "nofail", "_netdev",
];
/// Options of another operation than a plain mount.
const REFUSED: [&str; 10] = [
    "remount",
    "bind",
    "rbind",
    "move",
    "shared",
    "private",
    "slave",
    "unbindable",
    "loop",
    "nouser",
];

impl Options {
    /// Sorts the mount flags of a request.
    ///
    /// # Errors
    /// One cannot be meant, or `rw` contradicts a publish for reading only.
    pub(super) fn read(kind: Kind, flags: &[String], read_only: bool) -> Result<Self, Error> {
        let words = flags.iter().flat_map(|flag| split(flag));
        let mut this = Self {
            attributes: MountAttrFlags::empty(),
            parameters: Vec::new(),
            read_only,
        };
        for word in words.chain(kind.mount_options().iter().copied()) {
            let contradiction =
                || Error::Invalid("mount option rw contradicts a publish for reading only".into());
            if word == "rw" && read_only {
                return Err(contradiction());
            }
            if word == "ro" {
                this.read_only = true;
            } else if REFUSED.contains(&word) {
                return Err(Error::Invalid(format!(
                    "mount option {word} is not for volumes"
                )));
            } else if let Some((_, attribute)) = ATTRIBUTES.iter().find(|(name, _)| *name == word) {
                this.attributes |= *attribute;
            } else if !USUAL.contains(&word)
                && !word.starts_with("x-")
                && !this.parameters.iter().any(|p| p == word)
            {
                this.parameters.push(word.to_owned());
            }
        }
        if this.read_only {
            this.attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        Ok(this)
    }
}

/// The options of one flag: commas separate them, unless they are inside quotes as in
/// `context="system_u:object_r:x:s0:c1,c2"`.
fn split(flag: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, letter) in flag.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                words.push(&flag[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    words.push(&flag[start..]);
    words.into_iter().map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: &[&str], read_only: bool) -> Result<Options, Error> {
        let flags: Vec<_> = flags.iter().map(|f| (*f).to_owned()).collect();
        Options::read(Kind::Xfs, &flags, read_only)
    }

    #[test]
    fn options_go_where_the_kernel_takes_them() {
        let options = read(
            &[
                "noatime,debug",
                "nosuid",
                "logbsize=64k",
                "defaults",
                "x-a=b",
            ],
            false,
        )
        .unwrap();
        assert_eq!(options.parameters, ["debug", "logbsize=64k", "nouuid"]);
        let attributes = MountAttrFlags::MOUNT_ATTR_NOATIME | MountAttrFlags::MOUNT_ATTR_NOSUID;
        assert_eq!((options.attributes, options.read_only), (attributes, false));
        let context = read(&[r#"context="u:r:t:s0:c1,c2""#], false).unwrap();
        assert_eq!(context.parameters[0], r#"context="u:r:t:s0:c1,c2""#);
    }

    #[test]
    fn reading_only_is_asked_for_in_two_ways_and_not_contradicted() {
        assert!(read(&["ro"], false).unwrap().read_only);
        assert!(
            read(&[], true)
                .unwrap()
                .attributes
                .contains(MountAttrFlags::MOUNT_ATTR_RDONLY)
        );
        assert!(read(&["rw"], true).is_err());
        assert!(read(&["rw"], false).is_ok());
        assert!(read(&["bind"], false).is_err());
    }
}
