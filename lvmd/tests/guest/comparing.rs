//! Comparing with lvm while the volumes are in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lvmd::lvm::reader::ReadError;

use crate::harness::{all, lvm, make_vg, output};
use crate::layouts::reader;
use crate::random::Random;

/// Runs commands, one after another, until it is dropped.
struct Restless {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Restless {
    fn start(commands: &'static [&'static str], pause: u64) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut random = Random::new();
            for command in commands.iter().cycle() {
                let pause = format!("sleep {}.{}", random.below(pause), random.below(10));
                output("sh", &["-c", command]);
                output("sh", &["-c", &pause]);
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_while_it_is_compared_is_not_read_wrongly() {
    make_vg(3, true);
    for volume in ["w", "x"] {
        lvm(&[
            "lvcreate", "-y", "-V", "256M", "-T", "vg/pool", "-n", volume,
        ]);
    }
    // Volumes that fill and are trimmed, a tool that tags, and one that opens.
    let writing: [&[&str]; 2] = [
        &[
            "dd if=/dev/zero of=/dev/vg/w bs=64k oflag=direct status=none",
            "blkdiscard /dev/vg/w",
        ],
        &["dd if=/dev/vg/x of=/dev/null bs=4k count=100 iflag=direct status=none"],
    ];
    let tagging: &[&str] = &[
        "lvm lvchange --addtag t vg/x",
        "lvm lvchange --deltag t vg/x",
    ];
    let users = writing.map(|commands| Restless::start(commands, 1));
    let other = Restless::start(tagging, 2);
    let (reader, recorder) = reader();
    let (mut whole, mut restless) = (0, 0);
    let checks = if all() { 100 } else { 12 };
    for check in 0..checks {
        match reader.self_check(&[]).await {
            Ok(checked) => {
                assert_eq!(checked.differences, [], "check {check}");
                whole += 1;
            }
            Err(ReadError::Restless) => restless += 1,
            Err(error) => panic!("{error}"),
        }
    }
    drop((users, other));
    let codes = recorder.codes();
    println!("result: {whole} checks found no difference, in {restless} nothing held still");
    assert!(whole > 0, "nothing was compared");
    assert!(
        !codes.iter().any(|code| code.starts_with("distrusted")),
        "{codes:?}"
    );
}
