//! Table indexes of somebody who can write to the repository, and what `index` and `label` make of them.

use crate::support::indexed::*;
use crate::support::labelled::*;
use crate::support::*;

const RANGE_INDEX: &str = "application/vnd.docker-artifact.index.v1+json";

fn app() -> Image {
    Image::new().layer(Layer::new([
        file("good", noise(1, 500_000)),
        file("evil", noise(2, 500_000)),
        file("usr/other", noise(3, 200_000)),
    ]))
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
