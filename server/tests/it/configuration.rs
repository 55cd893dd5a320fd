//! The same setting from the command line, the environment and the file.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::process::{Server, elanus, run};

/// A directory with a configuration file.
fn with_file(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("elanus.toml");
    std::fs::write(&file, text).unwrap();
    (directory, file)
}

/// A free port; which address was chosen shows in what the server says.
const FREE: &str = "127.0.0.1:0";

#[test]
fn everything_can_be_in_the_file() {
    let (directory, file) = with_file("");
    let data = directory.path().join("data");
    let text = format!(
        "data = '{}'\nmilvus_addr = '{FREE}'\nflight_addr = '{FREE}'\nhttp_addr = '{FREE}'\ninsecure = false\nmemory_limit = '1GiB'\nlog = 'debug'\n",
        data.display()
    );
    std::fs::write(&file, text).unwrap();
    let server = Server::start_with(
        elanus()
            .env_remove("ELANUS_FLIGHT_ADDR")
            .args(["serve", "--config"])
            .arg(&file),
    );
    assert!(data.is_dir());
    assert!(server.get("/healthz", "").1.contains("OK"));
}

#[test]
fn the_variable_wins_over_the_file_and_the_option_over_the_variable() {
    let (directory, file) = with_file("milvus_addr = 'from-file.invalid:1'\nhttp_addr = '127.0.0.1:0'\n");
    let data = directory.path().join("data");
    let serve = |variable: Option<&str>, option: Option<&str>| {
        let mut command = elanus();
        command
            .arg("serve")
            .arg("--data")
            .arg(&data)
            .env("ELANUS_CONFIG", &file);
        if let Some(variable) = variable {
            command.env("ELANUS_MILVUS_ADDR", variable);
        }
        if let Some(option) = option {
            command.args(["--milvus-addr", option]);
        }
        command
    };
    let finished = run(&mut serve(None, None));
    assert!(finished.err.contains("from-file.invalid:1"), "{}", finished.err);
    let finished = run(&mut serve(Some("from-variable.invalid:1"), None));
    assert!(
        finished.err.contains("from-variable.invalid:1"),
        "{}",
        finished.err
    );
    Server::start_with(&mut serve(Some("from-variable.invalid:1"), Some(FREE)));
    Server::start_with(&mut serve(Some(FREE), None));
}

#[test]
fn a_wrong_key_names_the_nearest_right_one() {
    for (wrong, right) in [
        ("milvus_adr", "milvus_addr"),
        ("milvus-addr", "milvus_addr"),
        ("insecur", "insecure"),
        ("memory_limt", "memory_limit"),
        ("thread", "threads"),
        ("Data", "data"),
    ] {
        let (_directory, file) = with_file(&format!("{wrong} = 'x'\n"));
        let finished = run(elanus().arg("serve").arg("--config").arg(&file));
        assert_eq!(finished.code, Some(1));
        let expected = format!("unknown key `{wrong}`: did you mean `{right}`?");
        assert!(finished.err.contains(&expected), "{}", finished.err);
        assert!(finished.err.contains(file.to_str().unwrap()), "{}", finished.err);
    }
}

#[test]
fn a_wrong_value_names_its_key() {
    for (text, expected) in [
        (
            "insecure = 'yes'",
            "key `insecure` must be true or false, not a string",
        ),
        ("data = ['a']", "key `data` must be a string, not an array"),
        (
            "milvus_addr = 19530",
            "key `milvus_addr`: `19530` is not an address",
        ),
        (
            "memory_limit = 'much'",
            "key `memory_limit`: `much` is not a size",
        ),
        ("data = ", "is not valid TOML"),
    ] {
        let (_directory, file) = with_file(text);
        let finished = run(elanus().arg("serve").arg("--config").arg(&file));
        assert_eq!(finished.code, Some(1));
        assert!(
            finished.err.starts_with("error: ") && finished.err.contains(expected),
            "{}",
            finished.err
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().to_owned(), directory.path().join("missing.toml")] {
        let finished = run(elanus().arg("serve").arg("--config").arg(&path));
        assert_eq!(finished.code, Some(1));
        let expected = format!("cannot read the configuration file {}", path.display());
        assert!(finished.err.contains(&expected), "{}", finished.err);
    }
}

#[test]
fn without_a_data_directory_nothing_starts() {
    let finished = run(elanus().arg("serve"));
    assert_eq!(finished.code, Some(1));
    assert!(finished.err.contains("--data"), "{}", finished.err);
}
