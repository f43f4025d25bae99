//! The data of the differential test against upstream's lvmd, checked without either.
//!
//! The test itself runs in a guest: `tests/guest_peer`.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod compare;
mod script;

use compare::{answers, as_entry, difference, surprise};

const GUEST_TESTS: &str = include_str!("../guest_peer/differences.rs");
const RPCS: [&str; 8] = [
    "CreateLV",
    "RemoveLV",
    "ResizeLV",
    "CreateLVSnapshot",
    "GetLVList",
    "GetFreeBytes",
    "Watch",
    "Health",
];

#[test]
fn the_script_is_long_enough_and_every_step_has_its_own_name() {
    let rounds = script::rounds();
    let (mut ids, calls) = script::ids(&rounds);
    assert!(calls >= 60, "{calls} calls");
    for rpc in RPCS {
        let played = rounds
            .iter()
            .flat_map(|r| &r.steps)
            .any(|step| step["call"] == rpc);
        assert!(played, "{rpc} is not called");
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id stands for one step");
    for round in &rounds {
        for step in &round.steps {
            let has_result = step.get("call").is_some() || step["do"] == "show";
            assert_eq!(has_result, step.get("id").is_some(), "{step}");
        }
        let test = format!("play(\"{}\")", round.round);
        assert!(GUEST_TESTS.contains(&test), "{test} is in no test");
        assert!(
            !round.layout.is_empty() && !round.config.is_empty(),
            "{}",
            round.round
        );
    }
}

#[test]
fn the_reviewed_differences_are_about_steps_that_exist() {
    let rounds = script::rounds();
    let (ids, _) = script::ids(&rounds);
    for (id, difference) in script::reviewed() {
        assert!(ids.contains(&id.as_str()), "there is no step {id}");
        assert_ne!(
            difference.ours, difference.theirs,
            "{id} lists no difference"
        );
    }
}

#[test]
fn answers_differ_by_field_and_not_by_order_message_or_device_number() {
    let line = |code: &str, message: &str, volumes: &str| {
        let text = format!(
            r#"{{"id":"a","call":"GetLVList","code":"{code}","message":"{message}","response":{{"volumes":[{volumes}]}}}}"#
        );
        answers(&text).remove(0)
    };
    let a = r#"{"name":"a","size_bytes":"8","dev_major":253,"dev_minor":1,"tags":["t"],"attr":"-wi-a-----"}"#;
    let b = r#"{"name":"b","size_bytes":"8","dev_major":0,"dev_minor":0,"tags":[],"attr":"-wi-------"}"#;
    let ours = line("OK", "", &format!("{a},{b}"));
    assert_eq!((ours.id.as_str(), ours.call.as_str()), ("a", "GetLVList"));
    assert_eq!(ours.flat()["volumes.a.device"], "some");
    let moved = a.replace("\"dev_minor\":1", "\"dev_minor\":7");
    let same = line("OK", "words", &format!("{b},{moved}"));
    assert_eq!(
        (difference(&ours, &same), same.message.as_str()),
        (None, "words")
    );
    let grown = a
        .replace("\"8\"", "\"16\"")
        .replace("[\"t\"]", "[\"t\",\"u\"]");
    let found = difference(&ours, &line("OK", "", &format!("{grown},{b}"))).unwrap();
    assert_eq!(
        as_entry("a", &found),
        r#"  - call: a
    ours: {volumes.a.size_bytes: "8", volumes.a.tags: "[\"t\"]"}
    theirs: {volumes.a.size_bytes: "16", volumes.a.tags: "[\"t\",\"u\"]"}
"#
    );
    let gone = difference(&ours, &line("OK", "", b)).unwrap();
    assert!(
        gone.theirs.is_empty() && gone.ours.contains_key("volumes.a.size_bytes"),
        "{gone:?}"
    );
}

#[test]
fn a_difference_must_be_listed_and_a_listed_one_must_occur() {
    let code = |code: &str| {
        let text = format!(r#"{{"id":"a","call":"RemoveLV","code":"{code}","message":"words"}}"#);
        answers(&text).remove(0)
    };
    let (ours, theirs) = (code("FailedPrecondition"), code("Unknown"));
    let listed = difference(&ours, &theirs).unwrap();
    assert_eq!(surprise(&ours, &theirs, Some(&listed)), None);
    assert_eq!(surprise(&ours, &ours, None), None);
    for (theirs, listed) in [
        (&theirs, None),
        (&ours, Some(&listed)),
        (&code("OK"), Some(&listed)),
    ] {
        let text = surprise(&ours, theirs, listed).unwrap();
        assert!(
            text.contains("step a RemoveLV") && text.contains("words"),
            "{text}"
        );
    }
}

#[test]
fn what_lvm_shows_is_compared_line_by_line() {
    let shown = |lines: &str| answers(&format!(r#"{{"id":"s","shown":[{lines}]}}"#)).remove(0);
    let ours = shown(r#""a   linear 8.00m","[b]  linear""#);
    assert_eq!(
        difference(&ours, &shown(r#""[b] linear","a linear  8.00m""#)),
        None
    );
    let found = difference(&ours, &shown(r#""a linear 16.00m","[b] linear""#)).unwrap();
    assert_eq!(found.theirs["a"], "linear 16.00m");
}
