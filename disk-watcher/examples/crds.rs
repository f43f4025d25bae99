//! Writes the CRDs to `charts/disk-watcher/files/crds`.

use kube::ResourceExt;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../charts/disk-watcher/files/crds"
    );
    for crd in disk_watcher::kubernetes::types::crds() {
        let text = serde_saphyr::to_string(&serde_json::to_value(&crd)?)?;
        std::fs::write(format!("{folder}/{}.yaml", crd.name_any()), text)?;
    }
    Ok(())
}
