//! GitHub's workflow: it is well-formed, and calls what people call.

use std::path::Path;

use e2e_qemu::host;
use e2e_qemu::release_tools::{ACTIONLINT, make};
use serde_json::Value;

use crate::registry::{build, workspace};

fn text() -> String {
    std::fs::read_to_string(workspace().join(".github/workflows/release.yaml")).unwrap()
}

/// What actionlint has against a workflow. Its checks of scripts by other programs are left out.
fn linted(workflow: &str) -> Result<(), String> {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), workflow).unwrap();
    let mut command = host::command(build(&ACTIONLINT, "actionlint"));
    command.args(["-shellcheck=", "-pyflakes=", "-no-color"]);
    let done = command.arg(file.path()).output().unwrap();
    match done.status.code() {
        Some(0) => Ok(()),
        Some(1) => Err(String::from_utf8(done.stdout).unwrap()),
        _ => panic!("{}", String::from_utf8_lossy(&done.stderr)),
    }
}

#[test]
fn the_workflow_is_one_that_github_takes() {
    linted(&text()).unwrap();
    for (right, wrong) in [
        ("github.ref_name", "github.reference_name"),
        ("runs-on:", "run-on:"),
        ("actions/checkout@v4", "actions/checkout"),
    ] {
        let broken = text().replace(right, wrong);
        assert!(linted(&broken).is_err(), "{wrong}");
    }
}

fn step(name: &str) -> Value {
    let workflow: Value = serde_saphyr::from_str(&text()).unwrap();
    let steps = workflow["jobs"]["release"]["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["name"] == name).unwrap();
    step.clone()
}

/// What the step's script calls `program` with, with these variables.
fn called(step: &str, program: &str, env: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let stand_in = dir.path().join(program);
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >{log}; cat >>{log}\n",
        log = log.display()
    );
    std::fs::write(&stand_in, script).unwrap();
    host::capture(host::command("chmod").arg("755").arg(&stand_in)).unwrap();
    let run = self::step(step)["run"].as_str().unwrap().to_owned();
    let mut shell = host::command("bash");
    shell
        .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &run])
        .current_dir(dir.path())
        .env("PATH", format!("{}:/usr/bin:/bin", dir.path().display()))
        .env("HOME", Path::new("home"))
        .envs(env.iter().copied());
    host::capture(&mut shell).unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    log.lines().map(str::to_owned).collect()
}

#[test]
fn a_tag_makes_the_release_that_people_make_by_hand() {
    let env = [
        ("GITHUB_REF_NAME", "v1.2.3"),
        ("REGISTRY", "registry.example/x"),
        ("ASSETS", "https://files.example/v1.2.3"),
        ("SIGN", "extension/sign-with-cosign.sh"),
    ];
    assert_eq!(
        called("Release", "make", &env),
        [
            "release",
            "VERSION=1.2.3",
            "REGISTRY=registry.example/x",
            "ASSETS=https://files.example/v1.2.3",
            "SIGN=extension/sign-with-cosign.sh",
            "ARM64=1",
        ]
    );
    let dry = |words: &[String]| {
        let mut make = make(workspace());
        make.args(["-n", "--no-print-directory"]).args(words);
        String::from_utf8(host::capture(&mut make).unwrap()).unwrap()
    };
    let all = dry(&called("Release", "make", &env)).replace("\\\n", "");
    let builds = all.lines().filter(|line| line.contains("build --release"));
    let builds: Vec<_> = builds.collect();
    assert_eq!(builds.len(), 2, "amd64 and arm64: {all}");
    for build in builds {
        // cargo forgets a --config that stands before `build`.
        assert!(build.starts_with("cargo build"), "{build}");
        let hidden = build.matches("--remap-path-prefix=").count();
        assert_eq!(hidden, 2, "{build}");
    }
    let words: Vec<&str> = all.split_whitespace().collect();
    let from = words.iter().rposition(|word| *word == "--").unwrap();
    let expected = "-- release 1.2.3 --registry registry.example/x \
                    --programs-arm64 target/aarch64-unknown-linux-gnu/release --assets https://files.example/v1.2.3 \
                    --sign extension/sign-with-cosign.sh";
    assert_eq!(words[from..].join(" "), expected);
    // Without what is optional.
    let least = dry(&["release".to_owned(), "VERSION=1.2.3".to_owned()]);
    assert!(
        least
            .trim_end()
            .trim_end_matches(['\\', '\n', '\t', ' '])
            .ends_with("-- release 1.2.3"),
        "{least}"
    );
}

#[test]
fn the_password_goes_to_the_host_that_the_repository_names_and_not_on_a_command_line() {
    let env = [
        ("REGISTRY", "registry.example:5000/some/name"),
        ("NAME", "me"),
        ("PASSWORD", "very secret"),
    ];
    let words = called("Login", "skopeo", &env);
    let (last, args) = words.split_last().unwrap();
    assert_eq!(last, "very secret", "on stdin");
    assert_eq!(args.last().unwrap(), "registry.example:5000");
    assert!(!args.iter().any(|arg| arg.contains("secret")), "{args:?}");
    let workflow: Value = serde_saphyr::from_str(&text()).unwrap();
    let registry = &workflow["jobs"]["release"]["env"]["REGISTRY"];
    assert_eq!(registry, "${{ vars.RELEASE_REGISTRY }}");
}
