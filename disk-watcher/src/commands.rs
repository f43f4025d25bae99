//! The lvm commands of the onboarding, as data. None is forced, and none is told "yes":
//! with no stdin each question is answered "no", so what LVM finds is a second opinion.

use std::path::{Path, PathBuf};

use lvmd::lvm::mutation::Mutation;
use lvmd::names;
use lvmd::units::Bytes;

use crate::config::{Activation, DiskClass};

/// One command: the devices it may see, and its arguments after `lvm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LvmCall {
    /// Exactly these devices.
    pub devices: Vec<PathBuf>,
    /// Sub-command and arguments.
    pub args: Vec<String>,
}

/// For each command after which a PV is in another group, or there is one more or less. The
/// host's own lvm remembers in its hints file which devices have PVs (lvm.conf(5),
/// devices/hints), and learns of a change only from a command that has hints turned on, which
/// ours have not. It would show the group without its new disk, as partial.
const TELL_HINTS: [&str; 2] = ["--config", "devices/hints=all"];

/// Makes a PV with the UUID that is in the journal (pvcreate(8): `--uuid` needs
/// `--norestorefile`). LVM refuses when the UUID is on another disk, and accepts its own.
pub fn pvcreate(disk: &Path, uuid: &str) -> LvmCall {
    let disk_path = disk.to_string_lossy();
    let args = ["--uuid", uuid, "--norestorefile", &disk_path];
    LvmCall {
        devices: vec![disk.to_owned()],
        args: telling("pvcreate", &args),
    }
}

/// Makes the class's group; its tags are there from its first commit.
pub fn vgcreate(class: &DiskClass, owner: &str, disks: &[PathBuf]) -> LvmCall {
    let extent = format!("{}b", class.volume_group.extent_size.0);
    let mut args = telling("vgcreate", &["-s", &extent]);
    for tag in group_tags(class, owner) {
        args.extend(["--addtag".to_owned(), tag]);
    }
    if class.volume_group.activation == Activation::Watcher {
        args.extend(["--setautoactivation".to_owned(), "n".to_owned()]);
    }
    args.push(class.volume_group.name.clone());
    args.extend(disks.iter().map(|d| d.to_string_lossy().into_owned()));
    LvmCall {
        devices: disks.to_vec(),
        args,
    }
}

/// Activates an LV of the class's group, or all that do not ask to be skipped, each pool after
/// the check that `settings` name. For the host only what it is to activate by itself.
pub fn activate(
    class: &DiskClass,
    disks: &[PathBuf],
    lv: Option<&str>,
    threshold: u8,
    settings: &str,
) -> LvmCall {
    let group = &class.volume_group.name;
    let how = match class.volume_group.activation {
        Activation::Host => "ay",
        Activation::Watcher => "y",
    };
    let config = format!("activation/thin_pool_autoextend_threshold={threshold} {settings}");
    let what = lv.map_or_else(|| group.clone(), |lv| format!("{group}/{lv}"));
    LvmCall {
        devices: disks.to_vec(),
        args: ["lvchange", "--config", &config, "-a", how, &what]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// The same, in a group where a pvmove is `moving` extents: without a process of lvm's beside it that would end the move at
/// once when the mirror is in sync, whatever could not be copied. lvchange(8), `--poll`.
pub fn unpolled(mut call: LvmCall, moving: bool) -> LvmCall {
    if moving {
        call.args.extend(["--poll", "n"].map(str::to_owned));
    }
    call
}

/// Activates what a thin pool's metadata lies on, with the metadata itself, which can only be read meanwhile (lvmthin(7),
/// "Component activation").
pub fn activate_metadata(class: &DiskClass, disks: &[PathBuf], pool: &str) -> LvmCall {
    let what = format!("{}/{pool}_tmeta", class.volume_group.name);
    LvmCall {
        devices: disks.to_vec(),
        args: ["lvchange", "-y", "-a", "y", "--poll", "n", &what]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// Deactivates what nobody has open in the class's group. (vgchange does nothing when one
/// volume is open.)
pub fn deactivate(class: &DiskClass, disks: &[PathBuf]) -> LvmCall {
    LvmCall {
        devices: disks.to_vec(),
        args: ["lvchange", "-a", "n", &class.volume_group.name]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// Adds labelled disks to the class's group, whose PVs are `there`.
pub fn vgextend(class: &DiskClass, there: &[PathBuf], disks: &[PathBuf]) -> LvmCall {
    let mut args = telling("vgextend", &[&class.volume_group.name]);
    args.extend(disks.iter().map(|d| d.to_string_lossy().into_owned()));
    LvmCall {
        devices: there.iter().chain(disks).cloned().collect(),
        args,
    }
}

/// Makes the PV on `disk` as large as the disk; `there` are the PVs of its group.
pub fn pvresize(there: &[PathBuf], disk: &Path) -> LvmCall {
    LvmCall {
        devices: there.to_vec(),
        args: vec!["pvresize".to_owned(), disk.to_string_lossy().into_owned()],
    }
}

/// What is where on the PV on `disk`: first extent, how many, whose.
pub fn pv_segments(there: &[PathBuf], disk: &Path) -> LvmCall {
    let fields = "pvseg_start,pvseg_size,vg_extent_size,lv_name";
    let disk = disk.to_string_lossy();
    let args = [
        "pvs",
        "--segments",
        "--noheadings",
        "--units",
        "b",
        "--nosuffix",
        "--separator",
        ":",
        "-o",
        fields,
        &disk,
    ];
    LvmCall {
        devices: there.to_vec(),
        args: args.map(str::to_owned).to_vec(),
    }
}

/// How long lvm does not look at a pvmove by itself, in seconds; it is asked to leave long before. With a `+` it does not
/// look at once either.
const LOOK: &str = "3600";

/// Begins to move these runs of extents of the PV on `disk` to the PVs on `to`.
pub fn pvmove(there: &[PathBuf], disk: &Path, runs: &[(u64, u64)], to: &[PathBuf]) -> LvmCall {
    let mut args = vec!["pvmove".to_owned(), "-i".to_owned(), format!("+{LOOK}")];
    let mut from = disk.display().to_string();
    for (first, last) in runs {
        from.push_str(&format!(":{first}-{last}"));
    }
    args.push(from);
    args.extend(to.iter().map(|d| d.to_string_lossy().into_owned()));
    LvmCall {
        devices: there.to_vec(),
        args,
    }
}

/// What is done with a pvmove that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// The kernel is to go on with it.
    Resume,
    /// lvm is to look at it, which ends it, or begins its next part.
    Look,
    /// It is taken back.
    Abort,
}

/// See [`Begun`].
pub fn pvmove_begun(there: &[PathBuf], what: Begun) -> LvmCall {
    let args = match what {
        Begun::Resume => vec!["pvmove".to_owned(), "-i".to_owned(), format!("+{LOOK}")],
        Begun::Look => vec!["pvmove".to_owned(), "-i".to_owned(), LOOK.to_owned()],
        Begun::Abort => vec!["pvmove".to_owned(), "--abort".to_owned()],
    };
    LvmCall {
        devices: there.to_vec(),
        args,
    }
}

/// Removes the LV that a pvmove left behind, if it is of error segments alone.
pub fn remove_rest(class: &DiskClass, there: &[PathBuf], name: &str) -> LvmCall {
    let lv = format!("{}/{name}", class.volume_group.name);
    let args = ["lvremove", "-y", "-S", "segtype=error", &lv];
    LvmCall {
        devices: there.to_vec(),
        args: args.map(str::to_owned).to_vec(),
    }
}

/// Takes the empty PV on `disk` out of the class's group.
pub fn vgreduce(class: &DiskClass, there: &[PathBuf], disk: &Path) -> LvmCall {
    let (group, disk) = (&class.volume_group.name, disk.to_string_lossy());
    LvmCall {
        devices: there.to_vec(),
        args: telling("vgreduce", &[group, &disk]),
    }
}

/// Writes the group's metadata anew, also to `disk`, which it does not list any more.
pub fn vgck(class: &DiskClass, there: &[PathBuf], disk: &Path) -> LvmCall {
    let group = &class.volume_group.name;
    LvmCall {
        devices: there.iter().cloned().chain([disk.to_owned()]).collect(),
        args: ["vgck", "--updatemetadata", group]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// Removes the PV on `disk`, which is in no group.
pub fn pvremove(disk: &Path) -> LvmCall {
    LvmCall {
        devices: vec![disk.to_owned()],
        args: telling("pvremove", &[&disk.to_string_lossy()]),
    }
}

/// The arguments of a command that the host's lvm learns of.
fn telling(command: &str, args: &[&str]) -> Vec<String> {
    let all = [command].into_iter().chain(TELL_HINTS);
    let all = all.chain(args.iter().copied());
    all.map(str::to_owned).collect()
}

/// Tags a group as ours, in place of what `old` says; its PVs are `disks`.
pub fn adopt(class: &DiskClass, owner: &str, old: &[String], disks: &[PathBuf]) -> LvmCall {
    let mut args = vec!["vgchange".to_owned()];
    let ours = |tag: &&String| {
        [names::TAG_OWNER, names::TAG_CLASS]
            .iter()
            .any(|key| tag.starts_with(&format!("{key}=")))
    };
    for tag in old.iter().filter(ours) {
        args.extend(["--deltag".to_owned(), tag.clone()]);
    }
    for tag in owner_tags(class, owner) {
        args.extend(["--addtag".to_owned(), tag]);
    }
    args.push(class.volume_group.name.clone());
    LvmCall {
        devices: disks.to_vec(),
        args,
    }
}

/// The tags that say whose a group is.
fn owner_tags(class: &DiskClass, owner: &str) -> [String; 2] {
    [
        names::tag(names::TAG_OWNER, owner),
        names::tag(names::TAG_CLASS, &class.name),
    ]
}

/// The tags of the class's group.
pub fn group_tags(class: &DiskClass, owner: &str) -> Vec<String> {
    owner_tags(class, owner)
        .into_iter()
        .chain(class.volume_group.tags.iter().cloned())
        .collect()
}

/// A change of an LV of the class's group.
pub fn mutation(
    class: &DiskClass,
    disks: &[PathBuf],
    mutation: &Mutation,
    threshold: u8,
) -> LvmCall {
    LvmCall {
        devices: disks.to_vec(),
        args: mutation.args(&class.volume_group.name, threshold),
    }
}

/// What would be done so that a disk joins the class's group, whose PVs are `there`.
pub fn plan_to_join(class: &DiskClass, there: &[PathBuf], disk: &Path, uuid: &str) -> Vec<String> {
    [
        pvcreate(disk, uuid),
        vgextend(class, there, &[disk.to_owned()]),
    ]
    .iter()
    .map(ToString::to_string)
    .collect()
}

/// Everything that would be done for a class with these disks, as a person would type it.
pub fn plan(class: &DiskClass, owner: &str, disks: &[(PathBuf, String, Bytes)]) -> Vec<String> {
    let paths: Vec<PathBuf> = disks.iter().map(|(path, ..)| path.clone()).collect();
    let mut calls: Vec<LvmCall> = disks
        .iter()
        .map(|(path, uuid, _)| pvcreate(path, uuid))
        .collect();
    calls.push(vgcreate(class, owner, &paths));
    let mut lines: Vec<String> = calls.iter().map(ToString::to_string).collect();
    if let Some(wanted) = &class.thin_pool {
        let extent = class.volume_group.extent_size;
        // LVM keeps 1 MiB at the start of each PV for label and metadata (default data alignment).
        let extents = disks
            .iter()
            .map(|(_, _, size)| size.0.saturating_sub(1 << 20) / extent.0.max(1))
            .sum();
        match crate::geometry::pool(wanted, extents, extent) {
            Ok(geometry) => lines.push(
                mutation(
                    class,
                    &paths,
                    &geometry.creation(wanted, extent, vec![]),
                    crate::apply::THRESHOLD,
                )
                .to_string(),
            ),
            Err(error) => lines.push(format!("# {error}")),
        }
    }
    lines
}

impl std::fmt::Display for LvmCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (verb, rest) = self
            .args
            .split_first()
            .map_or(("", &[][..]), |(v, r)| (v.as_str(), r));
        let devices: Vec<_> = self
            .devices
            .iter()
            .map(|d| d.display().to_string())
            .collect();
        write!(
            f,
            "lvm {verb} --devices {} {}",
            devices.join(","),
            rest.join(" ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_plan_is_what_would_be_typed_and_forces_nothing() {
        let text = "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {name: fast}\nspec:\n  select: {model: [x]}\n  volumeGroup: {name: vg1, tags: [site=a]}\n  thinPool: {name: pool0, size: 80%}\n";
        let class = &Config::load(text).unwrap().classes[0];
        let lines = plan(
            class,
            "me",
            &[("/dev/sda".into(), "u-1".into(), Bytes(1 << 30))],
        );
        assert_eq!(
            lines[0],
            "lvm pvcreate --devices /dev/sda --config devices/hints=all --uuid u-1 --norestorefile /dev/sda"
        );
        assert_eq!(
            lines[1],
            "lvm vgcreate --devices /dev/sda --config devices/hints=all -s 4194304b --addtag basalt.owner=me --addtag basalt.class=fast --addtag site=a vg1 /dev/sda"
        );
        assert!(lines[2].starts_with("lvm lvcreate --devices /dev/sda --config activation/thin_pool_autoextend_threshold=70 -y --type thin-pool -n pool0 -l 204 -c 65536b"), "{}", lines[2]);
        for line in &lines[..2] {
            assert!(
                !line
                    .split(' ')
                    .any(|w| w.starts_with("-f") || w == "-y" || w == "--yes"),
                "{line}"
            );
        }
    }

    #[test]
    fn a_group_of_the_watchers_is_exempt_from_autoactivation_and_checked_first() {
        let text = "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {name: fast}\nspec:\n  select: {model: [x]}\n  volumeGroup: {name: vg1, activation: Watcher}\n  thinPool: {name: pool0}\n";
        let class = &Config::load(text).unwrap().classes[0];
        let disks = ["/dev/sda".into()];
        let made = vgcreate(class, "me", &disks).to_string();
        assert!(
            made.ends_with("--setautoactivation n vg1 /dev/sda"),
            "{made}"
        );
        let config = "activation/thin_pool_autoextend_threshold=70 CHECK";
        assert_eq!(
            activate(class, &disks, Some("pool0"), 70, "CHECK").args,
            ["lvchange", "--config", config, "-a", "y", "vg1/pool0"]
        );
        let mut hosts = class.clone();
        hosts.volume_group.activation = Activation::Host;
        assert_eq!(
            activate(&hosts, &disks, None, 70, "CHECK").args,
            ["lvchange", "--config", config, "-a", "ay", "vg1"]
        );
        assert!(!vgcreate(&hosts, "me", &disks).to_string().contains("auto"));
    }

    #[test]
    fn joining_a_group_names_its_disks_and_the_new_one_and_forces_nothing() {
        let text = "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {name: fast}\nspec:\n  select: {model: [x]}\n  volumeGroup: {name: vg1}\n";
        let class = &Config::load(text).unwrap().classes[0];
        let lines = plan_to_join(class, &["/dev/sda".into()], Path::new("/dev/sdb"), "u-2");
        assert_eq!(
            lines,
            [
                "lvm pvcreate --devices /dev/sdb --config devices/hints=all --uuid u-2 --norestorefile /dev/sdb",
                "lvm vgextend --devices /dev/sda,/dev/sdb --config devices/hints=all vg1 /dev/sdb"
            ]
        );
        let adopted = adopt(
            class,
            "me",
            &["basalt.owner=other".into(), "site=a".into()],
            &["/dev/sda".into()],
        );
        assert_eq!(
            adopted.to_string(),
            "lvm vgchange --devices /dev/sda --deltag basalt.owner=other --addtag basalt.owner=me --addtag basalt.class=fast vg1"
        );
    }
}
