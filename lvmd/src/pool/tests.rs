use super::*;
use crate::lvm::report;
use crate::units::MIB;

/// A pool of 128 MiB with 4 MiB of metadata.
fn pool() -> Lv {
    let vgs = report::parse(include_bytes!(
        "../../tests/fixtures/fullreport-lvm2-2.03.31.json"
    ));
    let mut pool = vgs.unwrap()[0].pool("pool").unwrap().clone();
    pool.size = Bytes(128 * MIB);
    pool.metadata_size = Bytes(4 * MIB);
    pool.tags.clear();
    pool
}

/// That pool in the kernel, with chunks of 64 KiB and this mark.
fn active(status: &str, low_water: u64) -> Active {
    Active {
        status: PoolStatus::parse(status).unwrap(),
        table: PoolTable {
            chunk_sectors: 128,
            low_water,
            zeroing: true,
            asks_error: false,
        },
    }
}

fn rw(data: u64, metadata: u64) -> Active {
    let status =
        format!("1 {metadata}/1024 {data}/2048 - rw discard_passdown queue_if_no_space - 256");
    active(&status, 614)
}

#[test]
fn a_pool_is_closed_by_its_mode_and_at_its_gate() {
    let text = |mode: &str, more: &str, data: u64, metadata: u64| {
        format!("1 {metadata}/1000 {data}/1000 - {mode} discard_passdown {more} 256")
    };
    for (status, expected) in [
        (text("rw", "queue_if_no_space -", 949, 949), None),
        (text("rw", "error_if_no_space -", 0, 0), None),
        (
            text("rw", "queue_if_no_space -", 950, 0),
            Some(Closed::Data(95)),
        ),
        (
            text("rw", "queue_if_no_space -", 0, 950),
            Some(Closed::Metadata(95)),
        ),
        (
            text("rw", "queue_if_no_space -", 1000, 1000),
            Some(Closed::Data(95)),
        ),
        (
            text("rw", "queue_if_no_space needs_check", 0, 0),
            Some(Closed::NeedsCheck),
        ),
        (
            text("out_of_data_space", "queue_if_no_space -", 1000, 0),
            Some(Closed::OutOfDataSpace),
        ),
        (
            text("out_of_data_space", "error_if_no_space -", 1000, 0),
            Some(Closed::OutOfDataSpace),
        ),
        (
            text("ro", "queue_if_no_space needs_check", 0, 0),
            Some(Closed::Unusable(PoolMode::ReadOnly)),
        ),
        (
            text("ro", "queue_if_no_space -", 0, 0),
            Some(Closed::Unusable(PoolMode::ReadOnly)),
        ),
        ("Fail".to_owned(), Some(Closed::Unusable(PoolMode::Failed))),
        ("Error".to_owned(), Some(Closed::Unusable(PoolMode::Failed))),
    ] {
        let parsed = PoolStatus::parse(&status).unwrap();
        assert_eq!(closed(Some(&parsed), 95), expected, "{status}");
    }
    assert_eq!(closed(None, 95), None, "asked again once it is active");
    let half = PoolStatus::parse(&text("rw", "queue_if_no_space -", 500, 0)).unwrap();
    assert_eq!(closed(Some(&half), 50), Some(Closed::Data(50)));
}

#[test]
fn the_command_carries_the_mark_until_usage_passes_it() {
    let mut pool = pool();
    let at = |percent: u64| rw(2048 * percent / 100 + 1, 10).status;
    assert_eq!(carried(&pool, Some(&at(69)), 95), 70);
    assert_eq!(carried(&pool, Some(&at(70)), 95), 95);
    assert_eq!(carried(&pool, Some(&rw(0, 800).status), 95), 95);
    assert_eq!(carried(&pool, None, 95), 70);
    pool.tags = vec!["basalt.threshold=80".into()];
    assert_eq!(carried(&pool, Some(&at(75)), 95), 80);
    pool.tags = vec!["basalt.threshold=7".into()];
    assert_eq!(
        threshold(&pool),
        DEFAULT_THRESHOLD,
        "LVM treats less than 50 as 50"
    );
}

#[test]
fn a_mark_is_ours_only_where_an_event_comes_or_came() {
    let mut pool = pool();
    let at = |used: u64, mark: u64| {
        let status = format!("1 20/1024 {used}/2048 - rw discard_passdown queue_if_no_space - 256");
        active(&status, mark)
    };
    assert_eq!(
        (
            low_water(2048, 70),
            low_water(2048, 95),
            low_water(2048, 100)
        ),
        (614, 102, 0)
    );
    for (used, mark, ours) in [
        (0, 614, true),
        (0, 0, false),
        // Left by a command that was sent while the pool was fuller.
        (0, 102, false),
        (1500, 614, true),
        (1500, 102, true),
        (1500, 0, false),
    ] {
        assert_eq!(
            mark_is_ours(&pool, &at(used, mark), 95),
            ours,
            "{used} {mark}"
        );
    }
    pool.tags = vec!["basalt.threshold=100".into()];
    assert!(mark_is_ours(&pool, &at(0, 0), 95), "no mark is wanted");
}

#[test]
fn an_extension_that_the_kernel_does_not_have_is_noticed() {
    let mut pool = pool();
    assert_eq!(not_grown(&pool, &rw(0, 0)), []);
    pool.size.0 += MIB / 32;
    assert_eq!(
        not_grown(&pool, &rw(0, 0)),
        [],
        "less than a chunk is left out"
    );
    pool.size.0 += MIB / 32;
    let data = NotGrown {
        metadata: false,
        wanted: pool.size,
        is: Bytes(128 * MIB),
    };
    assert_eq!(not_grown(&pool, &rw(0, 0)), [data]);
    pool.size = Bytes(128 * MIB);
    pool.metadata_size = Bytes(12 * MIB);
    let [part] = not_grown(&pool, &rw(0, 0))[..] else {
        panic!("one part")
    };
    assert!(part.metadata && part.is == Bytes(4 * MIB));
    assert_eq!(
        not_grown(&pool, &active("Fail", 0)),
        [],
        "a failed pool tells no sizes"
    );
    // The kernel never takes more than this of a larger LV.
    pool.metadata_size = Bytes(16 << 30);
    let largest = "1 20/4145152 0/2048 - rw discard_passdown queue_if_no_space - 256";
    assert_eq!(not_grown(&pool, &active(largest, 614)), []);
}

#[test]
fn each_state_has_its_conditions() {
    let mut pool = pool();
    let codes = |pool: &Lv, status: &str, mark: u64| -> Vec<&str> {
        let active = active(status, mark);
        conditions(pool, Some(&active), 95)
            .iter()
            .map(|c| c.code)
            .collect()
    };
    let rw = "1 20/1024 0/2048 - rw discard_passdown queue_if_no_space - 256";
    assert_eq!(codes(&pool, rw, 614), [""; 0]);
    assert_eq!(codes(&pool, rw, 0), ["PoolLowWaterNotArmed"]);
    for (next, expected) in [(1, &[][..]), (2, &[]), (3, &["PoolBehindLvm"])] {
        pool.transaction = next;
        assert_eq!(
            codes(&pool, rw, 614),
            expected,
            "the pool is at 1, LVM at {next}"
        );
    }
    pool.transaction = 1;
    let mut bare = active(rw, 614);
    bare.table.zeroing = false;
    let found = conditions(&pool, Some(&bare), 95);
    assert_eq!(found[0].code, "PoolBlocksNotZeroed");
    let error = "1 20/1024 0/2048 - rw discard_passdown error_if_no_space - 256";
    assert_eq!(codes(&pool, error, 614), ["PoolErrorIfNoSpace"]);
    let nearly = "1 20/1024 2000/2048 - rw discard_passdown queue_if_no_space - 256";
    assert_eq!(codes(&pool, nearly, 614), ["PoolFull"]);
    let full = "1 20/1024 2048/2048 - out_of_data_space discard_passdown queue_if_no_space - 256";
    assert_eq!(codes(&pool, full, 0), ["PoolOutOfDataSpace", "PoolFull"]);
    let sick = "1 20/1024 9/2048 - ro discard_passdown queue_if_no_space needs_check 256";
    assert_eq!(codes(&pool, sick, 614), ["PoolReadOnly", "PoolNeedsCheck"]);
    assert_eq!(codes(&pool, "Fail", 0), ["PoolFailed"]);
    pool.metadata_size = Bytes(8 * MIB);
    assert_eq!(codes(&pool, rw, 614), ["PoolMetadataNotGrown"]);
    assert_eq!(conditions(&pool, None, 95)[0].code, "PoolInactive");
}
