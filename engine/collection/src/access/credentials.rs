//! Names and passwords as clients send them.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// With and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Why there are no credentials in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCredentials {
    /// It is not base64 of a text.
    NotBase64,
    /// There is no colon in it: it is a token of another kind.
    NoColon,
}

impl Credentials {
    /// Reads base64 of `user:password`, the form of HTTP's scheme Basic (RFC 7617).
    ///
    /// # Errors
    /// [`NoCredentials`].
    pub fn from_base64(text: &str) -> Result<Self, NoCredentials> {
        let text = from_base64(text).ok_or(NoCredentials::NotBase64)?;
        let (user, password) = text.split_once(':').ok_or(NoCredentials::NoColon)?;
        Ok(Self {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }
}

/// The text that base64 stands for; Milvus' clients send passwords so.
#[must_use]
pub fn from_base64(text: &str) -> Option<String> {
    String::from_utf8(BASE64.decode(text.trim()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_have_colons_and_is_not_shown() {
        let read = Credentials::from_base64("cm9vdDphOmI=").unwrap();
        assert_eq!((read.user.as_str(), read.password.as_str()), ("root", "a:b"));
        assert!(!format!("{read:?}").contains("a:b"));
        assert_eq!(Credentials::from_base64("cm9vdDphOmI"), Ok(read));
        assert_eq!(Credentials::from_base64("YWJj"), Err(NoCredentials::NoColon));
        assert_eq!(
            Credentials::from_base64("root:Milvus"),
            Err(NoCredentials::NotBase64)
        );
    }
}
