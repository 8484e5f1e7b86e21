use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use super::fixture::{Tar, Told, docker, docker_layout, everything, hex, layout, legacy, open, pack};
use super::*;
use crate::progress::Silent;

/// An archive of each form, and what it is.
fn forms() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("before Docker 1.10", legacy().end()),
        ("Docker 1.10 to 24", docker().end()),
        ("Docker since 25", docker_layout().end()),
        ("OCI", pack(&layout(&["app:1"])).end()),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn on_disk(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn every_form_is_told_by_its_members() {
    for (form, bytes) in forms() {
        let archive = open(&bytes).unwrap();
        assert_eq!(archive.layout().is_some(), matches!(form, "OCI" | "Docker since 25"), "{form}");
        let whole = everything(&archive, None).unwrap();
        assert_eq!(everything(&archive, Some("app:1")).unwrap(), whole, "{form}");
        assert!(whole.contains(&"the base layer".to_owned()), "{form}");
    }
}

#[test]
fn a_file_a_pipe_and_a_compressed_file_hold_the_same() {
    for (form, bytes) in forms() {
        let whole = everything(&open(&bytes).unwrap(), None).unwrap();
        let told = Told::default();
        // What it is called says nothing.
        let (_folder, path) = on_disk("image.zip", &bytes);
        let file = Archive::open(&path, &told).unwrap();
        assert_eq!(
            (everything(&file, None).unwrap(), told.notices.lock().unwrap().len()),
            (whole.clone(), 0),
            "{form}"
        );
        let (_folder, path) = on_disk("image.tar", &gzip(&bytes));
        let compressed = Archive::open(&path, &told).unwrap();
        assert_eq!(
            (everything(&compressed, None).unwrap(), told.notices.lock().unwrap().len()),
            (whole.clone(), 1),
            "{form}"
        );
        let pipe = Archive::from_reader(gzip(&bytes).as_slice(), "standard input", "", &told).unwrap();
        assert_eq!((everything(&pipe, None).unwrap(), told.notices.lock().unwrap().len()), (whole, 2), "{form}");
    }
}

#[test]
fn a_fifo_is_read_as_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let whole = everything(&open(&docker().end()).unwrap(), None).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| std::fs::write(&path, docker().end()).unwrap());
        let archive = Archive::open(&path, &Silent).unwrap();
        assert_eq!(everything(&archive, None).unwrap(), whole);
    });
}

#[test]
fn an_archive_begins_where_its_file_stands() {
    let mut file = fixture::file(&[&[b'#'; 700], docker().end().as_slice()].concat());
    file.seek(std::io::SeekFrom::Start(700)).unwrap();
    let archive = Archive::from_file(file, "standard input".to_owned(), "archive://-".to_owned(), &Silent).unwrap();
    assert_eq!(everything(&archive, None).unwrap(), everything(&open(&docker().end()).unwrap(), None).unwrap());
}

/// The outcome for an archive that is cut: the whole image or an error that says so, and never anything else.
fn cut(form: &str, length: usize, whole: &[String], archive: Result<Archive, SourceError>) {
    match archive.and_then(|archive| everything(&archive, None)) {
        Ok(found) => assert_eq!(found, whole, "{form} {length}"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("truncated") || text.contains("is empty"), "{form} {length}: {text}");
        }
    }
}

#[test]
fn an_archive_that_is_cut_anywhere_is_an_error_or_whole() {
    for (form, bytes) in forms() {
        let whole = everything(&open(&bytes).unwrap(), None).unwrap();
        let scattered = (0..200).map(|number| number * 7919 % bytes.len());
        for length in (0..bytes.len()).step_by(512).chain(scattered) {
            let (_folder, path) = on_disk("cut.tar", &bytes[..length]);
            cut(form, length, &whole, Archive::open(&path, &Silent));
            cut(form, length, &whole, Archive::from_reader(&bytes[..length], "standard input", "", &Silent));
        }
        let compressed = gzip(&bytes);
        for length in (10..compressed.len()).step_by(compressed.len() / 60) {
            cut(form, length, &whole, Archive::from_reader(&compressed[..length], "standard input", "", &Silent));
        }
    }
}

#[test]
fn a_byte_that_is_changed_never_makes_a_panic() {
    for (_, bytes) in forms() {
        for at in (0..bytes.len()).step_by(13) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x21;
            let _ = open(&changed).and_then(|archive| everything(&archive, None));
        }
    }
}

#[test]
fn a_layout_comes_first_and_then_a_manifest_and_then_repositories() {
    let both = docker_layout().json("repositories", &json!({"app": {"1": "x"}})).end();
    assert!(open(&both).unwrap().layout().is_some());
    // Without the marker, index.json may be anybody's.
    let other = docker().file("index.json", "not an index").end();
    assert!(matches!(open(&other).unwrap().select(None), Ok(Selected::Image(image)) if image.config.digest.is_some()));
    let unmarked: Vec<_> = layout(&["app:1"]).into_iter().filter(|(name, _)| name != MARKER).collect();
    assert!(open(&pack(&unmarked).end()).unwrap().layout().is_some());
}

#[test]
fn another_tar_says_what_it_lacks() {
    let error = open(&Tar::default().file("etc/passwd", "root").end()).err().unwrap().to_string();
    assert!(error.contains("neither manifest.json nor index.json"), "{error}");
    assert!(error.contains("docker export"), "{error}");
}

#[test]
fn what_is_no_archive_says_so() {
    let problem = |name: &str, bytes: &[u8]| {
        let (_folder, path) = on_disk(name, bytes);
        Archive::open(&path, &Silent).err().unwrap().to_string()
    };
    assert!(problem("empty.tar", b"").contains("it is empty"));
    assert!(problem("text.tar", &[b'x'; 1000]).contains("does not begin with a tar header"));
    assert!(problem("text.tar.gz", &gzip(&[b'x'; 1000])).contains("is not a tar"));
    let folder = tempfile::tempdir().unwrap();
    let error = Archive::open(folder.path(), &Silent).err().unwrap().to_string();
    assert!(error.contains("oci-dir://DIR"), "{error}");
    let missing = Archive::open(&folder.path().join("none.tar"), &Silent).err().unwrap();
    assert!(matches!(missing, SourceError::NotFound { .. }), "{missing}");
    assert!(missing.to_string().ends_with("none.tar not found: there is no such file"), "{missing}");
}

#[test]
fn blobs_of_another_digest_or_none_are_told() {
    let files = layout(&["app:1"]);
    let blob = format!("blobs/sha256/{}", hex(super::fixture::LAYERS[1]));
    let without: Vec<_> = files.iter().filter(|(name, _)| *name != blob).cloned().collect();
    let error = everything(&open(&pack(&without).end()).unwrap(), None).unwrap_err();
    assert!(matches!(error, SourceError::NotFound { .. }), "{error}");
    let error = everything(&open(&pack(&files).file(&blob, "other").end()).unwrap(), None).unwrap_err();
    assert!(matches!(error, SourceError::Mismatch { .. }), "{error}");
}
