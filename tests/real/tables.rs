//! Images that carry tables of what is in their layers, as the programs of others write them: every path is what it is without.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engine::{self, NEEDS, without_special_files};
use crate::newer::{self, Shared};
use crate::plugin::Plugin;
use crate::registry::Registry;
use crate::tools::{ESTARGZ, NEWER_DEBIAN, can_run, estargz, finish, run, skopeo_copy};
use crate::tree::Metadata;
use crate::whole_image::{assert_get_shows, assert_plugin_gets};

/// What vouches for a file where the manifest covers a table.
pub const OWN: &str = ", by the image's own table";

/// Compares every path of `image`, whose layers have tables of this `format`, with what the engine shows. What vouches for a file is said
/// in these words. Small layers have no table of their own beside the image that is worth it.
pub fn assert_tables_tell_the_built_image(image: &str, format: &str, vouched: &str) {
    let expected = without_special_files(&engine::built().tree);
    for options in [&[][..], &["--preserve"]] {
        let metadata = if options == ["--preserve"] { Metadata::Everything } else { Metadata::Permissions };
        assert_get_shows(image, options, &expected, metadata, &format!("{image} {options:?}"));
    }
    let plugin = Plugin::installed();
    let layers = run(plugin.docker().args(["artifact", "ls", "--layers", "--format", "{{.Read}}", image]));
    let layers = String::from_utf8(layers).unwrap();
    let is_beside = ["soci", "indexed"].contains(&format);
    assert!(layers.lines().all(|read| read == format || (is_beside && read == "plain")), "{image}: {layers}");
    assert!(layers.lines().any(|read| read == format), "{image}: {layers}");
    let listed = |options: &[&str]| {
        let list = ["artifact", "ls", "-a", "--format", "{{json .}}", image];
        // All but what told of the layer.
        let rows = String::from_utf8(run(plugin.docker().args(list).args(options))).unwrap();
        let rows = rows.lines().map(|row| serde_json::from_str::<Value>(row).unwrap());
        let without = |mut row: Value| row.as_object_mut().unwrap().remove("Read").map(|_| row);
        rows.map(|row| without(row).unwrap()).collect::<Vec<_>>()
    };
    let by_tables = listed(&[]);
    assert_eq!(by_tables.len(), engine::built().tree.0.len(), "ls -a {image}");
    // One file costs less than its layer, and says what vouches for it.
    let work = TempDir::new().unwrap();
    let get = finish(plugin.get(image).args(["/usr/bin/env", "-o"]).arg(work.path().join("env")));
    let said = String::from_utf8(get.stderr).unwrap();
    assert!(get.status.success() && said.contains(vouched), "{said}");
    // The layers that are read now are known from then on.
    assert!(by_tables == listed(&["--no-index"]), "ls -a {image}");
    assert!(by_tables == listed(&[]), "ls -a {image}, as this machine knows it");
    assert_plugin_gets(&plugin, image, &[], &expected, Metadata::Permissions, &format!("{image}, known"));
}

#[test]
fn what_skopeo_writes_as_zstd_chunked_is_the_same_tree_by_its_tables() {
    let test = "what_skopeo_writes_as_zstd_chunked_is_the_same_tree_by_its_tables";
    if !can_run(test, &[NEEDS, &[NEWER_DEBIAN]].concat()) {
        return;
    }
    let (shared, registry) = (Shared::new(), Registry::open());
    shared.save("zstd-chunked");
    let image = format!("{}/zstd/chunked:1", registry.host);
    let mut skopeo = newer::command("skopeo");
    skopeo.args([
        "--insecure-policy",
        "copy",
        "--quiet",
        "--dest-tls-verify=false",
        "--dest-compress-format",
        "zstd:chunked",
    ]);
    run(skopeo.args([format!("docker-archive:{}", shared.there("saved.tar")), format!("docker://{image}")]));
    assert_tables_tell_the_built_image(&image, "zstd:chunked", OWN);
}

/// Makes an OCI layout of an image that `docker save` wrote into `saved`, with each layer as `write` stores it: the blob, with its
/// descriptor's annotations and the digest of its tar. The manifest gets the annotations that `annotate` makes of the layers' descriptors.
pub fn layout(
    saved: &Path,
    to: &Path,
    write: impl Fn(&Path, &Path) -> (Value, String),
    annotate: impl Fn(&[Value]) -> Value,
) {
    let (work, blobs) = (TempDir::new().unwrap(), to.join("blobs/sha256"));
    fs::create_dir_all(&blobs).unwrap();
    run(Command::new("tar").arg("-xf").arg(saved).arg("-C").arg(work.path()));
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(work.path().join(name)).unwrap()).unwrap() };
    let store = |from: &Path| {
        let sum = String::from_utf8(run(Command::new("sha256sum").arg(from))).unwrap();
        let digest = sum.split(' ').next().unwrap().to_owned();
        let size = fs::metadata(from).unwrap().len();
        fs::copy(from, blobs.join(&digest)).unwrap();
        json!({"digest": format!("sha256:{digest}"), "size": size})
    };
    let put = |value: &Value, media_type: &str| {
        let file = work.path().join("value.json");
        fs::write(&file, value.to_string()).unwrap();
        let mut descriptor = store(&file);
        descriptor["mediaType"] = json!(media_type);
        descriptor
    };
    let manifest = read("manifest.json");
    let mut config = read(manifest[0]["Config"].as_str().unwrap());
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for layer in manifest[0]["Layers"].as_array().unwrap() {
        let blob = work.path().join("blob");
        let (annotations, tar) = write(&work.path().join(layer.as_str().unwrap()), &blob);
        let mut descriptor = store(&blob);
        descriptor["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
        descriptor["annotations"] = annotations;
        layers.push(descriptor);
        diff_ids.push(json!(tar));
    }
    config["rootfs"]["diff_ids"] = json!(diff_ids);
    let config = put(&config, "application/vnd.oci.image.config.v1+json");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let annotations = annotate(&layers);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers, "annotations": annotations,
    });
    let mut descriptor = put(&manifest, media_type);
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
    fs::write(to.join("index.json"), json!({"schemaVersion": 2, "manifests": [descriptor]}).to_string()).unwrap();
    fs::write(to.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
}

#[test]
fn what_stargz_snapshotter_writes_is_the_same_tree_by_its_tables() {
    let test = "what_stargz_snapshotter_writes_is_the_same_tree_by_its_tables";
    if !can_run(test, &[NEEDS, &["skopeo", ESTARGZ]].concat()) {
        return;
    }
    let (work, registry) = (TempDir::new().unwrap(), Registry::open());
    let saved = work.path().join("saved.tar");
    run(Command::new("docker").arg("save").arg("--output").arg(&saved).arg(&engine::built().tag));
    for (number, (chunk, least)) in [("0", "0"), ("10000", "0"), ("30000", "50000")].iter().enumerate() {
        let to = work.path().join(format!("layout{number}"));
        let write = |tar: &Path, blob: &Path| {
            let said = run(Command::new(estargz().unwrap()).args([tar, blob]).args([chunk, least]));
            let said = String::from_utf8(said).unwrap();
            let (table, tar) = said.trim().split_once(' ').unwrap();
            (json!({"containerd.io/snapshot/stargz/toc.digest": table}), tar.to_owned())
        };
        layout(&saved, &to, write, |_| json!({}));
        let image = format!("{}/estargz/{number}:1", registry.host);
        skopeo_copy(&["--preserve-digests"], &format!("oci:{}:1", to.display()), &format!("docker://{image}"));
        assert_tables_tell_the_built_image(&image, "estargz", OWN);
        assert_tables_tell_the_built_image(&format!("oci-dir://{}:1", to.display()), "estargz", OWN);
    }
}

#[test]
fn an_image_that_was_indexed_is_the_same_tree_by_its_tables() {
    if !can_run("an_image_that_was_indexed_is_the_same_tree_by_its_tables", &[NEEDS, &["crane"]].concat()) {
        return;
    }
    let registry = Registry::open();
    let (image, labelled) = (format!("{}/indexed/app:1", registry.host), format!("{}/indexed/app:2", registry.host));
    for copy in [&image, &labelled] {
        run(Command::new("crane").args(["copy", "--insecure", &engine::pushed().reference, copy]));
    }
    let index = || run(Plugin::installed().docker().args(["artifact", "index", "--quiet", &image]));
    let digest = index();
    assert_eq!(index(), digest, "the image stays what it is");
    assert_tables_tell_the_built_image(&image, "indexed", ", by a table attached to the image");
    let label = ["artifact", "label", "--all", &labelled, "/usr/bin/env"];
    run(Plugin::installed().docker().args(label));
    assert_tables_tell_the_built_image(&labelled, "indexed", "");
    let pinned = String::from_utf8(run(Command::new("crane").args(["digest", "--insecure", &labelled]))).unwrap();
    let pinned = format!("{}@{}", labelled.rsplit_once(':').unwrap().0, pinned.trim());
    assert_tables_tell_the_built_image(&pinned, "indexed", "");
}
