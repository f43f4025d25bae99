//! Making volumes and snapshots: which size, where, of what, and whether one that is
//! there answers the request.

use std::collections::HashMap;

use lvmd::units::Bytes;

use super::Controller;
use super::messages::{snapshot, volume};
use crate::capability::Capability;
use crate::error::Error;
use crate::parameters::{Parameters, snapshot_of};
use crate::proto::volume_content_source::Type;
use crate::proto::{
    CreateSnapshotRequest, CreateSnapshotResponse, CreateVolumeRequest, CreateVolumeResponse,
    VolumeContentSource,
};
use crate::size::Range;
use crate::store::{Held, Kind, New, Purpose, Source, Store};
use crate::topology;

impl<S: Store> Controller<S> {
    pub(super) async fn create_volume(
        self,
        request: CreateVolumeRequest,
    ) -> Result<CreateVolumeResponse, Error> {
        let capabilities = Capability::read_all(&request.volume_capabilities)?;
        if let Some(key) = request.mutable_parameters.keys().min() {
            return Err(Error::Invalid(format!(
                "mutable parameter {key} is not known: there are none"
            )));
        }
        let parameters = Parameters::read(&request.parameters)?;
        let class = self.store.class(&parameters.class)?;
        let range = Range::read(request.capacity_range.as_ref())?;
        let allowed = topology::allowed(request.accessibility_requirements.as_ref())?;
        let floor = self.minimums.of(&capabilities);
        let wanted = match &request.volume_content_source {
            Some(content) => Some(source_of(content)?),
            None => None,
        };
        match self.store.by_name(Kind::Volume, &request.name).await? {
            // The scheduler has chosen another node since, e.g. because that one is gone.
            Some(held) if held.id.is_empty() && !is_allowed(&held, allowed.as_deref()) => {
                self.store.withdraw(&held).await?;
            }
            Some(held) => {
                fits(&held, range, &class, wanted.as_ref(), allowed.as_deref())?;
                let held = self.store.finish(held).await?;
                return Ok(created(&held, parameters.context));
            }
            None => {}
        }
        let source = match &wanted {
            Some(source) => Some(self.source(source).await?),
            None => None,
        };
        let size = match &source {
            Some(source) => size_of_copy(range, floor, source, &class)?,
            None => range.choose(floor)?,
        };
        let node = match &source {
            Some(source) => node_of_copy(source, allowed.as_deref())?,
            None => self.node(allowed.as_deref(), &class, size).await?,
        };
        let new = New {
            name: request.name,
            kind: Kind::Volume,
            node,
            class,
            option_class: parameters.option_class,
            size,
            source,
            purpose: Purpose {
                claim: parameters.claim,
                snapshot: None,
                content: Capability::content(&capabilities),
            },
        };
        Ok(created(&self.store.create(new).await?, parameters.context))
    }

    pub(super) async fn create_snapshot(
        self,
        request: CreateSnapshotRequest,
    ) -> Result<CreateSnapshotResponse, Error> {
        let CreateSnapshotRequest {
            name,
            source_volume_id,
            parameters,
            ..
        } = request;
        let wanted = Source {
            kind: Kind::Volume,
            id: source_volume_id,
        };
        if let Some(held) = self.store.by_name(Kind::Snapshot, &name).await? {
            if held.source.as_ref() != Some(&wanted) {
                return Err(Error::Exists(format!(
                    "snapshot {name} exists and is of another volume"
                )));
            }
            let held = self.store.finish(held).await?;
            return Ok(CreateSnapshotResponse {
                snapshot: Some(snapshot(&held)),
            });
        }
        let source = self.source(&wanted).await?;
        let new = New {
            name,
            kind: Kind::Snapshot,
            node: source.node.clone(),
            class: source.class.clone(),
            option_class: String::new(),
            size: source.size,
            source: Some(source),
            purpose: Purpose {
                snapshot: snapshot_of(&parameters),
                ..Purpose::default()
            },
        };
        let held = self.store.create(new).await?;
        Ok(CreateSnapshotResponse {
            snapshot: Some(snapshot(&held)),
        })
    }

    async fn source(&self, wanted: &Source) -> Result<Held, Error> {
        let found = self.store.by_id(wanted.kind, &wanted.id).await?;
        let told = |what: &str| format!("the source, {} {}, {what}", wanted.kind.name(), wanted.id);
        let found = found.ok_or_else(|| Error::NotFound(told("is not there")))?;
        let source = match found.whole {
            true => found,
            false => self.store.finish(found).await?,
        };
        match source.whole {
            true => Ok(source),
            false => Err(Error::Aborted(told("has not all data yet; ask again"))),
        }
    }

    /// Where a new volume goes: to the node that is preferred most, as the scheduler has
    /// chosen it; where nobody chose, to the node with the most space.
    async fn node(
        &self,
        allowed: Option<&[&str]>,
        class: &str,
        size: Bytes,
    ) -> Result<String, Error> {
        if let Some([first, ..]) = allowed {
            return Ok((*first).to_owned());
        }
        let nodes = self.store.capacities(class).await?;
        let roomiest = nodes
            .into_iter()
            .max_by(|a, b| (a.free, &b.node).cmp(&(b.free, &a.node)));
        let roomiest = roomiest.ok_or_else(|| {
            Error::NoSpace(format!("no node has device class {class:?} at the moment"))
        })?;
        if roomiest.free < size {
            return Err(Error::NoSpace(format!(
                "no node has {size}; the most is {} on {}",
                roomiest.free, roomiest.node
            )));
        }
        Ok(roomiest.node)
    }
}

fn created(
    held: &Held,
    context: impl IntoIterator<Item = (String, String)>,
) -> CreateVolumeResponse {
    let context: HashMap<_, _> = context.into_iter().collect();
    CreateVolumeResponse {
        volume: Some(volume(held, context)),
    }
}

fn source_of(content: &VolumeContentSource) -> Result<Source, Error> {
    let (kind, id) = match &content.r#type {
        Some(Type::Volume(volume)) => (Kind::Volume, &volume.volume_id),
        Some(Type::Snapshot(snapshot)) => (Kind::Snapshot, &snapshot.snapshot_id),
        None => return Err(Error::missing("the type of volume_content_source")),
    };
    if id.is_empty() {
        // Upstream's answer; nothing has the empty id.
        return Err(Error::NotFound("the id of the source is empty".into()));
    }
    Ok(Source {
        kind,
        id: id.clone(),
    })
}

/// Whether a volume of this name is the one that is asked for.
fn fits(
    held: &Held,
    range: Range,
    class: &str,
    source: Option<&Source>,
    allowed: Option<&[&str]>,
) -> Result<(), Error> {
    let why = if !range.holds(held.asked) && !range.holds(held.size) {
        format!("its size is {}", held.size)
    } else if held.class != class {
        format!("its device class is {:?}", held.class)
    } else if held.source.as_ref() != source {
        match &held.source {
            Some(source) => format!("it is a copy of {} {}", source.kind.name(), source.id),
            None => "it is no copy".to_owned(),
        }
    } else if !is_allowed(held, allowed) {
        format!("it is on node {}", held.node)
    } else {
        return Ok(());
    };
    Err(Error::Exists(format!(
        "volume {} exists and is not what is asked for: {why}",
        held.name
    )))
}

fn is_allowed(held: &Held, allowed: Option<&[&str]>) -> bool {
    allowed.is_none_or(|nodes| nodes.contains(&held.node.as_str()))
}

/// A copy has at least its source's size, and its class: it is in the same pool.
fn size_of_copy(range: Range, floor: Bytes, source: &Held, class: &str) -> Result<Bytes, Error> {
    if class != source.class {
        return Err(Error::Invalid(format!(
            "a copy of {} {} has its device class {:?}, not {class:?}",
            source.kind.name(),
            source.id,
            source.class
        )));
    }
    if range.required.0 > 0 && range.required < source.asked {
        return Err(Error::OutOfRange(format!(
            "a copy of {} {} cannot be smaller than it is: {}",
            source.kind.name(),
            source.id,
            source.asked
        )));
    }
    range.choose(floor.max(source.size)).map_err(|error| {
        Error::OutOfRange(format!(
            "a copy has at least the size of its source: {error}"
        ))
    })
}

/// A copy is made where its source is. Where that is not allowed another node has to be
/// chosen, which is what ResourceExhausted asks the scheduler for.
fn node_of_copy(source: &Held, allowed: Option<&[&str]>) -> Result<String, Error> {
    match allowed {
        Some(nodes) if !nodes.contains(&source.node.as_str()) => Err(Error::NoSpace(format!(
            "{} {} is on node {}, and a copy of it cannot be on {}",
            source.kind.name(),
            source.id,
            source.node,
            nodes.join(", ")
        ))),
        _ => Ok(source.node.clone()),
    }
}
