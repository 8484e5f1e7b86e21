//! The library, as other programs use it.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex};

use docker_artifact::{Error, Image as Opened, Kind, Options};

use crate::support::*;

/// An image of two layers in a registry, opened.
fn opened() -> (Registry, Opened) {
    let base = [
        dir("etc"),
        file("etc/conf", "old"),
        file("etc/gone", "gone"),
        dir("usr"),
        dir("usr/bin"),
        file("usr/bin/tool", noise(1, 100_000)).mode(0o4755),
        symlink("bin", "usr/bin"),
        file("a*b", "star"),
    ];
    let upper = [file("etc/conf", "new"), whiteout("etc/gone")];
    let (registry, reference, _) = Registry::serving(&Image::new().layer(base).layer(upper));
    (registry, Options::new().cache(false).open(reference).unwrap())
}

#[test]
fn a_file_is_read_as_the_container_has_it() {
    let (_registry, image) = opened();
    let read = |path: &str| {
        let mut content = Vec::new();
        image.read(path).unwrap().read_to_end(&mut content).unwrap();
        content
    };
    assert_eq!(read("/etc/conf"), b"new");
    assert!(read("/bin/tool") == noise(1, 100_000));
    assert_eq!(read("a*b"), b"star", "a path is no glob");
    let mut content = image.read("/bin/tool").unwrap();
    content.seek(SeekFrom::Start(99_999)).unwrap();
    let mut last = Vec::new();
    content.read_to_end(&mut last).unwrap();
    assert_eq!(last, noise(1, 100_000)[99_999..]);
}

#[test]
fn what_is_not_there_and_what_is_no_file_are_errors() {
    let (_registry, image) = opened();
    let gone = image.read("/etc/gone").unwrap_err();
    assert!(gone.is_not_found() && gone.to_string().contains("was deleted"), "{gone}");
    assert!(image.read("/etc").unwrap_err().to_string().contains("directory"));
    assert!(Opened::open("a b").is_err_and(|error| !error.is_not_found()));
    assert!(Opened::open("./nothing.tar").is_err_and(|error| error.is_not_found()));
    assert!(Options::new().platform("vax").open("examples/app.tar").is_err());
}

#[test]
fn what_there_is_is_listed_looked_up_and_walked() {
    let (_registry, image) = opened();
    let names = |entries: Vec<docker_artifact::Entry>| -> Vec<_> {
        entries.into_iter().map(|entry| entry.path.display().to_string()).collect()
    };
    assert_eq!(names(image.list("/etc").unwrap()), ["/etc/conf"]);
    let bin = image.look_up("/bin").unwrap();
    assert_eq!(bin.kind, Kind::Symlink { target: "usr/bin".into() });
    let tool = image.look_up("/bin/tool").unwrap();
    assert_eq!((tool.kind, tool.mode), (Kind::File { size: 100_000 }, 0o4755));
    let mut walked = Vec::new();
    let walk = image.walk("/usr", |entry| {
        walked.push(entry);
        Ok::<(), Error>(())
    });
    walk.unwrap();
    assert_eq!(names(walked), ["/usr/bin", "/usr/bin/tool"]);
    let stopped = image.walk("/", |_| Err::<(), Box<dyn std::error::Error>>("enough".into()));
    assert_eq!(stopped.unwrap_err().to_string(), "enough");
}

#[test]
fn a_directory_is_got_whole_and_what_is_wrong_not_at_all() {
    let (registry, image) = opened();
    let dir = WorkDir::new();
    image.get("/etc", dir.path("conf")).unwrap();
    assert_eq!(dir.listing(), ["conf/ 755", "conf/conf 644 \"new\""]);
    registry.requests_for("/blobs/").fail(Fault::Altered(60));
    let wrong = image.get("/usr/bin/tool", dir.path("tool")).unwrap_err();
    assert!(wrong.is_mismatch() && !Path::new(&dir.path("tool")).exists(), "{wrong}");
}

#[test]
fn notices_are_handed_on() {
    let (registry, reference, _) = Registry::serving(&Image::new().layer([file("x", noise(1, 100_000))]));
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&notices);
    let options = Options::new().cache(false).on_notice(move |line| heard.lock().unwrap().push(line.to_owned()));
    let image = options.open(reference).unwrap();
    registry.requests_for("/blobs/").first(1).fail(Fault::Status(500));
    image.read("/x").unwrap();
    assert!(!notices.lock().unwrap().is_empty());
}
