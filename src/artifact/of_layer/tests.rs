//! Which layer's copy is got, and when that is not one.

use std::cell::Cell;
use std::sync::Arc;

use super::super::fixture::{As, Member, Memory, file, gzip, tar};
use super::super::request::Request;
use super::*;
use crate::artifact::layers::Verify;
use crate::artifact::tables::Tables;
use crate::extract::{Destination, Staging};
use crate::image::digest::Digest;
use crate::image::platform::Choice;
use crate::progress::{Progress, Silent};
use crate::source::Source;

/// Two steps wrote the same things over a base with a link, and the last layer has deleted one.
fn memory() -> Memory {
    let base = tar(&[Member::Link("bin", "usr/bin"), file("usr/bin/cc", "cc")]);
    let first =
        tar(&[file("app/conf", "first"), file("usr/bin/tool", "first"), file("a/x.log", "x"), file("b/x.log", "x")]);
    let second = tar(&[file("app/conf", "second"), file("app/trace.log", "traced")]);
    let last = tar(&[file("app/.wh.trace.log", "")]);
    Memory::new([base, first, second, last].iter().map(|layer| gzip(layer)).collect(), As::Streams)
}

fn request(destination: Destination) -> Request {
    Request {
        paths: Vec::new(),
        platform: Choice::Host,
        destination,
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

thread_local! {
    /// How many files were staged in the last search.
    static STAGED: Cell<usize> = const { Cell::new(0) };
}

/// What is found by `find`, as `PATH DIGEST` with a digest's beginning, and the layers that were opened for it.
async fn found(
    find: impl AsyncFnOnce(&LookUp<'_>, &mut Unverified) -> Result<Vec<Thing>, Error>,
) -> (Result<Vec<String>, String>, Vec<usize>) {
    let memory = Arc::new(memory());
    let source: Arc<dyn Source> = Arc::clone(&memory) as Arc<dyn Source>;
    let directory = tempfile::tempdir().unwrap();
    let request = request(Destination::Directory(directory.path().to_owned()));
    let staging = Arc::new(Staging::new(&request.destination).unwrap());
    let image = &memory.image;
    let progress: Arc<dyn Progress> = Arc::new(Silent);
    let look_up =
        LookUp { source: &source, name: "app", image, staging: &staging, request: &request, progress: &progress };
    let things = find(&look_up, &mut Unverified::default()).await;
    let things = things.map_err(|error| error.to_string()).map(|things| {
        let layer =
            |thing: &Thing| image.layers.iter().position(|layer| layer.digest() == thing.fetched.layer.as_ref());
        things.iter().map(|thing| format!("{} of {:?}", thing.fetched.path, layer(thing).unwrap())).collect()
    });
    let staging = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    STAGED.set(std::fs::read_dir(staging).unwrap().count());
    (things, memory.opened())
}

async fn of_layers(layers: &[usize], typed: &[&str]) -> (Result<Vec<String>, String>, Vec<usize>) {
    let paths: Vec<Vec<u8>> = typed.iter().map(|path| path.as_bytes().to_vec()).collect();
    let asked = sort(&paths).unwrap().by_path;
    let positions: Vec<LayerPosition> = layers.iter().map(|layer| LayerPosition(*layer)).collect();
    found(async |look_up: &LookUp<'_>, unverified: &mut Unverified| {
        things(look_up, &positions, &asked, unverified).await
    })
    .await
}

fn are(things: &[&str]) -> Result<Vec<String>, String> {
    Ok(things.iter().map(|thing| (*thing).to_owned()).collect())
}

#[tokio::test]
async fn a_scope_is_all_layers_one_of_them_or_one_with_those_below() {
    let first = Digest::of(&gzip(&tar(&[
        file("app/conf", "first"),
        file("usr/bin/tool", "first"),
        file("a/x.log", "x"),
        file("b/x.log", "x"),
    ])));
    for (scope, path, expected) in [
        (Scope::Image, "/app/conf", are(&["/app/conf of 2"])),
        (Scope::Image, "/bin/tool", are(&["/bin/tool of 1"])),
        (Scope::Blob(first), "/app/conf", are(&["/app/conf of 1"])),
        (Scope::Alone(LayerPosition(1)), "/app/conf", are(&["/app/conf of 1"])),
        (Scope::Alone(LayerPosition(1)), "/bin/tool", are(&[])),
        (Scope::UpTo(LayerPosition(1)), "/bin/tool", are(&["/bin/tool of 1"])),
        (Scope::UpTo(LayerPosition(1)), "/bin/cc", are(&[])),
        (Scope::Image, "/app/trace.log", are(&[])),
        (Scope::UpTo(LayerPosition(2)), "/app/trace.log", are(&["/app/trace.log of 2"])),
    ] {
        let asked = [ByPath::plain(0, Pattern::parse(path.as_bytes()).unwrap())];
        let look = async |look_up: &LookUp<'_>, unverified: &mut Unverified| {
            look_up.optional_things(&scope, &asked, unverified).await
        };
        assert_eq!(found(look).await.0, expected, "{path}");
    }
}

#[tokio::test]
async fn a_layer_gives_its_own_copy_and_others_are_not_opened_where_it_has_the_path_itself() {
    assert_eq!(of_layers(&[1], &["/app/conf"]).await, (are(&["/app/conf of 1"]), vec![1]));
    assert_eq!(of_layers(&[1], &["tool"]).await, (are(&["/usr/bin/tool of 1"]), vec![1]));
    let (things, opened) = of_layers(&[1], &["/bin/tool"]).await;
    assert_eq!((things, opened.contains(&0)), (are(&["/bin/tool of 1"]), true), "the link lies below");
    assert!(of_layers(&[1], &["/bin/cc"]).await.0.unwrap_err().contains("only that layer itself was searched"));
}

#[tokio::test]
async fn content_that_a_second_step_has_too_is_not_fetched_to_say_so() {
    let (things, opened) = of_layers(&[2, 1], &["/app/conf"]).await;
    assert!(things.is_err());
    assert_eq!((opened, STAGED.get()), (vec![2, 1], 1));
}

#[tokio::test]
async fn several_hits_are_an_error_and_one_among_several_layers_is_none() {
    assert_eq!(of_layers(&[2, 1], &["trace.log"]).await.0, are(&["/app/trace.log of 2"]));
    let error = of_layers(&[2, 1], &["/app/conf"]).await.0.unwrap_err();
    assert!(error.contains("/app/conf in layer 3 of 4") && error.contains("/app/conf in layer 2 of 4"), "{error}");
    let error = of_layers(&[1], &["x.log"]).await.0.unwrap_err();
    assert!(error.contains("x.log is in 2 places: /a/x.log in layer 2") && error.contains("/b/x.log in"), "{error}");
    // A glob says that it is about several.
    assert_eq!(of_layers(&[1], &["/*/x.log"]).await.0, are(&["/a/x.log of 1", "/b/x.log of 1"]));
    assert!(of_layers(&[2, 1], &["nope"]).await.0.unwrap_err().contains("in any of the 2 layers that are meant"));
}

#[tokio::test]
async fn a_file_is_hashed_where_its_digest_is_told_or_promised() {
    let memory = Arc::new(memory());
    let source: Arc<dyn Source> = Arc::clone(&memory) as Arc<dyn Source>;
    let directory = tempfile::tempdir().unwrap();
    let plain = request(Destination::Directory(directory.path().to_owned()));
    let told = Request { digests: true, ..request(plain.destination.clone()) };
    let staging = Arc::new(Staging::new(&plain.destination).unwrap());
    let (image, second) = (&memory.image, Digest::of(b"second"));
    for (request, promised, expected) in
        [(&plain, None, None), (&told, None, Some(&second)), (&plain, Some(&second), Some(&second))]
    {
        let progress: Arc<dyn Progress> = Arc::new(Silent);
        let look_up = LookUp { source: &source, name: "app", image, staging: &staging, request, progress: &progress };
        let conf = ByPath { digest: promised.cloned(), ..ByPath::plain(0, Pattern::parse(b"/app/conf").unwrap()) };
        let things = look_up.things(&Scope::Image, &[conf], &mut Unverified::default()).await.unwrap();
        assert_eq!(things[0].fetched.digest.as_ref(), expected);
        let whole = ByPath::plain(0, Pattern::parse(b"/app").unwrap());
        let things = look_up.things(&Scope::Image, &[whole], &mut Unverified::default()).await.unwrap();
        assert_eq!(things[0].fetched.digest, None, "a directory has none");
    }
}
