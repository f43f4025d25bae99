//! Prints the CRD, as it is kept in `charts/topolvm/files/crds`.

use kube::CustomResourceExt;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crd = csi::kubernetes::logical_volume::LogicalVolume::crd();
    print!("{}", serde_saphyr::to_string(&serde_json::to_value(crd)?)?);
    Ok(())
}
