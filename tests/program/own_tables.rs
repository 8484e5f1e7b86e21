//! Our own tables of contents, kept by this machine or attached to an image: whatever is looked up comes out as when layers are read, and
//! costs its own bytes and a few parts of the tables.

use std::path::Path;
use std::sync::{Arc, Mutex};

use docker_artifact::artifact::get::{Proof, Report};
use docker_artifact::artifact::{Error, Tables};
use docker_artifact::progress::Progress;

use crate::stacks::{Place, generate, listing};
use crate::support::labelled::client;
use crate::support::library::{directory_in_memory, get_by};
use crate::support::*;

/// Keeps what a person is told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn start(&self, _: &str, _: &str, _: Option<u64>) {}
    fn advance(&self, _: &str, _: u64) {}
    fn finish(&self, _: &str) {}
    fn notice(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

/// What comes of getting `paths` into `directory`, and what a person is told.
fn get(directory: &Path, reference: &str, paths: &[&str], tables: Tables) -> (Result<Report, Error>, Vec<String>) {
    let told = Arc::new(Told::default());
    let progress: Arc<dyn Progress> = Arc::clone(&told) as Arc<dyn Progress>;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let report = runtime.block_on(get_by(directory, client(reference), paths, true, tables, progress));
    let told = told.0.lock().unwrap().clone();
    (report, told)
}

/// How many bytes of these layers were sent.
fn sent(registry: &Registry, image: &Packed) -> u64 {
    let of = |layer: &image::Content| registry.logged("GET", &layer.digest());
    image.layers.iter().flat_map(of).map(|request| request.sent()).sum()
}

/// A large layer of many kinds of things.
fn base() -> Layer {
    Layer::new([
        dir("etc"),
        file("etc/before", noise(1, 3_000_000)),
        file("etc/config", "deep = true\n").mode(0o600),
        file("etc/empty", ""),
        dir("usr/"),
        dir("usr/bin/"),
        file("usr/bin/tool", noise(2, 100_000)).mode(0o4755).owner(7, 8),
        hardlink("usr/bin/same", "usr/bin/tool"),
        symlink("bin", "usr/bin"),
        fifo("pipe"),
        file("usr/after", noise(5, 3_000_000)),
        file("usr/lib/x/deep", "deep"),
        file("ünï", "names"),
    ])
}

/// A layer above that hides some of it.
fn upper() -> Layer {
    Layer::new([
        file("opt/large", noise(6, 1_000_000)),
        whiteout("etc/empty"),
        symlink("tool", "bin/same"),
        file("etc/config", "deep = false\n"),
        opaque("usr/lib"),
    ])
}

/// The same layers, stored in each way.
fn images() -> Vec<Image> {
    let stored: [fn(Layer) -> Layer; 5] =
        [|layer| layer, Layer::plain, Layer::zstd, |layer| layer.gzip_members(5), |layer| layer.zstd_frames(7)];
    stored.map(|stored| Image::new().layer(stored(base())).layer(stored(upper()))).into()
}

#[test]
fn any_file_costs_its_own_bytes_and_is_the_one_that_the_layers_have() {
    for (number, image) in images().iter().enumerate() {
        let (registry, reference, packed) = Registry::serving(image);
        let repository = reference.split_once('/').unwrap().1.split(':').next().unwrap();
        let cached = OwnTables::cached(&packed);
        let attached = [true, false].map(|embedded| OwnTables::attached(&packed, &registry, repository, embedded));
        for (tables, proof) in
            [(&cached, Proof::Layer), (&attached[0], Proof::Attached), (&attached[1], Proof::Attached)]
        {
            let before = sent(&registry, &packed);
            let directory = directory_in_memory();
            let (report, told) = get(directory.path(), &reference, &["/tool", "/etc/config"], tables.tables());
            let report = report.unwrap_or_else(|error| panic!("{number}: {error} {told:?}"));
            assert!(report.files.iter().all(|file| file.proof == proof), "{number}: {:?} {told:?}", report.files);
            assert!(std::fs::read(directory.path().join("tool")).unwrap() == noise(2, 100_000));
            assert_eq!(std::fs::read(directory.path().join("config")).unwrap(), b"deep = false\n");
            // Frames of zstd are begun where they begin.
            let slack = if number == 2 { u64::MAX } else { 1_200_000 };
            let fetched = sent(&registry, &packed) - before;
            assert!(fetched <= slack, "{number}: {fetched} {told:?}");
            assert!(told.is_empty(), "{told:?}");
        }
    }
}

#[test]
fn a_lookup_comes_out_the_same_as_when_layers_are_read() {
    for image in images() {
        let (registry, reference, packed) = Registry::serving(&image);
        let repository = reference.split_once('/').unwrap().1.split(':').next().unwrap();
        let cached = OwnTables::cached(&packed);
        let attached = OwnTables::attached(&packed, &registry, repository, true);
        for paths in [
            &["/"][..],
            &["/tool"],
            &["/bin/same", "/usr/bin/tool"],
            &["/bin/"],
            &["/etc/*"],
            &["/usr/**/*o*"],
            &["/ünï", "/usr/after"],
            &["/usr/lib"],
            &["/etc/empty"],
            &["/nothing"],
            &["/usr/lib/x/deep"],
            &["/pipe"],
            &["/etc/confiq"],
            &["/usr/bin/tol"],
        ] {
            let read = |tables| {
                let directory = directory_in_memory();
                let report = get(directory.path(), &reference, paths, tables).0;
                (report.map(|_| listing(directory.path())).map_err(|error| error.to_string()), ())
            };
            let expected = read(Tables::default());
            let before = sent(&registry, &packed);
            assert_eq!(read(cached.tables()), expected, "{paths:?}");
            assert_eq!(read(attached.tables()), expected, "{paths:?}");
            let fetched = sent(&registry, &packed) - before;
            assert!(expected.0.is_ok() || fetched == 0, "{paths:?} {fetched}");
        }
    }
}

#[test]
fn random_stacks_come_out_the_same_as_when_layers_are_read() {
    for seed in 0..40 {
        let mut stack = generate(seed);
        // Smaller layers are read.
        for (number, layer) in stack.iter_mut().enumerate() {
            let (path, what) = (format!("noise{number}"), crate::stacks::What::File(noise(seed, 70_000)));
            layer.push(crate::stacks::StackEntry { path, what, mode: 0o644 });
        }
        let image = crate::stacks::image(&stack, Place::Registry);
        let registry = Registry::start();
        let reference = registry.push("random/stack:1", &image);
        let packed = image.pack();
        let attached = OwnTables::attached(&packed, &registry, "random/stack", seed % 2 == 0);
        let got = |tables| {
            let directory = directory_in_memory();
            let (report, told) = get(directory.path(), &reference, &["/"], tables);
            let report = report.unwrap_or_else(|error| panic!("{seed}: {error}"));
            (listing(directory.path()), report.files[0].proof, told)
        };
        let (expected, ..) = got(Tables::default());
        let (cached, proof, told) = got(OwnTables::cached(&packed).tables());
        assert!(cached == expected && proof == Proof::Layer && told.is_empty(), "{seed}: {told:?} of {stack:#?}");
        let (attached, proof, told) = got(attached.tables());
        assert!(attached == expected && proof == Proof::Attached && told.is_empty(), "{seed}: {told:?} of {stack:#?}");
    }
}

#[test]
fn a_damaged_table_is_forgotten_and_its_layer_read() {
    let image = &images()[0];
    let (_registry, reference, packed) = Registry::serving(image);
    let base = packed.layers[0].digest();
    for place in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] {
        let tables = OwnTables::cached(&packed);
        let mut length = 0;
        tables.edit(&base, |bytes| {
            length = bytes.len();
            let at = length * place / 10;
            bytes[at..].iter_mut().take(200).for_each(|byte| *byte ^= 0x55);
        });
        let directory = directory_in_memory();
        let (report, told) = get(directory.path(), &reference, &["/tool", "/ünï"], tables.tables());
        report.unwrap_or_else(|error| panic!("{place}: {error}"));
        assert!(std::fs::read(directory.path().join("tool")).unwrap() == noise(2, 100_000));
        assert_eq!(tables.count(), 2 - usize::from(!told.is_empty()), "{place} of {length}: {told:?}");
        assert!(told.iter().all(|told| told.contains("reading the layer instead")), "{told:?}");
    }
    let tables = OwnTables::cached(&packed);
    tables.edit(&base, |bytes| bytes.truncate(1000));
    let directory = directory_in_memory();
    let (report, told) = get(directory.path(), &reference, &["/tool"], tables.tables());
    assert!(report.is_ok() && told.len() == 1 && tables.count() == 1, "{told:?}");
}
