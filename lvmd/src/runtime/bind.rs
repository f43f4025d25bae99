//! Addresses to listen at, in the form Go programs take them.

use std::fmt;
use std::io;
use std::str::FromStr;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpListener;

/// Where to listen: `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`; `0` or
/// nothing means not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// Not at all.
    Off,
    /// At a port of a host; the empty host is every address of the machine.
    At {
        /// Name or address, without brackets.
        host: String,
        /// The port; 0 lets the kernel choose.
        port: u16,
    },
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address: write :8080, 127.0.0.1:8080, [::1]:8080, or 0 for none")]
pub struct NotAnAddress {
    /// What was written.
    pub text: String,
}

impl FromStr for Bind {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        if text.is_empty() || text == "0" {
            return Ok(Self::Off);
        }
        let fail = || NotAnAddress {
            text: text.to_owned(),
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(fail)?;
        let port = port.parse().map_err(|_| fail())?;
        let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        if inner.is_none() && host.contains([':', '[', ']']) {
            return Err(fail());
        }
        Ok(Self::At {
            host: inner.unwrap_or(host).to_owned(),
            port,
        })
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("0"),
            Self::At { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::At { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl Bind {
    /// Starts to listen; `None` when that is off.
    ///
    /// Connections inherit of the listener that an answer's last packet does not wait until the one before is acknowledged, which is
    /// 40 ms (tcp(7), `TCP_NODELAY`).
    ///
    /// # Errors
    /// The address is taken, not ours, or a name that does not resolve.
    pub async fn listen(&self) -> io::Result<Option<TcpListener>> {
        let Self::At { host, port } = self else {
            return Ok(None);
        };
        let listener = bound(host, *port).await?;
        setsockopt(&listener, sockopt::TcpNoDelay, &true)?;
        Ok(Some(listener))
    }
}

async fn bound(host: &str, port: u16) -> io::Result<TcpListener> {
    if !host.is_empty() {
        return TcpListener::bind((host, port)).await;
    }
    // Both families at once; without IPv6 in the kernel, the other one alone.
    match TcpListener::bind(("::", port)).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(("0.0.0.0", port)).await
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        for (text, host, port) in [
            (":8080", "", 8080),
            ("127.0.0.1:9", "127.0.0.1", 9),
            ("[::1]:8080", "::1", 8080),
            ("localhost:0", "localhost", 0),
        ] {
            let bind: Bind = text.parse().unwrap();
            let at = Bind::At {
                host: host.to_owned(),
                port,
            };
            assert_eq!((&bind, bind.to_string().as_str()), (&at, text));
        }
        assert_eq!("".parse(), Ok(Bind::Off));
        assert_eq!("0".parse(), Ok(Bind::Off));
        for text in ["8080", "::1:80", "a:b", ":70000", "[::1]", "[::1:80"] {
            assert!(text.parse::<Bind>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn an_empty_host_listens_on_every_address() {
        let bind: Bind = ":0".parse().unwrap();
        let listener = bind.listen().await.unwrap().unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .unwrap();
        assert!(Bind::Off.listen().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn answers_do_not_wait_for_acknowledgements() {
        for address in ["127.0.0.1:0", ":0"] {
            let bind: Bind = address.parse().unwrap();
            let listener = bind.listen().await.unwrap().unwrap();
            let port = listener.local_addr().unwrap().port();
            let client = tokio::net::TcpStream::connect(("127.0.0.1", port));
            let (_client, taken) = tokio::join!(client, listener.accept());
            assert!(taken.unwrap().0.nodelay().unwrap(), "{address}");
        }
    }
}
