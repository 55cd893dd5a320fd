//! A door's address as a user writes it: `host:port`, where the host is a name or a number.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::{Context, anyhow, bail};
use tokio::net::TcpListener;

/// `host:port`, checked for form; names are resolved when the door opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not an address: write host:port, such as 127.0.0.1:19530 or [::1]:19530");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || (host.contains(':') && !bracketed) {
            return Err(wrong());
        }
        port.parse::<u16>().map_err(|_| wrong())?;
        Ok(Self {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Address {
    /// An address with port 0: the operating system picks a free one.
    pub fn free_loopback_port() -> Self {
        Self {
            text: "127.0.0.1:0".to_owned(),
        }
    }

    /// Whether the operating system picks the port.
    pub fn picks_port(&self) -> bool {
        self.text
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse() == Ok(0u16))
    }

    /// Opens the port for `door`. Unless it is `guarded`, only addresses of this machine are accepted: guarded are doors that
    /// ask clients for a password, and those of somebody who wants them open all the same.
    ///
    /// # Errors
    /// The host is unknown, the address is refused, or the port is taken; each names the address and the door.
    pub async fn bind(&self, door: &str, flag: &str, guarded: bool) -> anyhow::Result<TcpListener> {
        let resolved: Vec<SocketAddr> = tokio::net::lookup_host(&self.text)
            .await
            .with_context(|| format!("cannot resolve {} for the {door} door ({flag})", self.text))?
            .collect();
        if !guarded && let Some(open) = resolved.iter().find(|address| !address.ip().is_loopback()) {
            bail!(
                "refusing to open the {door} door on {open} ({flag}): other machines can reach it and clients are not \
                 authenticated; use a loopback address such as 127.0.0.1:{}, ask for users with --auth, or allow it with --insecure",
                open.port()
            );
        }
        TcpListener::bind(resolved.as_slice()).await.map_err(|error| {
            if error.kind() == std::io::ErrorKind::AddrInUse {
                anyhow!(
                    "cannot open the {door} door: {} is already in use; choose another address with {flag}",
                    self.text
                )
            } else {
                anyhow!("cannot open the {door} door on {} ({flag}): {error}", self.text)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_both_needed() {
        for good in ["127.0.0.1:19530", "localhost:0", "[::1]:9091", "0.0.0.0:65535"] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "19530",
            ":19530",
            "localhost",
            "localhost:",
            "localhost:65536",
            "::1",
            "::1:19530",
            "host:http",
        ] {
            let error = bad.parse::<Address>().unwrap_err();
            assert!(error.contains("host:port"), "{bad}: {error}");
        }
    }

    #[tokio::test]
    async fn only_loopback_unless_insecure() {
        let everywhere: Address = "0.0.0.0:0".parse().unwrap();
        let error = everywhere
            .bind("milvus", "--milvus-addr", false)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("--insecure") && error.contains("0.0.0.0:0"),
            "{error}"
        );
        everywhere.bind("milvus", "--milvus-addr", true).await.unwrap();
        Address::free_loopback_port()
            .bind("milvus", "--milvus-addr", false)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let first = Address::free_loopback_port()
            .bind("milvus", "--milvus-addr", false)
            .await
            .unwrap();
        let taken: Address = first.local_addr().unwrap().to_string().parse().unwrap();
        let error = taken
            .bind("http", "--http-addr", false)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&taken.to_string()) && error.contains("already in use"),
            "{error}"
        );
    }
}
