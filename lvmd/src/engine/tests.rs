use std::time::Duration;

use super::*;
use crate::cmd::Cmd;
use crate::lvm::report;
use crate::lvm::tool::{Nodes, SystemDir};
use tokio::sync::Semaphore;

/// A runner whose commands end when they are let, with what is prepared.
#[derive(Debug, Clone)]
struct Fake {
    let_go: Arc<Semaphore>,
    result: Result<Output, CmdError>,
    ran: Arc<Mutex<Vec<String>>>,
}

impl Runner for Fake {
    async fn run(&self, cmd: Cmd) -> Result<Output, CmdError> {
        let _ = self.let_go.acquire().await;
        lock(&self.ran).push(cmd.to_string());
        self.result.clone()
    }
}

fn engine(result: Result<Output, CmdError>) -> (Engine<Fake>, Fake, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let tool = Tool {
        command_prefix: vec!["lvm".into()],
        system_dir: SystemDir::Generated(dir.path().to_owned()),
        program: "test",
        nodes: Nodes::InDev,
    };
    let fake = Fake {
        let_go: Arc::new(Semaphore::new(0)),
        result,
        ran: Arc::default(),
    };
    (
        Engine::new(fake.clone(), tool, Arc::new(Unobserved)),
        fake,
        dir,
    )
}

fn view() -> VgView {
    let json = include_bytes!("../../tests/fixtures/fullreport-lvm2-2.03.31.json");
    VgView {
        vg: report::parse(json).unwrap().remove(0),
        devices: vec!["/dev/a".into()],
        frozen: vec![],
        copies_differ: false,
    }
}

const CHANGE: Mutation = Mutation::RewriteMetadata;

#[tokio::test]
async fn a_lane_is_held_until_its_command_has_ended_though_the_caller_is_gone() {
    let (engine, fake, _dir) = engine(Ok(Output::default()));
    let lane = engine.lane("vg").await;
    let view = view();
    let gone = tokio::time::timeout(Duration::from_millis(20), lane.run(&view, &CHANGE, 70));
    assert!(gone.await.is_err());
    drop(lane);
    let short = Duration::from_millis(20);
    assert!(
        tokio::time::timeout(short, engine.lane("vg"))
            .await
            .is_err()
    );
    engine.lane("other").await;
    fake.let_go.add_permits(1);
    tokio::time::timeout(Duration::from_secs(5), engine.lane("vg"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_command_that_did_not_end_by_itself_makes_its_vg_unsound() {
    let (_done, ended) = watch::channel(false);
    let stuck = CmdError::Stuck {
        cmd: "lvm".into(),
        pid: 1,
        limit: Duration::ZERO,
        ended,
    };
    let killed = CmdError::Signalled {
        cmd: "lvm".into(),
        signal: 9,
        elapsed: Duration::ZERO,
        stderr: String::new(),
    };
    let failed = CmdError::Failed {
        cmd: "lvm".into(),
        code: 5,
        stderr: String::new(),
    };
    for (result, sound, frozen) in [
        (Ok(Output::default()), true, 0),
        (Err(failed), true, 0),
        (Err(killed), false, 0),
        (Err(stuck), false, 1),
    ] {
        let (engine, fake, _dir) = engine(result.clone());
        let lane = engine.lane("vg").await;
        assert!(!engine.is_sound("vg"), "nobody looked yet");
        lane.set_sound();
        fake.let_go.add_permits(1);
        let _ = lane.run(&view(), &CHANGE, 70).await;
        assert_eq!(engine.is_sound("vg"), sound, "{result:?}");
        assert_eq!(engine.stuck().len(), frozen, "{result:?}");
    }
}

#[tokio::test]
async fn several_commands_are_one_process_until_lvm_crashes_on_that() {
    let ended = |signal| CmdError::Signalled {
        cmd: "lvm".into(),
        signal,
        elapsed: Duration::ZERO,
        stderr: String::new(),
    };
    let both = [
        Mutation::RewriteMetadata,
        Mutation::Refresh { name: "p".into() },
    ];
    for (result, then) in [
        (Ok(Output::default()), [true, true]),
        (Err(ended(libc::SIGTERM)), [true, true]),
        (Err(ended(libc::SIGSEGV)), [true, false]),
    ] {
        let (engine, fake, _dir) = engine(result);
        fake.let_go.add_permits(1);
        let lane = engine.lane("vg").await;
        for _ in 0..2 {
            let _ = lane.run_all(&view(), &both, 70).await;
        }
        // The second call's first command fails as well, so there is no third.
        let ran: Vec<_> = lock(&fake.ran)
            .iter()
            .map(|cmd| cmd.contains("/vg/vgck."))
            .collect();
        assert_eq!(ran, then);
    }
}

#[tokio::test]
async fn a_command_that_did_not_end_and_does_while_its_group_is_read_freezes_what_was_read() {
    let (done, ended) = watch::channel(false);
    let stuck = CmdError::Stuck {
        cmd: "lvm".into(),
        pid: 1,
        limit: Duration::ZERO,
        ended,
    };
    let (engine, fake, _dir) = engine(Err(stuck));
    let all = || {
        Ok(Arc::new(Snapshot {
            vgs: vec![view()],
            unreadable: vec![],
        }))
    };
    let is_frozen = |snapshot: &Snapshot| !snapshot.vgs[0].frozen.is_empty();
    let before = engine.with_stuck(async { all() }).await.unwrap();
    assert!(!is_frozen(&before));
    fake.let_go.add_permits(1);
    let _ = engine.lane("vg").await.run(&view(), &CHANGE, 70).await;
    // It made a volume after the metadata was read, and ended.
    let meanwhile = engine.with_stuck(async {
        let read = all();
        done.send(true).unwrap();
        read
    });
    assert!(is_frozen(&meanwhile.await.unwrap()));
    let after = engine.with_stuck(async { all() }).await.unwrap();
    assert!(!is_frozen(&after));
}
