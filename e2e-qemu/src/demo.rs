//! `e2e-qemu demo`: from a bare disk to a logical volume, on a real kernel, in a table.
//!
//! A guest boots with the disk watcher running and no disk. A disk is plugged in; the
//! watcher judges it and takes it to a volume group and a thin pool. Then lvmd is asked
//! over gRPC for volumes and a snapshot, grows one and removes one.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use comfy_table::Table;
use e2e_qemu::{Backend, Command, Guest, Spec, find_workspace};
use lvmd::proto::lv_service_client::LvServiceClient;
use lvmd::proto::vg_service_client::VgServiceClient;
use lvmd::proto::{
    CreateLvRequest, CreateLvSnapshotRequest, GetLvListRequest, LogicalVolume, RemoveLvRequest,
    ResizeLvRequest,
};
use tonic::transport::Channel;

const MIB: i64 = 1 << 20;
/// Size of the disk that is plugged in, in MiB.
const DISK_MIB: u32 = 256;

/// The class: scsi_debug disks are taken only because it names them.
const CLASS: &str = "apiVersion: basalt.storage/v1alpha1
kind: DiskClass
metadata: {name: demo}
spec:
  mode: Enforce
  select: {transport: [scsi_debug], size: {min: 64Mi}}
  limits: {settle: 1s}
  volumeGroup: {name: demo}
  thinPool: {name: pool0, size: 60%, metadata: {min: 4Mi}}
";

const LVMD: &str = "socket-name: /run/topolvm/lvmd.sock
device-classes:
- {name: thin, volume-group: demo, default: true, spare-gb: 0, type: thin, thin-pool: {name: pool0, overprovision-ratio: 5.0}}
- {name: thick, volume-group: demo, spare-gb: 0}
";

/// Flags of the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self {} = self;
        let here = std::env::current_dir().context("cannot tell the current folder")?;
        let workspace = find_workspace(&here).context("run it inside the workspace")?;
        e2e_qemu::prepare(&workspace, Backend::Uml)?;
        let mut times = Times::default();
        let spec = Spec::uml().name("demo").memory_mib(1024);
        let guest = times.step("guest boots", || {
            Guest::boot(spec.workspace(&workspace)).map_err(Into::into)
        })?;
        let bin = workspace.join("target/debug");
        let bin = bin.to_str().context("the workspace's path is no text")?;
        guest.check(
            Command::shell("mkdir -p /run/demo && cat >/run/demo/class.yaml").stdin(CLASS),
        )?;
        guest.check(Command::shell("cat >/run/demo/lvmd.yaml").stdin(LVMD))?;
        let watcher = Command::new(format!("{bin}/disk-watcher"))
            .args(["run", "--config", "/run/demo/class.yaml"])
            .args(["--metrics-bind-address", "0"]);
        let watcher = guest.spawn(watcher)?;
        let disk = times.step(
            "disk is plugged in",
            || Ok(guest.plug_scsi_debug(DISK_MIB)?),
        )?;
        times.step("disk is judged and taken to VG and pool", || {
            until(Duration::from_secs(120), || {
                let status = format!("{bin}/disk-watcher status -o json 2>/dev/null || true");
                if watcher.status().is_some() {
                    bail!(
                        "the disk watcher ended: {}",
                        String::from_utf8_lossy(&watcher.stderr())
                    );
                }
                Ok(guest.shell(status)?.contains("\"Ready\""))
            })
            .with_context(|| String::from_utf8_lossy(&watcher.stderr()).into_owned())
        })?;
        let daemon = Command::new(format!("{bin}/lvmd")).args([
            "--config",
            "/run/demo/lvmd.yaml",
            "--metrics-bind-address",
            "0",
        ]);
        let _daemon = guest.spawn(daemon)?;
        let socket = "/run/topolvm/lvmd.sock";
        times.step("lvmd starts", || {
            until(Duration::from_secs(30), || {
                Ok(guest
                    .run(Command::shell(format!("test -S {socket}")))?
                    .status
                    .success())
            })
        })?;
        let forward = guest.forward(socket)?;
        let runtime = tokio::runtime::Runtime::new()?;
        let channel = runtime.block_on(
            tonic::transport::Endpoint::try_from(format!("unix:{}", forward.path().display()))?
                .connect(),
        )?;
        let volumes = volumes(&runtime, &channel, &mut times)?;

        println!("{}", guest.shell(format!("{bin}/disk-watcher status"))?);
        println!(
            "{}",
            guest.shell("lvm lvs -o lv_name,lv_size,pool_lv,origin,lv_attr,data_percent demo")?
        );
        println!(
            "disk {disk} -> class demo -> volume group demo -> thin pool pool0 -> {}",
            volumes.join(", ")
        );
        println!("{}", times.table());
        println!("everything took {:.1} s", times.total().as_secs_f64());
        Ok(ExitCode::SUCCESS)
    }
}

/// Asks lvmd for volumes; gives the names of those that are left.
fn volumes(
    runtime: &tokio::runtime::Runtime,
    channel: &Channel,
    times: &mut Times,
) -> anyhow::Result<Vec<String>> {
    let mut lv = LvServiceClient::new(channel.clone());
    let mut vg = VgServiceClient::new(channel.clone());
    let create = |name: &str, class: &str, size| CreateLvRequest {
        name: name.into(),
        device_class: class.into(),
        size_bytes: size,
        ..Default::default()
    };
    times.step("CreateLV data, thin, 64 MiB", || {
        Ok(runtime.block_on(lv.create_lv(create("data", "thin", 64 * MIB)))?)
    })?;
    times.step("CreateLV log, thick, 16 MiB", || {
        Ok(runtime.block_on(lv.create_lv(create("log", "thick", 16 * MIB)))?)
    })?;
    let snapshot = CreateLvSnapshotRequest {
        name: "data-snapshot".into(),
        source_volume: "data".into(),
        device_class: "thin".into(),
        access_type: "ro".into(),
        ..Default::default()
    };
    times.step("CreateLVSnapshot of data", || {
        Ok(runtime.block_on(lv.create_lv_snapshot(snapshot))?)
    })?;
    let resize = ResizeLvRequest {
        name: "data".into(),
        device_class: "thin".into(),
        size_bytes: 128 * MIB,
    };
    let grown = times.step("ResizeLV data to 128 MiB", || {
        Ok(runtime.block_on(lv.resize_lv(resize))?)
    })?;
    anyhow::ensure!(
        grown.into_inner().size_bytes == 128 * MIB,
        "data did not grow"
    );
    let remove = RemoveLvRequest {
        name: "log".into(),
        device_class: "thick".into(),
    };
    times.step("RemoveLV log", || {
        Ok(runtime.block_on(lv.remove_lv(remove))?)
    })?;
    let mut left = Vec::new();
    for class in ["thin", "thick"] {
        let listed = runtime.block_on(vg.get_lv_list(GetLvListRequest {
            device_class: class.into(),
        }))?;
        left.extend(
            listed
                .into_inner()
                .volumes
                .into_iter()
                .map(|v: LogicalVolume| v.name),
        );
    }
    anyhow::ensure!(
        left == ["data", "data-snapshot"],
        "unexpected volumes: {left:?}"
    );
    Ok(left)
}

/// Waits until `holds`, asking again and again.
fn until(limit: Duration, holds: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let started = Instant::now();
    while !holds()? {
        if started.elapsed() > limit {
            bail!("nothing after {limit:?}");
        }
    }
    Ok(())
}

/// How long each step took.
#[derive(Default)]
struct Times(Vec<(&'static str, Duration)>);

impl Times {
    fn step<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        let result = work().context(name)?;
        self.0.push((name, started.elapsed()));
        println!("{name}: {:.2} s", started.elapsed().as_secs_f64());
        Ok(result)
    }

    fn total(&self) -> Duration {
        self.0.iter().map(|(_, took)| *took).sum()
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.set_header(["step", "seconds"]);
        for (name, took) in &self.0 {
            table.add_row([(*name).to_owned(), format!("{:.2}", took.as_secs_f64())]);
        }
        table
    }
}
