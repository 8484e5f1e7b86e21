//! What goes wrong on the way: it recovers or ends in its own exit code, and never leaves half a file behind.

use crate::support::*;

/// An image whose one layer, stored as it is, is a megabyte.
fn large_image() -> Packed {
    let content: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_le_bytes).collect();
    Image::new().layer(Layer::new([file("big", content)]).plain()).pack()
}

/// A registry with that image.
struct Served {
    registry: Registry,
    image: Packed,
    reference: String,
    dir: WorkDir,
}

impl Served {
    fn by(registry: Registry) -> Self {
        let image = large_image();
        let reference = registry.push("team/app:1", &image);
        Served { registry, image, reference, dir: WorkDir::new() }
    }

    fn new() -> Self {
        Served::by(Registry::start())
    }

    fn layer(&self) -> String {
        self.image.layers[0].digest()
    }

    fn get(&self) -> Run {
        artifact(&["get", &self.reference, "/big"]).run_in(&self.dir)
    }

    /// The file came, whole.
    #[track_caller]
    fn recovers(&self) -> Run {
        let run = self.get().exits(0);
        assert!(self.dir.read("big") == (0..1u32 << 18).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
        self.leaves_only(&["big 644 1048576 bytes"]);
        run
    }

    /// The program gave up with this code, and left nothing.
    #[track_caller]
    fn fails(&self, code: i32) -> Run {
        let run = self.get().exits(code);
        self.leaves_only(&[]);
        run
    }

    #[track_caller]
    fn leaves_only(&self, files: &[&str]) {
        assert_eq!(self.dir.listing(), files);
        assert!(listing(&self.dir.tmp()).is_empty(), "{:?}", listing(&self.dir.tmp()));
    }

    /// The `Range` of each request for the layer.
    fn ranges(&self) -> Vec<String> {
        let requests = self.registry.logged("GET", &self.layer());
        requests.iter().map(|request| request.header("range").to_owned()).collect()
    }
}

#[test]
fn a_connection_that_is_reset_as_it_is_made_is_made_again() {
    let served = Served::new();
    served.registry.refuse_connections(1);
    served.recovers();
}

#[test]
fn a_connection_that_is_reset_before_the_answer_is_tried_again() {
    let served = Served::new();
    served.registry.requests_for("/blobs/").first(1).fail(Fault::NoAnswer);
    served.registry.requests_for("/manifests/").first(1).fail(Fault::NoAnswer);
    served.recovers();
}

#[test]
fn a_blob_that_breaks_off_is_resumed_from_its_last_byte() {
    for fault in [Fault::ResetAfter(700_000), Fault::CutAfter(700_000)] {
        let served = Served::new();
        served.registry.requests_for(&served.layer()).first(1).fail(fault);
        served.recovers();
        let ranges = served.ranges();
        assert_eq!(ranges.len(), 2, "{ranges:?}");
        let start = ranges[1].strip_prefix("bytes=").and_then(|range| range.split('-').next()?.parse().ok());
        // A reset may discard what was sent and not yet read, so the last byte that came can be an earlier one.
        assert!(start.is_some_and(|start: usize| start > 0 && start <= 700_000), "{ranges:?}");
    }
}

#[test]
fn a_blob_that_breaks_off_again_and_again_still_comes_as_long_as_it_goes_forward() {
    let served = Served::new();
    served.registry.requests_for(&served.layer()).first(3).fail(Fault::CutAfter(200_000));
    served.recovers();
}

#[test]
fn a_blob_that_stalls_is_resumed() {
    // The one test that waits: no byte for 30 seconds is what a stall is.
    let served = Served::new();
    served.registry.requests_for(&served.layer()).first(1).fail(Fault::StallAfter(500_000));
    served.recovers();
    assert_eq!(served.ranges().len(), 2);
}

#[test]
fn a_registry_that_ignores_range_makes_it_start_over() {
    let served = Served::new();
    served.registry.requests_for(&served.layer()).first(1).fail(Fault::CutAfter(700_000));
    served.registry.requests_for(&served.layer()).nth(2).fail(Fault::RangeIgnored);
    served.recovers();
}

#[test]
fn a_rest_that_is_refused_or_is_another_one_makes_it_start_over() {
    for fault in [
        Fault::StatusWith(416, "Content-Range", "bytes */1049088"),
        Fault::ContentRange("bytes 5-1049087/1049088"),
        Fault::Without("Content-Range"),
    ] {
        let served = Served::new();
        served.registry.requests_for(&served.layer()).first(1).fail(Fault::CutAfter(700_000));
        served.registry.requests_for(&served.layer()).nth(2).fail(fault);
        served.recovers().says("starting over");
        let ranges = served.ranges();
        assert!(ranges.len() == 3 && !ranges[1].is_empty() && ranges[2].is_empty(), "{ranges:?}");
    }
}

#[test]
fn a_whole_blob_in_place_of_a_part_is_not_read() {
    use docker_artifact::image::manifest::Descriptor;
    use docker_artifact::source::{SourceError, Store};
    let registry = Registry::start();
    let layer = Layer::new([file("big", vec![7; 64 << 20])]).plain();
    let image = Image::new().layer(layer).pack();
    let reference = registry.push("team/app:1", &image);
    let (digest, size) = (image.layers[0].digest(), image.layers[0].bytes.len() as i64);
    registry.requests_for(&digest).fail(Fault::RangeIgnored);
    let descriptor = Descriptor { digest: digest.clone(), size, ..Descriptor::default() };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(labelled::client(&reference).blob_range(&descriptor, 512..1_000)).err().unwrap();
    assert!(matches!(error, SourceError::RangeIgnored { .. }), "{error}");
    // What lies in the sockets' buffers was sent, and nobody took it.
    let sent = registry.logged("GET", &digest)[0].sent();
    assert!(sent < 32 << 20, "{sent} bytes");
}

#[test]
fn content_that_comes_encoded_is_said_to_be() {
    // The stored bytes, which are called encoded, as some stores do with what is compressed.
    let served = Served::new();
    served.registry.requests_for("/v2/").fail(Fault::Header("Content-Encoding", "gzip"));
    served.recovers();
    for request in served.registry.log() {
        assert_eq!(request.header("accept-encoding"), "identity", "{}", request.target);
    }
    // Other bytes.
    let served = Served::new();
    served.registry.requests_for(&served.layer()).fail(Fault::Header("Content-Encoding", "x-gzip"));
    let layer = &served.image.layers[0];
    served.registry.store_blob("team/app", &layer.digest(), &vec![7; layer.bytes.len()]);
    served.fails(1).says("sent it encoded (x-gzip)").never_says("does not match its digest");
}

#[test]
fn too_many_requests_waits_as_long_as_it_is_told() {
    let served = Served::new();
    served.registry.requests_for("/manifests/").first(1).fail(Fault::StatusWith(429, "Retry-After", "1"));
    served.registry.requests_for("/blobs/").first(1).fail(Fault::StatusWith(429, "Retry-After", "0"));
    served.recovers();
}

#[test]
fn a_server_error_is_tried_again() {
    for status in [500, 502, 503, 504] {
        let served = Served::new();
        served.registry.requests_for("/blobs/").first(1).fail(Fault::Status(status));
        served.recovers();
    }
}

#[test]
fn a_server_that_stays_broken_is_given_up_after_some_tries() {
    let served = Served::new();
    served.registry.requests_for("/manifests/").fail(Fault::StatusWith(503, "Retry-After", "0"));
    served.fails(1).says("503");
    let tries = served.registry.count("GET", "/manifests/");
    assert!((2..20).contains(&tries), "{tries} tries");
}

#[test]
fn a_registry_that_is_not_there_is_an_error_that_names_it() {
    let host = format!("127.0.0.1:{}", unused_port());
    let dir = WorkDir::new();
    let run = artifact(&["get", &format!("{host}/team/app:1"), "/big"]).run_in(&dir).exits(1).says(&host);
    assert_eq!(run.stderr.matches("trying again").count(), 1, "one second try: {}", run.stderr);
    assert!(dir.listing().is_empty());
}

#[test]
fn a_layer_with_a_wrong_byte_is_discarded_and_not_asked_for_again() {
    let served = Served::new();
    served.registry.requests_for(&served.layer()).fail(Fault::Altered(1 << 19));
    served.fails(5).says(&served.layer());
    assert_eq!(served.ranges().len(), 1);
}

#[test]
fn a_compressed_layer_with_a_wrong_byte_is_discarded() {
    for layer in [Layer::new([file("big", [5; 4000])]), Layer::new([file("big", [5; 4000])]).zstd()] {
        let served = Served::new();
        let image = Image::new().layer(layer).pack();
        served.registry.push("team/app:1", &image);
        let digest = image.layers[0].digest();
        let middle = image.layers[0].bytes.len() / 2;
        served.registry.requests_for(&digest).fail(Fault::Altered(middle));
        served.fails(5).says(&digest);
    }
}

#[test]
fn a_config_with_a_wrong_byte_is_refused() {
    let served = Served::new();
    let digest = served.image.config.as_ref().unwrap().digest();
    served.registry.requests_for(&digest).fail(Fault::Altered(30));
    served.fails(5).says(&digest);
}

#[test]
fn a_manifest_with_a_wrong_byte_is_refused_where_the_digest_is_known() {
    let served = Served::new();
    let digest = served.image.digest();
    served.registry.requests_for("/manifests/").fail(Fault::Altered(60));
    let reference = format!("{}@{digest}", served.reference.trim_end_matches(":1"));
    artifact(&["get", &reference, "/big"]).run_in(&served.dir).exits(5).says(&digest);
    served.leaves_only(&[]);
}

#[test]
fn a_layer_of_another_length_than_the_manifest_says_is_refused() {
    let served = Served::new();
    served.registry.requests_for(&served.layer()).fail(Fault::ContentLength(1000));
    served.fails(5).says("does not match its digest: expected 1050112 bytes, got 1000 bytes");
}

#[test]
fn a_layer_that_claims_more_bytes_than_come_is_refused() {
    let served = Served::new();
    served.registry.requests_for(&served.layer()).fail(Fault::ContentLength(2 << 20));
    served.fails(5).says("does not match its digest: expected 1050112 bytes, got 2097152 bytes");
}

#[test]
fn a_token_that_expires_half_way_is_renewed() {
    let mut served = Served::by(Registry::options().public().token_uses(1).start());
    // One request after the other: nobody asks what is attached to what is pinned.
    served.reference = format!("{}@{}", served.reference.trim_end_matches(":1"), served.image.digest());
    served.registry.requests_for(&served.layer()).first(1).fail(Fault::CutAfter(300_000));
    served.recovers();
    assert!(served.registry.count("GET", "/token") >= 2);
}

#[test]
fn a_missing_blob_is_not_found_at_once() {
    let served = Served::new();
    served.registry.lose(&served.layer());
    served.fails(3).says(&served.layer());
    assert_eq!(served.ranges().len(), 1);
}

#[test]
fn a_forbidden_blob_is_refused_at_once() {
    let served = Served::new();
    served.registry.requests_for("/blobs/").fail(Fault::Status(403));
    served.fails(4);
    assert!(served.registry.count("GET", "/blobs/") <= 2);
}

#[test]
fn a_storage_that_refuses_a_signed_url_is_gone_around_once_and_named_then() {
    for status in [400, 403] {
        let served = Served::by(Registry::options().redirect_blobs().start());
        served.registry.requests_for("/storage/").first(1).fail(Fault::Status(status));
        served.recovers();
        let served = Served::by(Registry::options().redirect_blobs().start());
        served.registry.requests_for("/storage/").fail(Fault::Status(status));
        let run = served.fails(4).never_says("docker login").never_says("once-only");
        let storage = served.registry.log().iter().filter(|request| request.place == Place::Storage).count();
        assert_eq!(storage, 2, "{}", run.stderr);
        let host = served.registry.storage();
        run.says(&format!("{host} refused the URL that {} redirects to", served.registry.host()));
    }
}

#[test]
fn redirects_without_end_are_given_up() {
    let served = Served::new();
    let target = format!("http://{}/v2/team/app/blobs/{}", served.registry.host(), served.layer());
    served.registry.requests_for(&served.layer()).fail(Fault::Redirect(target));
    served.fails(1);
    assert!(served.ranges().len() < 100);
}

#[test]
fn a_body_that_is_no_manifest_is_an_error_not_a_crash() {
    let registry = Registry::start();
    for (i, body) in ["", "{", "[]", "null", r#"{"schemaVersion":2}"#, "<html>portal</html>"].iter().enumerate() {
        let reference =
            registry.push(&format!("team/app:{i}"), &OtherManifest("application/vnd.oci.image.manifest.v1+json", body));
        let run = artifact(&["get", &reference, "/big"]).run().exits(1);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}
