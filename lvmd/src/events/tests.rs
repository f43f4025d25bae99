use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::lvm::vg_lock;

struct Listening {
    sources: Arc<Mutex<Vec<Source>>>,
    looks: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Listening {
    async fn to(dir: &Path) -> Self {
        let this = Self {
            sources: Arc::default(),
            looks: Arc::default(),
            stop: CancellationToken::new(),
        };
        let (dir, stop) = (dir.to_owned(), this.stop.clone());
        let (sources, looks) = (this.sources.clone(), this.looks.clone());
        tokio::spawn(async move {
            let count = |source| sources.lock().unwrap().push(source);
            let look = || {
                looks.fetch_add(1, Ordering::Relaxed);
            };
            listen(&dir, count, look, stop).await;
        });
        // The first tick comes at once.
        this.until(|looks, _| looks == 1).await;
        this
    }

    fn locks(&self) -> usize {
        let sources = self.sources.lock().unwrap();
        sources.iter().filter(|s| **s == Source::Lock).count()
    }

    async fn until(&self, holds: impl Fn(usize, usize) -> bool) {
        let began = Instant::now();
        while !holds(self.looks.load(Ordering::Relaxed), self.locks()) {
            assert!(began.elapsed() < Duration::from_secs(5), "no event came");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn a_writer_that_ends_is_heard_and_a_reader_that_begins_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let listening = Listening::to(dir.path()).await;
    // A reader's first act, then something that is no lock of a VG.
    for name in ["V_vg:aux", "P_global"] {
        std::fs::write(dir.path().join(name), "").unwrap();
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    tokio::time::sleep(WINDOW * 2).await;
    assert_eq!(listening.locks(), 0);
    let held = vg_lock::try_exclusive(dir.path(), "vg").unwrap().unwrap();
    tokio::time::sleep(WINDOW * 2).await;
    assert_eq!(listening.locks(), 0, "it is at work still");
    drop(held);
    listening
        .until(|looks, locks| looks >= 2 && locks > 0)
        .await;
}

#[tokio::test]
async fn what_comes_together_is_one_look() {
    let dir = tempfile::tempdir().unwrap();
    let listening = Listening::to(dir.path()).await;
    for vg in 0..50 {
        drop(vg_lock::try_exclusive(dir.path(), &format!("vg{vg}")).unwrap());
    }
    tokio::time::sleep(WINDOW * 3).await;
    listening
        .until(|looks, locks| looks >= 2 && locks > 0)
        .await;
    let looks = listening.looks.load(Ordering::Relaxed);
    assert!(looks < 10, "{looks} looks for 50 writers at once");
}

#[tokio::test]
async fn a_lock_directory_that_goes_and_comes_is_heard_again() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("lvm");
    std::fs::create_dir(&dir).unwrap();
    let listening = Listening::to(&dir).await;
    std::fs::remove_dir(&dir).unwrap();
    listening.until(|_, locks| locks > 0).await;
    std::fs::create_dir(&dir).unwrap();
    // Tried again at the next event of another source, at the latest the tick.
    let mut ear = Ear::new("it", || locks::open(&dir));
    assert_eq!(ear.open(), None);
    drop(vg_lock::try_exclusive(&dir, "vg").unwrap());
    tokio::time::timeout(Duration::from_secs(5), ear.hear(locks::drain))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_source_that_cannot_be_had_is_told_once_and_an_old_kernel_is_not_asked_again() {
    let mut away = Ear::new("it", || locks::open(Path::new("/nowhere")));
    assert!(away.open().unwrap().contains("no events"));
    assert_eq!(away.open(), None);
    assert!(!away.never);
    let asked = AtomicUsize::new(0);
    let mut old = Ear::new("it", || {
        asked.fetch_add(1, Ordering::Relaxed);
        Err::<std::fs::File, _>(io::Error::from_raw_os_error(nix::libc::ENOTTY))
    });
    assert!(old.open().is_some() && old.open().is_none());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
