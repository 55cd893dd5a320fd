//! The HTTP door.

use crate::process::Server;

#[test]
fn health_is_text_or_json_as_milvus_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let (head, body) = server.get("/healthz", "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, "OK");
    let (head, body) = server.get("/healthz", "Content-Type: application/json\r\n");
    assert!(head.contains("application/json"), "{head}");
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["state"], "OK");
    assert!(
        json["detail"]
            .as_array()
            .unwrap()
            .iter()
            .all(|part| part["code"] == 1),
        "{json}"
    );
    assert!(server.get("/livez", "").0.starts_with("HTTP/1.1 200"));
}

#[test]
fn metrics_show_process_and_collections() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let (head, body) = server.get("/metrics", "");
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("text/plain"),
        "{head}"
    );
    let value = |name: &str| -> f64 {
        let line = body
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("{name} is missing:\n{body}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes ") > 1e6);
    assert!(value("process_open_fds ") > 3.0);
    assert!(value("process_cpu_seconds_total ") >= 0.0);
    assert_eq!(value("elanus_build_info{"), 1.0);
    assert_eq!(value("milvus_rootcoord_collection_num{db_name=\"default\"}"), 0.0);
}

#[test]
fn an_unknown_path_lists_the_known_ones() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path());
    let (head, body) = server.get("/metrix", "");
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    for part in ["/metrix", "/metrics", "/healthz", "/livez"] {
        assert!(body.contains(part), "{part} is missing: {body}");
    }
}
