//! The second writer: another tool, with LVM's own commands and no regard for lvmd.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::harness::{output, run};
use crate::random::Random;

/// Creates, grows, tags and removes volumes of its own until it is stopped.
pub struct OtherTool {
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicU32>,
    task: JoinHandle<Vec<String>>,
}

impl OtherTool {
    pub fn start() -> Self {
        let (stop, changes) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let (stopped, counted) = (stop.clone(), changes.clone());
        let task = tokio::spawn(async move {
            let mut random = Random::new();
            let mut names = Vec::<String>::new();
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                let command = match (random.below(4), random.pick(&names).cloned()) {
                    (1, Some(name)) => format!("lvextend -l +1 vg/{name}"),
                    (2, Some(name)) => format!("lvchange --addtag t{number} vg/{name}"),
                    (3, Some(name)) => {
                        names.retain(|other| *other != name);
                        format!("lvremove -y vg/{name}")
                    }
                    _ if names.len() < 6 => {
                        number += 1;
                        let name = format!("other{number}");
                        names.push(name.clone());
                        match random.below(2) {
                            0 => format!("lvcreate -y -l 2 -n {name} vg"),
                            _ => format!("lvcreate -y -V 16M -T vg/pool -n {name}"),
                        }
                    }
                    _ => continue,
                };
                let args: Vec<_> = command.split(' ').collect();
                // udevd opens each new volume for a moment.
                if args[0] == "lvremove" {
                    run("udevadm", &["settle"]);
                }
                let out = output("lvm", &args);
                let said = String::from_utf8_lossy(&out.stderr);
                assert!(out.status.success(), "{command}: {said}");
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(random.below(6000))).await;
            }
            names
        });
        Self {
            stop,
            changes,
            task,
        }
    }

    /// How many commands it has run.
    pub fn changes(&self) -> u32 {
        self.changes.load(Ordering::Relaxed)
    }

    pub fn is_well(&self) {
        assert!(
            !self.task.is_finished(),
            "a command of the other tool failed"
        );
    }

    /// Stops it, and gives the number of its changes and the volumes that it leaves.
    pub async fn finish(self) -> (u32, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let left = self.task.await.unwrap();
        (self.changes.load(Ordering::Relaxed), left)
    }
}
