use super::*;
use std::time::Instant;

fn sh(script: &str) -> Cmd {
    Cmd::new("/bin/sh").args(["-c", script])
}

#[tokio::test]
async fn a_child_gets_a_clean_environment_and_no_stdin() {
    let out = Host.run(sh("cat; env | sort").env("A", "b")).await.unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(
        text.contains("A=b\n") && text.contains("LC_ALL=C\n"),
        "{text}"
    );
    assert!(!text.contains("CARGO"), "{text}");
}

#[tokio::test]
async fn a_failure_carries_argv_code_and_the_tail_of_stderr() {
    let error = Host
        .run(sh("echo one >&2; echo two >&2; exit 5"))
        .await
        .unwrap_err();
    let CmdError::Failed { cmd, code, stderr } = error else {
        panic!("{error:?}")
    };
    assert_eq!((code, stderr.as_str()), (5, "one; two"));
    assert_eq!(cmd, "/bin/sh -c 'echo one >&2; echo two >&2; exit 5'");
}

#[tokio::test]
async fn a_child_past_its_limit_gets_sigterm_not_sigkill() {
    let script = "trap 'echo ended >&2; exit 7' TERM; while :; do sleep 0.05; done";
    let error = Host
        .run(sh(script).limit(Duration::from_millis(200)))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, CmdError::Failed { code: 7, stderr, .. } if stderr == "ended"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_program_that_outlives_its_prefix_is_asked_to_end_and_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let ended = dir.path().join("ended");
    // As nsenter does: a fork works on, and the process we know dies at the signal.
    let work = format!(
        "(trap 'sleep 0.3; touch {}; exit' TERM; while :; do sleep 0.05; done) & wait",
        ended.display()
    );
    let mut cmd = sh(&work).limit(Duration::from_millis(200));
    cmd.prefix = vec!["/usr/bin/env".into()];
    let error = Host.run(cmd).await.unwrap_err();
    assert!(matches!(error, CmdError::Signalled { .. }), "{error:?}");
    assert!(ended.exists(), "the fork was asked to end and has ended");
}

#[tokio::test]
async fn one_that_holds_the_pipes_for_ever_is_stuck() {
    let cmd = sh("setsid sleep 5 & exit 0")
        .limit(Duration::from_millis(200))
        .grace(Duration::from_millis(100));
    let started = Instant::now();
    let error = Host.run(cmd).await.unwrap_err();
    assert!(matches!(error, CmdError::Stuck { .. }), "{error:?}");
    assert!(error.is_abnormal() && started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_the_child() {
    let dir = tempfile::tempdir().unwrap();
    let done = dir.path().join("done");
    let script = format!("sleep 0.3; touch {}", done.display());
    let run = Host.run(sh(&script));
    assert!(
        tokio::time::timeout(Duration::from_millis(50), run)
            .await
            .is_err()
    );
    tokio::time::timeout(Duration::from_secs(5), async {
        while !done.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
}

#[test]
fn a_missing_program_names_the_places_searched() {
    let error = find_program("no-such-program").unwrap_err().to_string();
    assert!(
        error.contains("no-such-program") && error.contains("/usr/sbin"),
        "{error}"
    );
}
