//! Volumes that a fault must not touch: one at rest, whose content is checksummed, and one that is written to all the
//! while, whose every acknowledged write must be found again.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::harness::{Daemon, MIB, eventually, node, run};
use crate::random::Random;

const BLOCK: usize = 4096;
/// The size of each volume.
const SIZE: i64 = 8 * MIB;

/// Both volumes, in one class.
pub struct Bystanders {
    class: String,
    sum: String,
    writer: Writer,
}

impl Bystanders {
    /// The volume that is written to; snapshots of it may be taken.
    pub const LIVE: &str = "live";
    /// The volume at rest.
    pub const REST: &str = "rest";

    /// Creates the volumes and starts to write.
    pub async fn start(daemon: &Daemon, class: &str) -> Self {
        let create = async |name: &str| {
            let tag = format!("basalt.lv={name}");
            let made = daemon.create_tagged(name, class, SIZE, &[&tag]).await;
            node(&made.unwrap())
        };
        let rest = create(Self::REST).await;
        let of = format!("of={}", rest.display());
        let args = [
            "if=/dev/urandom",
            &of,
            "bs=1M",
            "count=8",
            "oflag=direct",
            "status=none",
        ];
        run("dd", &args);
        Self {
            class: class.to_owned(),
            sum: sum(&rest),
            writer: Writer::start(&create(Self::LIVE).await),
        }
    }

    /// The one at rest is as it was, and the other can be written to again.
    pub async fn are_well(&self, daemon: &Daemon) {
        let listed = daemon.list(&self.class).await.unwrap();
        let rest = listed.iter().find(|volume| volume.name == Self::REST);
        assert_eq!(
            sum(&node(rest.unwrap())),
            self.sum,
            "the data of a bystander"
        );
        let before = self.writer.count();
        eventually("the writer goes on", async || self.writer.count() > before).await;
    }

    /// Stops to write, reads all back, and gives the number of writes.
    pub fn finish(self) -> u64 {
        self.writer.finish()
    }
}

/// What is on the device, past any cache.
fn sum(device: &Path) -> String {
    let script = format!(
        "dd if={} bs=1M iflag=direct status=none | sha256sum",
        device.display()
    );
    run("sh", &["-c", &script])
}

/// Writes blocks in random places, each with its place and a number that grows.
struct Writer {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: JoinHandle<(File, Vec<u64>)>,
}

impl Writer {
    fn start(device: &Path) -> Self {
        // As a database: past the cache, and acknowledged only when it is on the disk.
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_DIRECT | nix::libc::O_DSYNC)
            .open(device)
            .unwrap();
        let (stop, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, counted) = (stop.clone(), count.clone());
        let thread = std::thread::spawn(move || {
            let mut random = Random::new();
            let mut newest = vec![0; usize::try_from(SIZE).unwrap() / BLOCK];
            let blocks = u64::try_from(newest.len()).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                let place = random.below(blocks);
                let number = counted.load(Ordering::Relaxed) + 1;
                let mut block = Block::default();
                block.fill(place, number);
                file.write_all_at(block.bytes(), place * 4096)
                    .unwrap_or_else(|error| panic!("write {number} failed: {error}"));
                newest[usize::try_from(place).unwrap()] = number;
                counted.store(number, Ordering::Relaxed);
            }
            (file, newest)
        });
        Self {
            stop,
            count,
            thread,
        }
    }

    fn count(&self) -> u64 {
        assert!(!self.thread.is_finished(), "the writer got an error");
        self.count.load(Ordering::Relaxed)
    }

    fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let (file, newest) = self.thread.join().unwrap();
        for (place, number) in newest
            .into_iter()
            .enumerate()
            .filter(|(_, number)| *number > 0)
        {
            let place = u64::try_from(place).unwrap();
            let (mut expected, mut found) = (Block::default(), Block::default());
            expected.fill(place, number);
            file.read_exact_at(found.bytes_mut(), place * 4096).unwrap();
            assert!(
                expected.bytes() == found.bytes(),
                "block {place} is not that of write {number}"
            );
        }
        self.count.load(Ordering::Relaxed)
    }
}

/// A block, aligned as O_DIRECT wants it.
#[repr(align(4096))]
struct Block([u8; BLOCK]);

impl Default for Block {
    fn default() -> Self {
        Self([0; BLOCK])
    }
}

impl Block {
    fn fill(&mut self, place: u64, number: u64) {
        for words in self.0.chunks_exact_mut(16) {
            words[..8].copy_from_slice(&place.to_le_bytes());
            words[8..].copy_from_slice(&number.to_le_bytes());
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
