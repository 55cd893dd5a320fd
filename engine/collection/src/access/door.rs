//! The question whether a password is right.
//!
//! The slow hash costs a tenth of a second of one core. Whoever was right once is remembered by a fast one, keyed with
//! random bytes of this process, next to the slow hash that was compared with: a changed password has another slow hash,
//! so what was remembered is worth nothing from that moment on. At most two slow hashes run at a time, so that guessing
//! does not take the machine from those who know their passwords.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

use super::password::PasswordHash;
use super::rights::Compiled;
use crate::error::{Error, Result};

/// Slow hashes at the same time.
const AT_ONCE: usize = 2;

/// What is remembered between requests.
pub(crate) struct Door {
    key: Option<hmac::Key>,
    /// By user: the slow hash, and the fast one of the password that it is of.
    known: RwLock<HashMap<String, Known>>,
    slow: Semaphore,
    /// The rights of everybody, for as long as nothing of them changes.
    pub rights: ArcSwap<Compiled>,
}

struct Known {
    slow: String,
    fast: hmac::Tag,
}

impl Default for Door {
    fn default() -> Self {
        Self {
            // Without randomness nothing is remembered.
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            known: RwLock::default(),
            slow: Semaphore::new(AT_ONCE),
            rights: ArcSwap::default(),
        }
    }
}

impl Door {
    /// Whether `password` is the one that `slow` is the hash of; `None` is the hash of nobody.
    ///
    /// # Errors
    /// The hash could not be computed.
    pub async fn is_right(&self, user: &str, slow: Option<&str>, password: &str) -> Result<bool> {
        if let (Some(key), Some(slow)) = (&self.key, slow)
            && let Some(known) = self.known.read().get(user)
            && known.slow == slow
            && hmac::verify(key, password.as_bytes(), known.fast.as_ref()).is_ok()
        {
            return Ok(true);
        }
        let hash = match slow {
            Some(text) => PasswordHash::parse(text).ok_or_else(|| {
                Error::InvalidParameter(format!(
                    "the password of '{user}' is kept in a form that this build does not know"
                ))
            })?,
            None => PasswordHash::of_nobody(),
        };
        let owned = password.to_owned();
        let is_right = self.slowly(move || hash.is_of(&owned)).await?;
        if let (Some(key), Some(slow), true) = (&self.key, slow, is_right) {
            let known = Known {
                slow: slow.to_owned(),
                fast: hmac::sign(key, password.as_bytes()),
            };
            self.known.write().insert(user.to_owned(), known);
        }
        Ok(is_right && slow.is_some())
    }

    /// Forgets a user.
    pub fn forget(&self, user: &str) {
        self.known.write().remove(user);
    }

    /// Computes a slow hash where nobody else has to wait for it.
    pub async fn slowly<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let _permit = self.slow.acquire().await;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| elanus_storage::Error::Task(error.to_string()).into())
    }
}
