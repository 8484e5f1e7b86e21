//! What `index` has attached to an image, and what somebody else attaches in its place.

use docker_artifact::table::own::Part;
use serde_json::{Value, json};

use super::labelled::{fetch, json_of, send, subject_of};
use super::*;

/// The artifact type of a table index.
pub const TYPE: &str = "application/vnd.docker-artifact.tables.v1+json";
/// The media type of its manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The table index of `team/app:1`, in a registry that lists referrers by tag: its digest, and what it is.
pub fn table_index(registry: &Registry) -> (String, Value) {
    let tag = subject_of(registry).replace(':', "-");
    let list = json_of(registry, &format!("team/app/manifests/{tag}"));
    let listed: Vec<&Value> =
        list["manifests"].as_array().unwrap().iter().filter(|entry| entry["artifactType"] == TYPE).collect();
    assert_eq!(listed.len(), 1, "{list}");
    let digest = listed[0]["digest"].as_str().unwrap().to_owned();
    let index = json_of(registry, &format!("team/app/manifests/{digest}"));
    (digest, index)
}

/// Puts `list` in the place of what lists what refers to `team/app:1`.
pub fn put_list(registry: &Registry, list: &Value) {
    let tag = subject_of(registry).replace(':', "-");
    let index_type = "application/vnd.oci.image.index.v1+json";
    send(registry, "PUT", &format!("team/app/manifests/{tag}"), index_type, list.to_string().into_bytes());
}

/// Attaches `index` to `team/app:1` in the place of all that is, as an attacker who can write to the repository could.
pub fn replace(registry: &Registry, index: &Value) {
    let body = index.to_string().into_bytes();
    let digest = sha256(&body);
    send(registry, "PUT", &format!("team/app/manifests/{digest}"), MANIFEST, body.clone());
    let list = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": MANIFEST, "digest": digest, "size": body.len(), "artifactType": TYPE}],
    });
    put_list(registry, &list);
}

/// Lists these manifests of `team/app` as what refers to `team/app:1`, in the place of all that is listed: each with the artifact type that
/// the list is to say.
pub fn list_as(registry: &Registry, manifests: &[(&str, &str)]) {
    let entries = manifests.iter().map(|(digest, artifact_type)| {
        let size = fetch(registry, &format!("team/app/manifests/{digest}")).len();
        json!({"mediaType": MANIFEST, "digest": digest, "size": size, "artifactType": artifact_type})
    });
    let list = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries.collect::<Vec<_>>(),
    });
    put_list(registry, &list);
}

/// A table index that has `table`, with its top node in `top`, for the layer with this digest of `team/app:1`, and nothing for others.
pub fn index_with(registry: &Registry, layer: &str, table: &[u8], top: &Part) -> Value {
    let digest = sha256(table);
    registry.store_blob("team/app", &digest, table);
    let top_bytes = &table[top.range.0 as usize..top.range.1 as usize];
    let annotation = json!({"offset": top.range.0, "size": top_bytes.len(), "digest": sha256(top_bytes)});
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": TYPE,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2},
        "layers": [{
            "mediaType": "application/vnd.docker-artifact.table.v1",
            "digest": digest,
            "size": table.len(),
            "annotations": {
                "org.docker-artifact.layer": layer,
                "org.docker-artifact.top": annotation.to_string(),
            },
        }],
        "subject": {"mediaType": MANIFEST, "digest": subject_of(registry), "size": 1},
        "annotations": {"org.docker-artifact.revision": "7"},
    })
}
