//! Images with SOCI indexes, whose tables soci-snapshotter's own library writes: every path is what it is without.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::engine::{self, NEEDS};
use crate::registry::Registry;
use crate::tables::{OWN, assert_tables_tell_the_built_image, layout};
use crate::tools::{SOCI, can_run, run, soci};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Stores a blob in the layout `to`, and gives its descriptor.
fn put(to: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(to.join("blobs/sha256").join(&digest), bytes).unwrap();
    json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()})
}

fn digest_of(file: &Path) -> String {
    let sum = String::from_utf8(run(Command::new("sha256sum").arg(file))).unwrap();
    format!("sha256:{}", sum.split(' ').next().unwrap())
}

/// Stores the tables of these layers of the layout `to`, in spans of so many bytes of the tar, and an index of this type of them.
fn index(to: &Path, layers: &[Value], algorithm: &str, span: &str, kind: &str, subject: Option<&Value>) -> Value {
    let table = |layer: &Value| {
        let blob = to.join("blobs").join(layer["digest"].as_str().unwrap().replace(':', "/"));
        let ztoc = to.join("ztoc");
        run(Command::new(soci().unwrap()).args([&blob, &ztoc]).args([algorithm, span]));
        let mut table = put(to, "application/octet-stream", &fs::read(&ztoc).unwrap());
        fs::remove_file(ztoc).unwrap();
        table["annotations"] = json!({
            "com.amazon.soci.image-layer-mediaType": layer["mediaType"],
            "com.amazon.soci.image-layer-digest": layer["digest"],
            "com.amazon.soci.span-size": span,
        });
        table
    };
    let mut index = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": put(to, kind, b"{}"),
        "layers": layers.iter().map(table).collect::<Vec<_>>(),
        "annotations": {"com.amazon.soci.build-tool-identifier": "AWS SOCI CLI v0.2"},
    });
    if let Some(subject) = subject {
        index["subject"] = subject.clone();
    }
    let mut descriptor = put(to, MANIFEST, index.to_string().as_bytes());
    descriptor["artifactType"] = json!(kind);
    descriptor
}

#[test]
fn what_soci_says_of_layers_is_the_same_tree() {
    if !can_run("what_soci_says_of_layers_is_the_same_tree", &[NEEDS, &["crane", SOCI]].concat()) {
        return;
    }
    let (work, registry) = (TempDir::new().unwrap(), Registry::open());
    let saved = work.path().join("saved.tar");
    run(Command::new("docker").arg("save").arg("--output").arg(&saved).arg(&engine::built().tag));
    for (number, (algorithm, span)) in
        [("gzip", "4194304"), ("gzip", "700000"), ("uncompressed", "1000000")].iter().enumerate()
    {
        let write = |tar: &Path, blob: &Path| {
            match *algorithm {
                "gzip" => {
                    let gzip =
                        Command::new("gzip").args(["-n", "-c"]).arg(tar).stdout(File::create(blob).unwrap()).status();
                    assert!(gzip.unwrap().success());
                }
                _ => drop(fs::copy(tar, blob).unwrap()),
            }
            (json!({}), digest_of(tar))
        };
        // As the second version has it: the manifest names the index, and both are in one image index.
        let to = work.path().join(format!("layout{number}"));
        let named = std::cell::RefCell::new(Value::Null);
        layout(&saved, &to, write, |layers| {
            let kind = "application/vnd.amazon.soci.index.v2+json";
            let descriptor = index(&to, layers, algorithm, span, kind, None);
            *named.borrow_mut() = descriptor.clone();
            json!({"com.amazon.soci.index-digest": descriptor["digest"]})
        });
        let listed: Value = serde_json::from_slice(&fs::read(to.join("index.json")).unwrap()).unwrap();
        let mut image = listed["manifests"][0].clone();
        image["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let both = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [image, named.into_inner()]});
        let mut both = put(&to, INDEX, both.to_string().as_bytes());
        both["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
        fs::write(to.join("index.json"), json!({"schemaVersion": 2, "manifests": [both]}).to_string()).unwrap();
        let image = format!("{}/soci/{number}:1", registry.host);
        // Other than skopeo, it lets a manifest stay that is no image's.
        run(Command::new("crane").arg("push").arg(&to).arg(&image));
        assert_tables_tell_the_built_image(&image, "soci", OWN);
        // Small plain layers in a file are stepped through, and not read.
        let in_a_file =
            |vouched| if *algorithm == "gzip" { vouched } else { "; not checked against the layers' digests" };
        assert_tables_tell_the_built_image(&format!("oci-dir://{}:1", to.display()), "soci", in_a_file(OWN));
        // As the first has it: the index refers to the image.
        let to = work.path().join(format!("attached{number}"));
        let layers = std::cell::RefCell::new(Vec::new());
        layout(&saved, &to, write, |of_image| {
            *layers.borrow_mut() = of_image.to_vec();
            json!({})
        });
        let mut listed: Value = serde_json::from_slice(&fs::read(to.join("index.json")).unwrap()).unwrap();
        let subject = listed["manifests"][0].clone();
        let kind = "application/vnd.amazon.soci.index.v1+json";
        let descriptor = index(&to, &layers.into_inner(), algorithm, span, kind, Some(&subject));
        listed["manifests"].as_array_mut().unwrap().push(descriptor);
        fs::write(to.join("index.json"), listed.to_string()).unwrap();
        let attached = in_a_file(", by a table attached to the image");
        assert_tables_tell_the_built_image(&format!("oci-dir://{}:1", to.display()), "soci", attached);
    }
}
