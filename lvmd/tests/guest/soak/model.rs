//! What there should be: which volumes, how large, and what is written where.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use lvmd::proto::{CreateLvSnapshotRequest, LogicalVolume};
use tonic::{Code, Status};

use crate::harness::{Daemon, MIB, node};
use crate::random::Random;

/// No more volumes than this at once.
const MOST: usize = 24;
const EXTENT: i64 = 4 * MIB;
const BLOCK: usize = 4096;

/// A change that is asked for, in words that can be asked again.
#[derive(Debug, Clone)]
pub enum Change {
    Create {
        name: String,
        class: &'static str,
        size: i64,
    },
    Grow {
        name: String,
        class: &'static str,
        size: i64,
    },
    Snapshot {
        name: String,
        source: String,
        size: i64,
    },
    Remove {
        name: String,
        class: &'static str,
    },
}

impl Change {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Create { class: "thin", .. } => "thin creations",
            Self::Create { .. } => "thick creations",
            Self::Grow { .. } => "growths",
            Self::Snapshot { .. } => "snapshots",
            Self::Remove { class: "thin", .. } => "thin removals",
            Self::Remove { .. } => "thick removals",
        }
    }

    pub async fn ask(&self, daemon: &Daemon) -> Result<(), Status> {
        let tag = |name: &str| format!("basalt.lv={name}");
        match self {
            Self::Create { name, class, size } => {
                let tag = tag(name);
                let made = daemon.create_tagged(name, class, *size, &[&tag]).await;
                made.map(drop)
            }
            Self::Grow { name, class, size } => daemon.resize(name, class, *size).await.map(drop),
            Self::Snapshot { name, source, size } => {
                let request = CreateLvSnapshotRequest {
                    name: name.clone(),
                    source_volume: source.clone(),
                    device_class: "thin".into(),
                    access_type: "rw".into(),
                    size_bytes: *size,
                    tags: vec![tag(name)],
                };
                daemon.lv().create_lv_snapshot(request).await.map(drop)
            }
            Self::Remove { name, class } => match daemon.remove(name, class).await {
                // A cut request had done it.
                Err(status) if status.code() == Code::NotFound => Ok(()),
                other => other,
            },
        }
    }
}

/// One volume.
#[derive(Debug, Clone)]
struct Known {
    class: &'static str,
    size: i64,
    /// Which block has whose number.
    blocks: BTreeMap<u64, u64>,
}

/// All volumes that were asked for through lvmd.
#[derive(Debug, Default)]
pub struct Model {
    volumes: BTreeMap<String, Known>,
    count: u64,
    /// How many blocks were read back.
    pub checked: u64,
}

impl Model {
    /// Some change that can be.
    pub fn next(&mut self, random: &mut Random) -> Change {
        self.count += 1;
        let few = self.volumes.len() < 4;
        let many = self.volumes.len() >= MOST;
        match random.below(10) {
            _ if many => self.remove(random),
            0..3 => self.create(random),
            _ if few => self.create(random),
            3..5 => self.remove(random),
            5..8 => {
                let (name, known) = self.pick(random, |_| true).unwrap();
                let size = known.size + EXTENT + extents(random, 4);
                Change::Grow {
                    name,
                    class: known.class,
                    size,
                }
            }
            _ => match self.pick(random, |known| known.class == "thin") {
                Some((source, known)) => Change::Snapshot {
                    name: format!("s{}", self.count),
                    source,
                    size: known.size + extents(random, 2),
                },
                None => self.create(random),
            },
        }
    }

    fn create(&self, random: &mut Random) -> Change {
        let class = random.pick(&["thick", "thin"]).unwrap();
        let size = EXTENT + extents(random, 6);
        let name = format!("v{}", self.count);
        Change::Create { name, class, size }
    }

    fn remove(&self, random: &mut Random) -> Change {
        let (name, known) = self.pick(random, |_| true).unwrap();
        let class = known.class;
        Change::Remove { name, class }
    }

    fn pick(&self, random: &mut Random, which: impl Fn(&Known) -> bool) -> Option<(String, Known)> {
        let fit: Vec<_> = self
            .volumes
            .iter()
            .filter(|(_, known)| which(known))
            .collect();
        let (name, known) = random.pick(&fit)?;
        Some(((*name).clone(), (*known).clone()))
    }

    /// It was done: notes it, checks the volume, and writes to it.
    pub async fn done(&mut self, change: &Change, daemon: &Daemon) {
        let (name, class) = match change {
            Change::Create { name, class, size } => {
                let known = Known {
                    class,
                    size: *size,
                    blocks: BTreeMap::new(),
                };
                self.volumes.insert(name.clone(), known);
                (name, class)
            }
            Change::Grow { name, class, size } => {
                self.volumes.get_mut(name).unwrap().size = *size;
                (name, class)
            }
            Change::Snapshot { name, source, size } => {
                let mut known = self.volumes[source].clone();
                known.size = *size;
                self.volumes.insert(name.clone(), known);
                (name, &"thin")
            }
            Change::Remove { name, .. } => {
                self.volumes.remove(name);
                return;
            }
        };
        let listed = daemon.list(class).await.unwrap();
        let volume = listed.iter().find(|volume| volume.name == *name).unwrap();
        self.check(volume);
        let known = self.volumes.get_mut(name).unwrap();
        let file = open(volume);
        // The last block is where a growth that went wrong would show.
        let last = u64::try_from(known.size).unwrap() / 4096 - 1;
        for place in [0, last / 2, last] {
            self.count += 1;
            write(&file, place, self.count);
            known.blocks.insert(place, self.count);
        }
    }

    /// Every volume has its size and its data.
    pub async fn verify(&mut self, daemon: &Daemon) {
        let mut seen = 0;
        for class in ["thick", "thin"] {
            for volume in daemon.list(class).await.unwrap() {
                if self.volumes.contains_key(&volume.name) {
                    self.check(&volume);
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, self.volumes.len(), "{:?}", self.names());
    }

    pub fn names(&self) -> Vec<String> {
        self.volumes.keys().cloned().collect()
    }

    fn check(&mut self, volume: &LogicalVolume) {
        let known = &self.volumes[&volume.name];
        assert_eq!(volume.size_bytes, known.size, "{}", volume.name);
        let file = open(volume);
        for (place, number) in &known.blocks {
            let mut block = Block([0; BLOCK]);
            file.read_exact_at(&mut block.0, place * 4096).unwrap();
            let found = u64::from_le_bytes(block.0[..8].try_into().unwrap());
            assert_eq!(found, *number, "block {place} of {}", volume.name);
            self.checked += 1;
        }
    }
}

/// Some bytes, less than `limit` extents.
fn extents(random: &mut Random, limit: u64) -> i64 {
    i64::try_from(random.below(limit)).unwrap() * EXTENT
}

/// Aligned as O_DIRECT wants it.
#[repr(align(4096))]
struct Block([u8; BLOCK]);

fn open(volume: &LogicalVolume) -> File {
    File::options()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_DIRECT | nix::libc::O_DSYNC)
        .open(node(volume))
        .unwrap()
}

fn write(file: &File, place: u64, number: u64) {
    let mut block = Block([0; BLOCK]);
    for word in block.0.chunks_exact_mut(8) {
        word.copy_from_slice(&number.to_le_bytes());
    }
    file.write_all_at(&block.0, place * 4096).unwrap();
}
