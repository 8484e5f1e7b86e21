//! Our own tables of contents, kept by this machine or attached to an image: whatever is looked up comes out as when layers are read, and
//! costs its own bytes and a few parts of the tables.

use std::path::Path;
use std::sync::{Arc, Mutex};

use docker_artifact::artifact::get::{Proof, Report};
use docker_artifact::artifact::label::Request as Labelling;
use docker_artifact::artifact::list_files::{Depth, ListedFile, list_files};
use docker_artifact::artifact::{Error, Tables};
use docker_artifact::image::digest::Digest;
use docker_artifact::image::platform::Choice;
use docker_artifact::layer::{Compression, Entry, Kind};
use docker_artifact::progress::{Progress, Silent};
use docker_artifact::source::Source;
use docker_artifact::table::own::{Blob, Writer};

use crate::stacks::{Place, generate, listing};
use crate::support::labelled::{add, client, content, label_as, try_label};
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
    let mut told = told.0.lock().unwrap().clone();
    told.retain(|told| !told.starts_with("skipped"));
    (report, told)
}

/// The name of the repository that `reference` is in.
fn repository(reference: &str) -> &str {
    reference.split_once('/').unwrap().1.split(':').next().unwrap()
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
        let cached = OwnTables::cached(&packed);
        let attached =
            [true, false].map(|embedded| OwnTables::attached(&packed, &registry, repository(&reference), embedded));
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
        let cached = OwnTables::cached(&packed);
        let attached = OwnTables::attached(&packed, &registry, repository(&reference), true);
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

/// All rows that `ls` has of an image, by these tables.
fn rows(reference: &str, paths: &[&str], depth: Depth, tables: Tables) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (source, progress): (Arc<dyn Source>, Arc<dyn Progress>) = (client(reference), Arc::new(Silent));
        let image = Arc::new(source.image(&Choice::Host, &Silent).await.unwrap());
        let paths: Vec<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        let listing = list_files(source, image, &paths, depth, tables, &progress).await.unwrap();
        let mut rows = Vec::new();
        let listed = listing.each(&mut |file| {
            // What told of its layer is another matter.
            rows.push(format!("{:?}", ListedFile { read: None, ..*file }));
            Ok::<_, ()>(())
        });
        listed.unwrap().unwrap();
        rows
    })
}

#[test]
fn a_listing_is_the_same_and_reads_no_layer() {
    let (registry, reference, packed) = Registry::serving(&images()[0]);
    let cached = OwnTables::cached(&packed);
    let attached = OwnTables::attached(&packed, &registry, repository(&reference), true);
    for (paths, depth) in
        [(&["/"][..], Depth::All), (&["/etc", "/usr/bin"], Depth::Children), (&["/*", "/bin/t*"], Depth::Itself)]
    {
        let expected = rows(&reference, paths, depth, Tables::default());
        let before = sent(&registry, &packed);
        assert_eq!(rows(&reference, paths, depth, cached.tables()), expected);
        assert_eq!(rows(&reference, paths, depth, attached.tables()), expected);
        assert!(sent(&registry, &packed) == before && expected.len() > 1, "{expected:?}");
    }
}

#[test]
fn labels_are_the_same_and_cost_the_bytes_of_what_is_labelled() {
    let named = [("tool", "/tool"), ("lib", "/etc")];
    for image in images() {
        let (registry, reference, packed) = Registry::serving(&image);
        let cached = OwnTables::cached(&packed);
        let labelled = try_label(&reference, Labelling { tables: cached.tables(), ..add(&named) }).unwrap();
        let fetched = sent(&registry, &packed);
        let (_other, reference_of_other, _) = Registry::serving(&image);
        let expected = label_as(&reference_of_other, &named);
        // The extents may be others, and so may the list of them that the manifest names.
        assert_eq!(labelled.images[0].artifacts, expected.images[0].artifacts);
        assert_eq!(labelled.configs, expected.configs);
        // The file in front of the others is one of those that are labelled.
        let whole: usize = packed.layers.iter().map(|layer| layer.bytes.len()).sum();
        assert!(fetched < whole as u64, "{fetched} of {whole}");
        let before = sent(&registry, &packed);
        assert!(content(&reference, "tool").as_bytes() == content(&reference_of_other, "tool").as_bytes());
        let fetched = sent(&registry, &packed) - before;
        assert!(fetched < whole as u64, "{fetched} of {whole}");
    }
}

#[test]
fn a_file_with_holes_is_got_out_of_its_layer_and_the_table_stays() {
    let holes = sparse_file("holes", SparseFormat::Pax10, 1 << 20, &[(4096, &[b'x'; 512]), (1 << 19, &[b'y'; 1024])]);
    let image = Image::new().layer(Layer::new([file("noise", noise(1, 100_000))])).layer(Layer::new([holes]));
    let (_registry, reference, packed) = Registry::serving(&image);
    let tables = OwnTables::cached(&packed);
    let directory = directory_in_memory();
    let (report, told) = get(directory.path(), &reference, &["/holes", "/noise"], tables.tables());
    assert!(report.is_ok() && told.is_empty() && tables.count() == 2, "{told:?}");
    let mut content = vec![0; 1 << 20];
    content[4096..4608].fill(b'x');
    content[1 << 19..(1 << 19) + 1024].fill(b'y');
    assert!(std::fs::read(directory.path().join("holes")).unwrap() == content);
}

/// How many layers of 100,000 entries are looked at. Ten would be the same, and take longer.
const LAYERS: usize = 3;

/// A layer of one file and some noise, and its table, which says that there are `more` files.
fn large(number: usize, name: &str, more: usize) -> (Layer, Vec<u8>, docker_artifact::table::own::Part) {
    let content = noise(number as u64, 50_000);
    let layer = Layer::new([file(name, content.clone()), file("noise", noise(99 + number as u64, 70_000))]).plain();
    let bytes = Image::new().layer(layer.clone()).pack().layers[0].bytes.to_vec();
    let of = Blob { digest: Digest::of(&bytes), size: bytes.len() as u64, compression: Compression::None };
    let mut writer = Writer::new(tempfile::tempfile().unwrap(), Box::new(tempfile::tempfile), of);
    let entry = |path: String, kind, header_offset, data_offset| Entry {
        path: path.into_bytes(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        xattrs: Vec::new(),
        header_offset,
        data_offset,
    };
    let kind = Kind::File { size: content.len() as u64, sparse: false };
    writer.entry(&entry(name.to_owned(), kind, 0, 512), Some(Digest::of(&content))).unwrap();
    for more in 0..more {
        let path = format!("usr/share/packages/d{:04}/some-file-{more}.txt", more / 100);
        // What is told of lies in the layer, wherever that is.
        let at = 512 * (more as u64 % 100);
        let digest = Digest::of(path.as_bytes());
        writer.entry(&entry(path, Kind::File { size: 700, sparse: false }, at, at + 512), Some(digest)).unwrap();
    }
    let mut written = writer.finish().unwrap();
    let mut table = Vec::new();
    std::io::Seek::rewind(&mut written.file).unwrap();
    std::io::Read::read_to_end(&mut written.file, &mut table).unwrap();
    (layer, table, written.top)
}

#[test]
fn a_path_among_very_many_entries_costs_some_parts_of_the_tables() {
    let layers: Vec<_> =
        (0..LAYERS).map(|number| large(number, &format!("usr/share/only-{number}"), 100_000)).collect();
    let image = layers.iter().fold(Image::new(), |image, (layer, ..)| image.layer(layer.clone()));
    let (registry, reference, packed) = Registry::serving(&image);
    let tables = layers.iter().map(|(_, table, top)| (table.as_slice(), top));
    let attached = OwnTables::of(&packed, tables, &registry, repository(&reference));
    let directory = directory_in_memory();
    let before = registry.log().len();
    let (report, told) = get(directory.path(), &reference, &["/usr/share/only-0"], attached.tables());
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    assert!(report.files[0].proof == Proof::Attached && told.is_empty(), "{told:?}");
    assert!(std::fs::read(directory.path().join("only-0")).unwrap() == noise(0, 50_000));
    let log = registry.log();
    let requests = log.len() - before;
    let manifest_and_config = packed.manifest.bytes.len() + packed.config.as_ref().unwrap().bytes.len();
    let beside = report.fetched_bytes - 50_000 - manifest_and_config as u64;
    assert!(beside <= (256 << 10) * LAYERS as u64 / 10, "{beside} bytes in {requests} requests");
    assert!(requests <= 6 + 2 * LAYERS, "{requests} requests for {beside} bytes");
    println!("{requests} requests, {beside} bytes beside the file");
}
