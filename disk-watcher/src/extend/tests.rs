use std::time::{Duration, Instant};

use lvmd::units::{Bytes, GIB, KIB, MIB};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::config::WhenFull;

const EXTENT: u64 = 4 * MIB;

/// A pool of 1000 extents (about 4 GB) in a group of 2000, `used` percent full.
fn pool(used: u64) -> Pool {
    Pool {
        extent: Bytes(EXTENT),
        free: 900,
        data: 1000,
        metadata: 50,
        spare: 50,
        chunk: Bytes(64 * KIB),
        data_bytes: Usage {
            used: 10 * used * EXTENT,
            total: 1000 * EXTENT,
        },
        metadata_bytes: Usage {
            used: 10 * EXTENT,
            total: 50 * EXTENT,
        },
        mode: Mode::Writable,
        asks_error: false,
        rate: Rate::default(),
        metadata_rate: 0,
        obstacles: Vec::new(),
        leaving: false,
    }
}

fn rules() -> Rules {
    Rules {
        enabled: true,
        data: Growth {
            threshold: 70,
            min_free: 0,
            step: 200,
            min_step: 40,
            max: 1800,
        },
        metadata: Growth {
            threshold: 50,
            min_free: 0,
            step: 50,
            min_step: 1,
            max: 4000,
        },
        horizon: Duration::from_secs(900),
        reserve: 100,
        emergency: 40,
        emergency_for: vec![Part::Metadata],
        cooldown: Duration::from_secs(30),
        when_full: WhenFull::Queue,
        follow: 0,
    }
}

fn fresh() -> Memory {
    Memory::new(Instant::now())
}

fn action(rules: &Rules, pool: &Pool) -> Option<Action> {
    decide(rules, pool, &fresh()).action
}

/// Why the part does not grow.
fn held(rules: &Rules, pool: &Pool, memory: &Memory) -> Option<Hold> {
    let decision = decide(rules, pool, memory);
    assert_eq!(decision.action, None, "{decision:?}");
    decision.wanted.into_iter().find_map(|(_, hold)| hold)
}

#[test]
fn a_pool_that_follows_its_group_takes_its_share_unasked_and_does_not_miss_what_is_not_there() {
    let rules = |follow| Rules { follow, ..rules() };
    let extends = |to| Some(Action::Extend(Part::Data, to));
    assert_eq!(action(&rules(0), &pool(10)), None);
    assert_eq!(action(&rules(1000), &pool(10)), None, "it has its share");
    assert_eq!(action(&rules(1500), &pool(10)), extends(1500));
    let off = Rules {
        enabled: false,
        ..rules(1500)
    };
    assert_eq!(action(&off, &pool(10)), None);
    let frozen = Pool {
        obstacles: vec!["VGPartial".into()],
        ..pool(10)
    };
    assert_eq!(action(&rules(1500), &frozen), None);
    let leaving = |used| Pool {
        leaving: true,
        ..pool(used)
    };
    assert_eq!(action(&rules(1500), &leaving(10)), None);
    let needed = action(&rules(1500), &leaving(72));
    assert_eq!(
        needed,
        action(&rules(0), &pool(72)),
        "what it needs it gets"
    );
    assert!(needed.is_some());
    // Its maximum and the reserve are those of any growth.
    assert_eq!(action(&rules(5000), &pool(10)), extends(1800));
    let little = Pool {
        free: 400,
        ..pool(10)
    };
    let Some(Action::Extend(Part::Data, to)) = action(&rules(1800), &little) else {
        panic!("{little:?}");
    };
    assert!((1001..=1300).contains(&to), "{to}");
    let none = Pool {
        free: 110,
        ..pool(10)
    };
    let decision = decide(&rules(1800), &none, &fresh());
    assert_eq!(
        (decision.action, decision.wanted),
        (None, vec![]),
        "nothing is wrong"
    );
}

#[test]
fn a_pool_grows_at_its_threshold_and_not_before() {
    assert_eq!(action(&rules(), &pool(69)), None);
    assert_eq!(
        action(&rules(), &pool(70)),
        Some(Action::Extend(Part::Data, 1200))
    );
    // From 95 %: so far that it is below the threshold again.
    assert_eq!(
        action(&rules(), &pool(95)),
        Some(Action::Extend(Part::Data, 1358))
    );
}

#[test]
fn bytes_count_where_percent_would_be_too_late() {
    let mut rules = rules();
    rules.data.min_free = 600 * EXTENT;
    assert_eq!(action(&rules, &pool(40)), None);
    assert_eq!(
        action(&rules, &pool(41)),
        Some(Action::Extend(Part::Data, 1200))
    );
}

#[test]
fn a_pool_that_fills_fast_grows_before_its_threshold_and_by_more() {
    let mut filling = pool(50);
    // At this rate the free half lasts 500 s.
    filling.rate = Rate {
        lasting: EXTENT,
        now: EXTENT,
    };
    // 900 s ahead of 500 extents used.
    assert_eq!(
        action(&rules(), &filling),
        Some(Action::Extend(Part::Data, 1400))
    );
}

#[test]
fn metadata_comes_first() {
    let mut both = pool(75);
    both.metadata_bytes.used = 25 * EXTENT;
    let decision = decide(&rules(), &both, &fresh());
    assert_eq!(decision.action, Some(Action::Extend(Part::Metadata, 100)));
    assert_eq!(decision.wanted.len(), 2, "the data waits its turn");
    assert!(decision.soon);
    // Where metadata cannot grow, data still does.
    let mut rules = rules();
    rules.metadata.max = 50;
    assert_eq!(
        action(&rules, &both),
        Some(Action::Extend(Part::Data, 1200))
    );
}

#[test]
fn the_reserve_is_left_alone_but_for_metadata_in_need() {
    let mut tight = pool(75);
    tight.free = 139;
    let memory = fresh();
    let full = held(&rules(), &tight, &memory).unwrap();
    assert_eq!((full.code(), full.lasts()), ("GroupFull", true));
    // Exactly the smallest step outside the reserve.
    tight.free = 140;
    assert_eq!(
        action(&rules(), &tight),
        Some(Action::Extend(Part::Data, 1040))
    );
    // 40 of the reserve are for metadata and its spare.
    tight.free = 100;
    tight.metadata_bytes.used = 25 * EXTENT;
    assert_eq!(
        action(&rules(), &tight),
        Some(Action::Extend(Part::Metadata, 70))
    );
    tight.free = 60;
    assert_eq!(held(&rules(), &tight, &memory).unwrap().code(), "GroupFull");
    let mut named = rules();
    named.emergency_for.push(Part::Data);
    tight.metadata_bytes.used = 0;
    tight.free = 100;
    assert_eq!(
        action(&named, &tight),
        Some(Action::Extend(Part::Data, 1040))
    );
}

#[test]
fn a_full_pool_takes_what_there_is_without_a_pause() {
    let mut full = pool(100);
    full.mode = Mode::OutOfSpace;
    full.free = 103;
    let mut memory = fresh();
    memory.note(Instant::now(), Part::Data, Attempt::Grew, &full);
    let decision = decide(&rules(), &full, &memory);
    assert_eq!(decision.action, Some(Action::Extend(Part::Data, 1003)));
}

#[test]
fn growth_leaves_room_for_the_metadata_of_what_it_adds() {
    let mut coarse = pool(75);
    // An extent of metadata for each extent of data, to make it visible.
    coarse.chunk = Bytes(64);
    (coarse.metadata, coarse.spare) = (1000, 1000);
    coarse.metadata_bytes = Usage {
        used: 0,
        total: 1000 * EXTENT,
    };
    coarse.free = 700;
    // 200 would take 200 of metadata and 200 of spare; 600 less 400 are left.
    assert_eq!(
        action(&rules(), &coarse),
        Some(Action::Extend(Part::Data, 1200))
    );
    coarse.free = 600;
    assert_eq!(
        action(&rules(), &coarse),
        Some(Action::Extend(Part::Data, 1100))
    );
}

#[test]
fn a_maximum_and_a_chunk_that_is_too_small_are_told_before_they_matter() {
    let mut rules = rules();
    rules.data.max = 1000;
    let decision = decide(&rules, &pool(10), &fresh());
    assert_eq!(
        decision.data_hold,
        Some(Hold::AtMaximum(Bytes(1000 * EXTENT)))
    );
    assert_eq!((decision.action, decision.soon), (None, false));
    rules.data.max = 100_000;
    // 64 KiB for each 64 bytes: a thousand times the metadata it may have.
    (rules.metadata.max, rules.metadata.threshold) = (50, 95);
    let mut large = pool(10);
    large.data = 50 * 1024;
    large.data_bytes.total = large.data * EXTENT;
    let decision = decide(&rules, &large, &fresh());
    assert_eq!(
        decision.data_hold,
        Some(Hold::ChunkTooSmall(Bytes(50 * 1024 * EXTENT)))
    );
    large.data -= 10;
    let decision = decide(&rules, &large, &fresh());
    assert_eq!(
        decision.data_hold, None,
        "10 extents are left, and they count"
    );
}

#[test]
fn success_is_followed_by_a_pause_unless_the_pool_would_be_full_before() {
    let start = Instant::now();
    let mut memory = Memory::new(start);
    memory.note(start, Part::Data, Attempt::Grew, &pool(70));
    memory.look(start + Duration::from_secs(29), &pool(72));
    assert_eq!(held(&rules(), &pool(72), &memory), Some(Hold::Cooldown));
    assert!(decide(&rules(), &pool(72), &memory).soon);
    let mut fast = pool(72);
    fast.rate.now = 10 * EXTENT;
    assert!(
        decide(&rules(), &fast, &memory).action.is_some(),
        "full in 28 s"
    );
    memory.look(start + Duration::from_secs(30), &pool(72));
    assert!(decide(&rules(), &pool(72), &memory).action.is_some());
}

#[test]
fn failures_make_patient_until_the_matter_changes() {
    let start = Instant::now();
    let mut memory = Memory::new(start);
    let mut now = start;
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        memory.note(now, Part::Data, Attempt::Failed, &pool(80));
        let wait = Duration::from_secs(seconds);
        assert_eq!(
            held(&rules(), &pool(80), &memory),
            Some(Hold::BackOff(wait))
        );
        now += wait;
        memory.look(now, &pool(80));
        assert!(decide(&rules(), &pool(80), &memory).action.is_some());
    }
    memory.note(now, Part::Data, Attempt::Failed, &pool(80));
    memory.look(now, &pool(81));
    assert!(
        decide(&rules(), &pool(81), &memory).action.is_some(),
        "1 % more is used"
    );
    memory.note(now, Part::Data, Attempt::Failed, &pool(80));
    let mut other = pool(80);
    other.free += 1;
    memory.look(now, &other);
    assert!(
        decide(&rules(), &other, &memory).action.is_some(),
        "the group has more"
    );
}

#[test]
fn a_sick_pool_a_frozen_group_and_a_switched_off_class_are_left_alone() {
    let mut sick = pool(100);
    sick.mode = Mode::Sick;
    assert_eq!(held(&rules(), &sick, &fresh()), Some(Hold::Sick));
    let mut frozen = pool(100);
    frozen.obstacles = vec!["VGPartial: x".into()];
    let hold = held(&rules(), &frozen, &fresh()).unwrap();
    assert_eq!(hold.to_string(), "VGPartial: x");
    let mut off = rules();
    off.enabled = false;
    assert_eq!(held(&off, &pool(100), &fresh()), Some(Hold::Off));
}

#[test]
fn writes_fail_at_once_only_where_nothing_is_left_and_wait_again_with_room() {
    let mut auto = rules();
    auto.when_full = WhenFull::Auto;
    let mut used_up = pool(75);
    used_up.free = 100;
    assert_eq!(action(&auto, &used_up), Some(Action::ErrorWhenFull(true)));
    used_up.asks_error = true;
    assert_eq!(action(&auto, &used_up), None, "still nothing left");
    used_up.free = 160;
    assert_eq!(
        action(&auto, &used_up),
        Some(Action::Extend(Part::Data, 1060))
    );
    // It grows first; then there is room for two steps and writes wait again.
    let mut roomy = pool(50);
    roomy.asks_error = true;
    assert_eq!(action(&auto, &roomy), Some(Action::ErrorWhenFull(false)));
    let mut error = rules();
    error.when_full = WhenFull::Error;
    assert_eq!(action(&error, &pool(50)), Some(Action::ErrorWhenFull(true)));
    // A failure to extend that is tried again is no reason to fail writes.
    let mut memory = fresh();
    memory.note(Instant::now(), Part::Data, Attempt::Failed, &pool(75));
    assert_eq!(decide(&auto, &pool(75), &memory).action, None);
}

#[test]
fn a_pool_is_looked_at_often_when_it_is_nearly_full() {
    let mut filling = pool(60);
    assert!(!decide(&rules(), &filling, &fresh()).soon);
    filling.rate.now = 2 * EXTENT;
    let decision = decide(&rules(), &filling, &fresh());
    assert_eq!(decision.time_to_full, Some(Duration::from_secs(200)));
    assert!(decision.soon);
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let growth = (50u8..=95, 0..400 * MIB, 1..500u64, 1..100u64, 1..5000u64).prop_map(
        |(threshold, min_free, step, min_step, max)| Growth {
            threshold,
            min_free,
            step,
            min_step,
            max,
        },
    );
    (
        growth.clone(),
        growth,
        0..400u64,
        0..400u64,
        any::<[bool; 2]>(),
    )
        .prop_map(
            |(data, metadata, reserve, emergency, [for_data, for_metadata])| Rules {
                data,
                metadata,
                reserve,
                emergency: emergency.min(reserve),
                emergency_for: [(for_data, Part::Data), (for_metadata, Part::Metadata)]
                    .into_iter()
                    .filter_map(|(named, part)| named.then_some(part))
                    .collect(),
                ..rules()
            },
        )
}

fn any_pool() -> impl Strategy<Value = Pool> {
    (
        (0..3000u64, 1..3000u64, 1..300u64, 0..300u64),
        (0..=100u64, 0..=100u64, 0..GIB, 0..14u32),
        any::<bool>(),
    )
        .prop_map(
            |((free, data, metadata, spare), (used, metadata_used, rate, chunk), full)| Pool {
                free,
                data,
                metadata,
                spare,
                chunk: Bytes((64 * KIB) << chunk),
                data_bytes: Usage {
                    used: data * EXTENT * used / 100,
                    total: data * EXTENT,
                },
                metadata_bytes: Usage {
                    used: metadata * EXTENT * metadata_used / 100,
                    total: metadata * EXTENT,
                },
                mode: if full {
                    Mode::OutOfSpace
                } else {
                    Mode::Writable
                },
                rate: Rate {
                    lasting: rate,
                    now: rate,
                },
                ..pool(0)
            },
        )
}

/// What the group pays.
fn cost(pool: &Pool, part: Part, to: u64) -> u64 {
    match part {
        Part::Data => to - pool.data,
        Part::Metadata => to - pool.metadata + to.saturating_sub(pool.spare),
    }
}

proptest! {
    #[test]
    fn nothing_shrinks_and_no_bound_is_crossed_until_there_is_nothing_more_to_do(
        rules in any_rules(), pool in any_pool(),
    ) {
        let mut pool = pool;
        let mut memory = fresh();
        let mut now = Instant::now();
        for _ in 0..64 {
            let decision = decide(&rules, &pool, &memory);
            let Some(Action::Extend(part, to)) = decision.action else {
                prop_assert_eq!(decision.action, None);
                for (part, hold) in &decision.wanted {
                    let hold = hold.as_ref().unwrap();
                    prop_assert!(hold.lasts(), "{part:?} waits for {hold:?} for ever");
                }
                return Ok(());
            };
            let (has, growth) = match part {
                Part::Data => (pool.data, rules.data),
                Part::Metadata => (pool.metadata, rules.metadata),
            };
            prop_assert!(has < to && to <= growth.max, "{has} {to} {growth:?}");
            let cost = cost(&pool, part, to);
            prop_assert!(cost + rules.kept_from(part) <= pool.free, "{cost} of {}", pool.free);
            pool.free -= cost;
            let total = to * EXTENT;
            match part {
                Part::Data => {
                    (pool.data, pool.data_bytes.total, pool.mode) = (to, total, Mode::Writable);
                }
                Part::Metadata => {
                    pool.spare = pool.spare.max(to);
                    (pool.metadata, pool.metadata_bytes.total) = (to, total);
                }
            }
            memory.note(now, part, Attempt::Grew, &pool);
            now += rules.cooldown;
            memory.look(now, &pool);
        }
        prop_assert!(false, "it does not come to rest: {pool:?}");
    }
}
