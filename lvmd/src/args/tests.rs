use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use tokio_stream::Stream;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

use super::*;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::health_server::{Health, HealthServer};
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};
use crate::runtime::Format;

fn cli(line: &str) -> Cli {
    try_cli(line).unwrap_or_else(|e| panic!("{line}: {e}"))
}

fn try_cli(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("lvmd").chain(line.split_whitespace()))
}

fn resolve(line: &str) -> Resolved {
    cli(line).args.resolve().unwrap()
}

#[test]
fn the_definition_is_sound() {
    <Cli as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn without_flags_it_is_upstreams_default() {
    let resolved = resolve("");
    let source = Source {
        path: "/etc/topolvm/lvmd.yaml".into(),
        lvm_path: None,
    };
    assert_eq!(resolved.config, ConfigSource::File(source));
    assert_eq!(resolved.metrics.to_string(), ":8080");
    assert_eq!(resolved.log.format, Format::Text);
    assert_eq!(resolved.notices, Vec::<String>::new());
}

#[test]
fn every_flag_of_upstream_is_accepted() {
    let resolved = resolve(
        "--config=/c --lvm-path /l --metrics-bind-address 127.0.0.1:9 \
         --profiling-bind-address :6060 --v=4 --vmodule a=1 --logtostderr --alsologtostderr=false \
         --log_dir /d --log_file /f --log_file_max_size 1800 --one_output --skip_headers=true \
         --skip_log_headers --stderrthreshold 2 --add_dir_header --log_backtrace_at a.go:1 \
         --zap-devel --zap-encoder=JSON --zap-log-level 5 --zap-stacktrace-level error \
         --zap-time-encoding rfc3339",
    );
    let source = Source {
        path: "/c".into(),
        lvm_path: Some("/l".into()),
    };
    assert_eq!(resolved.config, ConfigSource::File(source));
    assert!(
        resolved.log.filter.starts_with("trace,"),
        "{:?}",
        resolved.log
    );
    assert_eq!(resolved.log.format, Format::Json);
    let notices = resolved.notices.join("\n");
    for part in [
        "--log_dir",
        "--alsologtostderr=false",
        "profiles are not served",
        "deprecated",
    ] {
        assert!(notices.contains(part), "{part} in {notices}");
    }
    assert!(!notices.contains("--logtostderr,"), "{notices}");
}

#[test]
fn levels_of_upstream_map_to_ours() {
    for (line, level) in [
        ("", "info"),
        ("-v 0", "info"),
        ("-v=1", "debug"),
        ("-v4", "debug"),
        ("--v 9", "trace"),
        ("--zap-log-level=error", "error"),
        ("--zap-log-level=panic --v=9", "error"),
        ("--zap-devel", "debug"),
        ("--zap-devel=false", "info"),
        ("--v=9 --log=warn", "warn"),
        ("--log=", "info"),
    ] {
        let filter = resolve(line).log.filter;
        assert_eq!(filter.split(',').next(), Some(level), "{line}");
    }
    for line in [
        "--zap-log-level=0",
        "--zap-log-level=loud",
        "--zap-encoder=xml",
        "--logtostderr=2",
    ] {
        assert!(try_cli(line).is_err(), "{line}");
    }
    assert!(cli("--log=lvmd=loud").args.resolve().is_err());
}

#[test]
fn the_old_flags_stand_for_a_file() {
    let resolved = resolve("--volume-group=myvg --listen=/tmp/topolvm/lvmd.sock --spare=1");
    let ConfigSource::Fixed(config) = resolved.config else {
        panic!("{resolved:?}");
    };
    assert_eq!(config.socket, Path::new("/tmp/topolvm/lvmd.sock"));
    assert_eq!(config.classes.volume_groups()[0], "myvg");
    let alone = cli("--spare 1").args.resolve().unwrap_err().to_string();
    assert!(
        alone.contains("--volume-group") && alone.contains("spare-gb"),
        "{alone}"
    );
    assert!(cli("--listen /s").args.resolve().is_err());
    assert!(try_cli("--volume-group vg --config /c").is_err());
}

#[test]
fn metrics_can_be_switched_off() {
    assert_eq!(resolve("--metrics-bind-address=0").metrics, Bind::Off);
    assert_eq!(resolve("--metrics-bind-address=").metrics, Bind::Off);
    assert!(try_cli("--metrics-bind-address=8080").is_err());
}

#[test]
fn health_honours_the_configuration_even_a_broken_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.yaml");
    let socket = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let cli = cli(&format!("health --config {}", file.display()));
        assert!(matches!(
            cli.command,
            Some(Command::Health(HealthArgs { timeout: 2 }))
        ));
        cli.args.socket()
    };
    assert_eq!(socket("socket-name: /a\n"), Path::new("/a"));
    assert_eq!(
        socket("socket-name: /b # here\ncolour: blue\n"),
        Path::new("/b")
    );
    assert_eq!(
        socket("socket-name: \"/c\" # here\n]: x\n"),
        Path::new("/c")
    );
    assert_eq!(socket("]\n"), Path::new("/run/topolvm/lvmd.sock"));
    let cli = cli("--config /none health --listen /d --timeout 5");
    assert_eq!(cli.args.socket(), Path::new("/d"));
}

struct Answers(ServingStatus);

#[tonic::async_trait]
impl Health for Answers {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let status = self.0.into();
        Ok(Response::new(HealthCheckResponse { status }))
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watch"))
    }
}

async fn ask_one_that_answers(status: ServingStatus) -> Result<(), NotServing> {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(HealthServer::new(Answers(status)))
        .serve_with_incoming(UnixListenerStream::new(listener));
    let server = tokio::spawn(server);
    let answer = ask(&socket, Duration::from_secs(5)).await;
    server.abort();
    answer
}

#[tokio::test]
async fn only_serving_is_healthy() {
    ask_one_that_answers(ServingStatus::Serving).await.unwrap();
    for status in [ServingStatus::NotServing, ServingStatus::Unknown] {
        let error = ask_one_that_answers(status).await.unwrap_err().to_string();
        assert!(error.contains(status.as_str_name()), "{error}");
    }
}

#[tokio::test]
async fn a_socket_nobody_listens_at_is_named() {
    let error = ask(Path::new("/no/lvmd.sock"), Duration::from_secs(5)).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "nobody answers at /no/lvmd.sock"
    );
}

#[tokio::test]
async fn an_lvmd_that_hangs_is_late() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let error = ask(&socket, Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, NotServing::Late { .. }), "{error}");
}
