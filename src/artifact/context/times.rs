//! The times of a folder's files, which tell BuildKit that a file is another one than before.
//!
//! BuildKit keeps what it was sent of a folder, and the next time, under the same name of a context, asks for those files alone
//! whose mode, link, size or time is another (`source/local`; `tonistiigi/fsutil`, `diff_containerd.go`). For files that people
//! write, this does. Images are built with the same time for each file, often 0, so that after a tag has moved, or of another image
//! behind a stage of the same name, the file of the image before would be copied: another one, where it has the same size.
//!
//! So each file is given a part of a second that comes from the image's digest. All files of an image have the same one, so that
//! none gets newer than another, and it is less than half a second, so that it is lost wherever times are whole seconds, as in
//! layers. What has a part of a second already was written by a clock, and keeps it.

use std::collections::BTreeMap;

use crate::extract::{Item, Node};
use crate::image::digest::Digest;

/// In nanoseconds.
const HALF_A_SECOND: u32 = 500_000_000;

/// Gives the files among `items`, which are of `image`, times that no other image's files have.
pub fn mark(items: &mut BTreeMap<Vec<u8>, Item>, image: &Digest) {
    let nanoseconds = part_of_second(image);
    let mut waiting = vec![items];
    while let Some(items) = waiting.pop() {
        for item in items.values_mut() {
            match &mut item.node {
                Node::File(_) if item.metadata.mtime.1 == 0 => item.metadata.mtime.1 = nanoseconds,
                Node::Directory(children) => waiting.push(children),
                _ => {}
            }
        }
    }
}

/// Never 0, which is what a file of an image has.
fn part_of_second(image: &Digest) -> u32 {
    let number = u32::from_str_radix(&image.encoded()[..8], 16).unwrap_or_default();
    1 + number % (HALF_A_SECOND - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_second_is_the_images_and_less_than_half_of_one() {
        let parts: Vec<u32> = (0..1000_u32).map(|n| part_of_second(&Digest::of(&n.to_be_bytes()))).collect();
        assert!(parts.iter().all(|part| (1..HALF_A_SECOND).contains(part)));
        assert_eq!(parts[7], part_of_second(&Digest::of(&7_u32.to_be_bytes())));
        assert_ne!(parts[7], parts[8]);
    }
}
