//! Histories on a real device-mapper.

use lvmd::cmd::Host;
use lvmd::lvm::reader::Reader;
use lvmd::lvm::tool::Tool;

use crate::host::{make_vg, output, run};
use crate::random::Random;
use crate::{count, steps};

/// Commands in a history.
const STEPS: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn read_as_lvm_reads_with_device_mapper() {
    let histories = count(50, 3);
    let mut random = Random::new();
    println!("histories from {random:?}");
    let (mut compared, mut directly, mut judged) = (0u64, 0u64, 0u64);
    for _ in 0..histories {
        make_vg(3, true);
        let reader = Reader::new(Host, Tool::beside_us("test"));
        for _ in 0..STEPS {
            let names = run("lvm", &["lvs", "--noheadings", "-o", "lv_name", "vg"]);
            let names: Vec<_> = names.split_whitespace().map(str::to_owned).collect();
            let step = steps::with_devices(&mut random, &names);
            output("bash", &["-c", &step]);
            run("udevadm", &["settle"]);
            // One that knows the state before the step, and one that knows nothing.
            let read = reader.read_group(&[], "vg").await.unwrap();
            let anew = Reader::new(Host, Tool::beside_us("test"));
            let anew = anew.read(&[]).await.unwrap();
            let (read, anew) = (read.vg("vg").unwrap(), anew.vg("vg").unwrap());
            if !anew.vg.by_lvm {
                assert_eq!(read.vg, anew.vg, "after {step}");
            }
            assert_eq!(read.frozen, anew.frozen, "after {step}");
            let checked = reader.self_check(&[]).await.unwrap();
            let found = checked.differences;
            assert!(found.is_empty(), "after {step}: {found:#?}");
            compared += 1;
            directly += checked.vgs as u64;
            judged += checked.unsure.len() as u64;
        }
    }
    assert!(
        directly * 4 > compared,
        "lvm was asked too often: {directly}"
    );
    println!(
        "result: {histories} histories with device-mapper, {compared} comparisons, {directly} of what was read without \
         lvm (which judged {judged} devices): no difference"
    );
}
