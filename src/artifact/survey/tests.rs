//! Which layers are opened, and how often, for what is asked.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::collect::File;
use super::super::fixture::{As, Member, Memory, file, gzip, tar};
use super::*;
use crate::extract::StageError;
use crate::layer::Content;
use crate::rootfs::Pattern;
use crate::rootfs::lookup::TreeKind;
use crate::support::random::Random;

/// Keeps what passes by, and by which patterns it was wanted.
struct Keep;

impl Collect for Keep {
    type Kept = (String, Vec<usize>);
    const TRACKS: bool = false;

    fn collect(
        &self,
        _: &Layer,
        patterns: &[usize],
        _: File,
        data: &mut dyn Content,
    ) -> Result<Self::Kept, StageError> {
        let mut text = String::new();
        data.read_to_string(&mut text).map_err(StageError::Read)?;
        Ok((text, patterns.to_vec()))
    }
}

/// What stands at these paths, files by their contents, and the layers that were opened for it, from the bottom, in order.
async fn get(memory: Memory, patterns: &[&str], verify: Verify) -> (Result<Vec<String>, String>, Vec<usize>) {
    let patterns = patterns.iter().map(|pattern| Pattern::parse(pattern.as_bytes()).unwrap()).collect();
    let lookup = Lookup { patterns, follow: true, needs_content: true, ..Lookup::default() };
    let memory = Arc::new(memory);
    let source: Arc<dyn Source> = Arc::clone(&memory) as Arc<dyn Source>;
    let mut survey = Survey::new(source, &memory.image, Arc::new(Keep), lookup, verify);
    let found = survey.complete("memory").await;
    let contents = found.map_err(|error| error.to_string()).map(|found| {
        let mut contents = Vec::new();
        for thing in found.planned {
            match thing.tree.kind {
                TreeKind::Symlink(target) => contents.push(String::from_utf8_lossy(&target).into_owned()),
                _ => thing.tree.files(&mut |depth, content, _| {
                    contents.push(survey.content(depth, content.data).unwrap().0.clone());
                }),
            }
        }
        contents
    });
    (contents, memory.opened())
}

fn found(contents: &[&str]) -> Result<Vec<String>, String> {
    Ok(contents.iter().map(|content| (*content).to_owned()).collect())
}

/// Layers too large to be asked for on the mere chance that they matter.
fn large(members: &[Member<'_>]) -> Vec<u8> {
    let mut random = 1_u64;
    let noise: Vec<u8> = (0..(SPECULATIVE_BYTES + 1))
        .map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 56) as u8
        })
        .collect();
    tar(&[members, &[Member::File("noise", &noise)]].concat())
}

#[tokio::test]
async fn no_layer_below_the_one_that_decides_is_opened_unless_it_is_small() {
    let layers = || vec![large(&[file("a", "old")]), large(&[file("a", "new")]), large(&[file("c", "c")])];
    let (outcome, opened) = get(Memory::new(layers(), As::Streams), &["/a"], Verify::WhereRead).await;
    assert_eq!((outcome, opened), (found(&["new"]), vec![2, 1]));
    let small = || vec![tar(&[file("a", "old")]), tar(&[file("a", "new")]), tar(&[file("c", "c")])];
    let lost = Memory::new(small(), As::Streams).without(0);
    let (outcome, opened) = get(lost, &["/a"], Verify::WhereRead).await;
    assert_eq!((outcome, opened), (found(&["new"]), vec![2, 1, 0]), "asked for, and no fault that it is lost");
    let lost = Memory::new(small(), As::Streams).without(1);
    assert!(get(lost, &["/a"], Verify::WhereRead).await.0.is_err());
}

/// A layer of more than 32 MiB, as stored, that takes some decoding: these members, and noise behind them or before.
fn very_large(first: &[Member<'_>], last: &[Member<'_>]) -> Vec<u8> {
    let noise: Vec<u8> = Random::new(1).bytes(1 << 20).into_iter().map(|byte| byte & 0xf).collect();
    let noise = noise.repeat(70);
    gzip(&tar(&[first, &[Member::File("noise", &noise)], last].concat()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layer_below_a_large_one_that_keeps_the_decoder_busy_is_read_beside_it() {
    let base = || large(&[file("a", "a"), file("b", "old"), file("l", "l")]);
    // What is held back comes only when the layer below has been asked for.
    let upper = very_large(&[], &[file("b", "new"), Member::Link("c", "a"), file(".wh.l", "")]);
    let memory = || Memory::new(vec![base(), upper.clone()], As::Streams).holding(1, 24 << 20, 0);
    let (outcome, opened) = get(memory(), &["/a"], Verify::WhereRead).await;
    assert_eq!((outcome, opened), (found(&["a"]), vec![1, 0]));
    // What the upper layer says is what counts, although it says so later.
    let (outcome, opened) = get(memory(), &["/b"], Verify::WhereRead).await;
    assert_eq!((outcome, opened), (found(&["new"]), vec![1, 0]));
    let (outcome, _) = get(memory(), &["/l"], Verify::WhereRead).await;
    assert!(outcome.unwrap_err().contains("was deleted by layer 2 of 2"));
    // A link of the upper layer comes too late for the layer beside it, which is read again.
    let (outcome, opened) = get(memory(), &["/c"], Verify::WhereRead).await;
    assert_eq!((outcome, opened), (found(&["a"]), vec![1, 0, 0]));
    let (outcome, opened) = get(memory().without(0), &["/b"], Verify::WhereRead).await;
    assert_eq!((outcome, opened), (found(&["new"]), vec![1, 0]), "asked for, and no fault that it is lost");
    let (outcome, _) = get(memory().without(0), &["/a"], Verify::WhereRead).await;
    assert!(outcome.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_verifying_what_a_large_layer_says_last_counts_for_the_layer_beside_it() {
    // When the link comes, the layer below has given what the path had named until then, and is not read any further.
    let base = || large(&[file("x/f", "wrong"), file("y/f", "right")]);
    let upper = very_large(&[], &[Member::Link("x", "y"), file("z", "z")]);
    let middle = || tar(&[file("x/f", "wrong"), file("y/f", "right")]);
    let last = || large(&[file("y/f", "old"), file("o", "o")]);
    for (layers, opened_last) in [(vec![base(), upper.clone()], 0), (vec![last(), middle(), upper.clone()], 1)] {
        let top = layers.len() - 1;
        let memory = || Memory::new(layers.clone(), As::Streams).holding(top, 24 << 20, top - 1);
        let (outcome, opened) = get(memory(), &["/x/f"], Verify::Never).await;
        assert_eq!(outcome, found(&["right"]), "{opened:?}");
        assert_eq!((opened[0], opened[1], opened.last()), (top, top - 1, Some(&opened_last)));
        // Where it says nothing, once is enough.
        let (outcome, opened) = get(memory(), &["/y/f"], Verify::Never).await;
        assert_eq!((outcome, opened.iter().filter(|layer| **layer == top - 1).count()), (found(&["right"]), 1));
    }
}

/// Counts how often it was said that all is found.
#[derive(Default)]
struct Checking(AtomicUsize);

impl Progress for Checking {
    fn start(&self, _: &str, _: &str, _: Option<u64>) {}
    fn advance(&self, _: &str, _: u64) {}
    fn finish(&self, _: &str) {}
    fn notice(&self, _: &str) {}
    fn only_checking(&self, _: &str, _: u64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_beside_another_does_not_say_that_all_is_found_where_that_one_may_hide_it() {
    let layers = vec![very_large(&[file("l", "l")], &[]), very_large(&[], &[file(".wh.l", "")])];
    let memory = Memory::new(layers, As::Streams).holding(1, 24 << 20, 0);
    let patterns = [Pattern::parse(b"/l").unwrap()].into();
    let lookup = Lookup { patterns, follow: true, needs_content: true, ..Lookup::default() };
    let (image, checking) = (memory.image.clone(), Arc::new(Checking::default()));
    let progress: Arc<dyn Progress> = Arc::clone(&checking) as Arc<dyn Progress>;
    let survey = Survey::new(Arc::new(memory), &image, Arc::new(Keep), lookup, Verify::WhereRead);
    assert!(survey.telling(&progress).complete("memory").await.is_err());
    assert_eq!(checking.0.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_layer_beside_another_no_more_is_kept_than_there_may_be_room_for() {
    let long = "#".repeat(17 << 20);
    let base = large(&[file("a", &long), file("b", "b")]);
    let upper = very_large(&[], &[file("z", "z")]);
    let memory = || Memory::new(vec![base.clone(), upper.clone()], As::Streams).holding(1, 24 << 20, 0);
    let (outcome, opened) = get(memory(), &["/a"], Verify::WhereRead).await;
    assert!(outcome == found(&[&long]) && opened == [1, 0, 0], "{opened:?}");
    let (outcome, opened) = get(memory(), &["/b"], Verify::WhereRead).await;
    assert_eq!((outcome, opened), (found(&["b"]), vec![1, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn small_layers_between_a_large_one_and_the_base_do_not_keep_the_base_waiting() {
    let small = || tar(&[file("s", "s")]);
    // The base still comes when the layers above it are done with.
    let layers = vec![very_large(&[], &[file("a", "a")]), small(), small(), very_large(&[], &[])];
    let memory = Memory::new(layers, As::Streams).holding(3, 24 << 20, 0);
    let (outcome, opened) = get(memory, &["/a"], Verify::WhereRead).await;
    assert_eq!((outcome, opened), (found(&["a"]), vec![3, 2, 1, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layer_below_is_left_alone_where_the_large_one_has_decided() {
    let base = || large(&[file("a", "old")]);
    let upper = very_large(&[file("a", "new")], &[]);
    let memory = Memory::new(vec![base(), upper], As::Streams);
    let (outcome, opened) = get(memory, &["/a"], Verify::WhereRead).await;
    assert_eq!((outcome, opened), (found(&["new"]), vec![1]));
}

#[tokio::test]
async fn a_layer_is_read_once_where_its_link_comes_first_or_the_target_has_the_name_that_was_asked_for() {
    let link_first = tar(&[Member::Link("bin", "usr/bin"), Member::Directory("usr/bin"), file("usr/bin/ls", "ls")]);
    let link_last = tar(&[Member::Directory("usr/bin"), file("usr/bin/ls", "ls"), Member::Link("bin", "usr/bin")]);
    for layer in [link_first, link_last] {
        let (outcome, opened) =
            get(Memory::new(vec![gzip(&layer)], As::Streams), &["/bin/ls"], Verify::WhereRead).await;
        assert_eq!((outcome, opened), (found(&["ls"]), vec![0]));
    }
    let other_name = tar(&[file("usr/bin/dash", "dash"), Member::Link("usr/bin/sh", "dash")]);
    for stored in [As::Streams, As::Stored] {
        let memory = Memory::new(vec![other_name.clone()], stored);
        let (outcome, opened) = get(memory, &["/usr/bin/sh"], Verify::WhereRead).await;
        assert_eq!((outcome, opened), (found(&["dash"]), vec![0, 0]), "{stored:?}");
    }
}

#[tokio::test]
async fn a_directory_is_read_out_of_several_layers_at_once_and_the_upper_ones_win() {
    let layers = ["1", "2", "3", "4"].map(|content| {
        let own = format!("d/{content}");
        large(&[Member::Directory("d"), file("d/x", content), file(&own, content)])
    });
    let (outcome, opened) = get(Memory::new(layers.to_vec(), As::Streams), &["/d"], Verify::WhereRead).await;
    assert_eq!((outcome, opened), (found(&["1", "2", "3", "4", "4"]), vec![3, 2, 1, 0]));
}

#[tokio::test]
async fn what_is_missing_is_said_with_the_layer_that_deleted_it() {
    let layers = vec![tar(&[file("d/f", "f")]), tar(&[file("d/.wh.f", "")])];
    let (outcome, opened) = get(Memory::new(layers, As::Streams), &["/d/f"], Verify::WhereRead).await;
    let message = outcome.unwrap_err();
    assert!(message.starts_with("memory has no /d/f; /d/f was deleted by layer 2 of 2 (sha256:"), "{message}");
    assert_eq!(opened, [1, 0], "a small layer is asked for beside it, and not read");
}

#[tokio::test]
async fn without_verifying_a_layer_is_left_as_soon_as_the_file_has_come() {
    // Behind the file, the layer is damaged.
    let mut layer = tar(&[file("a", "here"), file("b", "b")]);
    layer.truncate(1024);
    layer.extend([7; 1024]);
    let memory = || Memory::new(vec![layer.clone()], As::Streams);
    assert_eq!(get(memory(), &["/a"], Verify::Never).await.0, found(&["here"]));
    assert!(get(memory(), &["/a"], Verify::WhereRead).await.0.is_err());
    assert!(get(memory(), &["/b"], Verify::Never).await.0.is_err());
}
