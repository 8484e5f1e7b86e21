//! The in-process registry does what a registry does, and fails as told: what the other tests rest on.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::*;

/// Sends one request, and gives all that comes back until the connection ends, and how it ends.
fn ask(registry: &Registry, head: &str, body: &str) -> (Vec<u8>, std::io::Result<()>) {
    let mut socket = TcpStream::connect(registry.host()).unwrap();
    write!(socket, "{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = Vec::new();
    let result = socket.read_to_end(&mut answer).map(drop);
    (answer, result)
}

fn text(registry: &Registry, head: &str) -> String {
    text_after(registry, head, "")
}

fn text_after(registry: &Registry, head: &str, body: &str) -> String {
    String::from_utf8_lossy(&ask(registry, head, body).0).into_owned()
}

#[test]
fn an_image_is_served_by_tag_and_by_digest_and_its_blobs_by_range() {
    let image = Image::new().layer([dir("bin"), file("bin/tool", "hello").mode(0o755)]).pack();
    let registry = Registry::start();
    assert_eq!(registry.push("team/app:1", &image), format!("{}/team/app:1", registry.host()));
    let by_tag = text(&registry, "GET /v2/team/app/manifests/1 HTTP/1.1");
    assert!(by_tag.starts_with("HTTP/1.1 200 OK") && by_tag.contains(&image.digest()), "{by_tag}");
    let layer = &image.layers[0];
    let part = text(&registry, &format!("GET /v2/team/app/blobs/{} HTTP/1.1\r\nRange: bytes=1-2", layer.digest()));
    assert!(part.starts_with("HTTP/1.1 206"), "{part}");
    assert!(part.contains(&format!("Content-Range: bytes 1-2/{}", layer.bytes.len())), "{part}");
    assert!(text(&registry, "GET /v2/team/app/manifests/2 HTTP/1.1").contains("MANIFEST_UNKNOWN"));
    let sent: Vec<u64> = registry.logged("GET", "/blobs/").iter().map(registry::Logged::sent).collect();
    assert_eq!(sent, [2]);
}

#[test]
fn the_same_calls_give_the_same_digest() {
    let image = || Image::new().layer([file("a", "1").xattr("user.x", b"y")]).layer(Layer::new([dir("b")]).zstd());
    assert_eq!(image().pack().digest(), image().pack().digest());
}

#[test]
fn the_tar_crate_reads_what_is_written() {
    let long = "d/".repeat(150) + "name";
    let entries = [
        file("short", "1"),
        file(&long, "2"),
        file(&long, "3").gnu_names(),
        symlink("link", &long).gnu_names(),
        file("dir/prefixed", "4").ustar_prefix(),
        file(b"raw-\xff", "5"),
        sparse_file("old", SparseFormat::Gnu, 9000, &[0, 1024, 2048, 4096, 8192].map(|at| (at, &[1; 512][..]))),
    ];
    let mut tar = Vec::new();
    entries.iter().for_each(|entry| entry.write(&mut tar));
    tar.extend([0; 1024]);
    let mut found = Vec::new();
    for entry in tar::Archive::new(&tar[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.push((entry.path_bytes().into_owned(), content.len()));
    }
    let expected: [(&[u8], usize); 7] = [
        (b"short", 1),
        (long.as_bytes(), 1),
        (long.as_bytes(), 1),
        (b"link", 0),
        (b"dir/prefixed", 1),
        (b"raw-\xff", 1),
        (b"old", 9000),
    ];
    assert_eq!(found, expected.map(|(name, length)| (name.to_vec(), length)));
}

#[test]
fn a_fault_befalls_the_requests_it_is_for() {
    let image = Image::new().layer(Layer::new([file("big", vec![7; 100_000])]).plain()).pack();
    let registry = Registry::start();
    registry.push("app:1", &image);
    let get = format!("GET /v2/app/blobs/{} HTTP/1.1", image.layers[0].digest());
    registry.requests_for("/blobs/").nth(1).fail(Fault::Status(503));
    registry.requests_for("/blobs/").nth(1).fail(Fault::CutAfter(1000));
    registry.requests_for("/blobs/").nth(1).fail(Fault::ResetAfter(0));
    assert!(text(&registry, &get).starts_with("HTTP/1.1 503"));
    let (cut, result) = ask(&registry, &get, "");
    assert!(result.is_ok() && cut.len() < 2000, "{} bytes, {result:?}", cut.len());
    assert!(ask(&registry, &get, "").1.is_err());
    let (whole, result) = ask(&registry, &get, "");
    assert!(result.is_ok() && whole.ends_with(&image.layers[0].bytes));
}

#[test]
fn a_token_opens_what_it_was_issued_for() {
    let registry = Registry::options().account("ann", "secret").token_uses(1).start();
    registry.push("team/app:1", &Image::new());
    let get = "GET /v2/team/app/manifests/1 HTTP/1.1";
    let challenge = text(&registry, get);
    assert!(challenge.contains("scope=\"repository:team/app:pull\""), "{challenge}");
    let token = text(
        &registry,
        "GET /token?scope=repository%3Ateam/app%3Apull HTTP/1.1\r\nAuthorization: Basic YW5uOnNlY3JldA==",
    );
    assert!(token.contains("issued-token-1"), "{token}");
    let with_token = format!("{get}\r\nAuthorization: Bearer issued-token-1");
    assert!(text(&registry, &with_token).starts_with("HTTP/1.1 200"));
    assert!(text(&registry, &with_token).starts_with("HTTP/1.1 401"), "a token of one use opens twice");
    let wrong = text(&registry, "GET /token HTTP/1.1\r\nAuthorization: Basic YW5uOndyb25n");
    assert!(wrong.starts_with("HTTP/1.1 401"), "{wrong}");
}

#[test]
fn what_is_uploaded_can_be_read_mounted_and_referred_to() {
    let registry = Registry::options().referrers().start();
    let digest = sha256(b"content");
    let post = format!("POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1");
    assert!(text_after(&registry, &post, "content").starts_with("HTTP/1.1 201"));
    let mount = format!("POST /v2/b/blobs/uploads/?mount={digest}&from=a HTTP/1.1");
    assert!(text(&registry, &mount).starts_with("HTTP/1.1 201"));
    assert!(text(&registry, &format!("GET /v2/b/blobs/{digest} HTTP/1.1")).ends_with("content"));
    let manifest = format!(r#"{{"artifactType":"a/b","subject":{{"digest":"{digest}"}}}}"#);
    let put = "PUT /v2/b/manifests/x HTTP/1.1";
    assert!(text_after(&registry, put, &manifest).contains("OCI-Subject"));
    assert!(text(&registry, &format!("GET /v2/b/referrers/{digest} HTTP/1.1")).contains("\"artifactType\":\"a/b\""));
    assert!(text(&registry, "GET /v2/b/tags/list HTTP/1.1").contains(r#""tags":["x"]"#));
}
