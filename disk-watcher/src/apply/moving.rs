//! A pvmove whose end is held until the kernel has said that everything was copied.
//!
//! lvm looks at a move when it is told to and ends it once the mirror is in sync, whatever happened in it. So lvm only begins
//! it, and is asked to leave before it looks for the first time; the kernel goes on alone. When all is copied, no leg failed,
//! and both have the same, lvm is asked to end it; else it is taken back, and what was to move is where it was.

use std::time::Duration;

use lvmd::cmd::{Cmd, CmdError, Runner};
use lvmd::patience::Patience;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::mirrors::{self, Group, Progress};
use super::same::Mirror;

/// After how long lvm is asked to leave, time by time; it does so only once it holds no lock. One that was asked to before it
/// began has longer the next time.
const LEAVE: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(8),
    Duration::from_secs(32),
];
/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Compares what was copied.
async fn same(mirrors: Vec<Mirror>) -> Result<(), String> {
    let all = move || mirrors.iter().try_for_each(Mirror::is_same);
    let compared = tokio::task::spawn_blocking(all).await;
    compared.map_err(|e| e.to_string()).flatten()
}

/// Moves of one group.
#[derive(Debug, Clone)]
pub struct Move<R> {
    /// What runs lvm.
    pub runner: R,
    /// What keeps a kernel that does not answer from holding up everything.
    pub patience: Patience,
    /// The group.
    pub group: Group,
    /// Has lvm look at a move that was begun, which ends it, or begins its next part.
    pub look: Cmd,
    /// Takes it back.
    pub abort: Cmd,
}

impl<R: Runner + Clone> Move<R> {
    /// Goes on with what the kernel has, or begins with `begin` if it has nothing, for at most `limit`; then the kernel
    /// goes on alone.
    ///
    /// # Errors
    /// What the kernel says of what could not be copied, or why it cannot be asked. Nothing is ended then.
    pub async fn go(&self, begin: &Cmd, limit: Duration) -> Result<(), String> {
        let started = Instant::now();
        let mut begun: Option<Result<(), String>> = None;
        // The mirrors that lvm was asked to end, and how often.
        let mut looked: (Vec<Mirror>, usize) = (Vec::new(), 0);
        loop {
            match self.progress().await? {
                Progress::None => match begun {
                    Some(said) => return said,
                    None => begun = Some(self.begin(begin).await),
                },
                Progress::Copied(mirrors) => {
                    if looked.0 != mirrors {
                        if let Err(why) = same(mirrors.clone()).await {
                            self.back().await?;
                            return Err(format!("{why}; the move is taken back"));
                        }
                        looked = (mirrors, 0);
                    }
                    let said = self.leave(&self.look, looked.1).await;
                    looked.1 += 1;
                    begun = Some(said.clone().map_err(|e| e.to_string()));
                    if looked.1 == LEAVE.len() {
                        let why = said
                            .err()
                            .map_or("lvm reports success".into(), |e| e.to_string());
                        return Err(format!(
                            "everything is copied, and lvm does not end it: {why}"
                        ));
                    }
                }
                Progress::Failed { .. } => {
                    let back = self.back().await;
                    return Err(match back {
                        Ok(Some(why)) => format!("{why}; the move is taken back"),
                        Ok(None) => "the move vanished".to_owned(),
                        Err(why) => why,
                    });
                }
                Progress::Copying if started.elapsed() > limit => {
                    return Err("it is not copied yet; the kernel goes on".into());
                }
                Progress::Copying => sleep(PAUSE).await,
            }
        }
    }

    /// Takes a move back; says what failed in it, if something did.
    ///
    /// # Errors
    /// When the disk that leaves has not everything any more, or lvm does not do it.
    pub async fn back(&self) -> Result<Option<String>, String> {
        let failed = match self.progress().await? {
            Progress::Failed { status, whole } => {
                let why = format!(
                    "a part could not be read or written, says the kernel of the mirror ({status}); its log names the disk"
                );
                if !whole {
                    return Err(format!(
                        "{why}. The disk that leaves failed a write that the new one took, and reads as an error there: the \
                         move is neither ended, since the new one may lack other parts, nor taken back. Save what the \
                         volumes have while it stands; a reboot begins it anew from the disk that leaves"
                    ));
                }
                Some(why)
            }
            _ => None,
        };
        warn!(group = %self.group.name, ?failed, "the move is taken back");
        self.run(self.abort.clone())
            .await
            .map_err(|e| match &failed {
                Some(why) => format!("{why}; taking the move back: {e}"),
                None => e.to_string(),
            })?;
        Ok(failed)
    }

    async fn progress(&self) -> Result<Progress, String> {
        let what = format!("the mirrors of {}", self.group.name);
        let group = self.group.clone();
        let answer = self.patience.ask(&what, move || mirrors::progress(&group));
        let answer = answer.await.map_err(|e| e.to_string())?;
        answer.map_err(|e| e.to_string())
    }

    /// Begins, and has lvm leave.
    async fn begin(&self, cmd: &Cmd) -> Result<(), String> {
        let mut said = Ok(());
        for time in 0..LEAVE.len() {
            said = self.leave(cmd, time).await;
            let early = matches!(said, Err(CmdError::Signalled { .. }));
            if !early || self.progress().await? != Progress::None {
                break;
            }
        }
        said.map_err(|e| e.to_string())
    }

    async fn leave(&self, cmd: &Cmd, time: usize) -> Result<(), CmdError> {
        self.run(cmd.clone().limit(LEAVE[time])).await
    }

    async fn run(&self, cmd: Cmd) -> Result<(), CmdError> {
        info!(command = %cmd, "running");
        self.runner.run(cmd).await.map(drop)
    }
}
