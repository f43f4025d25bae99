use super::*;
use std::fs;

const CLASS: &str = "apiVersion: basalt.storage/v1alpha1\nkind: DiskClass\nmetadata: {name: fast}\nspec:\n  select: {model: [x]}\n  volumeGroup: {name: fast}\n";

/// A file, and the journal beside it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn write(&self, text: &str) {
        fs::write(self.dir.path().join("config.yaml"), text).unwrap();
    }

    fn open(&self) -> (ConfigFile, Config) {
        let sources = Sources::documents(self.dir.path().join("config.yaml"));
        ConfigFile::open(sources, &self.dir.path().join("journal"))
    }

    /// A start with a good file that was read.
    fn started(&self) -> ConfigFile {
        self.write(CLASS);
        let (mut file, _) = self.open();
        assert!(settled(&mut file).unwrap().held.is_none());
        file
    }
}

/// What is in force after nobody touched the file for long enough.
fn settled(file: &mut ConfigFile) -> Option<Config> {
    assert_eq!(file.changed(), None, "not at once");
    if let Some((_, since)) = &mut file.changing {
        *since = since.checked_sub(STILL).unwrap();
    }
    file.changed()
}

fn names(config: &Config) -> Vec<&str> {
    config.classes.iter().map(|c| c.name.as_str()).collect()
}

#[test]
fn a_bad_file_at_the_start_leaves_the_classes_of_before_and_begins_nothing() {
    let place = Place::new();
    drop(place.started());
    place.write("kind: DiskClas\n");
    let (mut file, config) = place.open();
    assert_eq!(names(&config), ["fast"], "at once");
    assert!(config.held.is_some());
    let config = settled(&mut file).unwrap();
    assert_eq!(names(&config), ["fast"]);
    let why = config.held.unwrap();
    assert!(
        why.contains("is not used") && why.contains("DiskClas"),
        "{why}"
    );
    fs::remove_file(place.dir.path().join("config.yaml")).unwrap();
    let (mut file, _) = place.open();
    let config = settled(&mut file).unwrap();
    assert_eq!(names(&config), ["fast"], "nor does one that is not there");
    assert!(config.held.unwrap().contains("cannot read"));
}

#[test]
fn a_good_file_of_before_is_in_use_at_once_and_a_changed_one_is_not() {
    let place = Place::new();
    drop(place.started());
    assert_eq!(place.open().1.held, None);
    place.write(&CLASS.replace("fast", "slow"));
    let (mut file, config) = place.open();
    assert_eq!(names(&config), ["fast"]);
    assert!(config.held.is_some());
    let config = settled(&mut file).unwrap();
    assert_eq!((names(&config), &config.held), (vec!["slow"], &None));
}

#[test]
fn a_file_that_is_being_written_is_not_read() {
    let place = Place::new();
    let mut file = place.started();
    for text in ["", &CLASS[..40], CLASS] {
        place.write(text);
        assert_eq!(file.changed(), None, "{text:?}");
    }
    let second = CLASS.replace("fast", "slow");
    place.write(&format!("{CLASS}---\n{second}"));
    assert_eq!(names(&settled(&mut file).unwrap()), ["fast", "slow"]);
    assert_eq!(file.changed(), None);
}

#[test]
fn a_file_that_becomes_bad_or_empty_ends_nothing_until_it_is_mended() {
    let place = Place::new();
    let mut file = place.started();
    for (text, why) in [
        ("", "is empty"),
        ("kind: [", "is not used"),
        (" \n\n", "is empty"),
    ] {
        place.write(text);
        let config = settled(&mut file).unwrap();
        assert_eq!(names(&config), ["fast"], "{text:?}");
        let held = config.held.unwrap();
        assert!(held.contains(why), "{text:?}: {held}");
        assert_eq!(file.changed(), None, "said once");
    }
    place.write("# no class\n");
    let config = settled(&mut file).unwrap();
    assert_eq!((names(&config), &config.held), (vec![], &None));
    assert_eq!(names(&place.open().1), [""; 0], "and after a restart");
}

#[test]
fn what_cannot_be_kept_is_kept_later() {
    let place = Place::new();
    fs::write(place.dir.path().join("journal"), "no folder").unwrap();
    let mut file = place.started();
    assert!(file.unkept);
    fs::remove_file(place.dir.path().join("journal")).unwrap();
    file.changed();
    assert!(!file.unkept);
    place.write("");
    assert_eq!(names(&place.open().1), ["fast"]);
}

#[tokio::test]
async fn a_change_is_told_when_the_file_was_left_alone() {
    let place = Place::new();
    let mut file = place.started();
    place.write(&CLASS.replace("fast", "slow"));
    file.touched().await;
    assert_eq!(names(&file.changed().unwrap()), ["slow"]);
}
