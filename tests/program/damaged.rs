//! Archives and layouts that are damaged, cut off, forged or hostile: one clear error in the exit code that it has, nothing
//! written, and never another file than the image's.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use docker_artifact::artifact::{Error, ExitClass};
use docker_artifact::progress::Silent;
use docker_artifact::source::place::LocalSource;
use serde_json::{Value, json};

use crate::support::archive::files;
use crate::support::library::{directory_in_memory, get_into};
use crate::support::*;

const TAG: &str = "team/app:1";

/// A small image with a plain layer and a compressed one.
fn small() -> Image {
    Image::new()
        .layer(Layer::new([file("a", "1"), file("b", vec![7; 3000])]).plain())
        .layer([file("c", noise(1, 2000)), dir("d")])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

// Cut off

/// Gets the file `b` out of the archive at `path`, in this process.
fn get_b(path: &Path) -> Result<Vec<u8>, Error> {
    let source = LocalSource::archive(path, None, Arc::new(Silent))?;
    let dir = directory_in_memory();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    match runtime.block_on(get_into(dir.path(), Arc::new(source), "/b", false)) {
        Ok(_) => Ok(fs::read(dir.path().join("b")).unwrap()),
        Err(error) => {
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{error}");
            Err(error)
        }
    }
}

/// Where `length` bytes are cut: at each block, and at 200 other places.
fn cuts(length: usize) -> Vec<usize> {
    let mut random = Random::new(8);
    (0..length).step_by(512).chain((0..200).map(|_| random.below(length))).collect()
}

#[test]
fn an_archive_cut_anywhere_is_an_error_or_whole() {
    let dir = directory_in_memory();
    let path = dir.path().join("x.tar");
    for form in FORMS {
        let bytes = archive(&small(), form, TAG);
        for cut in cuts(bytes.len()) {
            fs::write(&path, &bytes[..cut]).unwrap();
            match get_b(&path) {
                // Behind the first of its two blocks of zeros there is nothing to miss.
                Ok(content) => assert!(content == vec![7; 3000] && cut == bytes.len() - 512, "{form:?} {cut}"),
                Err(error) => {
                    let text = error.to_string();
                    assert_eq!(error.exit_class(), ExitClass::Failed, "{form:?} {cut}: {text}");
                    let says = if cut == 0 { "it is empty" } else { "truncated" };
                    assert!(text.contains(says) && !text.contains('\n'), "{form:?} {cut}: {text}");
                }
            }
        }
        let whole = gzip(&bytes);
        for cut in cuts(whole.len()) {
            fs::write(&path, &whole[..cut]).unwrap();
            let error = get_b(&path).expect_err("what gzip checks is at its end");
            let text = error.to_string();
            assert_eq!(error.exit_class(), ExitClass::Failed, "{form:?} {cut}: {text}");
            let says = if cut == 0 { "it is empty" } else { "truncated" };
            assert!(text.contains(says) && !text.contains('\n'), "{form:?} {cut}: {text}");
        }
    }
}

#[test]
fn the_program_says_of_a_cut_archive_that_it_is_cut_however_it_comes() {
    let mut random = Random::new(9);
    for form in FORMS {
        let whole = archive(&small(), form, TAG);
        for bytes in [&whole, &gzip(&whole)] {
            for _ in 0..3 {
                let cut = &bytes[..1 + random.below(bytes.len() - 1024.min(bytes.len() / 2))];
                let dir = WorkDir::new();
                let path = dir.outside("x.tar");
                fs::write(&path, cut).unwrap();
                for run in [
                    artifact(&["get", path.to_str().unwrap(), "/b"]),
                    artifact(&["get", "-", "/b"]).stdin_file(&path),
                    artifact(&["get", "-", "/b"]).stdin_pipe(cut.to_vec()),
                ] {
                    let run = run.run_in(&dir).exits(1);
                    let last = run.stderr.lines().last().unwrap();
                    assert!(last.starts_with("docker-artifact get: ") && last.contains(" truncated"), "{last}");
                    assert!(dir.listing().is_empty() && listing(&dir.tmp()).is_empty());
                }
            }
        }
    }
}

// Damaged inside

/// The ways to keep an image.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    In(Form),
    Layout,
}

const KEPT: [Kept; 5] =
    [Kept::In(Form::Docker25), Kept::In(Form::Docker110), Kept::In(Form::Legacy), Kept::In(Form::Oci), Kept::Layout];

/// What becomes of a command: its exit code, and words of its message.
type Outcome = (i32, &'static str);

/// Nothing is wrong, or nothing is known to be.
const GOOD: Outcome = (0, "");
const NOT_HELD: Outcome = (3, "not found: it lists this blob, but does not have it");
const MISMATCH: Outcome = (5, "in PLACE does not match its digest: expected ");
const OTHER_TAR: Outcome = (5, "the layer does not match its diff ID: expected ");
const NO_DIGEST: Outcome = (1, "has no digest to check it against, as in what docker save wrote before version 1.10");

/// The files of an image that is kept somewhere.
type Files = Vec<(String, Vec<u8>)>;

/// Keeps an image's files below `directory`, and gives what is typed for it.
fn keep(kept: Kept, files: &Files, directory: &Path) -> String {
    let path = directory.join(if kept == Kept::Layout { "layout" } else { "x.tar" });
    if kept == Kept::Layout {
        for (name, bytes) in files {
            fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
            fs::write(path.join(name), bytes).unwrap();
        }
    } else {
        fs::write(&path, tar_of(files.iter().map(|(name, bytes)| file(name, bytes)))).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

/// Says, for each of [`KEPT`], what becomes of `get` with these arguments where the files of the image were damaged.
#[track_caller]
fn becomes(image: &dyn Pack, damage: impl Fn(&mut Files), arguments: &[&str], expected: [Outcome; 5]) {
    for (kept, (code, words)) in KEPT.into_iter().zip(expected) {
        let form = if let Kept::In(form) = kept { form } else { Form::Oci };
        let mut files = files(&image.pack(), form, TAG);
        damage(&mut files);
        let (elsewhere, dir) = (WorkDir::new(), WorkDir::new());
        let typed = keep(kept, &files, &elsewhere.path(""));
        let run = artifact(&["get", "--progress", "none", &typed]).args(arguments).run_in(&dir);
        assert_eq!(run.code, code, "{kept:?} {arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(&words.replace("PLACE", &typed)), "{kept:?} {arguments:?}: {}", run.stderr);
        assert_eq!((run.stderr.lines().count(), dir.listing().is_empty()), (1, code != 0), "{kept:?}: {}", run.stderr);
        assert!(listing(&dir.tmp()).is_empty(), "{kept:?}");
    }
}

/// The file in which this layer of the image is.
fn layer_file(files: &Files, layer: &[u8]) -> usize {
    let tar = archive::uncompressed(layer);
    files.iter().position(|(_, bytes)| bytes == layer || *bytes == tar).expect("a file for each layer")
}

fn untouched(_: &mut Files) {}

#[test]
fn a_missing_layer_is_said_where_it_is_wanted() {
    let packed = small().pack();
    let without = |files: &mut Files| drop(files.remove(layer_file(files, &packed.layers[0].bytes)));
    // Where layers are named by a file of the archive, all have to be there.
    let docker_110 = (1, "its manifest.json names ");
    let legacy = (1, "it does not hold ");
    becomes(&packed, without, &["/b"], [NOT_HELD, docker_110, legacy, NOT_HELD, NOT_HELD]);
    becomes(&packed, without, &["/c"], [GOOD, docker_110, legacy, GOOD, GOOD]);
}

#[test]
fn a_layer_that_is_shorter_than_it_should_be_is_never_read_as_a_whole_one() {
    let packed = small().pack();
    let shorter = |files: &mut Files| {
        let at = layer_file(files, &packed.layers[1].bytes);
        files[at].1.pop();
    };
    let cut = (1, "the layer's tar ends too early, at uncompressed byte 4095, inside the mark of its end");
    becomes(&packed, shorter, &["/c"], [MISMATCH, cut, cut, MISMATCH, MISMATCH]);
}

#[test]
fn another_compressed_layer_is_a_mismatch_where_its_digest_is_known() {
    // What is stored is gzip, too, and so both are of one length.
    let stored = |content: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        encoder.write_all(&tar_of([file("a", content)])).unwrap();
        encoder.finish().unwrap()
    };
    let (honest, forged) = (stored("honest"), stored("forged"));
    assert_eq!(honest.len(), forged.len());
    let mut packed = Image::new().layer([file("a", "honest")]).pack();
    let mut manifest: Value = serde_json::from_slice(&packed.manifest.bytes).unwrap();
    packed.layers[0].bytes = honest.clone().into();
    manifest["layers"][0] = packed.layers[0].descriptor();
    packed.manifest.bytes = manifest.to_string().into_bytes().into();
    let forge = |files: &mut Files| {
        let at = layer_file(files, &honest);
        files[at].1 = if files[at].1 == honest { forged.clone() } else { archive::uncompressed(&forged) };
    };
    becomes(&packed, forge, &["/a"], [MISMATCH, GOOD, GOOD, MISMATCH, MISMATCH]);
    becomes(&packed, forge, &["--verify", "/a"], [MISMATCH, OTHER_TAR, NO_DIGEST, MISMATCH, MISMATCH]);
    becomes(&packed, forge, &["--no-verify", "/a"], [(0, "; not verified"); 5]);
}

#[test]
fn another_plain_layer_is_a_mismatch_with_verify() {
    let layer = |content: &str| Layer::new([file("a", content), file("b", "2")]).plain();
    let packed = Image::new().layer(layer("honest")).pack();
    let forge = |files: &mut Files| {
        let at = layer_file(files, &packed.layers[0].bytes);
        files[at].1 = tar_of([file("a", "forged"), file("b", "2")]);
    };
    let unchecked = (0, "; not checked against the layer's digest; --verify does, and reads 3.07 kB");
    let unknown = (0, "; not verified: the image has no digests of its layers to check them against");
    becomes(&packed, forge, &["/a"], [unchecked, unchecked, unknown, unchecked, unchecked]);
    becomes(&packed, forge, &["--verify", "/b"], [MISMATCH, OTHER_TAR, NO_DIGEST, MISMATCH, MISMATCH]);
}

#[test]
fn a_config_that_does_not_match_its_layers_is_said() {
    let edited = |edit: fn(&mut Vec<Value>), words: [&'static str; 2]| {
        // The closure of an image captures nothing.
        let image = small().pack();
        let mut config: Value = serde_json::from_slice(&image.config.as_ref().unwrap().bytes).unwrap();
        edit(config["rootfs"]["diff_ids"].as_array_mut().unwrap());
        let of_manifest = (1, words[0]);
        (with_config(image, &config), [of_manifest, (1, words[1]), GOOD, of_manifest, of_manifest])
    };
    for (image, expected) in [
        edited(|ids| drop(ids.pop()), ["it lists 2 layers, and its config 1 diff IDs", "1 diff IDs"]),
        edited(|ids| ids.push(ids[0].clone()), ["it lists 2 layers, and its config 3 diff IDs", "3 diff IDs"]),
    ] {
        becomes(&image, untouched, &["/c"], expected);
    }
    // Where the manifest has a digest of each layer, that counts, and a config may have none.
    let (swapped, _) = edited(|ids| ids.reverse(), ["", ""]);
    becomes(&swapped, untouched, &["--verify", "/c"], [GOOD, OTHER_TAR, NO_DIGEST, GOOD, GOOD]);
    let (none, _) = edited(Vec::clear, ["", ""]);
    becomes(&none, untouched, &["/c"], [GOOD, (1, "0 diff IDs"), GOOD, GOOD, GOOD]);
}

/// The image with another config, and all digests right.
fn with_config(mut packed: Packed, config: &Value) -> Packed {
    let mut manifest: Value = serde_json::from_slice(&packed.manifest.bytes).unwrap();
    let content = packed.config.as_mut().unwrap();
    content.bytes = config.to_string().into_bytes().into();
    manifest["config"] = content.descriptor();
    packed.manifest.bytes = manifest.to_string().into_bytes().into();
    packed
}

#[test]
fn a_document_that_is_missing_or_no_json_is_one_clear_error() {
    let no_images = (1, "it is a tar, but not an archive of images: it has neither manifest.json nor index.json");
    let no_layout = (1, "it is not an OCI layout: it has no index.json");
    let index = (1, "its index.json cannot be read: ");
    let oci_layout = (1, "its oci-layout cannot be read: ");
    let manifest = (1, "its manifest.json cannot be read: ");
    let repositories = (1, "its repositories cannot be read: ");
    // What one of two documents says is enough: manifest.json without a layout, or a layout without manifest.json.
    for (name, missing, broken) in [
        ("index.json", [GOOD, GOOD, GOOD, no_images, no_layout], [index, GOOD, GOOD, index, index]),
        ("oci-layout", [GOOD; 5], [oci_layout, GOOD, GOOD, oci_layout, oci_layout]),
        ("manifest.json", [GOOD, no_images, GOOD, GOOD, GOOD], [GOOD, manifest, GOOD, GOOD, GOOD]),
        ("repositories", [GOOD; 5], [GOOD, GOOD, repositories, GOOD, GOOD]),
    ] {
        becomes(&small(), |files| files.retain(|(there, _)| there != name), &["/b"], missing);
        let cut = |files: &mut Files| {
            files.iter_mut().filter(|(there, _)| there == name).for_each(|(_, bytes)| bytes.truncate(10));
        };
        becomes(&small(), cut, &["/b"], broken);
    }
}

#[test]
fn a_manifest_or_config_that_is_missing_or_altered_is_told_by_its_digest() {
    let packed = small().pack();
    let config = packed.config.clone().unwrap();
    let not_held = (1, "its manifest.json names ");
    for (document, missing, altered) in [
        (
            &packed.manifest.bytes,
            [NOT_HELD, GOOD, GOOD, NOT_HELD, NOT_HELD],
            [MISMATCH, GOOD, GOOD, MISMATCH, MISMATCH],
        ),
        (&config.bytes, [NOT_HELD, not_held, GOOD, NOT_HELD, NOT_HELD], [MISMATCH, MISMATCH, GOOD, MISMATCH, MISMATCH]),
    ] {
        becomes(&packed, |files| files.retain(|(_, bytes)| bytes[..] != document[..]), &["/b"], missing);
        let alter = |files: &mut Files| {
            for (_, bytes) in files.iter_mut().filter(|(_, bytes)| bytes[..] == document[..]) {
                let at = bytes.len() - 20;
                bytes[at] ^= 1;
            }
        };
        becomes(&packed, alter, &["/b"], altered);
    }
}

#[test]
fn documents_that_name_what_lies_outside_are_refused() {
    for target in ["/etc/passwd", "../../../../../../../../etc/passwd", "../x.tar"] {
        let evil = json!(format!("sha256:{target}"));
        let mut packed = small().pack();
        let honest = packed.clone();
        let mut manifest: Value = serde_json::from_slice(&packed.manifest.bytes).unwrap();
        manifest["layers"][0]["digest"] = evil.clone();
        packed.manifest.bytes = manifest.to_string().into_bytes().into();
        let no_digest = (1, "is not a digest of the form");
        becomes(&packed, untouched, &["/b"], [no_digest, GOOD, GOOD, no_digest, no_digest]);

        let edit = |files: &mut Files, name: &str, edit: &dyn Fn(&mut Value)| {
            for (_, bytes) in files.iter_mut().filter(|(there, _)| there == name) {
                let mut document = serde_json::from_slice(bytes).unwrap();
                edit(&mut document);
                *bytes = document.to_string().into_bytes();
            }
        };
        let index =
            |files: &mut Files| edit(files, "index.json", &|json| json["manifests"][0]["digest"] = evil.clone());
        becomes(&honest, index, &["/b"], [no_digest, GOOD, GOOD, no_digest, no_digest]);
        let layers = |files: &mut Files| edit(files, "manifest.json", &|json| json[0]["Layers"][0] = json!(target));
        let names = (1, "its manifest.json names ");
        becomes(&honest, layers, &["/b"], [GOOD, names, GOOD, GOOD, GOOD]);
        let config = |files: &mut Files| edit(files, "manifest.json", &|json| json[0]["Config"] = json!(target));
        becomes(&honest, config, &["/b"], [GOOD, names, GOOD, GOOD, GOOD]);
        let id = |files: &mut Files| edit(files, "repositories", &|json| json["team/app"]["1"] = json!(target));
        becomes(&honest, id, &["/b"], [GOOD, GOOD, (1, "is not an image ID"), GOOD, GOOD]);
    }
}

#[test]
fn links_of_an_archive_lead_nowhere_but_into_it() {
    for target in ["/etc/passwd", "../../../../../../../../etc/passwd"] {
        for (form, (code, words)) in
            FORMS.into_iter().zip([NOT_HELD, (1, "its manifest.json names "), (1, "it does not hold "), NOT_HELD])
        {
            for link in [(|name, target| symlink(name, target)) as fn(&str, &str) -> Entry, |name, target| {
                hardlink(name, target)
            }] {
                let packed = small().pack();
                let files = files(&packed, form, TAG);
                let replaced = layer_file(&files, &packed.layers[0].bytes);
                let entries = files.iter().enumerate().map(|(number, (name, bytes))| match number == replaced {
                    true => link(name, target),
                    false => file(name, bytes),
                });
                let dir = WorkDir::new();
                fs::write(dir.outside("x.tar"), tar_of(entries)).unwrap();
                let path = dir.outside("x.tar");
                artifact(&["get", path.to_str().unwrap(), "/b"]).run_in(&dir).exits(code).says(words);
                assert!(dir.listing().is_empty());
            }
        }
    }
    // One in the place of a folder hides nothing that is in it.
    let mut layout = archive(&small(), Form::Oci, TAG);
    layout.splice(..0, tar_of([symlink("blobs", "/etc")])[..512].to_vec());
    let dir = WorkDir::new();
    fs::write(dir.path("x.tar"), layout).unwrap();
    artifact(&["get", "x.tar", "/b"]).run_in(&dir).exits(0);
}
