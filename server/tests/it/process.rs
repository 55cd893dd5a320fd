//! Starts the binary and talks to it. Waiting is reading: a line on standard output, or the end of it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

/// `elanus`, without any setting that the environment of the test run may have; its Flight door takes a free port
/// unless told otherwise.
pub fn elanus() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elanus"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ELANUS_") {
            command.env_remove(name);
        }
    }
    command.env("ELANUS_FLIGHT_ADDR", "127.0.0.1:0");
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Finished {
    Finished::from(command.stdin(Stdio::null()).output().unwrap())
}

/// What a command left behind.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A server that has said that it is ready. Killed when dropped.
pub struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    err: File,
    pub milvus: SocketAddr,
    pub flight: SocketAddr,
    pub http: SocketAddr,
}

impl Server {
    /// Serves `data` on free ports.
    pub fn start(data: &Path) -> Self {
        let mut command = elanus();
        command.arg("serve").arg("--data").arg(data);
        Self::start_with(command.args(["--milvus-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"]))
    }

    /// Runs a command that serves.
    pub fn start_with(command: &mut Command) -> Self {
        let err = tempfile::tempfile().unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(err.try_clone().unwrap());
        let mut child = child.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let [milvus, flight, http] = ["milvus", "flight", "http"]
            .map(|door| ready(&mut out, door).unwrap_or_else(|| panic!("no {door} door: {}", log(&err))));
        let mut server = Self {
            milvus,
            flight,
            http,
            child,
            out,
            err,
        };
        assert!(server.child.try_wait().unwrap().is_none(), "{}", log(&server.err));
        server
    }

    /// Reads what the server has logged, also after its end.
    pub fn log(&self) -> impl FnOnce() -> String + use<> {
        let err = self.err.try_clone().unwrap();
        move || log(&err)
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal and waits for the end.
    pub fn signal(mut self, signal: i32) -> ExitStatus {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: the process is a child that has not been waited for, so that the id cannot belong to another.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "standard output is for the doors only");
        self.child.wait().unwrap()
    }

    /// GET on the HTTP door: status line and headers, and the body.
    pub fn get(&self, path: &str, headers: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n"
        )
        .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail when the process has ended already, which is as well.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// The address in `elanus: <door> door ready on <address>`; none when the process ends first.
fn ready(out: &mut impl BufRead, door: &str) -> Option<SocketAddr> {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line.trim()
        .strip_prefix(&format!("elanus: {door} door ready on "))?
        .parse()
        .ok()
}

fn log(mut err: &File) -> String {
    let mut text = String::new();
    err.rewind().unwrap();
    err.read_to_string(&mut text).unwrap();
    text
}
