use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const PACE: Pace = Pace {
    settle: Duration::from_millis(20),
    // Long, so that what these tests see came by events.
    tick: Duration::from_secs(3600),
};

fn text(class: &str) -> String {
    format!("device-classes: [{{name: {class}, volume-group: vg}}]\n")
}

struct Fixture {
    dir: tempfile::TempDir,
    out: Watching,
    outcomes: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Fixture {
    fn start(prepare: impl FnOnce(&Path), pace: Pace) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let source = Source {
            path: dir.path().join("conf/lvmd.yaml"),
            lvm_path: None,
        };
        let first = Arc::new(source.load().unwrap());
        let outcomes = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&outcomes);
        let stop = CancellationToken::new();
        let out = watch(source, first, pace, stop.clone(), move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        Self {
            dir,
            out,
            outcomes,
            stop,
        }
    }

    fn plain(pace: Pace) -> Self {
        Self::start(
            |dir| {
                fs::create_dir(dir.join("conf")).unwrap();
                fs::write(dir.join("conf/lvmd.yaml"), text("one")).unwrap();
            },
            pace,
        )
    }

    fn write(&self, content: &str) {
        fs::write(self.file(), content).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("conf/lvmd.yaml")
    }

    async fn class_is(&mut self, name: &str) {
        let wait = self.out.config.wait_for(|c| c.classes.get(name).is_ok());
        tokio::time::timeout(Duration::from_secs(10), wait)
            .await
            .expect(name)
            .unwrap();
    }

    async fn status_is(&mut self, want: impl Fn(&Status) -> bool) -> Status {
        let wait = self.out.status.wait_for(|s| want(s));
        tokio::time::timeout(Duration::from_secs(10), wait)
            .await
            .unwrap()
            .unwrap()
            .clone()
    }
}

#[tokio::test]
async fn a_changed_file_is_taken_up() {
    let mut f = Fixture::plain(PACE);
    tokio::time::sleep(Duration::from_millis(50)).await;
    f.write(&text("two"));
    f.class_is("two").await;
    assert_eq!(f.status_is(|s| s.applied == 1).await.error, None);
    assert_eq!(f.outcomes.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_bad_file_keeps_the_old_configuration_and_says_why() {
    let mut f = Fixture::plain(PACE);
    f.write("device-classes: []\n");
    let status = f.status_is(|s| s.error.is_some()).await;
    assert!(status.error.unwrap().contains("there is no device class"));
    assert!(f.out.config.borrow().classes.get("one").is_ok());
    f.write(&text("two"));
    f.class_is("two").await;
    f.status_is(|s| s.error.is_none() && s.refused == 1).await;
}

#[tokio::test]
async fn a_file_that_goes_away_and_comes_back_is_followed() {
    let mut f = Fixture::plain(PACE);
    fs::remove_file(f.file()).unwrap();
    let status = f.status_is(|s| s.error.is_some()).await;
    assert!(status.error.unwrap().contains("cannot read"));
    // The same content again: nothing to apply, and nothing wrong any more.
    f.write(&text("one"));
    let status = f.status_is(|s| s.error.is_none()).await;
    assert_eq!((status.applied, status.refused), (0, 1));
    let other = f.dir.path().join("conf/new");
    fs::write(&other, text("two")).unwrap();
    fs::rename(other, f.file()).unwrap();
    f.class_is("two").await;
}

#[tokio::test]
async fn a_configmap_that_swaps_its_symlink_is_followed() {
    let version = |dir: &Path, name: &str, class: &str| {
        let conf = dir.join("conf");
        fs::create_dir_all(conf.join(name)).unwrap();
        fs::write(conf.join(name).join("lvmd.yaml"), text(class)).unwrap();
        let swap = conf.join("..data_tmp");
        symlink(name, &swap).unwrap();
        fs::rename(swap, conf.join("..data")).unwrap();
    };
    let prepare = |dir: &Path| {
        version(dir, "..2026_1", "one");
        symlink("..data/lvmd.yaml", dir.join("conf/lvmd.yaml")).unwrap();
    };
    let mut f = Fixture::start(prepare, PACE);
    for (name, class) in [("..2026_2", "two"), ("..2026_3", "three")] {
        version(f.dir.path(), name, class);
        f.class_is(class).await;
    }
}

#[tokio::test]
async fn a_file_behind_a_symlink_to_another_folder_is_followed() {
    let prepare = |dir: &Path| {
        fs::create_dir_all(dir.join("real")).unwrap();
        fs::create_dir_all(dir.join("conf")).unwrap();
        fs::write(dir.join("real/file"), text("one")).unwrap();
        symlink("../real/file", dir.join("conf/lvmd.yaml")).unwrap();
    };
    let mut f = Fixture::start(prepare, PACE);
    tokio::time::sleep(Duration::from_millis(50)).await;
    fs::write(f.dir.path().join("real/file"), text("two")).unwrap();
    f.class_is("two").await;
}

#[tokio::test]
async fn a_folder_that_is_replaced_is_found_by_the_tick() {
    let tick = Duration::from_millis(50);
    let mut f = Fixture::plain(Pace { tick, ..PACE });
    let conf = f.dir.path().join("conf");
    fs::remove_dir_all(&conf).unwrap();
    f.status_is(|s| s.error.is_some()).await;
    fs::create_dir(&conf).unwrap();
    f.write(&text("two"));
    f.class_is("two").await;
}

#[tokio::test]
async fn a_new_socket_name_is_reported_as_needing_a_restart() {
    let mut f = Fixture::plain(PACE);
    f.write(&format!("socket-name: /elsewhere\n{}", text("two")));
    f.class_is("two").await;
    let status = f.status_is(|s| s.restart_needed.is_some()).await;
    assert!(status.restart_needed.unwrap().contains("/elsewhere"));
    f.write(&text("two"));
    f.status_is(|s| s.restart_needed.is_none()).await;
}

#[tokio::test]
async fn the_lvm_path_flag_applies_to_every_reload() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source {
        path: dir.path().join("lvmd.yaml"),
        lvm_path: Some("/x/lvm".to_owned()),
    };
    fs::write(&source.path, text("one")).unwrap();
    assert_eq!(
        source.load().unwrap().command_prefix.last().unwrap(),
        "/x/lvm"
    );
    fs::write(
        &source.path,
        format!("lvm-command-prefix: [a]\n{}", text("one")),
    )
    .unwrap();
    assert!(matches!(source.load(), Err(SourceError::LvmPath(_))));
}
