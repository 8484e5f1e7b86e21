//! What is a name and what is a path, and what it is got by.

use super::super::fixture::{As, Memory};
use super::*;
use crate::artifact::layers::Verify;
use crate::artifact::tables::Tables;
use crate::extract::Destination;
use crate::image::digest::{ChainId, DiffId};
use crate::image::label::Mode;
use crate::image::platform::Choice;
use crate::progress::Silent;

fn request(paths: &[&str]) -> Request {
    Request {
        paths: paths.iter().map(|path| path.as_bytes().to_vec()).collect(),
        platform: Choice::Host,
        destination: Destination::Stdout,
        parents: false,
        dereference: true,
        verify: Verify::WhereRead,
        preserve: false,
        trust_attached: false,
        tables: Tables::default(),
        digests: false,
        step: None,
    }
}

/// A record of a file at `path`, of an image with these layers.
fn record(path: &str, real: Option<&str>, image: &Image) -> Record {
    Record::File {
        path: path.to_owned(),
        real: real.map(str::to_owned),
        size: 3,
        mode: Mode(0o644),
        digest: Digest::of(b"abc"),
        layer: image.layers[0].diff_id.clone().unwrap(),
        offset: 512,
        chain: image.chain_id().unwrap(),
    }
}

/// An image of two layers with these labels besides one of each kind.
fn image(more: &[(&str, &str)]) -> Image {
    let layers = vec![b"base".to_vec(), b"upper".to_vec()];
    let bare = Memory::new(layers.clone(), As::Streams).image;
    let resolved = record("/bin/tool", Some("/usr/bin/tool"), &bare).to_label();
    let of_another = match record("/opt/old", None, &bare) {
        Record::File { path, real, size, mode, digest, offset, .. } => {
            let other = Digest::of(b"another image");
            let (layer, chain) = (DiffId(other.clone()), ChainId(other));
            Record::File { path, real, size, mode, digest, layer, offset, chain }.to_label()
        }
        Record::Directory { .. } => unreachable!(),
    };
    let legacy = bare.layers[0].digest().unwrap().to_string();
    let labels = [
        ("org.docker-artifact.tool", resolved.as_str()),
        ("org.docker-artifact.inherited", &of_another),
        ("org.docker-artifact.declared", "/opt/new"),
        ("org.docker-artifact.bad", "{"),
        ("legacy.bin", &legacy),
    ];
    Image::clone(&Memory::labelled(layers, As::Streams, &[&labels, more].concat()).image)
}

/// How each of these is got in `image`, with what is attached.
fn sorted(image: &Image, request: &Request, attached: &[(&str, Record)], may_trust: bool) -> Result<String, String> {
    let attached: Vec<_> = attached.iter().map(|(name, record)| ((*name).to_owned(), record.clone())).collect();
    let sorted =
        Sorted::by_labels("app", image, request, &Silent).and_then(|sorted| sorted.settle("app", &attached, may_trust));
    let (by_label, by_path) = sorted.map_err(|error| error.to_string())?;
    let label = |labelled: &Labelled| format!("{}: record {} as {}", labelled.position, labelled.path, labelled.name);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let path = |path: &ByPath| {
        let name = path.name.as_deref().map_or(String::new(), |name| format!(" as {}", text(name)));
        let layer = path.only_in.as_ref().map_or("", |_| " in its layer");
        format!("{}: path {}{name}{layer}", path.position, text(path.pattern.text()))
    };
    let mut all: Vec<String> = by_label.iter().map(label).chain(by_path.iter().map(path)).collect();
    all.sort();
    Ok(all.join("; "))
}

#[test]
fn a_word_is_a_name_and_what_has_a_slash_or_a_wildcard_is_a_path() {
    let image = image(&[]);
    for (typed, expected) in [
        ("tool", "0: record /bin/tool as tool"),
        // A path that happens to be labelled, by either of its paths.
        ("/bin/tool", "0: record /bin/tool as tool"),
        ("/usr/bin/tool", "0: record /usr/bin/tool as tool"),
        ("./tool", "0: path ./tool"),
        ("too?", "0: path too?"),
        (".", "0: path ."),
        ("inherited", "0: path /opt/old as inherited"),
        ("declared", "0: path /opt/new as declared"),
        ("legacy.bin", "0: path legacy.bin in its layer"),
    ] {
        assert_eq!(sorted(&image, &request(&[typed]), &[], true), Ok(expected.to_owned()), "{typed}");
    }
    let unknown = sorted(&image, &request(&["toll"]), &[], true).unwrap_err();
    assert!(unknown.contains("no artifact toll; it has tool, "), "{unknown}");
    assert!(!unknown.contains("bad"), "what cannot be read names nothing: {unknown}");
    assert!(sorted(&image, &request(&["bad"]), &[], true).unwrap_err().contains("a label that cannot be read"));
    let kept = Request { dereference: false, ..request(&["/bin/tool"]) };
    assert_eq!(sorted(&image, &kept, &[], true), Ok("0: path /bin/tool".to_owned()), "the link itself is meant");
}

#[test]
fn a_word_is_a_path_where_the_image_has_no_artifacts() {
    let bare = Memory::new(vec![b"base".to_vec()], As::Streams).image;
    assert_eq!(sorted(&bare, &request(&["tool", "/x"]), &[], true), Ok("0: path tool; 1: path /x".to_owned()));
    let attached = [("other", record("/other", None, &bare))];
    assert!(sorted(&bare, &request(&["tool"]), &attached, true).unwrap_err().contains("it has other"));
}

#[test]
fn what_is_attached_serves_a_name_only_where_it_may_be_trusted() {
    let image = image(&[]);
    let attached = [
        ("extra", record("/opt/extra", None, &image)),
        ("declared", record("/opt/new", None, &image)),
        ("inherited", record("/somewhere/else", None, &image)),
    ];
    for (typed, trusted, otherwise) in [
        ("extra", "0: record /opt/extra as extra", Err("does not cover it; use its path (/opt/extra)")),
        ("declared", "0: record /opt/new as declared", Ok("0: path /opt/new as declared")),
        // What is attached is of another path than the label.
        ("inherited", "0: path /opt/old as inherited", Ok("0: path /opt/old as inherited")),
        ("tool", "0: record /bin/tool as tool", Ok("0: record /bin/tool as tool")),
    ] {
        assert_eq!(sorted(&image, &request(&[typed]), &attached, true), Ok(trusted.to_owned()), "{typed}");
        match (sorted(&image, &request(&[typed]), &attached, false), otherwise) {
            (Ok(is), Ok(expected)) => assert_eq!(is, expected, "{typed}"),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{typed}: {error}"),
            (is, _) => panic!("{typed}: {is:?}"),
        }
    }
}

#[tokio::test]
async fn with_owners_and_attributes_kept_records_only_promise_the_digest() {
    let layers = vec![b"base".to_vec(), b"upper".to_vec()];
    let image = image(&[]);
    let source = Memory::new(layers, As::Streams).pinned();
    let keeping = Request { preserve: true, ..request(&["tool"]) };
    let asked = sort(&source, &image, &keeping, &Silent).await.unwrap();
    let [path] = asked.by_path.as_slice() else { panic!("one path") };
    assert!(asked.by_label.is_empty());
    assert_eq!((path.pattern.text(), path.digest.as_ref()), (b"/usr/bin/tool".as_slice(), Some(&Digest::of(b"abc"))));
}
