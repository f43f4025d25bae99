use std::fs;

use super::*;

struct Place {
    dir: tempfile::TempDir,
    journal: Journal,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("journal")).unwrap();
        Self { dir, journal }
    }

    fn wanted(&self, name: &str) -> WantedFile {
        WantedFile {
            path: self.dir.path().canonicalize().unwrap().join(name),
            size: MIN,
        }
    }

    /// Makes it, however full this machine is.
    fn made(&mut self, wanted: &WantedFile) -> MadeFile {
        make::create(&mut self.journal, wanted, self.dir.path()).unwrap()
    }

    fn make(&mut self, wanted: &WantedFile) -> Result<MadeFile, FileError> {
        make::make(&mut self.journal, wanted)
    }
}

#[test]
fn a_file_is_made_once_with_all_its_blocks() {
    use std::os::unix::fs::MetadataExt;

    let mut place = Place::new();
    let wanted = place.wanted("disk");
    let made = place.made(&wanted);
    let stat = fs::metadata(&wanted.path).unwrap();
    assert_eq!((stat.len(), stat.mode() & 0o777), (MIN.0, 0o600));
    assert!(stat.blocks() * 512 >= MIN.0, "{} blocks", stat.blocks());
    assert!(made.named && made.id.as_str().starts_with("file."));

    let again = place.make(&wanted).unwrap();
    assert_eq!(again, made, "the second time it is there");
    drop(place.journal);
    let journal = Journal::open(&place.dir.path().join("journal")).unwrap();
    assert_eq!(
        journal.file(&wanted.path),
        Some(&made),
        "and after a restart"
    );
}

#[test]
fn no_file_of_others_is_taken_or_replaced() {
    let mut place = Place::new();
    let wanted = place.wanted("theirs");
    fs::write(&wanted.path, "precious").unwrap();
    let error = place.make(&wanted).unwrap_err().to_string();
    assert!(error.contains("did not make"), "{error}");
    assert_eq!(fs::read_to_string(&wanted.path).unwrap(), "precious");
    assert!(place.journal.files().is_empty());

    let link = place.wanted("link");
    std::os::unix::fs::symlink("nowhere", &link.path).unwrap();
    assert!(place.make(&link).is_err(), "nor is one made through a link");
    assert!(!place.dir.path().join("nowhere").exists());

    let kubelets = place.wanted("folder/disk");
    std::os::unix::fs::symlink("/proc/self", kubelets.path.parent().unwrap()).unwrap();
    let error = place.make(&kubelets).unwrap_err().to_string();
    assert!(error.contains("leads elsewhere"), "{error}");
}

#[test]
fn what_a_cut_left_of_a_record_is_gone_on_from() {
    let mut place = Place::new();
    let wanted = place.wanted("disk");
    let made = place.made(&wanted);

    // Between the name and its record.
    let unnamed = MadeFile {
        named: false,
        ..made.clone()
    };
    place.journal.record_file(unnamed.clone()).unwrap();
    assert_eq!(place.make(&wanted).unwrap(), made, "it is the same file");

    // Between the record and the name: the file has vanished.
    fs::remove_file(&wanted.path).unwrap();
    place.journal.record_file(unnamed.clone()).unwrap();
    let second = place.make(&wanted);
    assert_ne!(
        second.ok(),
        Some(made),
        "it is made anew, where there is room"
    );

    // The same, and somebody else has made one of that name since.
    let _ = fs::remove_file(&wanted.path);
    fs::write(&wanted.path, "precious").unwrap();
    place.journal.record_file(unnamed).unwrap();
    let error = place.make(&wanted).unwrap_err().to_string();
    assert!(error.contains("did not make"), "{error}");
    assert_eq!(fs::read_to_string(&wanted.path).unwrap(), "precious");
}

#[test]
fn a_file_that_is_gone_or_another_is_not_made_anew() {
    let mut place = Place::new();
    let wanted = place.wanted("disk");
    let made = place.made(&wanted);
    fs::remove_file(&wanted.path).unwrap();
    let made_again = place.make(&wanted).unwrap();
    assert_eq!(made_again, made, "it is on record");
    let error = attached(&made).unwrap_err().to_string();
    assert!(error.contains("cannot open"), "{error}");
    assert!(!wanted.path.exists());

    // A copy, as a restore makes it.
    fs::write(&wanted.path, vec![0; usize::try_from(MIN.0).unwrap()]).unwrap();
    let error = attached(&made).unwrap_err().to_string();
    assert!(error.contains("not the file that was made"), "{error}");
}

#[test]
fn a_file_keeps_its_size() {
    let mut place = Place::new();
    let wanted = place.wanted("disk");
    let made = place.made(&wanted);
    let larger = WantedFile {
        size: Bytes(MIN.0 * 2),
        ..wanted.clone()
    };
    let error = place.make(&larger).unwrap_err().to_string();
    assert!(error.contains("made with 64Mi"), "{error}");
    File::options()
        .write(true)
        .open(&wanted.path)
        .unwrap()
        .set_len(MIN.0 / 2)
        .unwrap();
    let error = attached(&made).unwrap_err().to_string();
    assert!(error.contains("give it its size back"), "{error}");
}

#[test]
fn a_file_system_is_not_filled() {
    let (all, free) = (Bytes(1000), Bytes(400));
    assert_eq!(make::room(all, free, Bytes(250)), Ok(()));
    let why = make::room(all, free, Bytes(251)).unwrap_err();
    assert!(why.contains("15 % of it (150"), "{why}");
    let mut place = Place::new();
    let mut wanted = place.wanted("disk");
    wanted.size = Bytes(1 << 60);
    let error = place.make(&wanted).unwrap_err().to_string();
    assert!(error.contains("stay so"), "{error}");
    assert!(!wanted.path.exists() && place.journal.files().is_empty());
}

#[test]
fn folders_of_others_are_refused() {
    for path in [
        "disk",
        "/",
        "/var/../etc/disk",
        "/var/./disk",
        "/var//disk",
        "/var/disk/",
        "/dev/disk",
        "/proc/disk",
        "/run/disk",
        "/var/lib/kubelet",
        "/var/lib/kubelet/pods/x/disk",
    ] {
        assert!(refused(Path::new(path)).is_some(), "{path}");
    }
    for path in ["/var/lib/basalt/disk.img", "/var/lib/kubelets/disk"] {
        assert_eq!(refused(Path::new(path)), None, "{path}");
    }
}

#[test]
fn a_folder_that_looks_like_kubelets_is_refused_wherever_it_is() {
    let mut place = Place::new();
    for dir in ["kubelet/pods/x", "kubelet/plugins"] {
        fs::create_dir_all(place.dir.path().join(dir)).unwrap();
    }
    for name in ["kubelet/disk", "kubelet/pods/x/disk"] {
        let wanted = place.wanted(name);
        let error = place.make(&wanted).unwrap_err().to_string();
        assert!(error.contains("choose a folder such as"), "{error}");
        assert!(!wanted.path.exists());
    }
    assert!(place.journal.files().is_empty());
}

#[test]
fn only_file_systems_that_last_and_write_in_place_are_taken() {
    for kind in [0xef53, 0x5846_5342, 0x9123_683e] {
        assert_eq!(make::suits(kind), Ok(()), "{kind:x}");
    }
    // overlayfs, tmpfs, ramfs, ZFS, NFS, f2fs.
    for kind in [
        0x794c_7630,
        0x0102_1994,
        0x8584_58f6,
        0x2fc1_2fc1,
        0x6969,
        0xf2f5_2010,
    ] {
        let why = make::suits(kind).unwrap_err();
        assert!(why.contains("choose a folder of the host"), "{why}");
    }
    assert!(make::suits(0x794c_7630).unwrap_err().contains("container"));
}
