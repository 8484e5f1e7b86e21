//! Registries as they are: what each of them does in its own way, and what a user sees of it, whichever way a file is got.

use crate::support::labelled::{image as labelled_image, label_as, names, try_label};
use crate::support::registry::Options;
use crate::support::*;
use docker_artifact::artifact::label::Request;
use serde_json::json;

/// The media type of Docker's layers, whatever they are compressed with.
const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// A way to get a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// Its layer is read.
    Path,
    /// A label says where it is.
    Label,
    /// A table of its layer does.
    Table(TableFormat),
}

const WAYS: [Way; 4] = [Way::Path, Way::Label, Way::Table(TableFormat::Estargz), Way::Table(TableFormat::ZstdChunked)];

impl Way {
    /// A layer to be read so, of six megabytes with a tool in the middle.
    fn image(self) -> Image {
        let layer = Layer::new([
            file("before", noise(1, 3_000_000)),
            file("usr/bin/tool", noise(2, 200_000)).mode(0o755),
            file("after", noise(3, 3_000_000)),
        ]);
        match self {
            Way::Path => Image::new().layer(layer),
            Way::Label => labelled_image(),
            Way::Table(format) => Image::new().layer(layer.with_table(format)),
        }
    }
}

/// A registry with an image that has a tool, to be got in some way.
struct Served {
    way: Way,
    registry: Registry,
    reference: String,
    layer: String,
    size: u64,
    /// How many requests there were before.
    before: usize,
}

impl Served {
    fn by(way: Way, options: Options) -> Self {
        let (registry, image) = (options.start(), way.image().pack());
        let reference = registry.push("team/app:1", &image);
        if way == Way::Label {
            label_as(&reference, &[("tool", "/usr/bin/tool")]);
        }
        let (layer, size) = (image.layers[0].digest(), image.layers[0].bytes.len() as u64);
        let before = registry.log().len();
        Served { way, registry, reference, layer, size, before }
    }

    /// In every way, from a registry that has no options.
    fn all() -> impl Iterator<Item = Self> {
        WAYS.into_iter().map(|way| Served::by(way, Registry::options()))
    }

    /// Where parts of layers are asked for.
    fn in_parts() -> impl Iterator<Item = Self> {
        Served::all().filter(|served| served.way != Way::Path)
    }

    fn fail(&self, fault: Fault) {
        self.registry.requests_for(&self.layer).fail(fault);
    }

    fn get_into(&self, dir: &WorkDir, flags: &[&str]) -> Run {
        let word = if self.way == Way::Label { "tool" } else { "/usr/bin/tool" };
        artifact(&[&["get", &self.reference, word][..], flags].concat()).run_in(dir)
    }

    /// The file came, whole.
    #[track_caller]
    fn recovers(&self) -> Run {
        let dir = WorkDir::new();
        let run = self.get_into(&dir, &[]).exits(0);
        assert!(dir.read("tool") == noise(2, 200_000), "{:?}", self.way);
        run
    }

    /// The requests for the layer, with what was sent of each: none, or `bytes=FIRST-LAST`.
    fn asked(&self) -> Vec<(String, u64)> {
        let log = self.registry.log();
        let asked = log[self.before..].iter().filter(|request| request.target.contains(&self.layer));
        asked.map(|request| (request.header("range").to_owned(), request.sent())).collect()
    }
}

#[test]
fn one_range_is_asked_for_at_a_time_with_both_its_ends() {
    for served in Served::all() {
        let requests = || served.registry.requests_for(&served.layer);
        requests().first(1).fail(Fault::CutAfter(30_000));
        requests().nth(2).fail(Fault::ResetAfter(30_000));
        served.recovers();
        let asked = served.asked();
        assert!(asked.len() >= 3, "{:?}: {asked:?}", served.way);
        for (range, _) in asked.iter().filter(|(range, _)| !range.is_empty()) {
            let ends = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
            let ends = ends.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
            assert!(ends.is_some_and(|(first, last)| first <= last && last < served.size), "{range}");
        }
    }
}

#[test]
fn a_cache_that_sends_whole_layers_is_asked_for_no_part_again() {
    // One that has the layer after it was asked for once, and one that never gives parts.
    for times in [1, usize::MAX] {
        for served in Served::in_parts() {
            served.registry.requests_for(&served.layer).first(times).fail(Fault::RangeIgnored);
            served.recovers().says("instead");
            let asked = served.asked();
            assert!(asked.len() == 2 && asked[1].0.is_empty(), "{:?}: {asked:?}", served.way);
        }
    }
    for format in TABLE_FORMATS {
        let served = Served::by(Way::Table(format), Registry::options());
        served.fail(Fault::RangeIgnored);
        let run = artifact(&["ls", "-a", "--format", "{{.Path}}", &served.reference]).run().exits(0);
        assert!(run.says("reading whole layers instead").out().contains("/usr/bin/tool\n"));
        assert_eq!(served.asked().len(), 2, "{format:?}");
    }
}

#[test]
fn a_whole_layer_in_place_of_its_table_is_not_read_in_vain() {
    for format in TABLE_FORMATS {
        let layer = Layer::new([file("large", noise(1, 40 << 20)), file("tool", "hello")]).with_table(format);
        let (registry, reference, image) = Registry::serving(&Image::new().layer(layer));
        let layer = &image.layers[0];
        registry.requests_for(&layer.digest()).fail(Fault::RangeIgnored);
        artifact(&["get", &reference, "/tool", "-o", "-"]).run().exits(0).says("reading whole layers instead");
        let sent: Vec<u64> = registry.logged("GET", &layer.digest()).iter().map(|request| request.sent()).collect();
        // What lies in the sockets' buffers was sent, and nobody took it.
        assert!(sent.len() == 2 && sent[0] < 24 << 20 && sent[1] == layer.bytes.len() as u64, "{format:?}: {sent:?}");
    }
}

#[test]
fn another_part_than_was_asked_for_is_no_part() {
    for (fault, said) in [
        (Fault::ContentRange("bytes 0-9/10"), "sent bytes 0-9/10"),
        (Fault::ContentRange("none"), "sent none"),
        (Fault::Without("Content-Range"), "sent no Content-Range"),
    ] {
        for served in Served::in_parts() {
            served.fail(fault.clone());
            let run = served.recovers().says(said).says(&served.registry.host());
            assert_eq!(run.stderr.matches("instead").count(), 1, "{}", run.stderr);
            assert_eq!(served.asked().len(), 2, "{:?} {fault:?}", served.way);
        }
    }
}

#[test]
fn a_signed_url_that_expires_half_way_is_asked_for_again() {
    for status in [400, 403] {
        for way in WAYS {
            let served = Served::by(way, Registry::options().redirect_blobs());
            let storage = || served.registry.requests_for("/storage/");
            storage().nth(2).fail(Fault::CutAfter(30_000));
            storage().nth(3).fail(Fault::Status(status));
            served.recovers().never_says("instead");
            let log = served.registry.log();
            let count = |place| log.iter().filter(|request| request.place == place).count();
            let at_storage = count(Place::Storage);
            let redirected = log.iter().filter(|request| request.status == 307).count();
            assert_eq!(at_storage, redirected, "{way:?}: each URL is asked for once");
        }
    }
}

#[test]
fn credentials_go_to_the_registry_and_to_no_store() {
    for format in TABLE_FORMATS {
        // The store refuses requests that bring any.
        let options = Registry::options().account("ann", "password").redirect_blobs();
        let served = Served::by(Way::Table(format), options);
        let dir = WorkDir::new();
        let login = json!({"username": "ann", "password": "password"});
        dir.docker_config(&json!({"auths": {served.registry.host(): login}}));
        served.get_into(&dir, &["-o", "-"]).exits(0).says("own table");
    }
}

#[test]
fn a_registry_that_tells_no_digests_is_as_good_as_one_that_does() {
    for served in Served::all() {
        served.registry.requests_for("/v2/").fail(Fault::Without("Docker-Content-Digest"));
        served.recovers().never_says("instead");
        artifact(&["ls", &served.reference]).run().exits(0);
        artifact(&["label", &served.reference, "again=/usr/bin/tool"]).run().exits(0);
        assert!(names(&served.reference).contains(&"again".to_owned()));
    }
}

#[test]
fn what_a_registry_says_of_digests_counts_for_tags_alone() {
    for served in Served::all() {
        let other = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        served.registry.requests_for("/blobs/").fail(Fault::Header("Docker-Content-Digest", other));
        served.recovers().never_says("instead");
        served.registry.requests_for("/manifests/1").fail(Fault::Header("Docker-Content-Digest", other));
        let dir = WorkDir::new();
        served.get_into(&dir, &[]).exits(5).says(&format!("expected {other}")).says(&served.reference);
        assert!(dir.listing().is_empty());
    }
}

#[test]
fn what_is_called_encoded_and_is_as_stored_is_taken_and_what_was_decoded_is_refused() {
    for encoding in ["gzip", "x-gzip"] {
        for served in Served::all() {
            served.fail(Fault::Header("Content-Encoding", encoding));
            served.recovers().never_says("instead");
            let tar = Layer::new([file("usr/bin/tool", noise(2, 200_000))]).plain();
            let decoded = Image::new().layer(tar).pack();
            served.registry.store_blob("team/app", &served.layer, &decoded.layers[0].bytes);
            let dir = WorkDir::new();
            let run = served.get_into(&dir, &[]).exits(1).says(&format!("sent it encoded ({encoding})"));
            run.says(&served.layer).never_says("does not match its digest");
            assert!(dir.listing().is_empty(), "{:?}", served.way);
        }
    }
}

/// Answers to a request for referrers that are no list of them.
fn no_lists() -> Vec<Fault> {
    let page = "<!DOCTYPE html><html>Sign in</html>";
    let image = r#"{"schemaVersion":2,"config":{"digest":"sha256:x","size":1},"layers":[]}"#;
    let answers = [
        (200, "text/html", page),
        (404, "text/html", page),
        (200, "application/json", "{}"),
        (200, "application/json", r#"{"manifests":null}"#),
        (200, "application/json", r#"{"manifests":{}}"#),
        (200, "application/json", "[]"),
        (200, "application/vnd.oci.image.manifest.v1+json", image),
        (200, "application/vnd.oci.image.index.v1+json", ""),
        (204, "text/plain", ""),
    ];
    let statuses = [400, 401, 403, 404, 405, 406, 410, 415, 501].map(Fault::Status);
    statuses.into_iter().chain(answers.map(|(status, kind, body)| Fault::Answer(status, kind, body))).collect()
}

#[test]
fn whatever_is_answered_in_place_of_referrers_the_list_under_the_tag_counts() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", &labelled_image());
    let attach = Request { attach: true, ..labelled::add(&[("tool", "/usr/bin/tool")]) };
    try_label(&reference, attach).unwrap();
    for fault in no_lists() {
        registry.requests_for("/referrers/").first(1).fail(fault.clone());
        let run = artifact(&["ls", &reference, "--format", "{{.Name}}"]).run().exits(0);
        assert_eq!(run.never_says("instead").never_says("trying again").out(), "tool\n", "{fault:?}");
    }
}

#[test]
fn whatever_is_answered_in_place_of_any_list_nothing_is_attached() {
    for fault in no_lists() {
        let registry = Registry::start();
        let reference = registry.push("team/app:1", &labelled_image());
        registry.requests_for("/referrers/").fail(fault.clone());
        registry.requests_for("/manifests/sha256-").fail(fault.clone());
        assert_eq!(artifact(&["ls", "-q", &reference]).run().exits(0).out(), "", "{fault:?}");
        artifact(&["get", &reference, "/usr/bin/tool", "-o", "-"]).run().exits(0).never_says("instead");
        artifact(&["get", &reference, "tool", "-o", "-"])
            .run()
            .exits(3)
            .says("has no tool; did you mean /usr/bin/tool?");
    }
}

#[test]
fn a_tag_of_a_list_that_is_the_image_itself_is_no_list() {
    let registry = Registry::options().digest_tags().start();
    let reference = registry.push("team/app:1", &labelled_image());
    let run = artifact(&["ls", &reference, "--format", "{{.Name}}"]).run().exits(0);
    assert_eq!(run.never_says("instead").out(), "");
}

#[test]
fn pages_that_lead_to_themselves_are_read_once() {
    for link in ["</v2/team/app/referrers/x>; rel=\"next\"", "<?page=1>; rel=\"next\""] {
        let registry = Registry::options().referrers().start();
        let reference = registry.push("team/app:1", &labelled_image());
        let attach = Request { attach: true, ..labelled::add(&[("tool", "/usr/bin/tool")]) };
        try_label(&reference, attach).unwrap();
        let before = registry.count("GET", "/referrers/");
        registry.requests_for("/referrers/").fail(Fault::Header("Link", link));
        assert_eq!(names(&reference), ["tool"]);
        assert_eq!(registry.count("GET", "/referrers/") - before, 2, "{link}");
    }
}

#[test]
fn what_a_layer_is_compressed_with_is_seen_by_its_bytes() {
    let layer =
        || Layer::new([file("a", noise(1, 300_000)), file("tool", noise(2, 50_000)), file("z", noise(3, 300_000))]);
    let oci_gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let oci_zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    for (number, layer) in [
        layer().zstd().media_type(DOCKER_GZIP),
        // Between the frames lies what is to be skipped.
        layer().zstd_frames(7).media_type(DOCKER_GZIP),
        layer().zstd_frames(7),
        layer().zstd_frames(7).media_type(oci_gzip),
        layer().media_type(oci_zstd),
        layer().gzip_members(3).media_type("application/vnd.docker.image.rootfs.diff.tar.zstd"),
        layer().plain().media_type(DOCKER_GZIP),
        layer().with_table(TableFormat::ZstdChunked).media_type(DOCKER_GZIP),
        layer().with_table(TableFormat::Estargz).media_type(oci_zstd),
    ]
    .into_iter()
    .enumerate()
    {
        let (registry, reference, _) = Registry::serving(&Image::new().layer(layer));
        let content = |words: &[&str]| {
            let run = artifact(&[&["get", &reference, "-o", "-"][..], words].concat()).run().exits(0);
            assert!(run.stdout == noise(2, 50_000), "{number}: {words:?}");
            run
        };
        let run = content(&["/tool"]);
        assert_eq!(run.stderr.contains("own table"), number > 6, "{number}: {}", run.stderr);
        content(&["/tool", "--verify"]);
        assert_eq!(artifact(&["ls", "-a", "-q", &reference]).run().exits(0).out(), "/a\n/tool\n/z\n", "{number}");
        artifact(&["label", &reference, "/tool"]).run().exits(0);
        let since = registry.log().len();
        content(&["tool"]);
        let sent: u64 = registry.log()[since..].iter().map(|request| request.sent()).sum();
        // One frame is read from its start.
        assert!(sent < if number == 0 { 400_000 } else { 200_000 }, "{number}: {sent}");
    }
}
