//! What is shipped for Talos, held to the JSON schemas that Talos and TalHelper publish for editors.
//!
//! They are in the Go modules whose code judges the same files; jsonschema is Python's.

use std::path::{Path, PathBuf};

use e2e_qemu::host;
use e2e_qemu::peer::TALHELPER;
use e2e_qemu::python::JSONSCHEMA;
use extension::talos::container;
use extension::talos::patches::{Dialect, Topic};
use extension::talos::talconfig;
use extension::talos::values::Values;
use serde_json::Value;

use crate::patches::{files, talos};
use crate::talhelper::TALCONFIG;
use crate::{cache, workspace};

/// What a schema has against a patch that Talos takes, because a patch need not be whole: the rest is in Talos' own document.
const PARTS: [(&str, &str); 1] = [(
    "1.14/scheduler-extender.yaml",
    "'image' is a required property",
)];

/// The schema of machine configurations in a version of Talos' module.
fn schema(version: &str) -> PathBuf {
    let module = format!("github.com/siderolabs/talos/pkg/machinery@v{version}");
    let mut go = host::command("go");
    let said = host::capture(go.args(["mod", "download", "-json", &module])).unwrap();
    let module: Value = serde_json::from_slice(&said).unwrap();
    Path::new(module["Dir"].as_str().unwrap()).join("config/schemas/config.schema.json")
}

/// What the schema has against the documents of the files, a line each.
fn judged(schema: &Path, files: &[PathBuf]) -> Vec<String> {
    let mut python = JSONSCHEMA.python(workspace()).unwrap();
    let script = workspace().join("e2e-qemu/talos/schema.py");
    python.arg(script).arg(schema).args(files);
    let said = String::from_utf8(host::capture(&mut python).unwrap()).unwrap();
    said.lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "installs jsonschema from Python's package index; in `make test-all`"]
fn patches_and_the_container_fit_talos_own_schemas() {
    for (version, dialect) in [
        ("1.12.7", Dialect::V1Alpha1),
        ("1.13.9", Dialect::V1Alpha1),
        ("1.14.1", Dialect::Documents),
    ] {
        let schema = schema(version);
        for (name, of, _) in files() {
            if of != dialect {
                continue;
            }
            let said = judged(&schema, &[talos().join("patches").join(&name)]);
            let part = PARTS.iter().find(|part| part.0 == name);
            match part {
                None => assert!(said.is_empty(), "{version}: {said:#?}"),
                Some((_, why)) => {
                    assert!(said.len() == 1 && said[0].ends_with(why), "{said:#?}");
                }
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("container.yaml");
    let text = container::render(&Values::default());
    std::fs::write(&file, &text).unwrap();
    let newest = schema("1.14.1");
    // The schema names the words that may be in the list, and forgets that it is one; Talos' code takes it.
    let said = judged(&newest, std::slice::from_ref(&file));
    let list = "userVolume.options: ['rw'] is not one of";
    assert!(said.len() == 1 && said[0].contains(list), "{said:#?}");
    // A schema that takes everything would have said the same.
    std::fs::write(
        &file,
        text.replace(
            "\nkind: ContainerConfig\n",
            "\nkind: ContainerConfig\nsorts: 1\n",
        ),
    )
    .unwrap();
    let said = judged(&newest, std::slice::from_ref(&file));
    assert!(said.iter().any(|line| line.contains("sorts")), "{said:#?}");
    let older = judged(&schema("1.13.9"), &[file]);
    assert!(
        older
            .iter()
            .any(|line| line.contains("no kind ContainerConfig")),
        "{older:#?}"
    );
}

#[test]
#[ignore = "TalHelper takes minutes to build; in `make test-all`"]
fn talhelpers_pieces_fit_its_schema() {
    let dir = tempfile::tempdir().unwrap();
    let schema = dir.path().join("talconfig.json");
    let mut genschema = host::command(TALHELPER.build(&cache()).unwrap().join("talhelper"));
    genschema.arg("genschema").arg("--file").arg(&schema);
    host::capture(&mut genschema).unwrap();
    let file = dir.path().join("talconfig.yaml");
    for (version, dialect) in [
        ("v1.13.9", Dialect::V1Alpha1),
        ("v1.14.1", Dialect::Documents),
    ] {
        let pieces = talconfig::render(&Values::default(), dialect, &Topic::ALL);
        let whole = TALCONFIG.replace("@VERSION@", version) + &pieces;
        std::fs::write(&file, &whole).unwrap();
        assert_eq!(judged(&schema, std::slice::from_ref(&file)), [""; 0]);
        std::fs::write(&file, whole.replace("kernelModules:", "kernelModule:")).unwrap();
        let said = judged(&schema, std::slice::from_ref(&file));
        assert!(
            said.iter().any(|line| line.contains("kernelModule")),
            "{said:#?}"
        );
    }
}
