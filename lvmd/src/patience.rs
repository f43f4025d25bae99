//! Blocking calls that may never return, kept from holding up anything else.
//!
//! A read from a disk that hangs, or a question to a thin pool on one, sleeps in the
//! kernel and cannot be cancelled. Each such call runs on a thread of its own and is
//! waited for only so long. While an overdue call is out, whoever asks the same again
//! is told at once that there is no answer, and costs no further thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a call is waited for; a sleeping disk that takes longer is back at the next look.
const LIMIT: Duration = Duration::from_secs(5);

/// See the module. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Patience {
    limit: Duration,
    /// How many calls are out and overdue, by whom they ask.
    overdue: Arc<Mutex<HashMap<String, usize>>>,
}

/// A call is not back in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} does not answer")]
pub struct NoAnswer {
    /// Who was asked.
    pub what: String,
}

impl Default for Patience {
    fn default() -> Self {
        Self::new(LIMIT)
    }
}

impl Patience {
    /// Waits for each call at most `limit`.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            overdue: Arc::default(),
        }
    }

    /// Asks `what` by running `call`.
    ///
    /// # Errors
    /// When it is not back in time, or an earlier call of `what` is still overdue.
    pub async fn ask<T: Send + 'static>(
        &self,
        what: &str,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let no_answer = NoAnswer {
            what: what.to_owned(),
        };
        if self.overdue().contains_key(what) {
            return Err(no_answer);
        }
        let call_out = Arc::new(Call {
            patience: self.clone(),
            what: what.to_owned(),
            state: Mutex::new(State::Out),
        });
        let back = Back(call_out.clone());
        // Also when who asks goes away: the next one must not send another thread after it.
        let _given_up = GivenUp(call_out);
        let asked = tokio::task::spawn_blocking(move || {
            let _back = back;
            call()
        });
        match tokio::time::timeout(self.limit, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            // It panicked, or is late.
            Ok(Err(_)) | Err(_) => Err(no_answer),
        }
    }

    fn overdue(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.overdue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call, as seen from both sides.
struct Call {
    patience: Patience,
    what: String,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Out,
    Overdue,
    Back,
}

impl Call {
    /// Changes the state and counts what is overdue, both at once.
    fn turn(&self, next: State) {
        let mut overdue = self.patience.overdue();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (*state, next) {
            (State::Out, State::Overdue) => *overdue.entry(self.what.clone()).or_default() += 1,
            (State::Overdue, State::Back) => {
                let left = overdue.get(&self.what).map_or(0, |count| count - 1);
                if left == 0 {
                    overdue.remove(&self.what);
                } else {
                    overdue.insert(self.what.clone(), left);
                }
            }
            (State::Out, State::Back) => {}
            _ => return,
        }
        *state = next;
    }
}

/// Held by the call: it is back, also when it panics.
struct Back(Arc<Call>);

impl Drop for Back {
    fn drop(&mut self) {
        self.0.turn(State::Back);
    }
}

/// Held by who asks: whoever stops waiting leaves it overdue, unless it is back.
struct GivenUp(Arc<Call>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.turn(State::Overdue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn who_hangs_holds_up_nobody_else_and_is_asked_again_when_back() {
        let patience = Patience::new(Duration::from_millis(50));
        let (release, released) = mpsc::channel::<()>();
        let hung = patience.ask("a", move || released.recv()).await;
        assert_eq!(hung.unwrap_err().to_string(), "a does not answer");
        assert_eq!(patience.ask("b", || 1).await, Ok(1));
        let asked = std::time::Instant::now();
        assert!(patience.ask("a", || 2).await.is_err());
        assert!(asked.elapsed() < Duration::from_millis(40), "at once");
        release.send(()).unwrap();
        while patience.ask("a", || 3).await != Ok(3) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn who_stops_waiting_leaves_the_call_overdue() {
        let patience = Patience::new(Duration::from_secs(60));
        let (release, released) = mpsc::channel::<()>();
        let asked = patience.ask("a", move || released.recv());
        let short = Duration::from_millis(20);
        assert!(tokio::time::timeout(short, asked).await.is_err());
        assert!(
            patience.ask("a", || 1).await.is_err(),
            "no second thread goes after it"
        );
        release.send(()).unwrap();
        while patience.ask("a", || 2).await != Ok(2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn two_may_ask_the_same_at_once_and_a_panic_is_no_answer() {
        let patience = Patience::new(Duration::from_secs(5));
        let (one, two) = tokio::join!(patience.ask("a", || 1), patience.ask("a", || 2));
        assert_eq!((one, two), (Ok(1), Ok(2)));
        let broken = patience.ask("a", || -> u8 { std::panic::resume_unwind(Box::new(())) });
        assert!(broken.await.is_err());
        assert_eq!(patience.ask("a", || 4).await, Ok(4));
    }
}
