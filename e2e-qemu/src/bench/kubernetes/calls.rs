//! What a driver asks of the API server, by the server's own audit log: every request of its service accounts, but for Leases.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use e2e_qemu::cluster::{self, Cluster};
use serde_json::Value;

/// Which requests the API server writes down.
pub(super) const POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
    {"level": "None", "resources": [{"group": "coordination.k8s.io"}]},
    {"level": "Metadata", "userGroups": ["system:serviceaccounts:topolvm-system"]},
    {"level": "None"}]}"#;

/// The audit log.
#[derive(Debug)]
pub(super) struct Log(PathBuf);

/// A request of a driver, from its beginning or at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Who: the program's name as it tells it, and the service account.
    pub(super) who: String,
    verb: String,
    uri: String,
    id: String,
    ended: bool,
}

impl Request {
    fn of(line: &str) -> anyhow::Result<Self> {
        let entry: Value = serde_json::from_str(line).context("the audit log")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let agent = text(&entry["userAgent"]);
        let program = agent.split(['/', ' ']).next().unwrap_or_default();
        let account = text(&entry["user"]["username"]);
        let account = account.rsplit(':').next().unwrap_or_default();
        Ok(Self {
            who: format!("{account} {program}"),
            verb: text(&entry["verb"]),
            uri: text(&entry["requestURI"]),
            id: text(&entry["auditID"]),
            ended: entry["stage"] == "ResponseComplete" || entry["stage"] == "Panic",
        })
    }

    /// Whether it may be for a volume. A watch is asked for once, and again every few minutes whatever happens. By the
    /// CSIDriver upstream's programs look once a minute whether the API server answers them.
    fn is_call(&self) -> bool {
        self.ended && self.verb != "watch" && !self.uri.contains("/csidrivers/")
    }
}

impl Log {
    pub(super) fn of(cluster: &Cluster) -> Self {
        Self(cluster.audit_log())
    }

    /// All that is in it so far.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Request>> {
        let text =
            std::fs::read_to_string(&self.0).with_context(|| format!("no {}", self.0.display()))?;
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(Request::of).collect()
    }

    /// The calls behind the first `seen` of all requests, by who called and what for.
    pub(super) fn calls(&self, seen: usize) -> anyhow::Result<BTreeMap<String, u32>> {
        let all = self.read()?;
        let mut calls = BTreeMap::new();
        for request in all.iter().skip(seen).filter(|request| request.is_call()) {
            let what = format!("{} {}", request.who, request.verb);
            *calls.entry(what).or_default() += 1;
        }
        Ok(calls)
    }

    /// The driver's own watches that are open, by what is watched and without those of its sidecars; how often each is.
    pub(super) fn watches(&self) -> anyhow::Result<BTreeMap<String, u32>> {
        Ok(open_watches(&self.read()?))
    }
}

/// Lets time pass.
pub(super) fn wait(so_long: Duration) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    cluster::until("time passes", so_long * 2, || {
        Ok(started.elapsed() >= so_long)
    })
    .map(drop)
}

fn open_watches(requests: &[Request]) -> BTreeMap<String, u32> {
    let watches = requests.iter().filter(|request| request.verb == "watch");
    let own = watches.filter(|request| !request.who.contains(" csi-"));
    let mut open = BTreeMap::new();
    for request in own {
        match request.ended {
            true => open.remove(&request.id),
            false => open.insert(request.id.clone(), what(&request.uri)),
        };
    }
    let mut watches = BTreeMap::new();
    for what in open.into_values() {
        *watches.entry(what).or_default() += 1;
    }
    watches
}

/// What is watched, without from when on and how long.
fn what(uri: &str) -> String {
    const WHEN: [&str; 6] = [
        "resourceVersion",
        "resourceVersionMatch",
        "timeoutSeconds",
        "timeout",
        "sendInitialEvents",
        "allowWatchBookmarks",
    ];
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let kept = query.split('&').filter(|part| {
        let key = part.split('=').next().unwrap_or_default();
        !key.is_empty() && !WHEN.contains(&key)
    });
    let mut kept: Vec<_> = kept.collect();
    kept.sort_unstable();
    format!("{path}?{}", kept.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(agent: &str, verb: &str, uri: &str, id: &str, stage: &str) -> Request {
        let entry = serde_json::json!({"userAgent": agent, "verb": verb, "requestURI": uri, "auditID": id, "stage": stage,
            "user": {"username": "system:serviceaccount:topolvm-system:topolvm-node"}});
        Request::of(&entry.to_string()).unwrap()
    }

    #[test]
    fn calls_are_requests_that_ended_and_no_watches() {
        let get = request(
            "hypertopolvm/v0 (linux)",
            "get",
            "/x",
            "1",
            "ResponseComplete",
        );
        assert_eq!(get.who, "topolvm-node hypertopolvm");
        assert!(get.is_call());
        assert!(!request("a", "watch", "/x", "1", "ResponseComplete").is_call());
        let health = "/apis/storage.k8s.io/v1/csidrivers/topolvm.io";
        assert!(!request("a", "get", health, "1", "ResponseComplete").is_call());
    }

    #[test]
    fn watches_are_those_that_did_not_end_whenever_they_began() {
        let uri = "/apis/topolvm.io/v1/logicalvolumes?allowWatchBookmarks=true&fieldSelector=a%3Db&resourceVersion=7&watch=true";
        let begun = |agent, id| request(agent, "watch", uri, id, "ResponseStarted");
        let ended = |id| request("own", "watch", uri, id, "ResponseComplete");
        let requests = [
            begun("own", "1"),
            begun("own", "2"),
            begun("csi-provisioner/v1", "3"),
            ended("1"),
            begun("own", "4"),
        ];
        let watches = open_watches(&requests);
        let expected =
            "/apis/topolvm.io/v1/logicalvolumes?fieldSelector=a%3Db&watch=true".to_owned();
        assert_eq!(watches, BTreeMap::from([(expected, 2)]));
    }
}
