//! The captured fixtures, and scans of them.

use std::fs;
use std::path::Path;

use disk_watcher::probe::image::{Fixture, Sparse};
use disk_watcher::probe::{Findings, scan};

/// All of `tests/fixtures`, in no order.
pub(crate) fn captured() -> Vec<Fixture> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).expect("fixtures are there") {
        let path = entry.expect("a directory entry").path();
        let file = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name")
            .to_owned();
        if let Some(name) = file.strip_suffix(".sparse.json") {
            let json = fs::read_to_string(&path).expect("a text file");
            all.push(Fixture::parse(name, &json).unwrap_or_else(|error| panic!("{name}: {error}")));
        }
    }
    assert!(all.len() > 80, "only {} fixtures", all.len());
    all
}

/// The captured fixture whose name begins so.
pub(crate) fn fixture(prefix: &str) -> Sparse {
    let mut all = captured()
        .into_iter()
        .filter(|fixture| fixture.name.starts_with(prefix));
    let found = all
        .next()
        .unwrap_or_else(|| panic!("no fixture {prefix}"))
        .image;
    assert!(
        all.next().is_none(),
        "{prefix} is not the start of one name"
    );
    found
}

/// A scan that succeeds.
pub(crate) fn look(image: &Sparse) -> Findings {
    scan(image.clone(), image.geometry()).expect("the image can be read")
}
