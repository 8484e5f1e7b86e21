//! Pieces in blobs made by hand: which come in one request, and what is compared.

use super::*;
use crate::artifact::ExitClass;
use crate::artifact::fixture::gzip;

fn piece(stored: Option<Range<u64>>, skip: u64, content: &[u8]) -> Piece {
    Piece { stored, checkpoint: None, skip, size: content.len() as u64, digest: Some(Digest::of(content)) }
}

fn of(pieces: Vec<Piece>) -> Pieces {
    Pieces { pieces, digest: None }
}

/// The ranges that are asked for, with how many contents come in each.
fn asked(contents: Vec<Pieces>) -> Vec<(Option<Range<u64>>, usize)> {
    let located = contents.into_iter().enumerate().map(|(at, pieces)| (DataOffset(at as u64), pieces)).collect();
    stretches(located).into_iter().map(|stretch| (stretch.range(), stretch.contents.len())).collect()
}

/// What comes of these contents of `blob`, in the order in which they come.
fn read(blob: &[u8], contents: Vec<Pieces>) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let located = contents.into_iter().enumerate().map(|(at, pieces)| (DataOffset(at as u64), pieces)).collect();
    let mut found = Vec::new();
    for stretch in stretches(located) {
        let range = stretch.range().unwrap_or(0..0);
        let bytes = std::io::Cursor::new(blob[range.start as usize..range.end as usize].to_vec());
        stretch.read(Compression::Gzip, Box::new(bytes), "layer 1 of 1", &mut |data, size, content| {
            let mut read = Vec::new();
            content.read_to_end(&mut read).map_err(|error| Error::in_layer("layer 1 of 1", error.into()))?;
            assert_eq!(read.len() as u64, size);
            found.push((data.0, read));
            Ok(())
        })?;
    }
    Ok(found)
}

#[test]
fn neighbours_come_in_one_request_and_what_overlaps_does_not() {
    let at = |range: Range<u64>, skip| of(vec![piece(Some(range), skip, b"abc")]);
    assert_eq!(asked(vec![at(70_000..70_010, 0), at(10..20, 0)]), [(Some(10..20), 1), (Some(70_000..70_010), 1)]);
    assert_eq!(asked(vec![at(60_000..60_010, 0), at(10..20, 0)]), [(Some(10..60_010), 2)]);
    assert_eq!(asked(vec![at(10..20, 7), at(10..20, 0), at(10..20, 3)]), [(Some(10..20), 3)]);
    assert_eq!(asked(vec![at(10..20, 2), at(10..20, 0)]), [(Some(10..20), 1), (Some(10..20), 1)]);
    assert_eq!(asked(vec![at(10..20, 0), at(15..25, 3)]), [(Some(10..20), 1), (Some(15..25), 1)]);
    let zeros = || of(vec![Piece { stored: None, checkpoint: None, skip: 0, size: 9, digest: None }]);
    assert_eq!(asked(vec![zeros(), at(10..20, 0), zeros()]), [(None, 2), (Some(10..20), 1)]);
}

#[test]
fn contents_are_joined_of_their_pieces_wherever_these_begin() {
    let (first, second) = (gzip(b"onetwothree"), gzip(b"four and more"));
    let blob = [b"before", &first[..], b"between", &second].concat();
    let one = 6..6 + first.len() as u64;
    let two = one.end + 7..blob.len() as u64;
    let zeros = Piece { stored: None, checkpoint: None, skip: 0, size: 3, digest: None };
    let contents = vec![
        of(vec![piece(Some(one.clone()), 6, b"three"), zeros.clone(), piece(Some(two.clone()), 0, b"four")]),
        of(vec![piece(Some(one.clone()), 3, b"two")]),
        of(vec![piece(Some(one), 0, b"one")]),
        of(vec![zeros]),
        of(vec![piece(Some(two), 9, b"more")]),
    ];
    let mut found = read(&blob, contents).unwrap();
    found.sort();
    let found: Vec<&[u8]> = found.iter().map(|(_, content)| content.as_slice()).collect();
    assert_eq!(found, [&b"three\0\0\0four"[..], b"two", b"one", b"\0\0\0", b"more"]);
}

#[test]
fn what_has_another_digest_or_cannot_be_decoded_is_a_mismatch() {
    let member = gzip(b"content");
    let whole = 0..member.len() as u64;
    let right = piece(Some(whole.clone()), 0, b"content");
    let class = |blob: &[u8], pieces| read(blob, vec![pieces]).map_err(|error| error.exit_class());
    assert!(class(&member, of(vec![right.clone()])).is_ok());
    let other = Some(Digest::of(b"other"));
    for wrong in [
        of(vec![Piece { digest: other.clone(), ..right.clone() }]),
        Pieces { pieces: vec![right.clone()], digest: other.clone() },
        Pieces { pieces: vec![Piece { digest: None, ..right.clone() }], digest: other },
        of(vec![piece(Some(whole.clone()), 1, b"content")]),
        of(vec![piece(Some(whole.clone()), 0, b"content and more")]),
        of(vec![piece(Some(1..whole.end), 0, b"content")]),
        of(vec![piece(Some(0..whole.end - 12), 0, b"content")]),
        of(vec![piece(Some(whole.clone()), u64::MAX, b"content")]),
    ] {
        assert_eq!(class(&member, wrong.clone()), Err(ExitClass::Mismatch), "{wrong:?}");
    }
    let both = Pieces { pieces: vec![Piece { digest: None, ..right }], digest: Some(Digest::of(b"content")) };
    assert!(class(&member, both).is_ok());
}
