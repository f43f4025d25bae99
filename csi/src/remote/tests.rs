//! What is made of an lvmd's answers, of none, and of half ones.

use lvmd::proto::inventory_server::{Inventory, InventoryServer};
use lvmd::proto::lv_service_server::{LvService, LvServiceServer};
use lvmd::proto::vg_service_server::{VgService, VgServiceServer};
use lvmd::proto::{
    AbsentClass, Condition, CreateLvRequest, CreateLvResponse, CreateLvSnapshotRequest,
    CreateLvSnapshotResponse, GetFreeBytesRequest, GetFreeBytesResponse, ListAllResponse,
    RemoveLvRequest, ResizeLvRequest, ResizeLvResponse,
};
use lvmd::runtime::http::Verdict;
use lvmd::units::Bytes;
use lvmd::volumes::{self, Listed, VolumeError};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::Request;
use tonic::transport::Server;

use super::*;
use crate::kubernetes::local::Local;
use crate::node::Devices;

#[tokio::test]
async fn what_lvmd_says_keeps_its_code_and_what_was_lost_is_asked_again() {
    let remote = Remote::new("/nowhere/lvmd.sock".into()).unwrap();
    for (code, expected) in [
        (Code::ResourceExhausted, Code::ResourceExhausted),
        (Code::Internal, Code::Internal),
        (Code::NotFound, Code::NotFound),
        (Code::Unknown, Code::Unavailable),
        (Code::Cancelled, Code::Unavailable),
    ] {
        let error = remote.error(Status::new(code, "words"));
        assert_eq!(crate::error::code(&error), expected);
        assert!(error.to_string().contains("words"), "{error}");
    }
    let nobody = remote.list("ssd").await.unwrap_err();
    let error = remote.error(nobody).to_string();
    assert!(error.contains("/nowhere/lvmd.sock"), "{error}");
    assert!(error.contains("No such file"), "{error}");
}

#[tokio::test]
async fn an_lvmd_that_does_not_answer_is_named_with_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("lvmd.sock");
    let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut remote = Remote::new(socket.clone()).unwrap();
    let said = async |remote: &Remote, until| {
        let asked = deadline::keep(until, remote.grow("v", "ssd", Bytes(1)));
        let waited = tokio::time::timeout(Duration::from_secs(20), asked).await;
        let error = waited.expect("it is waited for for ever").unwrap_err();
        assert_eq!(crate::error::code(&error), Code::Unavailable);
        error.to_string()
    };
    let soon = tokio::time::Instant::now() + Duration::from_secs(1);
    let of_the_call = said(&remote, Some(soon)).await;
    remote.limits.change = Duration::from_millis(123);
    let own = said(&remote, None).await;
    for (words, limit) in [(of_the_call, "7"), (own, "123.0ms")] {
        let (_, rest) = words.split_once(&socket.display().to_string()).unwrap();
        assert!(rest.contains(&format!("within {limit}")), "{words}");
    }
    remote.limits.look = Duration::from_millis(123);
    let nothing = remote.list("ssd").await.unwrap_err();
    assert_eq!(nothing.code(), Code::DeadlineExceeded, "{nothing}");
}

#[tokio::test]
async fn without_lvmd_it_is_not_ready_and_says_where_it_asked() {
    let remote = Remote::new("/nowhere/lvmd.sock".into()).unwrap();
    assert!(!Ready::ready(&remote).await);
    let checks = Health::ready(&remote).await;
    assert!(checks[..2].iter().all(Check::has_failed), "{checks:?}");
    assert!(checks[0].text.contains("/nowhere/lvmd.sock"), "{checks:?}");
    let error = remote.seek("volume").await.unwrap_err();
    assert_eq!(crate::error::code(&error), Code::Unavailable);
}

#[tokio::test]
async fn what_lvmd_says_is_wrong_with_its_classes_is_for_a_person() {
    let remote = Remote::new("/nowhere/lvmd.sock".into()).unwrap();
    let condition = |code: &str| Condition {
        code: code.into(),
        message: "words".into(),
        abnormal: false,
    };
    remote.told.send_replace(Some(Arc::new(WatchResponse {
        items: vec![WatchItem {
            device_class: "ssd".into(),
            conditions: vec![condition("PoolFailed"), condition("CopyUnderWay")],
            ..WatchItem::default()
        }],
        absent: vec![AbsentClass {
            device_class: "hdd".into(),
            reason: "volume group h is not there".into(),
        }],
        ..WatchResponse::default()
    })));
    let checks = Health::ready(&remote).await;
    let of_classes = checks
        .iter()
        .filter(|check| check.name.starts_with("class "));
    let told: Vec<_> = of_classes
        .map(|check| (check.verdict, &*check.text))
        .collect();
    assert_eq!(
        told,
        [
            (Verdict::Warns, "volume group h is not there"),
            (Verdict::Warns, "PoolFailed: words"),
            (Verdict::Ok, "CopyUnderWay: words"),
        ]
    );
}

/// An lvmd with one class `c` that has the same to say to each question, and finds nothing to remove.
struct Says(GetLvListResponse);

#[tonic::async_trait]
impl VgService for Says {
    async fn get_lv_list(
        &self,
        _: Request<GetLvListRequest>,
    ) -> Result<Response<GetLvListResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn get_free_bytes(
        &self,
        _: Request<GetFreeBytesRequest>,
    ) -> Result<Response<GetFreeBytesResponse>, Status> {
        Err(Status::unimplemented("free bytes"))
    }

    type WatchStream = stream::Empty<Result<WatchResponse, Status>>;

    async fn watch(&self, _: Request<Empty>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watch"))
    }
}

#[tonic::async_trait]
impl LvService for Says {
    async fn create_lv(
        &self,
        _: Request<CreateLvRequest>,
    ) -> Result<Response<CreateLvResponse>, Status> {
        Err(Status::unimplemented("create"))
    }

    async fn remove_lv(&self, _: Request<RemoveLvRequest>) -> Result<Response<Empty>, Status> {
        Err(Status::not_found("there is none"))
    }

    async fn resize_lv(
        &self,
        _: Request<ResizeLvRequest>,
    ) -> Result<Response<ResizeLvResponse>, Status> {
        Err(Status::unimplemented("resize"))
    }

    async fn create_lv_snapshot(
        &self,
        _: Request<CreateLvSnapshotRequest>,
    ) -> Result<Response<CreateLvSnapshotResponse>, Status> {
        Err(Status::unimplemented("snapshot"))
    }
}

/// Does something with an lvmd that lists volumes with these paths and could not see these groups.
async fn with<T>(paths: &[&str], unseen: &[&str], ask: impl AsyncFnOnce(Remote) -> T) -> T {
    let volume = |path: &&str| LogicalVolume {
        name: path.rsplit('/').next().unwrap().to_owned(),
        path: (*path).to_owned(),
        size_bytes: 1,
        ..LogicalVolume::default()
    };
    let listed = GetLvListResponse {
        volumes: paths.iter().map(volume).collect(),
        unseen: unseen.iter().map(|why| (*why).to_owned()).collect(),
    };
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("lvmd.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let server = Server::builder()
        .add_service(VgServiceServer::new(Says(listed.clone())))
        .add_service(LvServiceServer::new(Says(listed)))
        .serve_with_incoming(UnixListenerStream::new(listener));
    let server = tokio::spawn(server);
    let remote = Remote::new(socket).unwrap();
    let item = WatchItem {
        device_class: "c".into(),
        ..WatchItem::default()
    };
    remote.told.send_replace(Some(Arc::new(WatchResponse {
        items: vec![item],
        ..WatchResponse::default()
    })));
    let said = ask(remote).await;
    server.abort();
    said
}

/// One that tells of all volumes at once.
struct Tells(volumes::Inventory);

#[tonic::async_trait]
impl Inventory for Tells {
    async fn list_all(&self, _: Request<Empty>) -> Result<Response<ListAllResponse>, Status> {
        Ok(Response::new(self.0.clone().into()))
    }
}

#[tokio::test]
async fn all_that_our_lvmd_tells_of_its_volumes_arrives() {
    let listed = |name: &str, is_whole| Listed {
        vg: "vg".into(),
        vg_uuid: "vgvgvg-1".into(),
        name: name.into(),
        classes: vec!["thin".into(), "also".into()],
        size: Bytes(5 << 40),
        tags: vec!["basalt.lv=pvc-1".into(), "x".into()],
        is_whole,
        is_open: !is_whole,
    };
    let all = volumes::Inventory {
        classes: vec!["thin".into(), "also".into(), "empty".into()],
        volumes: vec![listed("a", true), listed("b", false)],
    };
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("lvmd.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let server = Server::builder()
        .add_service(InventoryServer::new(Tells(all.clone())))
        .serve_with_incoming(UnixListenerStream::new(listener));
    let server = tokio::spawn(server);
    let told = Remote::new(socket).unwrap().inventory().await.unwrap();
    assert_eq!(told, all);
    server.abort();
}

#[tokio::test]
async fn an_lvmd_that_does_not_know_the_question_has_not_said_that_there_is_nothing() {
    let asked = async |remote: Remote| remote.inventory().await;
    let error = with(&["/dev/a/v"], &[], asked).await.unwrap_err();
    assert_eq!(crate::error::code(&error), Code::FailedPrecondition);
    let words = error.to_string();
    assert!(words.contains("node.lvmdEmbedded: true"), "{words}");
    let nowhere = Remote::new("/nowhere/lvmd.sock".into()).unwrap();
    let error = nowhere.inventory().await.unwrap_err();
    assert_eq!(crate::error::code(&error), Code::Unavailable);
}

/// What each way of looking for the volume `v`, and of removing it, comes to: whether it is there, or the error.
async fn looked_for(remote: Remote) -> [Result<bool, Error>; 5] {
    [
        Local::find(&remote, "v").await.map(|found| found.is_some()),
        Local::wrong(&remote, "v").await.map(|_| false),
        Devices::find(&remote, "v")
            .await
            .map(|found| found.is_some()),
        Devices::find_in(&remote, "v", "c")
            .await
            .map(|found| found.is_some()),
        Local::remove(&remote, "v", "c").await.map(|()| false),
    ]
}

#[tokio::test]
async fn what_may_be_in_a_group_that_lvmd_could_not_see_is_not_called_gone() {
    let why = "volume group b is not there";
    for said in with(&["/dev/a/w"], &[why], looked_for).await {
        let error = said.unwrap_err();
        assert_eq!(crate::error::code(&error), Code::Unavailable);
        assert!(error.to_string().contains(why), "{error}");
    }
    let [found, wrong, device, in_class, _] = with(&["/dev/a/v"], &[why], looked_for).await;
    assert!(found.unwrap() && device.unwrap() && in_class.unwrap());
    wrong.unwrap();
    // Where each group was seen it is gone.
    let [found, wrong, device, in_class, removed] = with(&["/dev/a/w"], &[], looked_for).await;
    assert!(!found.unwrap() && !device.unwrap() && !in_class.unwrap());
    wrong.unwrap();
    assert!(
        matches!(
            removed,
            Err(Error::Volume(VolumeError::VolumeMissing { .. }))
        ),
        "{removed:?}"
    );
}

#[tokio::test]
async fn of_two_volumes_of_one_name_in_a_class_none_is_taken_for_the_one_that_is_meant() {
    let two = ["/dev/a/v", "/dev/a/w", "/dev/b/v"];
    let [found, wrong, device, in_class, _] = with(&two, &[], looked_for).await;
    for error in [
        found.unwrap_err(),
        wrong.unwrap_err(),
        device.unwrap_err(),
        in_class.unwrap_err(),
    ] {
        assert_eq!(crate::error::code(&error), Code::FailedPrecondition);
        let words = error.to_string();
        assert!(
            words.contains("/dev/a/v and /dev/b/v") && words.contains("lvrename"),
            "{words}"
        );
    }
}
