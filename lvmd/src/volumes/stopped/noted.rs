//! What the committed metadata says of the tables of a group's linear and striped LVs, to the sector.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::libc::{major, minor};

use crate::dm::Target;
use crate::lvm::devices::{read_label, read_text};
use crate::lvm::metadata::Group;
use crate::lvm::metadata::group::{Kind, Place, Segment};
use crate::lvm::snapshot::VgView;
use crate::units::SECTOR;

/// The group as it is committed, and where the data of its PVs begins.
pub(super) struct Noted {
    group: Group,
    /// By the key of a PV in the metadata.
    begins: BTreeMap<String, Begin>,
}

/// Where the first extent of a PV is.
struct Begin {
    /// Major and minor number, as device-mapper writes them.
    device: String,
    sector: u64,
}

impl Noted {
    /// Reads the newest text on the devices of `view`. Only under LVM's lock of the group is it what holds.
    ///
    /// # Errors
    /// When a device cannot be read, or none has the group's text.
    pub(super) fn read(view: &VgView) -> Result<Self, String> {
        let mut newest: Option<Group> = None;
        let mut by_uuid = BTreeMap::new();
        for path in &view.devices {
            let fails = |why: &dyn fmt::Display| format!("{}: {why}", path.display());
            let (label, keys) = read_label(path)
                .map_err(|e| fails(&e))?
                .ok_or_else(|| fails(&"it is no PV any more"))?;
            for (area, key) in label.mdas.iter().zip(&keys) {
                if key.text().is_none() {
                    continue;
                }
                let text = read_text(path, *area, key).map_err(|e| fails(&e))?;
                let group = Group::parse(&text).map_err(|e| fails(&e))?;
                if newest
                    .as_ref()
                    .is_none_or(|known| known.seqno < group.seqno)
                {
                    newest = Some(group);
                }
            }
            let device = number(path).map_err(|e| fails(&e))?;
            let sector = label.data_start / SECTOR;
            by_uuid.insert(label.pv_uuid, Begin { device, sector });
        }
        let group = newest.filter(|group| group.uuid == view.vg.uuid);
        let group = group.ok_or(format!("no disk has the metadata of {}", view.vg.name))?;
        let mut begins = BTreeMap::new();
        for pv in &group.pvs {
            if let Some(begin) = by_uuid.remove(&pv.uuid) {
                begins.insert(pv.key.clone(), begin);
            }
        }
        Ok(Self { group, begins })
    }

    /// Whether extents of the group are being moved.
    pub(super) fn is_moving(&self) -> bool {
        let is_move = |flags: &[String]| flags.iter().any(|flag| flag == "PVMOVE");
        self.group.lvs.iter().any(|lv| is_move(&lv.flags))
    }

    /// Where this LV is.
    ///
    /// # Errors
    /// When it is not linear or striped, straight on PVs that are there.
    pub(super) fn runs(&self, name: &str) -> Result<Vec<Run>, String> {
        let lv = self.group.lvs.iter().find(|lv| lv.name == name);
        let lv = lv.ok_or(format!("{name} is not there"))?;
        let run = |segment: &Segment| self.run(name, segment);
        let runs: Vec<Run> = lv.segments.iter().map(run).collect::<Result<_, String>>()?;
        Ok(joined(runs))
    }

    fn run(&self, name: &str, segment: &Segment) -> Result<Run, String> {
        let extent = self.group.extent_sectors;
        let Kind::Striped(places) = &segment.kind else {
            return Err(format!("{name} is not linear or striped"));
        };
        let place = |place: &Place| {
            let begin = self.begins.get(&place.of);
            let begin = begin.ok_or(format!("{name} is on {}, which is no PV here", place.of))?;
            Ok((begin.device.clone(), begin.sector + place.start * extent))
        };
        Ok(Run {
            start: segment.start * extent,
            length: segment.extents * extent,
            places: places.iter().map(place).collect::<Result<_, String>>()?,
        })
    }
}

/// A run of a device's sectors, and where it is: at one place, or in stripes at several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    start: u64,
    length: u64,
    /// Device, as major and minor number, and first sector there.
    places: Vec<(String, u64)>,
}

impl Run {
    /// From a table of the kernel's; `None` where it is not linear or striped alone (Linux `linear.rst`, `striped.rst`).
    pub(super) fn all(table: &[Target]) -> Option<Vec<Self>> {
        let run = |target: &Target| {
            let words: Vec<&str> = target.params.split(' ').collect();
            let places = match target.kind.as_str() {
                "linear" => &words[..],
                // The number of stripes and the size of their chunks, which no command changes.
                "striped" => words.get(2..)?,
                _ => return None,
            };
            let place =
                |pair: &[&str]| Some(((*pair.first()?).to_owned(), pair.get(1)?.parse().ok()?));
            Some(Self {
                start: target.start,
                length: target.length,
                places: places.chunks(2).map(place).collect::<Option<_>>()?,
            })
        };
        table.iter().map(run).collect::<Option<_>>().map(joined)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{} on", self.start, self.length)?;
        let mut places = self.places.iter();
        places.try_for_each(|(device, sector)| write!(f, " {device}:{sector}"))
    }
}

/// The same with as few runs as can be: LVM joins segments without loading a table anew.
fn joined(runs: Vec<Run>) -> Vec<Run> {
    let mut all: Vec<Run> = Vec::new();
    for run in runs {
        if let Some(last) = all.last_mut()
            && let ([(device, from)], [(next, sector)]) = (&last.places[..], &run.places[..])
            && (device, from + last.length) == (next, *sector)
            && last.start + last.length == run.start
        {
            last.length += run.length;
        } else {
            all.push(run);
        }
    }
    all
}

fn number(path: &Path) -> std::io::Result<String> {
    let id = std::fs::metadata(path)?.rdev();
    Ok(format!("{}:{}", major(id), minor(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(start: u64, length: u64, kind: &str, params: &str) -> Target {
        Target {
            start,
            length,
            kind: kind.to_owned(),
            params: params.to_owned(),
        }
    }

    #[test]
    fn tables_are_the_same_if_every_sector_is_in_the_same_place() {
        let runs = |table: &[Target]| Run::all(table).unwrap();
        let whole = runs(&[target(0, 100, "linear", "8:16 2048")]);
        let halves = [
            target(0, 60, "linear", "8:16 2048"),
            target(60, 40, "linear", "8:16 2108"),
        ];
        assert_eq!(runs(&halves), whole);
        for other in [
            target(60, 40, "linear", "8:16 2109"),
            target(60, 40, "linear", "8:32 2108"),
            target(60, 41, "linear", "8:16 2108"),
        ] {
            assert_ne!(runs(&[halves[0].clone(), other]), whole);
        }
        let striped = runs(&[target(0, 100, "striped", "2 128 8:16 2048 8:32 4096")]);
        let places = [("8:16".to_owned(), 2048), ("8:32".to_owned(), 4096)];
        assert_eq!(striped[0].places, places);
        assert_eq!(striped[0].to_string(), "0+100 on 8:16:2048 8:32:4096");
    }

    #[test]
    fn what_maps_a_mirror_is_in_no_place() {
        let mirror = target(0, 100, "mirror", "core 1 1024 2 8:16 2048 8:32 2048");
        assert_eq!(Run::all(&[mirror]), None);
        assert_eq!(Run::all(&[target(0, 1, "linear", "8:16")]), None);
    }
}
