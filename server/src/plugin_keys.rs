//! The file of `--plugin-keys`: whose plugins the server registers.
//!
//! ```text
//! # a key on each line, behind a name for messages if it is to have one: 32 bytes in Base64 or hexadecimal
//! alice  11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
//! ```
//!
//! Or PEM, as `openssl pkey -pubout` writes it, block after block.

use std::path::Path;

use anyhow::{Context, ensure};
use elanus_plugins::TrustedKeys;

const BEGIN: &str = "-----BEGIN";

/// Reads the keys of a file.
///
/// # Errors
/// The file cannot be read, or has something else than keys, or nothing.
pub fn read(path: &Path) -> anyhow::Result<TrustedKeys> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the keys of --plugin-keys {}", path.display()))?;
    parse(&text).with_context(|| format!("--plugin-keys {}", path.display()))
}

fn parse(text: &str) -> anyhow::Result<TrustedKeys> {
    let mut keys = TrustedKeys::default();
    let lines = || {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
    };
    if text.contains(BEGIN) {
        let text: Vec<&str> = lines().collect();
        for (at, block) in text.join("\n").split(BEGIN).skip(1).enumerate() {
            keys.add(&format!("key {}", at + 1), &format!("{BEGIN}{block}"))?;
        }
    } else {
        for (at, line) in lines().enumerate() {
            let (name, key) = match line.split_once(char::is_whitespace) {
                Some((name, key)) => (name.to_owned(), key.trim()),
                None => (format!("key {}", at + 1), line),
            };
            keys.add(&name, key)?;
        }
    }
    ensure!(
        !keys.is_empty(),
        "there is no key in it: no plugin could be registered"
    );
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use elanus_plugins::SigningKey;

    use super::*;

    #[test]
    fn keys_come_in_lines_and_in_pem() {
        let (one, _) = SigningKey::generate().unwrap();
        let (two, _) = SigningKey::generate().unwrap();
        let lines = parse(&format!(
            "# ours\n\nalice {}\n{}\n",
            one.public_key(),
            two.public_key()
        ))
        .unwrap();
        assert_eq!(lines.names().collect::<Vec<_>>(), ["alice", "key 2"]);
        assert_eq!(lines.verify(b"file", one.sign(b"file").as_bytes()), Ok("alice"));
        let pem = parse(&format!("{}\n{}", one.public_pem(), two.public_pem())).unwrap();
        assert_eq!(pem.verify(b"file", two.sign(b"file").as_bytes()), Ok("key 2"));
    }

    #[test]
    fn what_is_no_key_is_named() {
        assert!(
            parse("\n# nothing\n")
                .unwrap_err()
                .to_string()
                .contains("no key in it")
        );
        let error = parse("bob nonsense").unwrap_err().to_string();
        assert!(error.contains("'bob'"), "{error}");
    }
}
