//! Whether each disk of a group has the group's metadata as it is now.
//!
//! lvm commits a change to one PV after the other. Cut between them, or where a disk lost what was in its cache, one has
//! the state before, or a place where no text is. lvm goes by the newest that it can read, so all works, and all is lost
//! with that one disk. `vgck --updatemetadata` writes it to the others (vgck(8), and the resume table's row of a PV that
//! is in our group).
//!
//! It does not write to a PV that no change of the group was ever committed to, as a vgcreate or vgextend leaves that is cut
//! between its commits (lvm2 2.03.31: seen at the recorded writes). No command but taking it out of the group would.

use std::io;
use std::path::{Path, PathBuf};

use lvmd::lvm::devices::{read_label, read_text};

use crate::probe::lvm::describe;

/// What stands in one metadata area that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Text {
    /// Nothing was ever committed to it, and lvm does not write there.
    None,
    /// It is not the text that the area's header names.
    Unreadable,
    /// The group with this UUID, after so many changes.
    Of(String, u64),
}

/// The devices among those of the group whose copy is not the newest. One that cannot be read at all is not among them: a
/// disk that fails, or a damaged header, is not mended by writing.
pub fn behind(vg_uuid: &str, devices: &[PathBuf]) -> Vec<PathBuf> {
    let copies: Vec<(PathBuf, Vec<Text>)> = devices
        .iter()
        .filter_map(|device| Some((device.clone(), texts(device).ok()?)))
        .collect();
    not_newest(vg_uuid, &copies)
}

fn texts(device: &Path) -> io::Result<Vec<Text>> {
    let Some((label, keys)) = read_label(device)? else {
        return Ok(vec![]);
    };
    let in_use = label.mdas.iter().zip(&keys);
    in_use
        .filter(|(_, key)| key.flags & 1 == 0)
        .map(|(area, key)| match read_text(device, *area, key) {
            _ if key.text().is_none() => Ok(Text::None),
            Ok(text) => Ok(match describe(&String::from_utf8_lossy(&text)) {
                Some(vg) => Text::Of(vg.uuid, vg.seqno),
                None => Text::Unreadable,
            }),
            Err(error) if error.raw_os_error().is_some() => Err(error),
            Err(_) => Ok(Text::Unreadable),
        })
        .collect()
}

/// Nothing is behind where no copy of the group can be read, or one is of another group: that is for lvm and people.
fn not_newest(vg_uuid: &str, copies: &[(PathBuf, Vec<Text>)]) -> Vec<PathBuf> {
    let mut newest = None;
    for text in copies.iter().flat_map(|(_, texts)| texts) {
        match text {
            Text::Of(uuid, _) if uuid != vg_uuid => return vec![],
            Text::Of(_, seqno) => newest = newest.max(Some(*seqno)),
            Text::None | Text::Unreadable => {}
        }
    }
    let Some(newest) = newest else {
        return vec![];
    };
    let is_newest = |text: &Text| *text == Text::Of(vg_uuid.to_owned(), newest);
    copies
        .iter()
        .filter(|(_, texts)| {
            !texts
                .iter()
                .all(|text| *text == Text::None || is_newest(text))
        })
        .map(|(device, _)| device.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seqno: u64) -> Text {
        Text::Of("g".into(), seqno)
    }

    fn behind(copies: &[Vec<Text>]) -> Vec<String> {
        let copies: Vec<_> = copies
            .iter()
            .enumerate()
            .map(|(n, texts)| (PathBuf::from(n.to_string()), texts.clone()))
            .collect();
        let found = not_newest("g", &copies);
        found.iter().map(|at| at.display().to_string()).collect()
    }

    #[test]
    fn a_copy_that_is_old_or_unreadable_is_behind() {
        assert!(behind(&[vec![of(3)], vec![of(3)]]).is_empty());
        assert!(behind(&[vec![of(3)], vec![Text::None]]).is_empty());
        for text in [of(2), Text::Unreadable] {
            assert_eq!(behind(&[vec![of(3)], vec![text.clone()]]), ["1"]);
            assert_eq!(behind(&[vec![of(3), text.clone()]]), ["0"], "a second area");
            assert_eq!(behind(&[vec![text], vec![], vec![of(3)]]), ["0"]);
        }
    }

    #[test]
    fn without_a_readable_copy_or_with_another_groups_nothing_is_said() {
        assert!(behind(&[vec![Text::Unreadable], vec![Text::None]]).is_empty());
        let other = Text::Of("h".into(), 9);
        assert!(behind(&[vec![of(3)], vec![of(2)], vec![other]]).is_empty());
    }
}
