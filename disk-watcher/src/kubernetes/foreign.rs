//! Objects of other storage systems, as a watch tells of them. Their kinds come and go with those systems: one that the API server
//! does not have claims nothing, and one that it does not let us read may claim any disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolume;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::object::Object;
use super::owners::{Here, OWNERS, Owner, claims};
use super::seen::{Follower, Seen};
use crate::metrics::WatchMetrics;
use crate::native::ObjectClaims;

/// How often it is looked which kinds there are.
const ASK: Duration = Duration::from_secs(30);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// What is known of each of [`OWNERS`].
#[derive(Debug)]
pub(super) struct Foreign(Arc<[Mutex<State>; OWNERS.len()]>);

#[derive(Debug)]
enum State {
    /// No answer yet.
    Unasked,
    /// The API server has no such kind.
    Absent,
    /// We may not read it, and so it was said.
    Refused(String),
    /// It is followed, until `stop`.
    Followed {
        seen: Box<Seen>,
        stop: CancellationToken,
    },
}

impl Foreign {
    /// Begins to follow what there is, until `stop`.
    pub(super) fn follow(
        client: &Client,
        tick: &watch::Sender<()>,
        metrics: &WatchMetrics,
        stop: &CancellationToken,
    ) -> Self {
        let states = Arc::new([const { Mutex::new(State::Unasked) }; OWNERS.len()]);
        let following = Following {
            client: client.clone(),
            tick: tick.clone(),
            metrics: metrics.clone(),
            stop: stop.clone(),
        };
        let told = states.clone();
        tokio::spawn(async move {
            loop {
                for (owner, state) in OWNERS.iter().zip(&*told) {
                    following.look(owner, state).await;
                }
                tokio::select! {
                    () = tokio::time::sleep(ASK) => {}
                    () = following.stop.cancelled() => return,
                }
            }
        });
        Self(states)
    }

    /// What is claimed here; `None` until all was told once.
    pub(super) fn claims(&self, here: &Here<'_>) -> Option<ObjectClaims> {
        let mut all = ObjectClaims::default();
        for (owner, state) in OWNERS.iter().zip(&*self.0) {
            let mut objects = match &*lock(state) {
                State::Unasked => return None,
                State::Followed { seen, .. } if !seen.is_filled() => return None,
                State::Followed { seen, .. } => seen.store.state(),
                State::Absent => continue,
                State::Refused(why) => {
                    all.unread.insert(owner.name(), why.clone());
                    continue;
                }
            };
            objects.sort_by_key(|object| name(object));
            for object in objects {
                let name = name(&object);
                match &object.unreadable {
                    None => all.claims.extend(claims(owner, &name, &object.data, here)),
                    Some(why) => {
                        let object = format!("{} {name}", owner.kind);
                        all.unread.insert(object, why.clone());
                    }
                }
            }
        }
        Some(all)
    }
}

/// Leaves of an object its name and what is read of it.
fn trim(owner: &Owner, object: &mut Object) {
    let ObjectMeta {
        name, namespace, ..
    } = std::mem::take(&mut object.metadata);
    object.metadata = ObjectMeta {
        name,
        namespace,
        ..ObjectMeta::default()
    };
    object.types = None;
    owner.trim(&mut object.data);
}

/// With its namespace.
fn name(object: &Object) -> String {
    let namespace = object.namespace().map(|namespace| namespace + "/");
    namespace.unwrap_or_default() + &object.name_any()
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Following {
    client: Client,
    tick: watch::Sender<()>,
    metrics: WatchMetrics,
    stop: CancellationToken,
}

impl Following {
    /// Looks whether a kind is there, and follows it. Without an answer what is known of it stays.
    async fn look(&self, owner: &Owner, state: &Mutex<State>) {
        let asked = async {
            let Some(resource) = self.served(owner).await? else {
                return Ok(None);
            };
            // The right to it, which a watch that is refused tells the log alone.
            let api: Api<Object> = Api::all_with(self.client.clone(), &resource);
            api.list(&ListParams::default().limit(1)).await?;
            Ok(Some(resource))
        };
        let next = match tokio::time::timeout(ANSWER, asked).await {
            Ok(Ok(None)) => State::Absent,
            Ok(Ok(Some(resource))) => match &*lock(state) {
                State::Followed { seen, .. } if seen.resource == resource => return,
                _ => self.begin(owner, resource),
            },
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                self.metrics.broke_off(&owner.name());
                State::Refused(status.message.clone())
            }
            Ok(Err(error)) => {
                warn!(kind = owner.name(), %error, "it is not known whether other systems claim disks; it is asked again");
                return;
            }
            Err(_) => return,
        };
        if let State::Refused(why) = &next
            && !matches!(&*lock(state), State::Refused(before) if before == why)
        {
            warn!(
                kind = owner.name(),
                why,
                "no disk is taken while it cannot be read who claims it; install the ClusterRole of the chart"
            );
        }
        if let State::Followed { stop, .. } = std::mem::replace(&mut *lock(state), next) {
            stop.cancel();
        }
        self.tick.send_replace(());
    }

    /// How a kind is asked for; `None`: the API server does not have it.
    async fn served(&self, owner: &Owner) -> kube::Result<Option<ApiResource>> {
        if owner.group.is_empty() {
            return Ok(Some(ApiResource::erase::<PersistentVolume>(&())));
        }
        let groups = self.client.list_api_groups().await?.groups;
        let Some(group) = groups.into_iter().find(|group| group.name == owner.group) else {
            return Ok(None);
        };
        // A kind may be in another version than most of its group.
        for version in group.versions {
            let resources = self
                .client
                .list_api_group_resources(&version.group_version)
                .await?;
            let mut kinds = resources.resources.into_iter();
            if let Some(found) = kinds.find(|r| r.kind == owner.kind && !r.name.contains('/')) {
                let kind = GroupVersionKind::gvk(owner.group, &version.version, owner.kind);
                return Ok(Some(ApiResource::from_gvk_with_plural(&kind, &found.name)));
            }
        }
        Ok(None)
    }

    fn begin(&self, owner: &Owner, resource: ApiResource) -> State {
        let stop = self.stop.child_token();
        let follower = Follower {
            client: &self.client,
            tick: &self.tick,
            metrics: &self.metrics,
            stop: &stop,
        };
        let owner = *owner;
        let seen = follower.others(resource, move |object| trim(&owner, object));
        let seen = Box::new(seen);
        State::Followed { seen, stop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(text: &str) -> Object {
        let mut object = serde_json::from_str(text).unwrap();
        trim(&OWNERS[0], &mut object);
        object
    }

    #[test]
    fn of_others_objects_the_name_what_claims_a_disk_and_why_they_cannot_be_read_is_kept() {
        let volume = r#"{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv", "uid": "1",
            "labels": {"a": "b"}, "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "2"}]},
            "spec": {"local": {"path": "/dev/sdb"}, "claimRef": {"name": "data"}}, "status": {"phase": "Bound"}}"#;
        let volume = object(volume);
        assert_eq!(name(&volume), "pv");
        let named = ObjectMeta {
            name: Some("pv".to_owned()),
            ..ObjectMeta::default()
        };
        assert_eq!(volume.metadata, named);
        assert_eq!(
            volume.data,
            json!({"spec": {"local": {"path": "/dev/sdb"}}})
        );

        let (open, close) = ("[".repeat(5000), "]".repeat(5000));
        let deep = object(&format!(
            r#"{{"metadata": {{"name": "deep", "namespace": "a"}}, "spec": {open}{close}}}"#
        ));
        assert_eq!(name(&deep), "a/deep");
        assert!(deep.unreadable.is_some(), "{deep:?}");
    }
}
