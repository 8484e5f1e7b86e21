//! What a folder, or a layout, holds of an image, and which images it cannot stand in for.

mod forms;
mod unfit;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::super::fixture::{As, Member, Memory, file, tar};
use super::*;
use crate::artifact::Tables;
use crate::progress::Silent;
use crate::support::block::{Block, END, pax};

/// What a build copies without `--chown` and `--parents`: paths, and patterns.
fn copied(paths: &[&str]) -> Wanted {
    let path = |text: &&str| Path { text: (*text).to_owned(), is_pattern: text.contains(['*', '?', '[']) };
    Wanted { paths: paths.iter().map(path).collect(), keeps_owner: true, with_parents: false, excludes: false }
}

/// The member with the owner 0:0.
fn of_root(member: Block) -> Block {
    member.set(108, "0000000").set(116, "0000000")
}

/// A scratch directory, and the folder in it that is to be written.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Scratch(tempfile::tempdir().unwrap())
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("folder")
    }

    /// All that is in the folder, links with their targets.
    fn list(&self) -> Vec<String> {
        let (mut lines, mut waiting) = (Vec::new(), vec![self.folder()]);
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.folder()).unwrap().display().to_string();
                let kind = fs::symlink_metadata(&path).unwrap().file_type();
                lines.push(match () {
                    () if kind.is_symlink() => format!("{name} -> {}", fs::read_link(&path).unwrap().display()),
                    () if kind.is_dir() => format!("{name}/"),
                    () => format!("{name}: {}", fs::read_to_string(&path).unwrap()),
                });
                if kind.is_dir() {
                    waiting.push(path);
                }
            }
        }
        lines.sort();
        lines
    }

    fn metadata(&self, path: &str) -> fs::Metadata {
        fs::symlink_metadata(self.folder().join(path)).unwrap()
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(self.0.path()).unwrap().next().is_none()
    }
}

/// What comes of these instructions on an image with these layers, bottom first.
async fn taken(scratch: &Scratch, layers: Vec<Vec<u8>>, wanted: Vec<Wanted>) -> Result<Outcome, Failure> {
    let memory = Memory::new(layers, As::Streams);
    let image = Arc::clone(&memory.image);
    let request = Request { wanted, is_stage: false, tables: Tables::default(), folder: scratch.folder() };
    context(Arc::new(memory), image, &request, Arc::new(Silent)).await
}

/// The folder that is written of the paths of one instruction, and what was taken.
async fn written(layers: Vec<Vec<u8>>, paths: &[&str]) -> (Scratch, Vec<Taken>) {
    let scratch = Scratch::new();
    match taken(&scratch, layers, vec![copied(paths)]).await.unwrap() {
        Outcome::Written(report) => (scratch, report.things),
        Outcome::Unfit(unfit) => panic!("{unfit}"),
    }
}

/// Why nothing is written of the paths of one instruction.
async fn unfit(layers: Vec<Vec<u8>>, wanted: Vec<Wanted>) -> Unfit {
    let scratch = Scratch::new();
    let outcome = taken(&scratch, layers, wanted).await.unwrap();
    assert!(scratch.is_empty(), "nothing is written");
    let Outcome::Unfit(unfit) = outcome else { panic!("{outcome:?}") };
    unfit
}

fn debian() -> Vec<u8> {
    tar(&[
        Member::Link("lib", "usr/lib"),
        Member::Directory("usr/lib/x"),
        file("usr/lib/x/libz.so.1", "z"),
        file("usr/lib/x/libm.so.6", "m"),
        Member::Link("usr/lib/x/libz.so", "libz.so.1"),
        Member::Link("usr/lib/x/gone.so", "/nowhere"),
        file("usr/bin/tool", "tool"),
        Member::Link("usr/bin/alias", "/etc/alternatives/alias"),
        Member::Link("etc/alternatives/alias", "/usr/bin/tool"),
    ])
}

#[tokio::test]
async fn each_thing_is_under_the_path_that_it_is_copied_by() {
    let (scratch, things) = written(vec![debian()], &["/usr/bin/alias", "lib/x/libm.so.6", "/lib/x/libz.so.1"]).await;
    let files = ["lib/x/libm.so.6: m", "lib/x/libz.so.1: z", "usr/bin/alias: tool"];
    assert_eq!(scratch.list(), ["lib/", "lib/x/", files[0], files[1], "usr/", "usr/bin/", files[2]]);
    let taken =
        |at, path: &str, real_path: &str, size| Taken { at, path: path.into(), real_path: real_path.into(), size };
    assert_eq!(
        things,
        [
            taken((0, 0), "/usr/bin/alias", "/usr/bin/tool", 4),
            taken((0, 1), "/lib/x/libm.so.6", "/usr/lib/x/libm.so.6", 1),
            taken((0, 2), "/lib/x/libz.so.1", "/usr/lib/x/libz.so.1", 1),
        ]
    );
}

#[tokio::test]
async fn a_directory_is_there_with_all_below_it_and_its_links_are_as_they_are() {
    let top = tar(&[file("usr/lib/x/.wh.libm.so.6", ""), file("usr/lib/x/new", "n")]);
    let (scratch, _) = written(vec![debian(), top], &["/lib/x"]).await;
    let inside = ["lib/x/gone.so -> /nowhere", "lib/x/libz.so -> libz.so.1", "lib/x/libz.so.1: z", "lib/x/new: n"];
    assert_eq!(scratch.list(), ["lib/", "lib/x/", inside[0], inside[1], inside[2], inside[3]]);
}

#[tokio::test]
async fn what_a_pattern_matches_is_there_by_its_own_name() {
    let (scratch, things) = written(vec![debian()], &["/lib/x/lib[mz].so*"]).await;
    let files = ["lib/x/libm.so.6: m", "lib/x/libz.so.1: z", "lib/x/libz.so: z"];
    assert_eq!(scratch.list(), ["lib/", "lib/x/", files[0], files[1], files[2]]);
    assert_eq!(things.len(), 3);
}

#[tokio::test]
async fn what_is_copied_out_of_a_directory_that_is_copied_is_there_once() {
    let paths = ["/usr/lib", "/usr/lib/x/libz.so", "/usr/lib/x/libm.so.6", "/usr/l*"];
    let top = tar(&[file("usr/lib/x/.wh.gone.so", "")]);
    let (scratch, things) = written(vec![debian(), top], &paths).await;
    assert_eq!((scratch.list().len(), things.len()), (6, 4));
    assert!(scratch.list().contains(&"usr/lib/x/libz.so -> libz.so.1".to_owned()));
}

#[tokio::test]
async fn modes_and_times_are_kept_and_hard_links_are() {
    let member = |name: &str, kind, mode: &str| {
        let block = of_root(Block::new(name, kind, 0)).set(100, format!("{mode:0>7}"));
        block.set(136, "14257110000")
    };
    let layer = [
        member("d/", b'5', "1777").with(""),
        member("d/inner/", b'5', "555").with(""),
        member("d/inner/a", b'0', "640").with(""),
        member("d/b", b'1', "640").link("d/inner/a").with(""),
    ];
    let (scratch, _) = written(vec![[layer.concat(), END.to_vec()].concat()], &["/d"]).await;
    let modes = ["d", "d/inner", "d/inner/a"].map(|path| scratch.metadata(path).permissions().mode() & 0o7777);
    assert_eq!(modes, [0o1777, 0o555, 0o640]);
    assert!(["d", "d/inner", "d/b"].iter().all(|path| scratch.metadata(path).mtime() == 0o14_257_110_000));
    assert_eq!(scratch.metadata("d/b").ino(), scratch.metadata("d/inner/a").ino());
    extract::remove(&scratch.folder()).unwrap();
    assert!(scratch.is_empty());
}

#[tokio::test]
async fn with_parents_the_directories_above_are_as_they_are_and_links_stay_links() {
    let closed = of_root(Block::new("usr/", b'5', 0)).set(100, "0000711").with("");
    let layers = || vec![[closed.clone(), debian()].concat(), tar(&[file("usr/lib/x/.wh.gone.so", "")])];
    let wanted = |paths: &[&str]| Wanted { with_parents: true, ..copied(paths) };
    let scratch = Scratch::new();
    let outcome = taken(&scratch, layers(), vec![wanted(&["/usr/bin/tool", "/usr/./lib/**/libz.so*"])]).await.unwrap();
    assert!(matches!(outcome, Outcome::Written(_)), "{outcome:?}");
    let (tool, libz) = ("usr/bin/tool: tool", ["usr/lib/x/libz.so -> libz.so.1", "usr/lib/x/libz.so.1: z"]);
    assert_eq!(scratch.list(), ["usr/", "usr/bin/", tool, "usr/lib/", "usr/lib/x/", libz[0], libz[1]]);
    assert_eq!(scratch.metadata("usr").permissions().mode() & 0o7777, 0o711);
    let unfit = unfit(layers(), vec![wanted(&["/lib/x/libm.so.6"])]).await;
    assert!(matches!(unfit, Unfit::Unfollowed { .. }), "{unfit}");
}

#[tokio::test]
async fn a_path_that_is_not_there_is_an_error_that_says_whose_it_is_and_what_there_is() {
    let scratch = Scratch::new();
    let wanted = vec![copied(&["/usr/bin/tool"]), copied(&["/usr/lib", "/usr/bin/tol"])];
    let failure = taken(&scratch, vec![debian()], wanted).await.unwrap_err();
    assert_eq!(failure.at, Some((1, 1)));
    assert_eq!(failure.to_string(), "memory has no /usr/bin/tol; did you mean /usr/bin/tool?");
    let failure = taken(&scratch, vec![debian()], vec![copied(&["/usr/lib/x/gone.so"])]).await.unwrap_err();
    assert!(matches!(*failure.error, Error::Dangling { .. }) && failure.at == Some((0, 0)), "{failure}");
    assert!(scratch.is_empty());
}

#[tokio::test]
async fn a_pattern_that_matches_nothing_is_fine_where_its_directory_is_sent() {
    let (scratch, _) = written(vec![debian()], &["/usr/bin/tool", "/usr/bin/x*", "/x*"]).await;
    assert_eq!(scratch.list(), ["usr/", "usr/bin/", "usr/bin/tool: tool"]);
    // Of a folder in the place of an image, each instruction has what it copies itself sent.
    for wanted in [
        vec![copied(&["/usr/bin/tool", "/etc/x*"])],
        vec![copied(&["/usr/bin/tool"]), copied(&["/usr/lib", "/usr/bin/x*"])],
    ] {
        let unfit = unfit(vec![debian()], wanted).await;
        assert!(matches!(unfit, Unfit::NoMatch { .. }), "{unfit}");
    }
}

#[tokio::test]
async fn a_folder_that_is_there_is_left_alone() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.folder()).unwrap();
    let failure = taken(&scratch, vec![debian()], vec![copied(&["/usr/bin/tool"])]).await.unwrap_err();
    assert!(matches!(*failure.error, Error::Extract(ExtractError::DirectoryInTheWay { .. })), "{failure}");
    assert!(scratch.list().is_empty());
}
