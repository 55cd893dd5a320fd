//! Which services may be asked, and the one client that asks them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::provider::Provider;
use crate::scorer::ServiceError;

/// A key of a hosted service. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl From<String> for ApiKey {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// What the operator says of a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderSettings {
    /// Where it is asked instead of its own address.
    pub url: Option<String>,
    /// Name of the key for requests that name none.
    pub credential: Option<String>,
    /// Whether it may not be asked at all.
    pub disabled: bool,
}

/// The services that requests may name. Cheap to clone; clones share connections.
#[derive(Debug, Clone, Default)]
pub struct ServiceAccess {
    allowed: Vec<Url>,
    keys: BTreeMap<String, ApiKey>,
    providers: BTreeMap<&'static str, ProviderSettings>,
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
            ..Self::default()
        })
    }

    /// With these keys, by name, which requests and providers refer to.
    #[must_use]
    pub fn with_keys(mut self, keys: BTreeMap<String, ApiKey>) -> Self {
        self.keys = keys;
        self
    }

    /// With these settings of a provider.
    #[must_use]
    pub fn with_provider(mut self, provider: Provider, settings: ProviderSettings) -> Self {
        self.providers.insert(provider.name(), settings);
        self
    }

    /// What the operator says of a provider.
    ///
    /// # Errors
    /// That it may not be asked.
    pub(crate) fn provider(&self, provider: Provider) -> Result<ProviderSettings, ServiceError> {
        let settings = self.providers.get(provider.name()).cloned().unwrap_or_default();
        if settings.disabled {
            let name = provider.name();
            return Err(ServiceError::Refused(format!(
                "rerank provider: [{name}] is disabled"
            )));
        }
        Ok(settings)
    }

    /// The key for a provider: the one that the request names, the one of the provider's settings, or the one in the
    /// environment.
    ///
    /// # Errors
    /// A name that no key has; a provider that needs one and has none.
    pub(crate) fn key(
        &self,
        provider: Provider,
        credential: Option<&str>,
    ) -> Result<Option<ApiKey>, ServiceError> {
        let settings = self.provider(provider)?;
        if let Some(name) = credential.or(settings.credential.as_deref()) {
            let key = self.keys.get(name).cloned();
            return key.map(Some).ok_or_else(|| {
                ServiceError::Refused(format!("credential '{name}' is not in the server's settings"))
            });
        }
        let Some(variable) = provider.key_variable() else {
            return Ok(None);
        };
        match std::env::var(variable) {
            Ok(key) if !key.is_empty() => Ok(Some(ApiKey(key))),
            _ => Err(ServiceError::Refused(format!(
                "{} needs a key: a credential in the server's settings, or the environment variable {variable} of the server",
                provider.name()
            ))),
        }
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
