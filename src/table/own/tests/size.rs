//! What a table costs.

use super::*;

/// A usual layer of `count` files, in the order of its tar.
fn usual(count: usize) -> impl Iterator<Item = Entry> {
    let mut at = 0;
    let mut random = Random::new(1);
    (0..count + count / 250).map(move |i| {
        let (directory, number) = (i / 251, i % 251);
        let path = match number {
            0 => format!("srv/data/d{directory:04}"),
            number => format!("srv/data/d{directory:04}/file-{number:04}.txt"),
        };
        let size = random.below(3000) as u64;
        let kind = if number == 0 { Kind::Directory } else { Kind::File { size, sparse: false } };
        let header_offset = at;
        at += 512 + if number == 0 { 0 } else { size.next_multiple_of(512) };
        let mtime = (1_700_000_000 + random.below(1000) as i64, 0);
        Entry { mtime, mode: 0o644, header_offset, data_offset: header_offset + 512, ..entry(&path, kind) }
    })
}

/// The table of a layer that is read as gzip, with places as often as they come there.
fn written(entries: impl Iterator<Item = Entry>, with_digests: bool) -> (Written, u64) {
    use crate::layer::checkpoint::Checkpoint;
    let mut writer = writer(Compression::Gzip, Sizes::default());
    let (mut count, mut reached, mut windows) = (0_u64, 0, 0);
    for entry in entries {
        while reached <= entry.data_offset {
            if reached % (4 << 20) == 0 {
                let window = if reached == 0 { Vec::new() } else { vec![7; 32 << 10] };
                let checkpoint = Checkpoint::DeflateBlock { skipped_bits: 3, window };
                windows += writer.checkpoint(reached / 3, reached, &checkpoint).unwrap();
            }
            writer.reached(reached / 3, reached);
            reached += 64 << 10;
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(&Random::new(count).bytes(32));
        let digest = Digest::of_sha256(digest);
        writer.entry(&entry, with_digests.then_some(digest)).unwrap();
        count += 1;
    }
    (writer.finish().unwrap(), windows)
}

#[test]
fn usual_entries_take_few_bytes() {
    for (with_digests, most) in [(false, 24), (true, 60)] {
        let (written, windows) = written(usual(20_000), with_digests);
        let each = (written.length - windows) / written.rows;
        assert!(each <= most, "{each} bytes");
    }
}
