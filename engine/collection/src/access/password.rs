//! The slow hash of a password: PBKDF2 with HMAC-SHA-256 (RFC 8018), 16 bytes of salt, in the form
//! `$pbkdf2-sha256$i=600000$salt$hash`, both in base64 without padding. The number of rounds is the one that OWASP
//! advises (Password Storage Cheat Sheet, 2023); it is part of the text, so that a later one does not lock anybody out.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::{Error, Result};

const SCHEME: &str = "pbkdf2-sha256";
/// A tenth of a second or so on one core.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Milvus' limits, in bytes.
const LENGTH: std::ops::RangeInclusive<usize> = 6..=72;

/// Checks how long a password is; the error does not have it.
///
/// # Errors
/// It is too short or too long.
pub(crate) fn check_length(password: &str) -> Result<()> {
    if LENGTH.contains(&password.len()) {
        return Ok(());
    }
    Err(Error::InvalidParameter(format!(
        "the length of a password must be between {} and {} bytes, this one has {}",
        LENGTH.start(),
        LENGTH.end(),
        password.len()
    )))
}

/// A hash with what is needed to make it again.
pub(crate) struct PasswordHash {
    rounds: NonZeroU32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl PasswordHash {
    /// Hashes a password with a new salt. Takes long: not on a thread that serves others.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn new(password: &str) -> Result<Self> {
        let mut salt = vec![0; SALT_BYTES];
        let filled = SystemRandom::new().fill(&mut salt);
        filled.map_err(|_| Error::LimitExceeded("the system gives no random numbers".to_owned()))?;
        let mut hash = vec![0; HASH_BYTES];
        pbkdf2::derive(PBKDF2_HMAC_SHA256, ROUNDS, &salt, password.as_bytes(), &mut hash);
        Ok(Self {
            rounds: ROUNDS,
            salt,
            hash,
        })
    }

    /// A hash of no password, which takes as long as any other to find that out.
    pub fn of_nobody() -> Self {
        Self {
            rounds: ROUNDS,
            salt: vec![0; SALT_BYTES],
            hash: vec![0; HASH_BYTES],
        }
    }

    /// Reads what [`PasswordHash::to_text`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('$')?.split('$');
        let scheme = parts.next()?;
        let rounds = parts.next()?.strip_prefix("i=")?.parse().ok()?;
        let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        let hash = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        let is_whole = scheme == SCHEME && parts.next().is_none() && hash.len() == HASH_BYTES;
        is_whole.then_some(Self { rounds, salt, hash })
    }

    /// As the catalog keeps it.
    pub fn to_text(&self) -> String {
        let (salt, hash) = (
            STANDARD_NO_PAD.encode(&self.salt),
            STANDARD_NO_PAD.encode(&self.hash),
        );
        format!("${SCHEME}$i={}${salt}${hash}", self.rounds)
    }

    /// Whether it is the hash of this password. Takes long, and as long for a wrong one as for the right one.
    pub fn is_of(&self, password: &str) -> bool {
        let (algorithm, password) = (PBKDF2_HMAC_SHA256, password.as_bytes());
        pbkdf2::verify(algorithm, self.rounds, &self.salt, password, &self.hash).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_password_and_no_other() {
        let hash = PasswordHash::new("correct horse").unwrap();
        let text = hash.to_text();
        assert!(
            text.starts_with("$pbkdf2-sha256$i=600000$") && !text.contains("horse"),
            "{text}"
        );
        let read = PasswordHash::parse(&text).unwrap();
        assert!(read.is_of("correct horse"));
        assert!(!read.is_of("correct horsf"));
        assert_ne!(
            PasswordHash::new("correct horse").unwrap().to_text(),
            text,
            "salted"
        );
        assert!(!PasswordHash::of_nobody().is_of(""));
    }

    #[test]
    fn the_text_is_that_of_the_rfc() {
        // RFC 7914, section 11: the first 32 bytes for "passwd", "salt", one round.
        let hash = "VawEblY7PnfHfzMMgWMZx5b5nA/mtf85pAXJJ2XcLEk";
        let hash = PasswordHash::parse(&format!("$pbkdf2-sha256$i=1$c2FsdA${hash}"));
        let expected: Vec<u8> = (0..32)
            .map(|at| u8::from_str_radix(&RFC[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let mut computed = vec![0; 32];
        pbkdf2::derive(
            PBKDF2_HMAC_SHA256,
            NonZeroU32::MIN,
            b"salt",
            b"passwd",
            &mut computed,
        );
        assert_eq!(computed, expected);
        assert!(hash.is_some());
    }
    const RFC: &str = "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc";

    #[test]
    fn damaged_texts_are_no_hashes() {
        let text = PasswordHash::of_nobody().to_text();
        for damaged in [
            "",
            "$",
            &text[1..],
            &text[..text.len() - 2],
            &text.replace("i=", "i=-"),
            &text.replace("pbkdf2", "md5"),
        ] {
            assert!(PasswordHash::parse(damaged).is_none(), "{damaged}");
        }
    }

    #[test]
    fn lengths_are_checked_without_showing_the_password() {
        for password in ["short", &"x".repeat(73)] {
            let error = check_length(password).unwrap_err().to_string();
            assert!(!error.contains(password), "{error}");
        }
        assert!(check_length("Milvus").is_ok() && check_length(&"x".repeat(72)).is_ok());
    }
}
