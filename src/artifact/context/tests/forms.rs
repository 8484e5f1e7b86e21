//! The two forms, and the cheap way to what they hold.

use super::*;
use crate::image::digest::Digest;
use crate::image::label::{Mode, Record};
use crate::source::layout::Layout as Folder;

fn tool() -> Vec<u8> {
    // Of 1000:1001, with setuid.
    let member = Block::new("bin/tool", b'0', 4).set(100, "0004755").with("tool");
    [pax(&[("SCHILY.xattr.user.origin", "image"), ("mtime", "7.5")]), member, END.to_vec()].concat()
}

#[tokio::test]
async fn files_of_two_images_never_have_the_same_time_and_those_of_one_image_do() {
    let parts_of_seconds = |layer: Vec<u8>, paths: &'static [&'static str]| async move {
        let (scratch, memory) = (Scratch::new(), Memory::new(vec![layer.clone()], As::Streams));
        let mut image = Image::clone(&memory.image);
        image.digest = Some(Digest::of(&layer));
        let request = Request {
            wanted: vec![copied(paths)],
            is_stage: false,
            tables: Tables::default(),
            folder: scratch.folder(),
        };
        let outcome = context(Arc::new(memory), Arc::new(image), &request, Arc::new(Silent)).await.unwrap();
        assert!(matches!(outcome, Outcome::Written(_)), "{outcome:?}");
        let times = paths.iter().map(|path| scratch.metadata(&path[1..])).map(|file| (file.mtime(), file.mtime_nsec()));
        times.collect::<Vec<_>>()
    };
    let image = |tool: &str| {
        let timed = of_root(Block::new("timed", b'0', 0)).with("");
        [pax(&[("mtime", "7.75")]), timed, tar(&[file("bin/tool", tool), file("bin/other", "")])].concat()
    };
    let one = parts_of_seconds(image("one"), &["/bin/tool", "/bin/other", "/timed"]).await;
    assert!(one[0].0 == 0 && (1..500_000_000).contains(&one[0].1), "{one:?}");
    assert_eq!((one[0], one[2]), (one[1], (7, 750_000_000)));
    assert_eq!(parts_of_seconds(image("one"), &["/bin/tool"]).await, one[..1]);
    assert_ne!(parts_of_seconds(image("two"), &["/bin/tool"]).await, one[..1]);
}

async fn layout_of(scratch: &Scratch, layers: Vec<Vec<u8>>) -> Digest {
    let memory = Memory::new(layers, As::Streams);
    let mut image = Image::clone(&memory.image);
    (image.config.os, image.config.architecture) = ("linux".to_owned(), "riscv64".to_owned());
    let request = Request {
        wanted: vec![copied(&["/bin/tool"])],
        is_stage: true,
        tables: Tables::default(),
        folder: scratch.folder(),
    };
    match layout(Arc::new(memory), Arc::new(image), &request, Arc::new(Silent)).await.unwrap() {
        Outcome::Written(report) => report.layout.unwrap(),
        Outcome::Unfit(unfit) => panic!("{unfit}"),
    }
}

#[tokio::test]
async fn a_layout_keeps_owners_attributes_and_modes_and_is_the_same_each_time() {
    let (one, other) = (Scratch::new(), Scratch::new());
    let digest = layout_of(&one, vec![tool()]).await;
    // Whatever else the image has.
    assert_eq!(digest, layout_of(&other, vec![tar(&[file("etc/motd", "hi")]), tool()]).await);
    let read = |digest: &str| fs::read(one.folder().join("blobs/sha256").join(&digest["sha256:".len()..])).unwrap();
    let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    let manifest = json(&read(digest.as_str()));
    assert_eq!(Digest::of(&read(digest.as_str())), digest);
    let config = json(&read(manifest["config"]["digest"].as_str().unwrap()));
    assert_eq!((config["os"].as_str(), config["architecture"].as_str()), (Some("linux"), Some("riscv64")));
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    let layer = read(manifest["layers"][0]["digest"].as_str().unwrap());
    let mut archive = ::tar::Archive::new(layer.as_slice());
    let mut told = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let records = entry.pax_extensions().unwrap().into_iter().flatten();
        let records: Vec<String> = records.map(|record| record.unwrap().key().unwrap().to_owned()).collect();
        let header = entry.header();
        let (mode, uid, gid) = (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap());
        told.push((entry.path().unwrap().display().to_string(), mode, uid, gid, records));
    }
    let records = vec!["mtime".to_owned(), "SCHILY.xattr.user.origin".to_owned()];
    assert_eq!(
        told,
        [("bin/".to_owned(), 0o755, 0, 0, Vec::new()), ("bin/tool".to_owned(), 0o4755, 1000, 1001, records)]
    );
    // The place that reads layouts finds it.
    assert_eq!(Folder::open(&one.folder()).unwrap().select(None).unwrap().digest, digest);
}

/// An image whose second layer's file is labelled, and a layer below it that cannot be had.
fn labelled(layer: &[u8], path: &str, real: Option<&str>) -> Memory {
    let layers = || vec![tar(&[file("etc/motd", "hi")]), layer.to_vec()];
    let plain = Memory::new(layers(), As::Streams);
    let record = Record::File {
        path: path.to_owned(),
        real: real.map(str::to_owned),
        size: 4,
        mode: Mode(0o755),
        digest: Digest::of(b"tool"),
        layer: plain.image.layers[1].diff_id.clone().unwrap(),
        offset: 512,
        chain: plain.image.chain_id().unwrap(),
    };
    let label = serde_json::to_string(&record).unwrap();
    Memory::labelled(layers(), As::Streams, &[("org.docker-artifact.tool", &label)]).without(0)
}

#[tokio::test]
async fn a_labelled_file_is_had_without_the_other_layers_where_the_tar_says_that_it_is_plain() {
    let block = |name: &str| of_root(Block::new(name, b'0', 4)).set(100, "0000755");
    let layer = |name: &str, owner: &str| {
        let member = block(name).set(108, format!("{owner:0>7}")).with("tool");
        [member, Block::new("d/", b'5', 0).with(""), END.to_vec()].concat()
    };
    let of = |layer: Vec<u8>, real: Option<&'static str>, wanted: Wanted| async move {
        let (scratch, memory) = (Scratch::new(), labelled(&layer, "/bin/tool", real));
        let image = Arc::clone(&memory.image);
        let request =
            Request { wanted: vec![wanted], is_stage: false, tables: Tables::default(), folder: scratch.folder() };
        let outcome = context(Arc::new(memory), image, &request, Arc::new(Silent)).await;
        outcome.map(|outcome| match outcome {
            Outcome::Written(_) => scratch.list().join(", "),
            Outcome::Unfit(unfit) => unfit.to_string(),
        })
    };
    let tool = || copied(&["/bin/tool"]);
    assert_eq!(of(layer("bin/tool", "0"), None, tool()).await.unwrap(), "bin/, bin/tool: tool");
    let real = Some("/usr/bin/tool");
    assert_eq!(of(layer("usr/bin/tool", "0"), real, tool()).await.unwrap(), "bin/, bin/tool: tool");
    let owned = of(layer("bin/tool", "1"), None, tool()).await.unwrap();
    assert!(owned.starts_with("/bin/tool belongs to 1:0"), "{owned}");
    // What is at the place that the label names is called otherwise, so all of the layers have to tell.
    assert!(of(layer("bin/other", "0"), None, tool()).await.is_err());
    // With a path that is not labelled, or directories above, the layer that cannot be had is needed.
    for wanted in [copied(&["/bin/tool", "/d", "/etc"]), Wanted { with_parents: true, ..copied(&["/et*"]) }] {
        assert!(of(layer("bin/tool", "0"), None, wanted).await.is_err());
    }
}
