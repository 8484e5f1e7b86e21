//! What lies in a staging directory, and what is left of it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::super::sample::*;
use super::*;

#[test]
fn staged_content_is_hidden_closed_to_others_and_removed() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let content = staged(&staging, b"hello");
    assert_eq!((content.size, &content.digest), (5, &Some(Digest::of(b"hello"))));
    let hidden = names(scratch.path());
    assert!(hidden.len() == 1 && hidden[0].starts_with(".docker-artifact-"), "{hidden:?}");
    assert_eq!(fs::metadata(scratch.path().join(&hidden[0])).unwrap().mode() & 0o777, 0o700);
    drop(staging);
    assert!(names(scratch.path()).is_empty());
    assert!(content.open().is_err());
}

#[test]
fn a_destination_that_was_created_for_nothing_is_removed() {
    let scratch = scratch();
    let staging = staging_for(&scratch.path().join("a/b"));
    assert!(scratch.path().join("a/b").is_dir());
    drop(staging);
    assert!(names(scratch.path()).is_empty());
}

#[test]
fn a_destination_that_was_created_holds_the_results() {
    let scratch = scratch();
    let destination = Destination::parse(Some(scratch.path().join("a/b/").as_os_str())).unwrap();
    let staging = Staging::new(&destination).unwrap();
    let item = file(&staging, b"x");
    publish_as(staging, "tool", item).unwrap();
    assert_eq!(names(&scratch.path().join("a/b")), ["tool"]);
}

#[test]
fn exactly_the_size_is_taken_from_the_reader() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let mut reader: &[u8] = b"contentnext";
    assert_eq!(staging.stage(&mut reader, 7).unwrap().digest, Some(Digest::of(b"content")));
    assert_eq!(reader, b"next");
    assert_eq!(staging.stage(&mut reader, 0).unwrap().size, 0);
    assert_eq!(reader, b"next");
}

#[test]
fn content_is_hashed_only_where_its_digest_is_asked_for() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    for (hashing, digest) in [(Hashing::Sha256, Some(Digest::of(b"hello"))), (Hashing::Skipped, None)] {
        let plain = staging.stage_as(&mut &b"hello"[..], 5, None, hashing).unwrap();
        assert_eq!((plain.size, &plain.digest), (5, &digest));
        let sparse = staging.stage_sparse(&mut Runs::new([Run::Hole(9), Run::Data(1)]), hashing).unwrap();
        assert_eq!((sparse.size, sparse.digest.is_some()), (10, digest.is_some()));
        let left = staging.holes_to_hash.load(Ordering::Relaxed);
        assert_eq!(left, HASHED_HOLES - 9, "only what is hashed is taken off the limit");
    }
}

#[test]
fn a_reader_that_ends_early_leaves_nothing() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    for hashing in [Hashing::Sha256, Hashing::Skipped] {
        let error = staging.stage_as(&mut &b"short"[..], 6, None, hashing).unwrap_err();
        assert!(matches!(&error, StageError::Read(error) if error.kind() == io::ErrorKind::UnexpectedEof), "{error}");
        assert_eq!(error.to_string(), "the content ends after 5 of 6 bytes");
    }
    assert!(names(&staging.path).is_empty());
}

#[test]
fn an_error_of_the_reader_comes_back_unchanged() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other(ExtractError::Interrupted))
        }
    }
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let Err(StageError::Read(error)) = staging.stage(&mut Broken, 1) else { panic!("not a read error") };
    assert!(matches!(error.downcast::<ExtractError>(), Ok(ExtractError::Interrupted)));
}

/// Content of a layer that counts what is read of it.
struct Runs {
    left: std::collections::VecDeque<Run>,
    read: u64,
}

impl Runs {
    fn new(runs: impl IntoIterator<Item = Run>) -> Self {
        Runs { left: runs.into_iter().collect(), read: 0 }
    }
}

impl Read for Runs {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(b'x');
        self.read += buffer.len() as u64;
        Ok(buffer.len())
    }
}

impl Content for Runs {
    fn next_run(&mut self) -> Option<Run> {
        self.left.pop_front()
    }
    fn extent(&self) -> Option<crate::layer::checkpoint::Extent> {
        None
    }
}

#[test]
fn holes_stay_holes_and_are_in_the_digest() {
    let data = BUFFER as u64 + 5;
    let runs = [Run::Hole(1 << 20), Run::Data(data), Run::Hole(70_000), Run::Data(1), Run::Hole(1 << 20)];
    let (million, middle) = (vec![0; 1 << 20], vec![b'x'; data as usize]);
    let expected = [&million[..], &middle, &[0; 70_000], b"x", &million].concat();
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let mut content = Runs::new(runs);
    let sparse = staging.stage_sparse(&mut content, Hashing::Sha256).unwrap();
    assert_eq!((sparse.size, sparse.holes, content.read), (expected.len() as u64, (2 << 20) + 70_000, data + 1));
    assert_eq!(sparse.digest, Some(Digest::of(&expected)));
    let mut read = Vec::new();
    sparse.open().unwrap().read_to_end(&mut read).unwrap();
    assert!(read == expected);
    let blocks = sparse.open().unwrap().metadata().unwrap().blocks() * 512;
    // A file system without holes stores them.
    assert!(cfg!(not(target_os = "linux")) || blocks < 1 << 20, "{blocks}");
    assert_eq!(staging.stage_sparse(&mut Runs::new([]), Hashing::Sha256).unwrap().digest, Some(Digest::of(b"")));
}

#[test]
fn a_copy_has_the_same_holes() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let runs = [Run::Hole(1 << 30), Run::Data(5), Run::Hole(1 << 40), Run::Data(70_000), Run::Hole(1 << 40)];
    let original = staging.stage_sparse(&mut Runs::new(runs), Hashing::Sha256).unwrap();
    let mut copy = File::options().read(true).write(true).create_new(true).open(scratch.path().join("copy")).unwrap();
    original.copy_to(&mut copy).unwrap();
    assert_eq!(copy.metadata().unwrap().len(), original.size);
    let mut data = [0; 7];
    copy.read_exact_at(&mut data, (1 << 30) - 1).unwrap();
    assert_eq!(&data, b"\0xxxxx\0");
    assert!(cfg!(not(target_os = "linux")) || copy.metadata().unwrap().blocks() < 1000);
}

#[test]
fn holes_are_hashed_up_to_a_limit_for_all_files_together() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    staging.holes_to_hash.store(10_000, Ordering::Relaxed);
    let digest = |runs: &[Run]| {
        staging.stage_sparse(&mut Runs::new(runs.iter().copied()), Hashing::Sha256).unwrap().digest.clone()
    };
    let left = || staging.holes_to_hash.load(Ordering::Relaxed);
    assert!(digest(&[Run::Hole(6_000), Run::Data(1)]).is_some());
    assert_eq!(left(), 4_000);
    // Not one of its two terabytes is hashed.
    assert_eq!(digest(&[Run::Data(1), Run::Hole(2 << 40), Run::Data(1), Run::Hole(1_000)]), None);
    assert_eq!(left(), 4_000, "what comes behind the end of hashing is not hashed either");
    assert_eq!(digest(&[Run::Hole(3_000), Run::Data(1), Run::Hole(3_000)]), None);
    assert!(digest(&[Run::Hole(1_000)]).is_some());
    assert_eq!(left(), 0);
    assert!(staged(&staging, b"no hole").digest.is_some());
}

#[test]
fn several_threads_stage_at_the_same_time() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let staging = &staging;
            scope.spawn(move || {
                for size in [0, 1, 4095, 4096, BUFFER - 1, BUFFER, BUFFER + 1] {
                    let content = vec![thread; size];
                    assert_eq!(staged(staging, &content).digest, Some(Digest::of(&content)));
                }
            });
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_place_that_one_may_not_write_to_is_named() {
    let scratch = scratch();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if !is_root() {
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o555)).unwrap();
    }
    as_nobody(|| {
        for directory in [scratch.path().to_owned(), scratch.path().join("new/er")] {
            let error = Staging::new(&Destination::Directory(directory)).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&format!("cannot write {}", scratch.path().display())), "{text}");
            assert!(text.contains("destination that you may write to"), "{text}");
            assert!(!text.contains(".docker-artifact-"), "{text}");
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_that_says_so() {
    let scratch = scratch();
    let mount = |arguments: &[&str]| {
        std::process::Command::new(arguments[0]).args(&arguments[1..]).arg(scratch.path()).output()
    };
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs"]).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped, as nothing can be mounted: a_full_disk_is_an_error_that_says_so");
        return;
    }
    let staging = staging_for(scratch.path());
    let result = staging.stage(&mut io::repeat(1), 1 << 20);
    let left = names(&staging.path);
    drop(staging);
    let staging_left = names(scratch.path());
    mount(&["umount"]).unwrap();
    let Err(StageError::Write(error)) = result else { panic!("{result:?}") };
    assert!(error.to_string().contains("free some space"), "{error}");
    assert!(left.is_empty() && staging_left.is_empty());
}

#[test]
fn what_is_written_is_staged_with_its_digest_and_nothing_of_it_is_left_where_that_fails() {
    let scratch = scratch();
    let staging = staging_for(scratch.path());
    let long = vec![7; 3 * BUFFER + 1];
    let (content, told) =
        staging.stage_written(|out| out.write_all(&long).map(|()| "told").map_err(ExtractError::Output)).unwrap();
    assert_eq!((content.size, &content.digest, told), (long.len() as u64, &Some(Digest::of(&long)), "told"));
    let failed = staging.stage_written(|out| {
        out.write_all(&long).map_err(ExtractError::Output)?;
        Err::<(), _>(ExtractError::Output(io::ErrorKind::StorageFull.into()))
    });
    let error = failed.unwrap_err();
    assert!(matches!(error, ExtractError::Write { .. }), "it is no standard output: {error}");
    assert_eq!(names(&staging.path).len(), 1);
}
