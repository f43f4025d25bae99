//! A certificate of our own making, and when it is time for the next one.
//!
//! Each certificate has an authority of its own, whose key is forgotten as soon as it has
//! signed: what is kept can serve, and sign nothing. A new pair is made long before the old
//! one ends, and served only after the API server has been told to trust its authority too.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// How the certificates live.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    /// How long one is valid.
    pub lasts: Duration,
    /// How long before its end the next is made.
    pub renew: Duration,
    /// How long the API server gets to hear of a new authority before it is used.
    pub settle: Duration,
}

impl Default for Life {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            lasts: 90 * DAY,
            renew: 30 * DAY,
            settle: Duration::from_secs(60),
        }
    }
}

/// How far the clocks of a cluster may differ.
const SKEW: Duration = Duration::from_secs(3600);

/// A certificate with its key and what vouches for it, each PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub chain: String,
    /// Its key.
    pub key: String,
    /// The authority that signed it.
    pub authority: String,
    /// The name it is for.
    pub name: String,
    /// When it ends.
    pub ends: SystemTime,
}

impl Pair {
    /// Makes one for a server called `name`.
    ///
    /// # Errors
    /// The name can be in no certificate.
    pub fn make(name: &str, now: SystemTime, lasts: Duration) -> anyhow::Result<Self> {
        // A certificate knows whole seconds.
        let ends = whole(now + lasts);
        let mut authority = params("topolvm webhook authority", now, ends);
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority_key = KeyPair::generate().context("no key can be made")?;
        let signed = authority
            .self_signed(&authority_key)
            .context("no authority can be made")?;
        let issuer = Issuer::new(authority, authority_key);
        let mut server = params("topolvm webhook", now, ends);
        server.subject_alt_names = vec![SanType::DnsName(name.try_into().context("no DNS name")?)];
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().context("no key can be made")?;
        let certificate = server
            .signed_by(&key, &issuer)
            .context("nothing can be signed")?;
        Ok(Self {
            chain: certificate.pem(),
            key: key.serialize_pem(),
            authority: signed.pem(),
            name: name.to_owned(),
            ends,
        })
    }
}

fn params(name: &str, now: SystemTime, ends: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (now - SKEW).into();
    params.not_after = ends.into();
    params
}

fn whole(time: SystemTime) -> SystemTime {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// The pairs there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs {
    /// What is served.
    pub current: Option<Pair>,
    /// What will be, once its authority is trusted.
    pub next: Option<Pair>,
    /// The authority before the current one: somebody may serve its pair a moment longer.
    pub last_authority: Option<String>,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Keep these pairs.
    Keep(Box<Pairs>),
    /// Tell the API server to trust this.
    Publish(String),
    /// Nothing, for so long.
    Wait(Duration),
}

impl Pairs {
    /// What the API server has to trust: one PEM after another.
    pub fn trusted(&self) -> String {
        let pairs = [&self.current, &self.next].into_iter().flatten();
        let known = self.last_authority.iter().map(String::as_str);
        known
            .chain(pairs.map(|pair| pair.authority.as_str()))
            .collect()
    }

    /// The next step for a server called `name`. `trusted` is what the API server trusts,
    /// and for how long it has been so.
    ///
    /// # Errors
    /// No pair can be made.
    pub fn step(
        &self,
        name: &str,
        trusted: (&str, Duration),
        now: SystemTime,
        life: Life,
    ) -> anyhow::Result<Step> {
        let Some(current) = self
            .current
            .as_ref()
            .filter(|pair| pair.name == name && pair.ends > now)
        else {
            // Nothing works, so there is nothing to be careful with.
            let current = Some(Pair::make(name, now, life.lasts)?);
            return Ok(Step::Keep(Box::new(Self {
                current,
                ..Self::default()
            })));
        };
        if trusted.0 != self.trusted() {
            return Ok(Step::Publish(self.trusted()));
        }
        let next = self
            .next
            .as_ref()
            .filter(|pair| pair.name == name && pair.ends > now);
        if let Some(next) = next {
            if let Some(rest) = life
                .settle
                .checked_sub(trusted.1)
                .filter(|rest| !rest.is_zero())
            {
                return Ok(Step::Wait(rest));
            }
            return Ok(Step::Keep(Box::new(Self {
                current: Some(next.clone()),
                next: None,
                last_authority: Some(current.authority.clone()),
            })));
        }
        let left = current.ends.duration_since(now).unwrap_or_default();
        match left.checked_sub(life.renew).filter(|rest| !rest.is_zero()) {
            Some(rest) => Ok(Step::Wait(rest)),
            None => Ok(Step::Keep(Box::new(Self {
                current: Some(current.clone()),
                next: Some(Pair::make(name, now, life.lasts)?),
                last_authority: None,
            }))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks through the steps; what the API server trusts follows at once.
    #[test]
    fn a_certificate_is_served_only_after_its_authority_is_trusted() {
        let life = Life::default();
        let start = whole(SystemTime::now());
        let mut now = start;
        let (mut pairs, mut trusted, mut since) = (Pairs::default(), String::new(), start);
        let mut served = Vec::new();
        while now < start + 5 * life.lasts {
            let age = now.duration_since(since).unwrap();
            match pairs.step("s.ns.svc", (&trusted, age), now, life).unwrap() {
                Step::Wait(wait) => {
                    assert!(wait <= life.lasts);
                    now += wait;
                }
                Step::Publish(bundle) => (trusted, since) = (bundle, now),
                Step::Keep(new) => pairs = *new,
            }
            let current = pairs.current.as_ref().unwrap();
            assert!(current.ends > now);
            if served.last() != Some(current) {
                let first = served.is_empty();
                assert!(first || trusted.contains(&current.authority));
                served.push(current.clone());
            }
        }
        // Each is in use for sixty of its ninety days.
        assert_eq!(served.len(), 8);
    }

    #[test]
    fn what_cannot_serve_is_made_anew() {
        let life = Life::default();
        let now = SystemTime::now();
        let pairs = Pairs {
            current: Some(Pair::make("a", now, life.lasts).unwrap()),
            ..Pairs::default()
        };
        let trusted = pairs.trusted();
        let step = |name, now| {
            pairs
                .step(name, (&trusted, Duration::ZERO), now, life)
                .unwrap()
        };
        assert!(matches!(step("a", now), Step::Wait(_)));
        for step in [step("b", now), step("a", now + 2 * life.lasts)] {
            let Step::Keep(new) = step else {
                panic!("{step:?}")
            };
            assert_ne!(new.current, pairs.current);
            assert_eq!(new.next, None);
        }
    }

    #[test]
    fn a_pair_is_what_a_server_takes() {
        let pair = Pair::make("s.ns.svc", SystemTime::now(), Duration::from_secs(60)).unwrap();
        let certificate = crate::webhook::tls::Certificate::default();
        certificate
            .set(pair.chain.as_bytes(), pair.key.as_bytes())
            .unwrap();
        let other = Pair::make("s.ns.svc", SystemTime::now(), Duration::from_secs(60)).unwrap();
        let wrong = certificate
            .set(pair.chain.as_bytes(), other.key.as_bytes())
            .unwrap_err();
        assert!(wrong.to_string().contains("do not belong together"));
        assert!(certificate.set(b"nothing", b"nothing").is_err());
        assert!(certificate.is_there());
    }
}
