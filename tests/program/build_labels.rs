//! What `build` does after a build that declares artifacts: labels the result, and tells of the labelled one.

use std::fs;

use serde_json::{Value, json};

use crate::build_docker::with_docker;
use crate::support::labelled::{content, manifest_and_config};
use crate::support::*;

/// An image that declares an artifact at this path, as a build makes it.
fn declaring(path: &str) -> Packed {
    Image::new().layer([file("tool", "hello")]).label("org.docker-artifact.tool", path).pack()
}

fn metadata(packed: &Packed, name: &str) -> Value {
    json!({
        "containerimage.config.digest": packed.config.as_ref().unwrap().digest(),
        "containerimage.digest": packed.digest(),
        "image.name": name,
    })
}

/// A build that writes these metadata where it is told to, and `id` where it is told to, and says `id`, as with `--quiet`.
fn building(metadata: &Value, id: &str) -> WorkDir {
    let script = format!(
        "while [ $# -gt 0 ]; do
            case \"$1\" in
            --metadata-file) file=$2; shift ;;
            --iidfile) printf %s '{id}' > \"$2\" ; shift ;;
            esac
            shift
        done
        [ -z \"$file\" ] || echo '{metadata}' > \"$file\"
        echo '{id}'"
    );
    let dir = with_docker(&script);
    fs::write(dir.path("Dockerfile"), "FROM scratch\nCOPY tool /\nLABEL org.docker-artifact.tool=/tool\n").unwrap();
    dir
}

#[test]
fn a_quiet_build_prints_the_id_of_the_labelled_image_alone() {
    for (quiet, variable) in [("-q", ""), ("--progress=quiet", ""), ("--push", "quiet")] {
        let (registry, packed) = (Registry::start(), declaring("/tool"));
        let reference = registry.push("team/app:1", &packed);
        let dir = building(&metadata(&packed, &reference), &packed.config.as_ref().unwrap().digest());
        let words = ["build", quiet, "--push", "--iidfile", "iid", "--metadata-file", "meta", "-t", &reference, "."];
        let run = artifact(&words).env("BUILDKIT_PROGRESS", variable).run_in(&dir).exits(0);
        let (manifest, _) = manifest_and_config(&registry, "team/app", "1");
        let id = manifest["config"]["digest"].as_str().unwrap();
        assert_ne!(id, packed.config.as_ref().unwrap().digest());
        assert_eq!((run.out(), run.stderr.as_str()), (format!("{id}\n"), ""));
        assert_eq!(dir.read("iid"), id.as_bytes());
        let metadata: Value = serde_json::from_slice(&dir.read("meta")).unwrap();
        assert_eq!(metadata["containerimage.config.digest"], id);
        assert_eq!(content(&reference, "tool"), "hello");
    }
}

#[test]
fn an_image_that_could_not_be_labelled_is_said_to_be_pushed_all_the_same() {
    let (registry, packed) = (Registry::start(), declaring("/missing"));
    let reference = registry.push("team/app:1", &packed);
    let id = packed.config.as_ref().unwrap().digest();
    let dir = building(&metadata(&packed, &reference), &id);
    let run = artifact(&["build", "-q", "--push", "-t", &reference, "."]).run_in(&dir).exits(3);
    assert_eq!(run.out(), format!("{id}\n"));
    let said = format!("docker-artifact build: the image is pushed, but not labelled: {reference} has no /missing");
    assert!(run.stderr.starts_with(&said), "{}", run.stderr);
}

#[test]
fn a_tag_that_names_another_image_by_now_is_not_labelled() {
    let (registry, packed) = (Registry::start(), declaring("/tool"));
    let reference = registry.push("team/app:1", &packed);
    registry.push("team/app:1", &Image::new().layer([file("tool", "other")]));
    let dir = building(&metadata(&packed, &reference), "x");
    let run = artifact(&["build", "--push", "-t", &reference, "."]).run_in(&dir).exits(1);
    run.says("the image is pushed, but not labelled").says("was the tag pushed again?");
}

#[test]
fn every_name_in_every_registry_is_labelled() {
    let (one, other, packed) = (Registry::start(), Registry::start(), declaring("/tool"));
    let references = [("team/app:1", &one), ("team/app:2", &one), ("other/app:1", &one), ("team/app:1", &other)]
        .map(|(name, registry)| registry.push(name, &packed));
    let dir = building(&metadata(&packed, &references.join(",")), "x");
    artifact(&["build", "--push", "."]).run_in(&dir).exits(0);
    for reference in &references {
        assert_eq!(content(reference, "tool"), "hello", "{reference}");
    }
}

#[test]
fn a_name_that_only_an_output_has_is_a_name() {
    let (registry, packed) = (Registry::start(), declaring("/tool"));
    let reference = registry.push("team/app:1", &packed);
    let mut metadata = metadata(&packed, &reference);
    metadata.as_object_mut().unwrap().remove("image.name");
    let dir = building(&metadata, "x");
    let output = format!("type=image,name={reference},push=true");
    artifact(&["build", "-o", &output, "."]).run_in(&dir).exits(0).says("labelled tool in");
}

#[test]
fn what_is_pushed_by_its_digest_alone_is_not_labelled_and_no_tag_is_looked_for() {
    let (registry, packed) = (Registry::start(), declaring("/tool"));
    let reference = registry.push("team/app:1", &packed);
    let before = registry.log().len();
    let dir = building(&metadata(&packed, "team/app"), "x");
    let output = format!("type=image,name={},push-by-digest=true,push=true", reference.rsplit_once(':').unwrap().0);
    let run = artifact(&["build", "-o", &output, "."]).run_in(&dir).exits(0);
    run.says("is not labelled, because it is pushed only by its digest; label it when it has a tag");
    assert_eq!(registry.log().len(), before);
}

#[test]
fn an_empty_name_of_a_metadata_file_is_none() {
    let (registry, packed) = (Registry::start(), declaring("/tool"));
    let reference = registry.push("team/app:1", &packed);
    let dir = building(&metadata(&packed, &reference), "x");
    artifact(&["build", "--push", "--metadata-file", "", "-t", &reference, "."])
        .run_in(&dir)
        .exits(0)
        .says("labelled tool in");
    assert_eq!(dir.listing().len(), 1);
}
