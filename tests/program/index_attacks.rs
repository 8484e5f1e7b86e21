//! Table indexes of somebody who can write to the repository, and what `index` and `label` make of them.

use crate::support::indexed::*;
use crate::support::labelled::*;
use crate::support::own_table::lying_table;
use crate::support::*;

const RANGE_INDEX: &str = "application/vnd.docker-artifact.index.v1+json";

fn app() -> Image {
    Image::new().layer(Layer::new([
        file("good", noise(1, 500_000)),
        file("evil", noise(2, 500_000)),
        file("usr/other", noise(3, 200_000)),
    ]))
}

/// Attaches to `team/app:1` a table that is right in itself, and by which `/good` is what `/evil` is.
fn attach_lie(registry: &Registry, image: &Packed) {
    let layer = &image.layers[0];
    let (table, top) = lying_table(&layer.bytes, true, &|entry| {
        entry.path = match entry.path.as_slice() {
            b"good" => b"evil".to_vec(),
            b"evil" => b"good".to_vec(),
            other => other.to_vec(),
        };
    });
    replace(registry, &index_with(registry, &layer.digest(), &table, &top));
}

#[test]
fn what_somebody_has_attached_is_not_what_a_label_vouches_for() {
    let registry = Registry::start();
    let image = app().pack();
    let reference = registry.push("team/app:1", &image);
    attach_lie(&registry, &image);
    let get = |reference: &str| artifact(&["get", reference, "/good", "-o", "-", "-q"]).run().exits(0).stdout;
    assert!(get(&reference) == noise(2, 500_000), "who can attach a table can choose, as the manual says");
    artifact(&["label", "--all", &reference]).run().exits(0);
    let digest = sha256(&fetch(&registry, "team/app/manifests/1"));
    let pinned = format!("{reference}@{digest}");
    assert!(get(&pinned) == noise(1, 500_000));
    artifact(&["get", &pinned, "/good", "-o", "-"]).run().exits(0).says("by the image's own table");
    // The image vouches for the table now, and it is not made again.
    let before = registry.count("GET", &image.layers[0].digest());
    artifact(&["label", "--all", &reference]).run().exits(0).says("nothing changed");
    assert_eq!(registry.count("GET", &image.layers[0].digest()), before);
}

/// A list under a tag is written by whoever can push: it may call any manifest one of ours.
#[test]
fn what_a_list_only_claims_to_be_attached_is_not_deleted() {
    let words: [(&[&str], &str); 3] =
        [(&["index"], TYPE), (&["label", "--attach"], RANGE_INDEX), (&["label"], RANGE_INDEX)];
    for (words, artifact_type) in words {
        let registry = Registry::start();
        let reference = registry.push("team/app:1", &app());
        let other = registry.push("team/app:2", &Image::new().layer([file("etc/motd", "hello")]));
        let of_other = sha256(&fetch(&registry, "team/app/manifests/2"));
        list_as(&registry, &[(&of_other, artifact_type), (&subject_of(&registry), artifact_type)]);
        let path: &[&str] = if words[0] == "label" { &["/good"] } else { &[] };
        artifact(&[words, &[&reference], path].concat()).run().exits(0);
        for reference in [&reference, &other] {
            artifact(&["ls", "--layers", reference]).run().exits(0);
        }
        assert_eq!(registry.count("DELETE", &of_other), 0, "{words:?}");
    }
}
