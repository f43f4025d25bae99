//! A journal as it was written by the version of November 2026, which every later one reads and
//! goes on to write; and what a later version might write, which this one takes for damage.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::config::Config;
use crate::kubernetes::written::{Kept, Kind};
use crate::removal;
use crate::resume::{Found, Group, Next, Pool, next};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/journal");

/// A copy, and the files in it by their paths in the journal.
fn journal() -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(dir.path().join(&folder)).unwrap();
        for entry in fs::read_dir(Path::new(FIXTURE).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                fs::copy(entry.path(), dir.path().join(&path)).unwrap();
                files.push(path);
            }
        }
    }
    (dir, files)
}

/// The only file in a folder of the journal, without its extension.
fn only(files: &[PathBuf], folder: &str) -> String {
    let mut inside = files.iter().filter(|path| path.starts_with(folder));
    let stem = inside.next().unwrap().file_stem().unwrap();
    stem.to_str().unwrap().to_owned()
}

fn value(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_journal_of_november_2026_is_read_and_written_as_it_was() {
    let (dir, files) = journal();
    let mut journal = Journal::open(dir.path()).unwrap();
    let claims: Vec<Claim> = journal.claims().cloned().collect();
    assert_eq!(claims.len(), 2);
    for claim in &claims {
        let uuid = journal.pv_uuid(&claim.disk, &claim.class);
        assert_eq!(uuid, claim.pv_uuid, "a lost claim is found again");
    }
    let leaving = claims.iter().find(|claim| claim.leaving.is_some()).unwrap();
    assert_eq!(leaving.leaving, Some(Leaving::Draining(9)));
    assert_eq!(
        (leaving.stage, leaving.size),
        (Stage::Ready, Bytes(1 << 40))
    );
    assert_eq!(journal.names()["/dev/sdb"].disk, leaving.disk);
    assert_eq!(journal.slots()[&leaving.pv_uuid].len(), 1);
    assert!(journal.files()[Path::new("/var/disks/a")].named);
    let making = journal.making(&only(&files, "making")).unwrap().unwrap();
    assert_eq!((making.seqno, making.pool.as_str()), (4, "pool0"));
    let wiped = journal.wiped(&only(&files, "wipes")).unwrap().unwrap();
    assert!(wiped.finished);
    let kept = Kept::load(dir.path());
    let (_, class) = kept.classes[0].class().unwrap();
    assert_eq!(class.unwrap().volume_group.name, "fast");
    let removals = kept.removals[0].read(Kind::Removal).unwrap().removals;
    assert_eq!(removals[0].name, "out");

    for claim in claims {
        journal.record(claim).unwrap();
    }
    journal.begin_pool(&making).unwrap();
    journal.record_wipe(&wiped).unwrap();
    let made = journal.files()[Path::new("/var/disks/a")].clone();
    journal.record_file(made).unwrap();
    let names = std::mem::take(&mut journal.names);
    journal.set_names(names).unwrap();
    kept.store(dir.path()).unwrap();
    for file in files.iter().filter(|file| *file != Path::new("owner")) {
        let (now, then) = (dir.path().join(file), Path::new(FIXTURE).join(file));
        assert_eq!(value(&now), value(&then), "{}", file.display());
    }
}

/// The claim of the fixture that was begun, as it would have been written at another stage.
fn at_stage(stage: &str) -> (tempfile::TempDir, Journal) {
    let (dir, files) = journal();
    let begun = r#""stage": "Claimed""#;
    for path in files.iter().filter(|path| path.starts_with("claims")) {
        let path = dir.path().join(path);
        let text = fs::read_to_string(&path).unwrap();
        match text.contains(begun) {
            true => fs::write(&path, text.replace(begun, stage)).unwrap(),
            false => fs::remove_file(&path).unwrap(),
        }
    }
    let journal = Journal::open(dir.path()).unwrap();
    (dir, journal)
}

#[test]
fn what_an_earlier_version_began_goes_on_from_each_state() {
    let class = "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {name: fast}\nspec:\n  mode: Enforce\n  select: {model: [x]}\n  volumeGroup: {name: fast}\n  thinPool: {name: pool0}\n";
    let class = Config::load(class).unwrap().classes.remove(0);
    let goes_on = |stage: &str, found: Found, pool: Option<Pool>| {
        let (_dir, journal) = at_stage(stage);
        let claims: Vec<_> = journal
            .claims()
            .map(|claim| (claim, found.clone()))
            .collect();
        let [(claim, _)] = claims[..] else {
            panic!("{stage}: {claims:?}")
        };
        let group = pool.map(|pool| Group {
            uuid: "vg".into(),
            seqno: 5,
            ours: true,
            adopt: false,
            frozen: vec![],
            pv_uuids: vec![claim.pv_uuid.clone()],
            copies_differ: false,
            pool,
        });
        (claim.pv_uuid.clone(), next(&class, &claims, group.as_ref()))
    };
    let member = || Found::InGroup {
        vg_uuid: "vg".into(),
        size: Bytes(1 << 40),
    };
    let (claimed, labelled) = (r#""stage": "Claimed""#, r#""stage": "Labelled""#);
    let (grouped, ready) = (r#""stage": "Grouped""#, r#""stage": "Ready""#);
    let (uuid, step) = goes_on(claimed, Found::NoLabel, None);
    assert_eq!(step, Next::Label(uuid.clone()));
    for stage in [claimed, labelled] {
        let (_, step) = goes_on(stage, Found::Orphan, None);
        assert_eq!(step, Next::MakeGroup(vec![uuid.clone()]), "{stage}");
        let (_, step) = goes_on(stage, Found::Wreck { lacks: None }, None);
        assert_eq!(step, Next::CleanWreck(uuid.clone()), "{stage}");
    }
    for stage in [claimed, labelled, grouped] {
        for (pool, then) in [
            (Pool::Absent, Next::MakePool),
            (Pool::Creating, Next::FinishPool),
            (Pool::Made, Next::Finish),
        ] {
            let (_, step) = goes_on(stage, member(), Some(pool));
            assert_eq!(step, then, "{stage}");
        }
    }
    assert_eq!(goes_on(ready, member(), Some(Pool::Made)).1, Next::Nothing);
    assert!(matches!(
        goes_on(grouped, Found::NoLabel, None).1,
        Next::Frozen(_)
    ));
}

#[test]
fn a_disk_that_was_leaving_goes_on_leaving() {
    for (text, leaving, then) in [
        (
            r#""leaving": {"Draining": 9}"#,
            Leaving::Draining(9),
            removal::Next::Move,
        ),
        (
            r#""leaving": "Reducing""#,
            Leaving::Reducing,
            removal::Next::Reduce,
        ),
    ] {
        let (_dir, journal) = at_stage(&format!(r#""stage": "Ready", {text}"#));
        let claim = journal.claims().next().unwrap();
        assert_eq!(claim.leaving, Some(leaving));
        let used = if then == removal::Next::Move { 3 } else { 0 };
        let world = removal::World {
            group: Some(removal::Around {
                uuid: "vg".into(),
                ours: true,
                frozen: vec![],
                used: Some(used),
                staying: 1,
                room: 3,
                moving: false,
                rest: None,
            }),
            found: Found::Orphan,
        };
        assert_eq!(
            removal::next(removal::Asked::Yes, claim.leaving, &world),
            then
        );
    }
}

/// Spoils one file of the journal; says what becomes of reading it.
fn spoilt(folder: &str, spoil: impl Fn(&mut Value)) -> Result<(), JournalError> {
    let (dir, files) = journal();
    let file = files.iter().find(|path| path.starts_with(folder)).unwrap();
    let mut record = value(&dir.path().join(file));
    spoil(&mut record);
    fs::write(dir.path().join(file), record.to_string()).unwrap();
    let journal = Journal::open(dir.path())?;
    journal.making(&only(&files, "making"))?;
    journal.wiped(&only(&files, "wipes"))?;
    Ok(())
}

#[test]
fn what_a_later_version_adds_is_never_passed_over() {
    let tomorrow = |record: &mut Value| record["ofTomorrow"] = json!(1);
    let inside = |record: &mut Value| {
        let entries = record.as_object_mut().unwrap();
        entries.values_mut().for_each(tomorrow);
    };
    for folder in ["claims", "making", "wipes"] {
        let read = spoilt(folder, tomorrow);
        assert!(
            matches!(read, Err(JournalError::Damaged { .. })),
            "{folder}"
        );
    }
    for file in ["names.json", "files.json"] {
        let read = spoilt(file, inside);
        assert!(matches!(read, Err(JournalError::Damaged { .. })), "{file}");
    }
    for (key, is) in [("stage", "Quarantined"), ("zeroes", "Half")] {
        let read = spoilt("claims", |record| record[key] = json!(is));
        let Err(error @ JournalError::Damaged { .. }) = read else {
            panic!("{key}: {read:?}")
        };
        let why = error.to_string();
        assert!(
            why.contains(is)
                && why.contains("if a later disk-watcher wrote it, run that one again"),
            "{why}"
        );
    }
    spoilt("claims", |_| ()).unwrap();
}
