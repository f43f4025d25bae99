//! What the kernel says of the mirrors of a pvmove, while they are there.
//!
//! pvmove's mirrors handle no errors: a region that could not be read or written counts as in sync, and LVM ends the move as
//! if all were well. The status names the leg that failed (Linux `drivers/md/dm-raid1.c`, `mirror_status` and
//! `device_status_char`), but forgets at the end of the copying what failed in it: what was copied is compared besides.

use std::io;

use lvmd::dm::{Control, Target};
use lvmd::lvm::model::{dm_name_prefix, dm_prefix};

use super::same::Mirror;

/// A group, as device-mapper knows it.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its UUID, as LVM prints it.
    pub uuid: String,
}

/// How far a pvmove is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// There is no mirror: it ended, or never began.
    None,
    /// Regions are being copied.
    Copying,
    /// All were, and since then nothing failed.
    Copied(Vec<Mirror>),
    /// Something failed.
    Failed {
        /// What the kernel says.
        status: String,
        /// Whether the disk that leaves still has everything: a write that only the new disk took is lost when the move is
        /// taken back, and what was not copied yet when it is ended.
        whole: bool,
    },
}

/// Asks the kernel about the mirrors of the group's pvmoves.
///
/// # Errors
/// When device-mapper cannot be asked, or says something that is not understood.
pub fn progress(group: &Group) -> io::Result<Progress> {
    let control = Control::open()?;
    let name = dm_name_prefix(&group.name) + "pvmove";
    let prefix = dm_prefix(&group.uuid);
    let mut mirrors = Vec::new();
    for device in control.list()? {
        if let Some(uuid) = device.uuid.filter(|uuid| uuid.starts_with(&prefix))
            && device.name.starts_with(&name)
        {
            let status = control.status(&uuid)?.unwrap_or_default();
            let table = control.table(&uuid)?.unwrap_or_default();
            mirrors.extend(
                table
                    .into_iter()
                    .zip(status)
                    .filter(|(t, _)| t.kind == "mirror"),
            );
        }
    }
    judge(&mirrors).ok_or_else(|| {
        let what = format!("a mirror is not understood: {mirrors:?}");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

/// Of the table and the status of each mirror; `None` when one is not understood.
fn judge(mirrors: &[(Target, Target)]) -> Option<Progress> {
    let mut copied = Vec::new();
    let mut copying = false;
    for (table, status) in mirrors {
        let words: Vec<&str> = status.params.split_whitespace().collect();
        let legs: usize = words.first()?.parse().ok()?;
        let (done, of) = words.get(legs + 1)?.split_once('/')?;
        let (done, of): (u64, u64) = (done.parse().ok()?, of.parse().ok()?);
        let health = words.get(legs + 3)?;
        // The first is the one that is copied from.
        let source = health.bytes().next()?;
        if health.len() != legs {
            return None;
        }
        if health.bytes().any(|leg| leg != b'A') {
            return Some(Progress::Failed {
                status: status.params.trim().to_owned(),
                // S, R: what failed was reading.
                whole: matches!(source, b'A' | b'S' | b'R'),
            });
        }
        copied.push(Mirror::parse(&table.params, table.length)?);
        copying |= done < of;
    }
    Some(match copied.is_empty() {
        true => Progress::None,
        false if copying => Progress::Copying,
        false => Progress::Copied(copied),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mirror of two disks, from this sector of the first.
    fn mirror(sector: u64, status: &str) -> (Target, Target) {
        let target = |params: String| Target {
            start: 0,
            length: 64,
            kind: "mirror".into(),
            params,
        };
        let table = format!("core 1 4096 2 98:16 {sector} 98:32 0");
        (target(table), target(status.to_owned()))
    }

    #[test]
    fn all_is_copied_when_each_mirror_is_whole_and_no_leg_failed() {
        let whole = mirror(8, "2 98:16 98:32 32/32 1 AA 1 core");
        let half = mirror(16, "2 98:16 98:32 16/32 1 AA 1 core");
        assert_eq!(judge(&[]), Some(Progress::None));
        let parsed = Mirror::parse(&whole.0.params, 64).unwrap();
        assert_eq!(
            judge(std::slice::from_ref(&whole)),
            Some(Progress::Copied(vec![parsed]))
        );
        for both in [[half.clone(), whole.clone()], [whole, half]] {
            assert_eq!(judge(&both), Some(Progress::Copying));
        }
    }

    #[test]
    fn one_leg_that_failed_is_told_and_whether_the_old_disk_has_everything() {
        let legs = [
            ("SA", true),
            ("RA", true),
            ("AD", true),
            ("AS", true),
            ("AF", true),
            ("DA", false),
            ("FA", false),
            ("UA", false),
            ("DS", false),
        ];
        let fine = mirror(0, "2 98:16 98:32 16/32 1 AA 1 core");
        for (health, stands) in legs {
            let failed = mirror(8, &format!("2 98:16 98:32 32/32 1 {health} 1 core"));
            let Some(Progress::Failed { status, whole }) = judge(&[fine.clone(), failed]) else {
                panic!("{health}");
            };
            assert_eq!(whole, stands, "{health}");
            assert!(status.contains(health));
        }
    }

    #[test]
    fn what_is_not_understood_is_not_taken_for_copied() {
        for status in [
            "",
            "2 98:16",
            "2 98:16 98:32 x/32 1 AA",
            "2 98:16 98:32 32/32 1 A 1 core",
            "0 32/32 1 AA",
        ] {
            assert_eq!(judge(&[mirror(0, status)]), None, "{status}");
        }
    }
}
