//! Services that rerankers may ask, and the keys of hosted ones.
//!
//! ```toml
//! allow_services = ["https://api.cohere.com"]
//!
//! [credentials]
//! team_a = "..."
//!
//! [rerank.cohere]
//! credential = "team_a"
//! ```

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use elanus_services::{ApiKey, Provider, ProviderSettings, ServiceAccess};

use super::file::Reader;

/// What the file says of services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Services {
    /// Services that may be asked; none: no service.
    pub allowed: Vec<String>,
    /// Keys of hosted services, by the names that requests know them by.
    pub credentials: BTreeMap<String, ApiKey>,
    /// Providers that are asked in another way than by default.
    pub providers: Vec<(Provider, ProviderSettings)>,
}

impl Services {
    /// The services of a file.
    ///
    /// # Errors
    /// A value of the wrong type, an unknown provider or setting of one.
    pub fn read(file: &mut Reader) -> anyhow::Result<Self> {
        let allowed = file.texts("allow_services")?;
        let credentials = file.texts_by_name("credentials")?;
        let credentials = credentials
            .into_iter()
            .map(|(name, key)| (name, ApiKey::from(key)));
        let mut providers = Vec::new();
        for (name, mut settings) in file.tables_by_name("rerank")? {
            let Some(provider) = Provider::named(&name) else {
                bail!(
                    "[rerank.{name}]: unknown provider; the providers are {}",
                    Provider::ALL.map(Provider::name).join(", ")
                );
            };
            let url = settings.text("url")?;
            if url.is_some() && provider.default_url().is_none() {
                bail!("[rerank.{name}]: `url` is for hosted providers; requests say where {name} is");
            }
            let read = ProviderSettings {
                url,
                credential: settings.text("credential")?,
                disabled: !settings.boolean("enable")?.unwrap_or(true),
            };
            settings.finish()?;
            providers.push((provider, read));
        }
        Ok(Self {
            allowed,
            credentials: credentials.collect(),
            providers,
        })
    }

    /// The services as the engine asks them.
    ///
    /// # Errors
    /// What is no address of a service.
    pub fn access(&self) -> anyhow::Result<ServiceAccess> {
        let access = ServiceAccess::to(&self.allowed).context("--allow-services")?;
        let access = access.with_keys(self.credentials.clone());
        let providers = self.providers.iter().cloned();
        Ok(providers.fold(access, |access, (provider, settings)| {
            access.with_provider(provider, settings)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Services> {
        let mut file = Reader::parse("x.toml", text).unwrap();
        let services = Services::read(&mut file)?;
        file.finish()?;
        Ok(services)
    }

    #[test]
    fn keys_and_providers_are_tables() {
        let services = read(
            "allow_services = ['https://api.cohere.com']\n[credentials]\na = 'secret'\n\
             [rerank.cohere]\ncredential = 'a'\n[rerank.voyageai]\nenable = false\n",
        )
        .unwrap();
        assert_eq!(services.allowed, ["https://api.cohere.com"]);
        assert!(services.credentials.contains_key("a"));
        assert!(!format!("{services:?}").contains("secret"));
        assert_eq!(services.providers.len(), 2);
        assert!(
            services
                .providers
                .iter()
                .any(|(p, s)| *p == Provider::VoyageAi && s.disabled)
        );
        services.access().unwrap();
        assert_eq!(read("").unwrap(), Services::default());
    }

    #[test]
    fn mistakes_are_named_without_secrets() {
        for (text, what) in [
            ("[rerank.acme]", "unknown provider; the providers are tei, vllm"),
            ("[rerank.tei]\nurl = 'http://a'", "`url` is for hosted providers"),
            (
                "[rerank.cohere]\nkey = 'secret'",
                "x.toml: [rerank.cohere]: unknown key `key`",
            ),
            ("rerank = 1", "key `rerank` must be a table"),
            ("[rerank]\ncohere = 1", "key `rerank.cohere` must be a table"),
            (
                "[credentials]\na = 12345",
                "key `credentials.a` must be a string, not an integer",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
            assert!(!error.contains("secret") && !error.contains("12345"), "{error}");
        }
    }
}
