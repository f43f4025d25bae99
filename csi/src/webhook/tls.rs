//! Connections of the API server, with a certificate that may change while they are served.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How long a client may take to greet.
const GREETING: Duration = Duration::from_secs(10);

/// The certificate that new connections get.
#[derive(Clone)]
pub struct Certificate {
    provider: Arc<CryptoProvider>,
    now: Arc<RwLock<Option<Arc<CertifiedKey>>>>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("is_there", &self.is_there())
            .finish_non_exhaustive()
    }
}

impl Default for Certificate {
    /// None yet: clients are turned away.
    fn default() -> Self {
        Self {
            provider: Arc::new(ring::default_provider()),
            now: Arc::default(),
        }
    }
}

impl Certificate {
    /// Takes a chain and its key, both PEM.
    ///
    /// # Errors
    /// What is wrong with them; the certificate so far stays.
    pub fn set(&self, chain: &[u8], key: &[u8]) -> anyhow::Result<()> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .context("the certificate cannot be read")?;
        let key = PrivateKeyDer::from_pem_slice(key).context("the key cannot be read")?;
        let pair = CertifiedKey::from_der(chain, key, &self.provider)
            .context("certificate and key do not belong together")?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(pair));
        Ok(())
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.now
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    fn server(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .context("no version of TLS")?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.now
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Connections that greeted well. A client that is slow to greet holds up nobody else.
#[derive(Debug)]
pub struct Connections {
    greeted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl Connections {
    /// Takes connections of `listener` until `stop`.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn of(
        listener: TcpListener,
        certificate: &Certificate,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let address = listener
            .local_addr()
            .context("the listener has no address")?;
        let acceptor = TlsAcceptor::from(certificate.server()?);
        let (tell, greeted) = mpsc::channel(16);
        tokio::spawn(async move {
            let take = take(listener, acceptor, tell);
            stop.run_until_cancelled(take).await;
        });
        Ok(Self { greeted, address })
    }
}

async fn take(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    tell: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(taken) => taken,
            Err(error) => {
                warn!(%error, "no connection can be taken");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let (acceptor, tell) = (acceptor.clone(), tell.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(GREETING, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => drop(tell.send((stream, from)).await),
                Ok(Err(error)) => debug!(%from, %error, "a client was turned away"),
                Err(_) => debug!(%from, "a client did not greet"),
            }
        });
    }
}

impl axum::serve::Listener for Connections {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.greeted.recv().await {
            Some(greeted) => greeted,
            // The end; whoever serves hears of it by itself.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
