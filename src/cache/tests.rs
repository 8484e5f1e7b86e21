use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::progress::Silent;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn at(directory: &Path) -> Arc<Cache> {
    Arc::new(Cache::at(&directory.join("cache"), 1 << 30).unwrap())
}

/// Keeps a table of so many bytes, last used so long ago.
fn keep_table(cache: &Arc<Cache>, of: &str, bytes: usize, unused: Duration) -> Digest {
    let blob = Digest::of(of.as_bytes());
    let mut table = cache.new_table().unwrap();
    table.file.write_all(&vec![b'x'; bytes]).unwrap();
    table.keep(&blob).unwrap();
    let file = File::open(cache.path(Kind::Table, &blob)).unwrap();
    file.set_modified(SystemTime::now() - unused).unwrap();
    blob
}

fn unfinished(cache: &Cache) -> usize {
    let files = Kind::ALL.into_iter().flat_map(|kind| fs::read_dir(cache.root.join(kind.folder())).unwrap());
    files.filter(|file| file.as_ref().unwrap().file_name().as_encoded_bytes().starts_with(b".new-")).count()
}

#[test]
fn what_is_kept_is_found_by_its_digest() {
    let directory = tempfile::tempdir().unwrap();
    let cache = at(directory.path());
    let digest = Digest::of(b"{}");
    assert!(cache.manifest(&digest).is_none() && cache.blob(&digest).is_none() && cache.table(&digest).is_none());
    cache.keep_manifest(&digest, b"{}", Some("application/vnd.oci.image.index.v1+json"));
    cache.keep_blob(&digest, b"{}");
    let (bytes, media_type) = at(directory.path()).manifest(&digest).unwrap();
    assert_eq!((&*bytes, media_type.as_deref()), (&b"{}"[..], Some("application/vnd.oci.image.index.v1+json")));
    assert_eq!(cache.blob(&digest).unwrap(), b"{}");
    cache.keep_manifest(&digest, b"{}", None);
    assert_eq!(cache.manifest(&digest).unwrap().1, None);
    let blob = keep_table(&cache, "layer", 7, Duration::ZERO);
    let mut text = String::new();
    cache.table(&blob).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "xxxxxxx");
    cache.drop_table(&blob);
    assert!(cache.table(&blob).is_none());
}

#[test]
fn sha512_has_a_folder_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let cache = at(directory.path());
    let any: Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
    let mut hasher = any.hasher();
    hasher.update(b"{}");
    let digest = hasher.finish();
    cache.keep_blob(&digest, b"{}");
    assert_eq!(cache.blob(&digest).unwrap(), b"{}");
    assert!(cache.root.join("blobs/sha512").join(digest.encoded()).is_file());
    assert_eq!(cache.contents().others.files, 1);
}

#[test]
fn what_has_another_digest_is_dropped_and_never_given() {
    let directory = tempfile::tempdir().unwrap();
    let cache = at(directory.path());
    let digest = Digest::of(b"{}");
    for (kind, damaged) in [
        (Kind::Manifest, &b""[..]),
        (Kind::Manifest, b"{}"),
        (Kind::Manifest, b"text/html\n{}x"),
        (Kind::Manifest, b"text/html\n{"),
        (Kind::Blob, b""),
        (Kind::Blob, b"{"),
        (Kind::Blob, b"{}\n"),
    ] {
        cache.keep_manifest(&digest, b"{}", None);
        cache.keep_blob(&digest, b"{}");
        fs::write(cache.path(kind, &digest), damaged).unwrap();
        let found = [cache.manifest(&digest).is_some(), cache.blob(&digest).is_some()];
        assert_eq!(found, [kind == Kind::Blob, kind == Kind::Manifest], "{damaged:?}");
        assert!(!cache.path(kind, &digest).exists(), "{damaged:?}");
    }
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let cache = at(directory.path());
    let digest = Digest::of(b"{}");
    cache.keep_manifest(&digest, b"{}", None);
    File::options().write(true).open(cache.path(Kind::Manifest, &digest)).unwrap().set_len(1 << 40).unwrap();
    assert!(cache.manifest(&digest).is_none() && !cache.path(Kind::Manifest, &digest).exists());
}

#[test]
fn a_name_tells_which_digest_it_had_last() {
    let directory = tempfile::tempdir().unwrap();
    let cache = at(directory.path());
    let [first, second] = [Digest::of(b"1"), Digest::of(b"2")];
    assert_eq!(cache.last_seen("registry.example/app:1"), None);
    for digest in [first, second] {
        cache.see("registry.example/app:1", &digest);
        assert_eq!(cache.last_seen("registry.example/app:1"), Some(digest));
    }
    assert_eq!(cache.last_seen("registry.example/app:2"), None);
}

#[test]
fn a_table_that_is_given_up_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let cache = at(directory.path());
    let table = cache.new_table().unwrap();
    let mut scratch = table.scratch().unwrap();
    scratch.write_all(b"rows").unwrap();
    assert_eq!(unfinished(&cache), 1);
    drop(table);
    assert_eq!(unfinished(&cache), 0);
    assert!(cache.contents().layers.is_empty());
}

#[test]
fn what_was_used_least_recently_goes_first_and_no_more_than_need_be() {
    let directory = tempfile::tempdir().unwrap();
    let cache = at(directory.path());
    let ages = [1_u32, 4, 2, 3];
    let blobs = ages.map(|age| keep_table(&cache, &age.to_string(), 40_000, HOUR * age));
    let each = cache.contents().layers[0].bytes;
    assert_eq!(cache.prune(3 * each), Pruned { files: 1, bytes: each });
    assert_eq!(blobs.each_ref().map(|blob| cache.look_at(blob).is_some()), [true, false, true, true]);
    // Used now, the oldest that is left is the last to go.
    assert!(cache.table(&blobs[3]).is_some());
    cache.prune(each);
    assert_eq!(blobs.each_ref().map(|blob| cache.look_at(blob).is_some()), [false, false, false, true]);
    cache.prune(0);
    assert_eq!(cache.contents().layers.len(), 0);
}

#[test]
fn a_cache_that_is_only_read_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("cache");
    let environment = |name: &str| (name == VARIABLE).then(|| root.clone().into_os_string());
    assert!(Cache::open_to_read(&environment).is_none() && !root.exists());
    let cache = at(directory.path());
    let table = keep_table(&cache, "table", 100, HOUR * 2);
    let (kept, other) = (Digest::of(b"kept"), Digest::of(b"other"));
    cache.keep_blob(&kept, b"kept");
    fs::write(cache.path(Kind::Blob, &kept), "damaged").unwrap();
    let used = || fs::metadata(cache.path(Kind::Table, &table)).unwrap().modified().unwrap();
    let before = used();
    let reading = Cache::open_to_read(&environment).unwrap();
    assert!(reading.table(&table).is_some() && reading.blob(&kept).is_none());
    reading.drop_table(&table);
    reading.keep_blob(&other, b"other");
    reading.see("name", &other);
    assert!(reading.new_table().is_err() && reading.last_seen("name").is_none());
    assert_eq!(used(), before);
    assert_eq!(fs::read(cache.path(Kind::Blob, &kept)).unwrap(), b"damaged");
    assert!(!cache.path(Kind::Blob, &other).exists());
}

#[test]
fn a_new_table_makes_room_for_itself() {
    let directory = tempfile::tempdir().unwrap();
    let small = || Arc::new(Cache::at(&directory.path().join("cache"), 100_000).unwrap());
    let old = keep_table(&small(), "old", 80_000, HOUR);
    let new = keep_table(&small(), "new", 80_000, Duration::ZERO);
    assert!(small().look_at(&old).is_none() && small().look_at(&new).is_some());
}

#[test]
fn one_process_keeps_no_more_than_an_eighth_beyond_what_may_stay() {
    let directory = tempfile::tempdir().unwrap();
    for limit in [0, 100_000, 1_000_000] {
        let cache = Arc::new(Cache::at(&directory.path().join("cache"), limit).unwrap());
        for number in 0..40 {
            let mut table = cache.new_table().unwrap();
            table.file.write_all(&[b'x'; 40_000]).unwrap();
            table.keep(&Digest::of(&[number])).unwrap();
            cache.keep_blob(&Digest::of(&[number]), &[number]);
        }
        let stays: u64 = cache.found(None).iter().map(|file| file.bytes).sum();
        assert!(stays <= limit + limit / 8 + 50_000, "{stays} of {limit}");
    }
}

#[test]
fn who_has_opened_a_table_keeps_it() {
    let directory = tempfile::tempdir().unwrap();
    let cache = at(directory.path());
    let blob = keep_table(&cache, "layer", 7, Duration::ZERO);
    let mut open = cache.table(&blob).unwrap();
    cache.prune(0);
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text.len(), 7);
}

#[test]
fn what_killed_runs_left_goes_and_what_is_not_the_caches_stays() {
    let directory = tempfile::tempdir().unwrap();
    let cache = at(directory.path());
    let tables = cache.root.join("tables");
    fs::create_dir(tables.join("sha256")).unwrap();
    let others = ["notes.txt", "sha256/notes.txt", "sha256/abc"].map(|name| tables.join(name));
    others.iter().for_each(|other| fs::write(other, "mine").unwrap());
    let elsewhere = directory.path().join("elsewhere");
    fs::write(&elsewhere, "mine").unwrap();
    let link = tables.join("sha256").join(Digest::of(b"link").encoded());
    symlink(&elsewhere, &link).unwrap();
    let left = [".new-old", ".new-now"].map(|name| tables.join(name));
    left.iter().for_each(|left| fs::write(left, "half").unwrap());
    File::open(&left[0]).unwrap().set_modified(SystemTime::now() - 2 * HOUR).unwrap();
    cache.prune(0);
    assert_eq!(left.each_ref().map(|left| left.exists()), [false, true]);
    assert!(others.iter().all(|other| other.exists()) && elsewhere.exists());
    assert!(fs::symlink_metadata(link).is_ok());
}

/// Such as in a folder that a job restores, which somebody else has filled.
#[test]
fn links_in_the_cache_lead_to_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let cache = at(directory.path());
    let other = directory.path().join("other");
    fs::create_dir(&other).unwrap();
    let mine = other.join(Digest::of(b"mine").encoded());
    fs::write(&mine, "mine").unwrap();
    File::open(&mine).unwrap().set_modified(SystemTime::now() - 1000 * HOUR).unwrap();
    symlink(&mine, cache.root.join("tables/pruned")).unwrap();
    symlink(&other, cache.root.join("blobs/sha256")).unwrap();
    fs::remove_dir(cache.root.join("names")).unwrap();
    symlink(&other, cache.root.join("names")).unwrap();
    fs::create_dir(cache.root.join("tables/sha256")).unwrap();
    let blob = Digest::of(b"layer");
    symlink(&mine, cache.path(Kind::Table, &blob)).unwrap();
    assert!(cache.table(&blob).is_none() && cache.look_at(&blob).is_none());
    cache.prune(0);
    cache.remove_all(|_| true);
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    assert!(fs::metadata(&mine).unwrap().modified().unwrap() < SystemTime::now() - 999 * HOUR);
    let blob = keep_table(&cache, "layer", 7, Duration::ZERO);
    assert!(cache.table(&blob).is_some(), "a table takes the place of a link");
}

#[test]
fn a_pipe_in_the_cache_keeps_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let cache = at(directory.path());
    fs::create_dir(cache.root.join("tables/sha256")).unwrap();
    let blob = Digest::of(b"layer");
    for pipe in [cache.path(Kind::Table, &blob), cache.root.join("tables/pruned")] {
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    }
    assert!(cache.table(&blob).is_none() && cache.look_at(&blob).is_none());
    cache.prune(0);
}

#[test]
fn only_one_prunes_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let cache = at(directory.path());
    keep_table(&cache, "layer", 7, Duration::ZERO);
    let lock = File::open(cache.root.join("tables/pruned")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(cache.prune(0), Pruned::default());
    drop(lock);
    assert_eq!(cache.prune(0).files, 1);
}

#[test]
fn nothing_is_kept_where_nothing_is_to_be() {
    assert!(Cache::open(&|_| None, &Silent).is_none());
    assert!(Cache::open(&|name| (name == VARIABLE).then(|| "off".into()), &Silent).is_none());
    let directory = tempfile::tempdir().unwrap();
    let named = |name: &str| (name == VARIABLE).then(|| directory.path().as_os_str().to_owned());
    let cache = Cache::open(&named, &Silent).unwrap();
    assert_eq!((cache.root(), cache.limit), (&*directory.path().canonicalize().unwrap(), prune::LIMIT));
    fs::set_permissions(directory.path().join("tables"), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(Cache::open(&named, &Silent).is_none(), "others may write into it");
}

#[test]
fn a_size_is_written_as_docker_writes_it() {
    let limit = |text: &str| prune::limit(&|name| (name == SIZE_VARIABLE).then(|| text.into()));
    for (text, bytes) in
        [("", 1 << 30), ("0", 0), ("512", 512), ("10k", 10 << 10), ("500MB", 500 << 20), ("2 GiB", 2 << 30)]
    {
        assert_eq!(limit(text), Ok(bytes), "{text}");
    }
    for text in ["much", "-1", "1.5GB", "99999999999999999999", "20000000T", "GB", "1 PB"] {
        assert!(limit(text).unwrap_err().contains("is not a size"), "{text}");
    }
}
