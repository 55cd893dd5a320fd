//! Which services may be asked, and the one client that asks them.

use std::sync::{Arc, OnceLock};

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::scorer::ServiceError;

/// The services that requests may name. Cheap to clone; clones share connections.
#[derive(Debug, Clone, Default)]
pub struct ServiceAccess {
    allowed: Vec<Url>,
    /// Made when it is needed: most servers ask nobody.
    client: Arc<OnceLock<Client>>,
}

impl ServiceAccess {
    /// Those at these addresses: a scheme, a host and, if wanted, a port, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// What is no such address.
    pub fn to(addresses: &[String]) -> Result<Self, ServiceError> {
        let allowed = addresses.iter().map(|address| {
            let url = address_of(address)?;
            if url.path() == "/" && url.query().is_none() {
                Ok(url)
            } else {
                Err(ServiceError::Refused(format!(
                    "'{address}' has more than a scheme, a host and a port"
                )))
            }
        });
        Ok(Self {
            allowed: allowed.collect::<Result<_, _>>()?,
            client: Arc::default(),
        })
    }

    pub(crate) fn client(&self) -> Result<Client, ServiceError> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        // Where a service leads on to, and what lies between, is not what was allowed.
        let client = Client::builder().redirect(Policy::none()).no_proxy().build();
        let client = client.map_err(|error| ServiceError::Failed(format!("cannot ask services: {error}")))?;
        Ok(self.client.get_or_init(|| client).clone())
    }

    /// The address `endpoint`, when it may be asked.
    ///
    /// # Errors
    /// What is no address, and one that is not allowed.
    pub(crate) fn check(&self, endpoint: &str) -> Result<Url, ServiceError> {
        let url = address_of(endpoint)?;
        if self
            .allowed
            .iter()
            .any(|allowed| allowed.origin() == url.origin())
        {
            return Ok(url);
        }
        let allowed: Vec<&str> = self.allowed.iter().map(Url::as_str).collect();
        Err(ServiceError::Refused(if allowed.is_empty() {
            format!(
                "the service '{endpoint}' may not be asked: the server allows those given with --allow-services URL"
            )
        } else {
            format!(
                "the service '{endpoint}' may not be asked: allowed with --allow-services are {}",
                allowed.join(", ")
            )
        }))
    }
}

fn address_of(text: &str) -> Result<Url, ServiceError> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => Ok(url),
        _ => Err(ServiceError::Refused(format!(
            "'{text}' is no address of a service; allowed is http:// or https:// with a host"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_allowed_is_asked() {
        let access = ServiceAccess::to(&["http://127.0.0.1:8080".into(), "https://models".into()]).unwrap();
        for yes in [
            "http://127.0.0.1:8080",
            "http://127.0.0.1:8080/any/path",
            "https://models:443",
        ] {
            access.check(yes).unwrap();
        }
        for no in [
            "http://127.0.0.1:8081",
            "https://127.0.0.1:8080",
            "http://models",
            "http://127.0.0.1:8080@other",
            "ftp://models",
            "models",
            "",
        ] {
            access.check(no).unwrap_err();
        }
        let none = ServiceAccess::default()
            .check("http://127.0.0.1:8080")
            .unwrap_err();
        assert!(none.to_string().contains("--allow-services"), "{none}");
        ServiceAccess::to(&["http://127.0.0.1:8080/rerank".into()]).unwrap_err();
    }
}
