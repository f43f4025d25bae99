//! One random change by one lvm command; many are refused, which is a case too.

use crate::random::Random;

fn pick<'a>(random: &mut Random, all: &[&'a str]) -> &'a str {
    random.pick(all).unwrap()
}

/// The arguments of a command that changes metadata alone. `lvs` and `disks` are what there is.
pub fn in_metadata(random: &mut Random, vg: &str, lvs: &[String], disks: &[String]) -> Vec<String> {
    let lv = random.pick(lvs);
    let lv = format!("{vg}/{}", lv.map_or("none", String::as_str));
    let disk = random.pick(disks).unwrap();
    let new = format!("n{}", random.below(1_000_000));
    let extents = (1 + random.below(12)).to_string();
    let tag = pick(random, &["x", "basalt.lv=v", "a.b", "topolvm/y", "Z"]);
    let text = match random.below(42) {
        0..=5 => format!(
            "lvcreate -y -an -Zn -Wn -l {extents} --addtag {tag} --alloc {} -n {new} {vg}",
            pick(random, &["normal", "anywhere", "contiguous", "cling"])
        ),
        6..=7 => {
            format!("lvcreate -y -an -Zn -Wn -i2 -I64k -l {extents} --addtag {tag} -n {new} {vg}")
        }
        8 => format!("lvcreate -y -an -Zn -Wn --type error -l {extents} -n {new} {vg}"),
        9..=13 => format!("lvextend -l +{extents} {lv}"),
        14..=15 => format!("lvreduce -y -l -{extents} {lv}"),
        16..=18 => format!("lvrename {lv} {new}"),
        19..=22 => format!("lvchange --addtag {tag} --addtag {new} {lv}"),
        23..=24 => format!("lvchange --deltag {tag} {lv}"),
        25..=26 => format!("lvchange -p{} {lv}", pick(random, &["r", "rw"])),
        27..=29 => format!(
            "lvchange {} {lv}",
            pick(
                random,
                &[
                    "-ky",
                    "-kn",
                    "--alloc cling",
                    "--alloc inherit",
                    "--errorwhenfull y",
                    "-Zn",
                    "--discards ignore"
                ]
            )
        ),
        30..=34 => format!("lvremove -y {lv}"),
        35..=37 => format!(
            "vgchange {} {vg}",
            pick(
                random,
                &[
                    "--addtag x",
                    "--addtag b.c=d --addtag a",
                    "--deltag x",
                    "-x n",
                    "-x y",
                    "--alloc cling",
                    "-p 9"
                ]
            )
        ),
        38..=39 => format!(
            "pvchange {} {disk}",
            pick(random, &["-xn", "-xy", "--addtag x", "--deltag x"])
        ),
        40 => format!(
            "pvchange --metadataignore {} {disk}",
            pick(random, &["n", "n", "n", "y"])
        ),
        _ => format!("{} {vg}", pick(random, &["vgexport", "vgimport"])),
    };
    text.split(' ').map(str::to_owned).collect()
}

/// A shell command that also changes what device-mapper has, in a VG `vg` with a pool `pool`.
pub fn with_devices(random: &mut Random, lvs: &[String]) -> String {
    let lv = random.pick(lvs);
    let lv = lv.map_or("none", String::as_str);
    let new = format!("n{}", random.below(1_000_000));
    let extents = 1 + random.below(8);
    let thin = pick(
        random,
        &["-ky", "-kn", "-pr -kn", "--addtag b --addtag a=1 -kn"],
    );
    let mapped = |lv: &str| format!("vg-{}", lv.replace('-', "--"));
    match random.below(24) {
        0..=1 => format!("lvm lvcreate -y -l {extents} --addtag {new} -n {new} vg"),
        2 => format!("lvm lvcreate -y -i2 -l {extents} -n {new} vg"),
        3..=5 => format!(
            "lvm lvcreate -y -V {}M {thin} -T vg/pool -n {new}",
            4 * extents
        ),
        6..=8 => format!("lvm lvcreate -y -s {thin} -n {new} vg/{lv}"),
        9 => format!("lvm lvcreate -y -s -l {extents} -n {new} vg/{lv}"),
        10 => format!("lvm lvcreate -y --type raid1 -m1 -l {extents} -n {new} vg"),
        11 => format!(
            "lvm lvcreate -y --type {} -l 3 -n {new} vg",
            pick(random, &["error", "zero"])
        ),
        12..=13 => format!("lvm lvextend -l +{extents} vg/{lv}"),
        14 => format!("lvm lvrename vg/{lv} {new}"),
        15 => format!("lvm lvchange --addtag t{extents} vg/{lv}"),
        16 => format!("lvm lvchange -p{} vg/{lv}", pick(random, &["r", "rw"])),
        17 => format!("lvm lvchange -an vg/{lv}"),
        18 => format!("lvm lvchange -ay -K vg/{lv}"),
        19 => format!("lvm lvremove -y vg/{lv}"),
        20 => format!(
            "lvm vgchange {} vg",
            pick(random, &["-an", "-ay", "--addtag x"])
        ),
        21 => format!(
            "dmsetup suspend --noflush {0} && sleep 0.1; lvm vgs >/dev/null; dmsetup resume {0}",
            mapped(lv)
        ),
        _ => format!(
            "timeout 10 dd if=/dev/urandom of=/dev/mapper/{} bs=64k count={} seek={} oflag=direct status=none",
            mapped(lv),
            1 + random.below(20),
            random.below(40)
        ),
    }
}
