//! Upstream's gRPC interface of the lvmd in the guest, spoken from the host.

use anyhow::ensure;
use lvmd::proto::lv_service_client::LvServiceClient;
use lvmd::proto::vg_service_client::VgServiceClient;
use lvmd::proto::{
    CreateLvRequest, CreateLvSnapshotRequest, GetLvListRequest, RemoveLvRequest, ResizeLvRequest,
};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::{Node, SOCKET};
use crate::command::Command;
use crate::guest::Forward;
use crate::process::Process;

const MIB: i64 = 1 << 20;

/// A connection to lvmd in the guest.
pub(super) struct Lvmd {
    runtime: tokio::runtime::Runtime,
    channel: Channel,
    _forward: Forward,
}

impl Lvmd {
    pub(super) fn of(node: &Node, daemon: &Process) -> anyhow::Result<Self> {
        node.until(daemon, "lvmd listens", || {
            let test = Command::shell(format!("test -S {SOCKET}"));
            Ok(node.guest.run(test)?.status.success())
        })?;
        let forward = node.guest.forward(SOCKET)?;
        let runtime = tokio::runtime::Runtime::new()?;
        let endpoint = Endpoint::try_from(format!("unix:{}", forward.path().display()))?;
        let channel = runtime.block_on(endpoint.connect())?;
        Ok(Self {
            runtime,
            channel,
            _forward: forward,
        })
    }

    fn lv(&self) -> LvServiceClient<Channel> {
        LvServiceClient::new(self.channel.clone())
    }

    fn create(&self, class: &str) -> Result<i64, tonic::Status> {
        let request = CreateLvRequest {
            name: format!("new-{class}"),
            device_class: class.into(),
            size_bytes: 8 * MIB,
            ..Default::default()
        };
        let made = self.runtime.block_on(self.lv().create_lv(request))?;
        Ok(made.into_inner().volume.unwrap_or_default().size_bytes)
    }

    fn snapshot(&self, source: &str) -> Result<i64, tonic::Status> {
        let request = CreateLvSnapshotRequest {
            name: "copy".into(),
            source_volume: source.into(),
            device_class: "thin".into(),
            access_type: "rw".into(),
            size_bytes: 16 * MIB,
            ..Default::default()
        };
        let taken = self
            .runtime
            .block_on(self.lv().create_lv_snapshot(request))?;
        Ok(taken.into_inner().snapshot.unwrap_or_default().size_bytes)
    }

    fn resize(&self, name: &str, class: &str) -> Result<i64, tonic::Status> {
        let request = ResizeLvRequest {
            name: name.into(),
            device_class: class.into(),
            size_bytes: 16 * MIB,
        };
        let grown = self.runtime.block_on(self.lv().resize_lv(request))?;
        Ok(grown.into_inner().size_bytes)
    }

    fn remove(&self, name: &str, class: &str) -> Result<(), tonic::Status> {
        let request = RemoveLvRequest {
            name: name.into(),
            device_class: class.into(),
        };
        self.runtime
            .block_on(self.lv().remove_lv(request))
            .map(drop)
    }

    fn names(&self, class: &str) -> Result<Vec<String>, tonic::Status> {
        let mut vg = VgServiceClient::new(self.channel.clone());
        let listed = self.runtime.block_on(vg.get_lv_list(GetLvListRequest {
            device_class: class.into(),
        }))?;
        Ok(listed
            .into_inner()
            .volumes
            .into_iter()
            .map(|volume| volume.name)
            .collect())
    }

    pub(super) fn lives_and_dies(&self, class: &str) -> anyhow::Result<()> {
        let name = format!("new-{class}");
        ensure!(self.create(class)? == 8 * MIB, "its size");
        ensure!(self.resize(&name, class)? == 16 * MIB, "its size, grown");
        if class == "thin" {
            ensure!(self.snapshot(&name)? == 16 * MIB, "the snapshot's size");
            self.remove("copy", class)?;
        }
        ensure!(
            self.names(class)? == [name.clone()],
            "{:?}",
            self.names(class)?
        );
        self.remove(&name, class)?;
        ensure!(self.names(class)?.is_empty(), "{:?}", self.names(class)?);
        Ok(())
    }

    /// Every change, each with the code it is refused with.
    pub(super) fn refusals(&self, class: &str) -> Vec<(&'static str, Option<Code>)> {
        let code = |error: tonic::Status| error.code();
        let mut refusals = vec![
            ("creation", self.create(class).err().map(code)),
            ("growth", self.resize(class, class).err().map(code)),
            ("removal", self.remove(class, class).err().map(code)),
        ];
        if class == "thin" {
            refusals.push(("snapshot", self.snapshot(class).err().map(code)));
        }
        refusals
    }
}
