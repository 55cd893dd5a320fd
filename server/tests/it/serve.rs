//! Starting and stopping a server.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::milvus_client::Client;
use crate::process::{Server, elanus, run};

#[test]
fn sigterm_and_ctrl_c_end_it_with_success() {
    let directory = tempfile::tempdir().unwrap();
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let status = Server::start(directory.path()).signal(signal);
        assert_eq!(status.code(), Some(0), "signal {signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_clients_do_not_keep_it_alive() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let mut milvus = Client::connect(server.milvus, "idle").await;
    milvus.create().await;
    let mut http = std::net::TcpStream::connect(server.http).unwrap();
    write!(http, "GET /livez HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    http.read_exact(&mut [0; 8]).unwrap();
    let log = server.log();
    assert_eq!(server.signal(libc::SIGTERM).code(), Some(0));
    let log = log();
    assert!(!log.contains("still run"), "{log}");
    drop((milvus, http));
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = Server::start(directory.path());
    let mut second = elanus();
    second.arg("serve").arg("--data").arg(directory.path());
    let finished = run(second.args(["--milvus-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"]));
    assert_eq!(finished.code, Some(1));
    let named = directory.path().to_str().unwrap();
    assert!(
        finished.err.contains(named) && finished.err.contains("in use by process"),
        "{}",
        finished.err
    );
    assert_eq!(finished.out, "");
    assert!(
        first.get("/healthz", "").1.contains("OK"),
        "the first one is not disturbed"
    );
}

#[test]
fn the_lock_ends_with_the_process_even_when_it_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    Server::start(directory.path()).kill();
    Server::start(directory.path());
}

#[test]
fn a_taken_port_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (option, other, door) in [
        ("--milvus-addr", "--http-addr", "milvus"),
        ("--http-addr", "--milvus-addr", "http"),
        ("--flight-addr", "--milvus-addr", "flight"),
    ] {
        let mut command = elanus();
        command.arg("serve").arg("--data").arg(directory.path());
        let finished = run(command.env("ELANUS_HTTP_ADDR", "127.0.0.1:0").args([
            option,
            &address,
            other,
            "127.0.0.1:0",
        ]));
        assert_eq!(finished.code, Some(1));
        for part in [&address, door, option, "already in use"] {
            assert!(finished.err.contains(part), "{part} is missing: {}", finished.err);
        }
    }
}

#[test]
fn two_doors_on_one_address_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = elanus();
    command.arg("serve").arg("--data").arg(directory.path());
    let finished = run(command.args(["--milvus-addr", "127.0.0.1:9091"]));
    assert_eq!(finished.code, Some(1));
    for part in ["--milvus-addr", "--http-addr", "127.0.0.1:9091"] {
        assert!(finished.err.contains(part), "{part} is missing: {}", finished.err);
    }
}

#[test]
fn a_file_in_place_of_the_data_directory_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let mut command = elanus();
    command.args([
        "serve",
        "--milvus-addr",
        "127.0.0.1:0",
        "--http-addr",
        "127.0.0.1:0",
        "--data",
        path,
    ]);
    for finished in [
        run(&mut command),
        run(elanus().args(["sql", "-c", "SELECT 1", "--data", path])),
    ] {
        assert_eq!(finished.code, Some(1));
        let expected = format!("the data directory {path} is a file");
        assert!(finished.err.contains(&expected), "{}", finished.err);
    }
}

#[test]
fn other_machines_are_let_in_only_when_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let serve = |extra: &[&str]| {
        let mut command = elanus();
        command.arg("serve").arg("--data").arg(directory.path());
        command
            .args(["--milvus-addr", "0.0.0.0:0", "--http-addr", "127.0.0.1:0"])
            .args(extra);
        command
    };
    let finished = run(&mut serve(&[]));
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.err.contains("--insecure") && finished.err.contains("--milvus-addr"),
        "{}",
        finished.err
    );
    Server::start_with(&mut serve(&["--insecure"]));
    Server::start_with(serve(&[]).env("ELANUS_INSECURE", "true"));
}

#[test]
fn a_bucket_is_not_supported_and_says_so() {
    let mut command = elanus();
    command.args([
        "serve",
        "--data",
        "s3://bucket/prefix",
        "--milvus-addr",
        "127.0.0.1:0",
        "--http-addr",
        "127.0.0.1:0",
    ]);
    let finished = run(&mut command);
    assert_eq!(finished.code, Some(1));
    assert!(finished.err.contains("not supported"), "{}", finished.err);
}
