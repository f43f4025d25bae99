//! What `extension validate` says of tars and OCI layouts. Of folders: e2e-qemu/tests/talos.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

use extension::Arch;
use extension::image::EPOCH;
use extension::layer::{self, Layer};
use extension::oci::{ImageSpec, Layout};
use extension::rootfs::{Node, Rootfs, Source};
use extension::talos::build;
use extension::talos::finding::Rule;
use extension::talos::validate::{self, Target};
use tar::{EntryType, Header};

fn rules(path: &Path) -> Vec<Rule> {
    let target = Target {
        architecture: "amd64".to_owned(),
        talos: [1, 13, 9],
    };
    let findings = validate::path(path, &target).unwrap();
    findings.into_iter().map(|finding| finding.rule).collect()
}

/// An extension without services.
fn sample() -> Rootfs {
    let mut root = Rootfs::default();
    let manifest = build::manifest();
    for (path, text) in [
        ("manifest.yaml", manifest.as_str()),
        ("rootfs/usr/local/share/x", "x"),
    ] {
        let from = Source::Bytes(text.into());
        root.put(Path::new(path), Node::File { mode: 0o644, from })
            .unwrap();
    }
    root
}

/// A tar with these entries after the sample's: type, path, owner.
fn tar(entries: &[(EntryType, &str, u64)]) -> (tempfile::TempDir, PathBuf) {
    let mut bytes = Vec::new();
    layer::write_tar(&sample(), EPOCH, &mut bytes).unwrap();
    // Without the two blocks of zeroes at its end.
    bytes.truncate(bytes.len() - 1024);
    let mut builder = tar::Builder::new(bytes);
    for &(kind, path, owner) in entries {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(owner);
        header.set_gid(0);
        header.set_size(0);
        if kind == EntryType::Link {
            header.set_link_name("rootfs/usr/local/share/x").unwrap();
        }
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.tar");
    fs::write(&path, builder.into_inner().unwrap()).unwrap();
    (dir, path)
}

#[test]
fn a_tar_is_held_to_what_the_strictest_reader_takes() {
    use EntryType::{Fifo, Link, Regular};
    type Entries<'a> = &'a [(EntryType, &'a str, u64)];
    let cases: [(Entries, &[Rule]); 7] = [
        (&[], &[]),
        (&[(Regular, "rootfs/usr/local/no/y", 0)], &[Rule::Tar]),
        (&[(Regular, "rootfs/usr/local/share/x", 0)], &[Rule::Tar]),
        (&[(Regular, "../x", 0)], &[Rule::Tar]),
        (&[(Regular, "rootfs/usr/local/share/y", 1000)], &[Rule::Tar]),
        (&[(Link, "rootfs/usr/local/share/y", 0)], &[Rule::HardLink]),
        (
            &[(Fifo, "rootfs/usr/local/share/y", 0)],
            &[Rule::SpecialFile],
        ),
    ];
    for (entries, expected) in cases {
        let (_dir, path) = tar(entries);
        assert_eq!(rules(&path), expected, "{entries:?}");
    }
}

#[test]
fn what_is_packed_passes_as_tar_layout_and_archive() {
    let dir = tempfile::tempdir().unwrap();
    let packed = build::pack(&sample(), Arch::Amd64, "sample", "sample:1").unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("x.tar"), &packed.tar).unwrap();
    packed.layout.write_dir(&path("x")).unwrap();
    packed
        .layout
        .write_archive(&path("x.oci.tar"), EPOCH)
        .unwrap();
    for name in ["x.tar", "x", "x.oci.tar"] {
        assert_eq!(rules(&path(name)), [], "{name}");
    }
}

/// Each file of a layout, changed.
#[test]
fn a_changed_layout_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("x");
    let packed = build::pack(&sample(), Arch::Amd64, "sample", "sample:1").unwrap();
    packed.layout.write_dir(&layout).unwrap();
    let blobs: Vec<PathBuf> = fs::read_dir(layout.join("blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(blobs.len(), 3);
    for blob in &blobs {
        let whole = fs::read(blob).unwrap();
        let changes: [fn(&mut Vec<u8>); 2] = [|bytes| bytes.push(b' '), |bytes| bytes[9] ^= 1];
        for change in changes {
            let mut bytes = whole.clone();
            change(&mut bytes);
            fs::write(blob, bytes).unwrap();
            assert!(rules(&layout).contains(&Rule::Image), "{}", blob.display());
        }
        fs::remove_file(blob).unwrap();
        assert!(rules(&layout).contains(&Rule::Image), "{}", blob.display());
        fs::write(blob, whole).unwrap();
    }
    let index = fs::read_to_string(layout.join("index.json")).unwrap();
    for (from, to) in [("\"amd64\"", "\"arm64\""), ("\"platform\"", "\"platfrom\"")] {
        assert!(index.contains(from));
        fs::write(layout.join("index.json"), index.replace(from, to)).unwrap();
        assert_eq!(rules(&layout), [Rule::Image], "{to}");
    }
}

#[test]
fn a_configuration_for_another_layer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let spec = ImageSpec {
        reference: "sample:1".to_owned(),
        architecture: "amd64",
        entrypoint: Vec::new(),
        env: Vec::new(),
        labels: Vec::new(),
        epoch: 0,
    };
    let layer = layer::pack(&sample(), 0).unwrap();
    let diff_id = [0; 32];
    let layout = Layout::new(&spec, Layer { diff_id, ..layer });
    layout.write_dir(&dir.path().join("x")).unwrap();
    assert_eq!(rules(&dir.path().join("x")), [Rule::Image]);
}
