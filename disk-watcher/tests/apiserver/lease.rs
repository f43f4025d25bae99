//! The node's Lease: two disk-watchers that say they are one node (F10), and an API server that
//! goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use disk_watcher::kubernetes::lease::{Standing, hold, name};
use k8s_openapi::api::coordination::v1::Lease;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::server::{Server, eventually};

/// A disk-watcher, as far as the Lease of `n1` goes.
struct Agent {
    stands: watch::Receiver<Standing>,
    let_go: CancellationToken,
    task: JoinHandle<()>,
}

impl Agent {
    fn start(client: &Client, me: &str) -> Self {
        let (tell, stands) = watch::channel(Standing::default());
        let let_go = CancellationToken::new();
        let (client, me, until) = (client.clone(), me.to_owned(), let_go.clone());
        let task = tokio::spawn(async move { hold(client, "n1", &me, tell, until).await });
        Self {
            stands,
            let_go,
            task,
        }
    }

    fn token(&self) -> Option<i32> {
        match *self.stands.borrow() {
            Standing::Ours { token } => Some(token),
            _ => None,
        }
    }

    fn is_held_off(&self) -> bool {
        self.stands.borrow().against().is_some()
    }

    async fn end(self) {
        self.let_go.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_watchers_of_one_node_one_acts_and_the_other_follows_it() {
    let server = Server::bare().await;
    let first = Agent::start(&server.client, "a_1");
    eventually("the first one has it", async || first.token()).await;
    let second = Agent::start(&server.client, "b_2");
    eventually("the second one waits", async || {
        second.is_held_off().then_some(())
    })
    .await;
    let why = second.stands.borrow().against().unwrap().to_owned();
    assert!(
        why.contains("a_1 has the node's Lease disk-watcher-n1"),
        "{why}"
    );
    assert_eq!(first.token(), Some(1));
    // Asked to end it gives the Lease back, so nobody waits for its end.
    let began = Instant::now();
    first.end().await;
    eventually("the second one has it", async || second.token()).await;
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(second.token(), Some(2), "a higher token");
    // Killed it gives nothing back.
    let third = Agent::start(&server.client, "c_3");
    eventually("the third one waits", async || {
        third.is_held_off().then_some(())
    })
    .await;
    second.task.abort();
    let killed = Instant::now();
    eventually("the third one has it", async || third.token()).await;
    let took = killed.elapsed();
    assert!(
        (Duration::from_secs(15)..Duration::from_secs(50)).contains(&took),
        "{took:?}"
    );
    assert_eq!(third.token(), Some(3));
    let leases: Api<Lease> = Api::default_namespaced(server.client.clone());
    let spec = leases.get(&name("n1")).await.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("c_3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_race_for_a_lease_never_two_have_it() {
    const ROUNDS: usize = 200;
    let server = Server::bare().await;
    let (had, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let done = Arc::new(AtomicBool::new(false));
    let racers = (0..4).map(|n| {
        let (had, over, done) = (had.clone(), over.clone(), done.clone());
        let client = server.client.clone();
        tokio::spawn(async move {
            for round in 0.. {
                let agent = Agent::start(&client, &format!("{n}_{round}"));
                let mut stands = agent.stands.clone();
                let _ = stands.wait_for(|s| *s != Standing::Unknown).await;
                if agent.token().is_some() {
                    assert_eq!(had.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                    tokio::task::yield_now().await;
                    had.fetch_sub(1, Ordering::SeqCst);
                    if over.fetch_add(1, Ordering::SeqCst) + 1 >= ROUNDS {
                        done.store(true, Ordering::SeqCst);
                    }
                }
                agent.end().await;
                if done.load(Ordering::SeqCst) {
                    return;
                }
            }
        })
    });
    for racer in racers.collect::<Vec<_>>() {
        racer.await.unwrap();
    }
    let leases: Api<Lease> = Api::default_namespaced(server.client.clone());
    let spec = leases.get(&name("n1")).await.unwrap().spec.unwrap();
    let transitions = usize::try_from(spec.lease_transitions.unwrap()).unwrap();
    assert_eq!(
        transitions,
        over.load(Ordering::SeqCst),
        "each had a token of its own"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_server_the_lock_on_the_node_decides_and_with_it_the_lease() {
    let mut server = Server::bare().await;
    let first = Agent::start(&server.client, "a_1");
    eventually("the first one has it", async || first.token()).await;
    let second = Agent::start(&server.client, "b_2");
    eventually("the second one waits", async || {
        second.is_held_off().then_some(())
    })
    .await;
    let both_decide_alone = async {
        eventually("neither is kept from its work", async || {
            let alone = |agent: &Agent| *agent.stands.borrow() == Standing::Unknown;
            (alone(&first) && alone(&second)).then_some(())
        })
        .await;
    };
    tokio::join!(both_decide_alone, server.restart(Duration::from_secs(45)));
    eventually("one has it again, and one waits", async || {
        let both = [&first, &second];
        let have = both.iter().filter(|agent| agent.token().is_some()).count();
        let wait = both.iter().filter(|agent| agent.is_held_off()).count();
        ((have, wait) == (1, 1)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_right_to_the_lease_acts_on_no_disk() {
    let server = Server::bare().await;
    let file = Kubeconfig::read_from(server.kubeconfig_of("scheduler")).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(file, &options).await;
    let client = Client::try_from(config.unwrap()).unwrap();
    let agent = Agent::start(&client, "a_1");
    eventually("it is held off", async || agent.is_held_off().then_some(())).await;
    let why = agent.stands.borrow().against().unwrap().to_owned();
    assert!(why.contains("no right to Lease disk-watcher-n1"), "{why}");
}
