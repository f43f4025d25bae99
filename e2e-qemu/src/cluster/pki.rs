//! Certificates and kubeconfigs, as Kubernetes wants them (Kubernetes documentation, "PKI certificates and
//! requirements"): a user's name is the common name, its groups are the organizations.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::network;

/// A certificate authority and what it signed, in a folder: `ca.crt`, `<name>.crt`, `<name>.key`, `<name>.conf`.
pub(super) struct Pki {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    /// Makes an authority, and the key that signs service accounts' tokens: `sa.key`, `sa.pub`.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "cluster to test in");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate()?;
        fs::write(dir.join("ca.crt"), params.self_signed(&key)?.pem())?;
        fs::write(dir.join("ca.key"), key.serialize_pem())?;
        let accounts = KeyPair::generate()?;
        fs::write(dir.join("sa.key"), accounts.serialize_pem())?;
        fs::write(dir.join("sa.pub"), accounts.public_key_pem())?;
        Ok(Self {
            dir: dir.to_owned(),
            issuer: Issuer::new(params, key),
        })
    }

    /// A certificate for a user, and for a server at `addresses` and `names`.
    pub(super) fn sign(
        &self,
        name: &str,
        user: &str,
        group: Option<&str>,
        names: &[&str],
        addresses: &[&str],
    ) -> Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        for name in names {
            params
                .subject_alt_names
                .push(SanType::DnsName((*name).try_into()?));
        }
        for address in addresses {
            let address: IpAddr = address.parse()?;
            params.subject_alt_names.push(SanType::IpAddress(address));
        }
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(self.dir.join(format!("{name}.crt")), certificate.pem())?;
        fs::write(self.dir.join(format!("{name}.key")), key.serialize_pem())?;
        Ok(())
    }

    /// A user who can reach the API server: its certificate and its kubeconfig `<name>.conf`.
    pub(super) fn user(&self, name: &str, user: &str, group: Option<&str>) -> Result<()> {
        self.sign(name, user, group, &[], &[])?;
        self.kubeconfig(name)
    }

    /// The kubeconfig of a user whose certificate is there.
    pub(super) fn kubeconfig(&self, name: &str) -> Result<()> {
        let dir = self.dir.display();
        let text = format!(
            "apiVersion: v1
kind: Config
clusters: [{{name: basalt, cluster: {{server: \"https://{server}\", certificate-authority: {dir}/ca.crt}}}}]
users: [{{name: {name}, user: {{client-certificate: {dir}/{name}.crt, client-key: {dir}/{name}.key}}}}]
contexts: [{{name: basalt, context: {{cluster: basalt, user: {name}}}}}]
current-context: basalt
",
            server = network::CONTROL
        );
        Ok(fs::write(self.dir.join(format!("{name}.conf")), text)?)
    }
}
