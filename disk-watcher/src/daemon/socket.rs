//! Where `disk-watcher status` asks: a socket beside the files with the status. Only the running
//! daemon knows how old what it shows is, and that it runs is known from its answer.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::board::Board;
use crate::status::asked::{SOCKET, View};

/// How long somebody who asks may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether the socket is still there, or can be had.
const LOOK: Duration = Duration::from_secs(10);

/// Answers until `stop`.
pub(super) async fn serve(dir: PathBuf, board: Board, stop: CancellationToken) {
    let path = dir.join(SOCKET);
    while !stop.is_cancelled() {
        match open(&dir, &path) {
            Ok(listener) => answer_all(&listener, &path, &board, &stop).await,
            Err(error) => {
                warn!(%error, path = %path.display(), "disk-watcher status has nobody to ask");
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }
    let _ = fs::remove_file(&path);
}

/// What an earlier run left there is replaced: this is the one that acts on the node.
fn open(dir: &Path, path: &Path) -> io::Result<UnixListener> {
    fs::create_dir_all(dir)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Until `stop`, or until the socket has no name any more.
async fn answer_all(listener: &UnixListener, path: &Path, board: &Board, stop: &CancellationToken) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let board = board.clone();
                    tokio::spawn(async move {
                        let answered = tokio::time::timeout(PATIENCE, answer(stream, &board)).await;
                        if let Ok(Err(error)) = answered {
                            debug!(%error, "a question about the status was not answered");
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "disk-watcher status is not heard");
                    return tokio::time::sleep(PATIENCE).await;
                }
            },
            () = tokio::time::sleep(LOOK) => if !path.exists() { return },
            () = stop.cancelled() => return,
        }
    }
}

async fn answer(mut stream: UnixStream, board: &Board) -> anyhow::Result<()> {
    let (mut word, mut length) = ([0; 16], 0);
    // All of the line: a socket that is closed with something unread in it fails who asked.
    while length < word.len() && !word[..length].contains(&b'\n') {
        match stream.read(&mut word[length..]).await? {
            0 => break,
            more => length += more,
        }
    }
    let asked = View::ALL
        .into_iter()
        .find(|view| view.word().as_bytes() == word[..length].trim_ascii());
    if let Some(view) = asked {
        let answer = serde_json::to_vec(&board.answer(view)?)?;
        stream.write_all(&answer).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::NodeStatus;
    use crate::status::asked::ask;
    use std::time::Instant;

    #[tokio::test]
    async fn who_asks_gets_what_was_seen_and_how_old_it_is_and_knows_when_nobody_answers() {
        let dir = tempfile::tempdir().unwrap();
        let board = Board::new(dir.path().to_owned());
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(dir.path().to_owned(), board.clone(), stop.clone()));
        let asked = || {
            let dir = dir.path().to_owned();
            tokio::task::spawn_blocking(move || ask(&dir, View::Json))
        };
        while !dir.path().join(SOCKET).exists() {
            tokio::task::yield_now().await;
        }
        let answer = asked().await.unwrap().unwrap();
        assert!(answer.late[0].contains("not looked at"), "{answer:?}");

        board.set_node(NodeStatus::default());
        let answer = asked().await.unwrap().unwrap();
        assert_eq!(answer.late, [""; 0]);
        assert!(answer.text.contains("\"looks\": 1"), "{}", answer.text);

        let long_ago = Instant::now().checked_sub(Duration::from_secs(90)).unwrap();
        board.set_pool("fast", None, long_ago, Duration::from_secs(1));
        let answer = asked().await.unwrap().unwrap();
        let ages = 90..=long_ago.elapsed().as_secs();
        let late = ages.map(|age| format!("the pool of class fast was looked at {age} s ago"));
        assert!(
            late.into_iter().any(|late| answer.late == [late]),
            "{answer:?}"
        );

        stop.cancel();
        served.await.unwrap();
        let answer = asked().await.unwrap().unwrap();
        assert!(answer.late[0].contains("does not answer"), "{answer:?}");
        assert!(answer.text.contains("\"looks\": 1"), "from its file");
        std::fs::remove_dir_all(dir.path()).unwrap();
        let error = asked().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("no status at"), "{error}");
    }

    #[tokio::test]
    async fn a_question_that_comes_in_pieces_is_answered_when_all_of_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let board = Board::new(dir.path().to_owned());
        board.set_node(NodeStatus::default());
        let (mut asks, answers) = UnixStream::pair().unwrap();
        let answered = tokio::spawn(async move { answer(answers, &board).await });
        asks.write_all(b"json").await.unwrap();
        // As long as the other end needs to answer, if it did.
        tokio::time::sleep(Duration::from_millis(50)).await;
        asks.write_all(b"\n").await.unwrap();
        let mut text = String::new();
        asks.read_to_string(&mut text).await.unwrap();
        assert!(text.contains("looks"), "{text}");
        answered.await.unwrap().unwrap();
    }
}
