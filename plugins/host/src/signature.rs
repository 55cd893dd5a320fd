//! Signatures of plugins' files: who may say that a plugin is to be run.
//!
//! A signature is detached, Ed25519 (RFC 8032) over the bytes of the file as they are. Keys and signatures have the forms that
//! OpenSSL reads and writes, so that neither side needs this code:
//!
//! ```text
//!   openssl genpkey -algorithm ed25519 -out key.pem
//!   openssl pkey -in key.pem -pubout                                       the public key
//!   openssl pkeyutl -sign -inkey key.pem -rawin -in p.wasm -out p.wasm.sig
//! ```

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// Bytes of a public key, and of the seed of a private one.
const KEY: usize = 32;

/// Bytes of a signature.
const SIGNATURE: usize = 64;

/// What precedes a public key in its DER form (RFC 8410).
const PUBLIC_DER: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// What precedes the seed of a private key in its DER form (RFC 8410, PKCS #8 of version 1).
const PRIVATE_DER: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// What is wrong with a key or a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A public key cannot be read.
    #[error("key '{name}' is no Ed25519 public key: {reason}")]
    Key {
        /// The name that it was to have.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A private key cannot be read or made.
    #[error("no Ed25519 private key: {0}")]
    PrivateKey(String),
    /// The bytes of a signature are none.
    #[error("it is no Ed25519 signature: {0}")]
    Malformed(String),
    /// No trusted key has made the signature for this file.
    #[error(
        "the signature is not of this file by a trusted key; trusted are {}",
        names(.trusted)
    )]
    Untrusted {
        /// The names of the keys.
        trusted: Vec<String>,
    },
}

fn names(trusted: &[String]) -> String {
    match trusted {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

/// The public keys whose signatures count, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedKeys {
    keys: Vec<(String, [u8; KEY])>,
}

impl TrustedKeys {
    /// Adds a key: 32 bytes in base64 or hexadecimal, or PEM (`BEGIN PUBLIC KEY`). The name is for messages.
    ///
    /// # Errors
    /// The text is none of these, or the name is taken.
    pub fn add(&mut self, name: &str, key: &str) -> Result<(), SignatureError> {
        let error = |reason: String| SignatureError::Key {
            name: name.to_owned(),
            reason,
        };
        if self.keys.iter().any(|(other, _)| other == name) {
            return Err(error("there is another key of that name".to_owned()));
        }
        let key = public_key(key).map_err(error)?;
        self.keys.push((name.to_owned(), key));
        Ok(())
    }

    /// Whether no key is trusted: then no signature is good.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The names of the keys, as they were added.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(name, _)| name.as_str())
    }

    /// The name of the key that has made this signature for this file. The signature is 64 bytes, as they are or in
    /// base64 or hexadecimal.
    ///
    /// # Errors
    /// It is no signature, or not of this file by one of the keys.
    pub fn verify(&self, file: &[u8], signature: &[u8]) -> Result<&str, SignatureError> {
        let signature = signature_bytes(signature)?;
        self.keys
            .iter()
            .find(|(_, key)| {
                UnparsedPublicKey::new(&ED25519, key)
                    .verify(file, &signature)
                    .is_ok()
            })
            .map(|(name, _)| name.as_str())
            .ok_or_else(|| SignatureError::Untrusted {
                trusted: self.names().map(str::to_owned).collect(),
            })
    }
}

/// A private key. It signs; it is never shown.
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("public", &self.public_key())
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// A new key, and the PEM text to keep it in: whoever has that text can sign.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<(Self, String), SignatureError> {
        let mut der = [0; PRIVATE_DER.len() + KEY];
        let (prefix, seed) = der.split_at_mut(PRIVATE_DER.len());
        prefix.copy_from_slice(&PRIVATE_DER);
        getrandom::fill(seed).map_err(|error| SignatureError::PrivateKey(error.to_string()))?;
        let text = pem("PRIVATE KEY", &der);
        Ok((Self::from_pem(&text)?, text))
    }

    /// Reads the PEM text of a private key (`BEGIN PRIVATE KEY`, PKCS #8).
    ///
    /// # Errors
    /// It is none, or not of an Ed25519 key.
    pub fn from_pem(text: &str) -> Result<Self, SignatureError> {
        let der = from_pem("PRIVATE KEY", text)
            .unwrap_or_else(|| Err("it does not start with -----BEGIN PRIVATE KEY-----".to_owned()))
            .map_err(SignatureError::PrivateKey)?;
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map(|pair| Self { pair })
            .map_err(|error| SignatureError::PrivateKey(error.to_string()))
    }

    /// The public key in base64, as [`TrustedKeys::add`] takes it.
    pub fn public_key(&self) -> String {
        BASE64_STANDARD.encode(self.pair.public_key())
    }

    /// The public key in PEM.
    pub fn public_pem(&self) -> String {
        pem(
            "PUBLIC KEY",
            &[&PUBLIC_DER, self.pair.public_key().as_ref()].concat(),
        )
    }

    /// The signature of a file, in base64.
    pub fn sign(&self, file: &[u8]) -> String {
        BASE64_STANDARD.encode(self.pair.sign(file))
    }
}

fn public_key(text: &str) -> Result<[u8; KEY], String> {
    if let Some(der) = from_pem("PUBLIC KEY", text) {
        let der = der?;
        return der
            .strip_prefix(&PUBLIC_DER)
            .and_then(|key| key.try_into().ok())
            .ok_or_else(|| "it is the PEM text of another kind of key".to_owned());
    }
    let bytes = from_text::<KEY>(text)?;
    bytes
        .try_into()
        .map_err(|bytes: Vec<u8>| format!("it has {} bytes, not {KEY}", bytes.len()))
}

fn signature_bytes(signature: &[u8]) -> Result<[u8; SIGNATURE], SignatureError> {
    if let Ok(raw) = signature.try_into() {
        return Ok(raw);
    }
    let text = std::str::from_utf8(signature)
        .map_err(|_| SignatureError::Malformed(format!("{} bytes, not {SIGNATURE}", signature.len())))?;
    let bytes = from_text::<SIGNATURE>(text).map_err(SignatureError::Malformed)?;
    bytes.try_into().map_err(|bytes: Vec<u8>| {
        SignatureError::Malformed(format!("{} bytes, not {SIGNATURE}", bytes.len()))
    })
}

/// `N` bytes in hexadecimal, or any in base64.
fn from_text<const N: usize>(text: &str) -> Result<Vec<u8>, String> {
    let text = text.trim();
    if text.len() == 2 * N && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or_default() as u8;
        let pairs = text.as_bytes().chunks_exact(2);
        return Ok(pairs
            .filter_map(|pair| <[u8; 2]>::try_from(pair).ok())
            .map(|[high, low]| (digit(high) << 4) | digit(low))
            .collect());
    }
    BASE64_STANDARD
        .decode(text)
        .map_err(|error| format!("it is neither hexadecimal of {N} bytes nor base64: {error}"))
}

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        BASE64_STANDARD.encode(der)
    )
}

/// The bytes of a PEM text, if it starts as one with this label.
fn from_pem(label: &str, text: &str) -> Option<Result<Vec<u8>, String>> {
    let rest = text.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let Some((body, _)) = rest.split_once(&format!("-----END {label}-----")) else {
        return Some(Err(format!("it does not end with -----END {label}-----")));
    };
    let body: String = body.split_whitespace().collect();
    Some(
        BASE64_STANDARD
            .decode(body)
            .map_err(|error| format!("its PEM text is no base64: {error}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 3: seed, public key, message, signature.
    const SEED: &str = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7";
    const PUBLIC: &str = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
    const MESSAGE: [u8; 2] = [0xaf, 0x82];
    const SIGNED: &str = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
                          18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";

    /// RFC 8032, section 7.1, test 1.
    const OTHER: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn trusted(keys: &[(&str, &str)]) -> TrustedKeys {
        let mut trusted = TrustedKeys::default();
        keys.iter()
            .for_each(|(name, key)| trusted.add(name, key).unwrap());
        trusted
    }

    fn published() -> SigningKey {
        let seed = from_text::<KEY>(SEED).unwrap();
        SigningKey::from_pem(&pem("PRIVATE KEY", &[&PRIVATE_DER[..], &seed].concat())).unwrap()
    }

    #[test]
    fn a_published_signature_is_verified_and_made() {
        let keys = trusted(&[("other", OTHER), ("rfc", PUBLIC)]);
        assert_eq!(keys.verify(&MESSAGE, SIGNED.as_bytes()).unwrap(), "rfc");
        let key = published();
        let raw = BASE64_STANDARD.decode(key.sign(&MESSAGE)).unwrap();
        assert_eq!(raw, from_text::<SIGNATURE>(SIGNED).unwrap());
        // The three forms of a signature, and of a key.
        assert_eq!(keys.verify(&MESSAGE, &raw).unwrap(), "rfc");
        assert_eq!(
            keys.verify(&MESSAGE, format!("{}\n", key.sign(&MESSAGE)).as_bytes())
                .unwrap(),
            "rfc"
        );
        for form in [key.public_key(), key.public_pem()] {
            assert_eq!(trusted(&[("a", &form)]), trusted(&[("a", PUBLIC)]));
        }
    }

    /// The same key as OpenSSL 3 writes it, and what `openssl pkeyutl -sign -rawin` makes with it.
    #[test]
    fn keys_and_signatures_of_openssl_are_read() {
        let private = include_str!("../tests/signature/rfc8032.pem");
        let public = include_str!("../tests/signature/public.pem");
        let signature = include_bytes!("../tests/signature/hello.sig");
        let keys = trusted(&[("openssl", public)]);
        assert_eq!(keys.verify(b"hello", signature).unwrap(), "openssl");
        let key = SigningKey::from_pem(private).unwrap();
        assert_eq!(key.public_pem(), public);
        assert_eq!(BASE64_STANDARD.decode(key.sign(b"hello")).unwrap(), signature);
    }

    #[test]
    fn another_file_another_key_and_a_changed_signature_are_refused() {
        let keys = trusted(&[("rfc", PUBLIC), ("other", OTHER)]);
        let refused = SignatureError::Untrusted {
            trusted: vec!["rfc".to_owned(), "other".to_owned()],
        };
        assert!(
            refused.to_string().ends_with("trusted are rfc, other"),
            "{refused}"
        );
        assert_eq!(
            keys.verify(&[0xaf, 0x83], SIGNED.as_bytes()),
            Err(refused.clone())
        );
        let raw = from_text::<SIGNATURE>(SIGNED).unwrap();
        for at in 0..raw.len() {
            let mut changed = raw.clone();
            changed[at] ^= 1;
            assert_eq!(keys.verify(&MESSAGE, &changed), Err(refused.clone()), "byte {at}");
        }
        let wrong = trusted(&[("other", OTHER)])
            .verify(&MESSAGE, SIGNED.as_bytes())
            .unwrap_err();
        assert!(wrong.to_string().ends_with("trusted are other"), "{wrong}");
        let none = TrustedKeys::default()
            .verify(&MESSAGE, SIGNED.as_bytes())
            .unwrap_err();
        assert!(none.to_string().ends_with("trusted are none"), "{none}");
    }

    #[test]
    fn what_is_no_key_and_no_signature_is_told_apart() {
        let mut keys = trusted(&[("rfc", PUBLIC)]);
        let mut error = |key: &str| keys.add("k", key).unwrap_err().to_string();
        assert_eq!(
            error("AAAA"),
            "key 'k' is no Ed25519 public key: it has 3 bytes, not 32"
        );
        assert!(error("!").contains("neither hexadecimal of 32 bytes nor base64"));
        assert!(error(&published().public_pem().replace("MCow", "MCoy")).contains("another kind of key"));
        assert!(error("-----BEGIN PUBLIC KEY-----").contains("does not end"));
        assert!(
            keys.add("rfc", PUBLIC)
                .unwrap_err()
                .to_string()
                .contains("another key of that name")
        );
        let error = keys.verify(&MESSAGE, b"short").unwrap_err();
        assert!(matches!(error, SignatureError::Malformed(_)), "{error}");
        assert!(
            SigningKey::from_pem("x")
                .unwrap_err()
                .to_string()
                .contains("BEGIN PRIVATE KEY")
        );
        assert!(SigningKey::from_pem(&pem("PRIVATE KEY", b"x")).is_err());
    }

    #[test]
    fn a_new_key_signs_and_its_text_is_the_same_key() {
        let (key, text) = SigningKey::generate().unwrap();
        let again = SigningKey::from_pem(&text).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        let keys = trusted(&[("new", &key.public_key())]);
        assert_eq!(
            keys.verify(b"file", again.sign(b"file").as_bytes()).unwrap(),
            "new"
        );
        let (other, _) = SigningKey::generate().unwrap();
        assert!(keys.verify(b"file", other.sign(b"file").as_bytes()).is_err());
        assert!(!format!("{key:?}").contains(text.lines().nth(1).unwrap()));
    }
}
