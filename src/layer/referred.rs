//! What of a deflate window is ever looked at: the bytes that the next 32 KiB of output refer to. All others may be anything.
//!
//! Of data that does not compress these are few, if any, and with zeros in place of the others a window packs to almost nothing.

use super::extent::Checkpoint;
use super::gzip::Gzip;
use super::inflate::WINDOW;

/// How many of a blob's bytes behind a checkpoint tell what of its window is referred to: those of 32 KiB of output, and some more, as what does
/// not compress is stored with headers.
pub const AHEAD: usize = 40 << 10;

/// The checkpoint with zeros in its window in place of all bytes that nothing refers to. `stored` are the [`AHEAD`] bytes of the blob from
/// the checkpoint's first on, or fewer if the blob ends behind them. `None` where there is no window, or these bytes do not tell.
pub fn without_unreferred(checkpoint: &Checkpoint, stored: &[u8]) -> Option<Checkpoint> {
    let Checkpoint::DeflateBlock { skipped_bits, window } = checkpoint else { return None };
    if window.is_empty() || window.len() > WINDOW {
        return None;
    }
    // Decoded behind two windows, a byte that was copied out of them comes out as two different bytes, by which its position is known. Any
    // other comes out as the same.
    let [low, sum] = [low as fn(usize) -> u8, sum].map(|byte| {
        let window: Vec<u8> = (0..window.len()).map(byte).collect();
        decoded(*skipped_bits, &window, stored)
    });
    let (low, sum) = (low?, sum?);
    let mut referred = vec![0; window.len()];
    for (low, sum) in low.into_iter().zip(sum).filter(|(low, sum)| low != sum) {
        let position = position(low, sum);
        *referred.get_mut(position)? = *window.get(position)?;
    }
    Some(Checkpoint::DeflateBlock { skipped_bits: *skipped_bits, window: referred })
}

/// What the first window has at `position`: its low eight bits.
fn low(position: usize) -> u8 {
    position as u8
}

/// What the second window has there. As the high bits are seven, it is not what the first one has.
fn sum(position: usize) -> u8 {
    low(position).wrapping_add((position >> 8) as u8).wrapping_add(1)
}

/// Where the one window has `low` and the other `sum`.
fn position(low: u8, sum: u8) -> usize {
    usize::from(sum.wrapping_sub(low).wrapping_sub(1)) << 8 | usize::from(low)
}

/// The first 32 KiB that `stored` decodes to behind `window`, or all where the blob ends before; `None` where it cannot be known.
fn decoded(skipped_bits: u8, window: &[u8], stored: &[u8]) -> Option<Vec<u8>> {
    let mut gzip = Gzip::resume(skipped_bits, window).ok()?;
    let (mut output, mut produced, mut consumed) = (vec![0; WINDOW], 0, 0);
    while produced < WINDOW {
        let step = gzip.step(&stored[consumed..], &mut output[produced..], false).ok()?;
        consumed += step.consumed;
        produced += step.produced;
        if step.consumed == 0 && step.produced == 0 {
            let is_whole = stored.len() < AHEAD && consumed == stored.len() && gzip.may_end();
            return is_whole.then(|| output[..produced].to_vec());
        }
    }
    Some(output)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::super::checkpoint::ExtentReader;
    use super::super::odd_deflate::{Odd, Start};
    use super::*;
    use crate::support::random::Random;

    fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// The checkpoint at `start`, whose window has all bytes.
    fn whole(start: Start, content: &[u8]) -> Checkpoint {
        let from = start.member.max(start.content.saturating_sub(WINDOW));
        Checkpoint::DeflateBlock { skipped_bits: (start.bit % 8) as u8, window: content[from..start.content].to_vec() }
    }

    /// The bytes that tell of the checkpoint at `start`.
    fn behind(start: Start, blob: &[u8]) -> &[u8] {
        let stored = &blob[start.bit as usize / 8..];
        &stored[..stored.len().min(AHEAD)]
    }

    /// How many bytes of a window are not zero.
    fn count(checkpoint: &Checkpoint) -> usize {
        let Checkpoint::DeflateBlock { window, .. } = checkpoint else { panic!("a block") };
        window.iter().filter(|byte| **byte != 0).count()
    }

    #[test]
    fn each_position_is_known_by_what_the_two_windows_have_there() {
        for at in 0..WINDOW {
            assert!(low(at) != sum(at));
            assert_eq!(position(low(at), sum(at)), at);
        }
    }

    #[test]
    fn what_follows_decodes_to_the_same_without_what_nothing_refers_to() {
        let (mut told, mut fewer) = (0, 0);
        for seed in 0..60 {
            let Odd { blob, content, starts, .. } = Odd::new(seed, 40);
            for start in starts {
                let whole = whole(start, &content);
                let Some(checkpoint) = without_unreferred(&whole, behind(start, &blob)) else { continue };
                let (mut decoded, stored) = (Vec::new(), &blob[start.bit as usize / 8..]);
                ExtentReader::new(&checkpoint, stored).unwrap().read_to_end(&mut decoded).unwrap();
                assert!(decoded == content[start.content..], "{seed} {start:?}");
                told += 1;
                fewer += usize::from(count(&checkpoint) < count(&whole));
            }
        }
        assert!(told > 1000 && fewer > 500, "{told} {fewer}");
    }

    #[test]
    fn a_byte_is_kept_if_and_only_if_it_is_referred_to() {
        let random = &mut Random::new(5);
        let mut odd = Odd::default();
        odd.begin_member();
        odd.stored(false, &random.bytes(40_000).into_iter().map(|byte| byte | 1).collect::<Vec<_>>());
        odd.fixed(false, 3, &mut Random::new(0));
        odd.stored(false, &random.bytes(33_000));
        odd.fixed(true, 900, random);
        odd.end_member();
        let Odd { blob, content, starts, .. } = odd;
        // Behind the first block few symbols, of ten bytes at most, come within 32 KiB; behind the third there are many.
        let counts = starts[1..].iter().map(|start| {
            let start = *start;
            count(&without_unreferred(&whole(start, &content), behind(start, &blob)).unwrap())
        });
        let counts: Vec<_> = counts.collect();
        assert!(counts[0] <= 30 && counts[1] == 0 && counts[2] > 1000, "{counts:?}");
    }

    #[test]
    fn noise_refers_to_next_to_nothing_and_its_repetition_to_nearly_all_of_it() {
        let noise: Vec<u8> = Random::new(1).bytes(WINDOW).into_iter().map(|byte| byte | 1).collect();
        let checkpoint = Checkpoint::DeflateBlock { skipped_bits: 0, window: noise.clone() };
        let counts = [Random::new(2).bytes(WINDOW), noise[1000..].to_vec()].map(|content| {
            let mut deflate = flate2::Compress::new(flate2::Compression::best(), false);
            deflate.set_dictionary(&noise).unwrap();
            let mut stored = Vec::with_capacity(2 * WINDOW);
            deflate.compress_vec(&content, &mut stored, flate2::FlushCompress::Finish).unwrap();
            stored.extend([0; 8]);
            count(&without_unreferred(&checkpoint, &stored).unwrap())
        });
        assert!(counts[0] < 300 && counts[1] > WINDOW - 1300, "{counts:?}");
    }

    #[test]
    fn what_cannot_be_known_is_not_told() {
        let content = Random::new(3).compressible(400_000);
        let start = Start { bit: 80, content: 0, member: 0 };
        let window = Checkpoint::DeflateBlock { skipped_bits: 0, window: vec![1; WINDOW] };
        for level in [1, 9] {
            let blob = gzip(&content, level);
            assert!(without_unreferred(&window, behind(start, &blob)).is_some());
            assert!(without_unreferred(&window, &blob[10..1000]).is_none(), "it is cut off");
        }
        // There is no fourth kind of block.
        assert!(without_unreferred(&window, &[7; AHEAD]).is_none());
        // Blocks without data are stored in as many bytes as one likes.
        let mut odd = Odd::default();
        odd.begin_member();
        (0..AHEAD).for_each(|_| odd.empty(false));
        odd.stored(true, b"data");
        assert!(without_unreferred(&window, &odd.blob[10..10 + AHEAD]).is_none());
        assert!(without_unreferred(&Checkpoint::ZstdFrame, &[]).is_none());
        assert!(without_unreferred(&Checkpoint::DeflateBlock { skipped_bits: 0, window: Vec::new() }, &[]).is_none());
    }

    #[test]
    fn a_member_that_ends_soon_and_the_next_one_are_no_trouble() {
        let [first, second] = [1, 2].map(|seed| Random::new(seed).bytes(3000));
        let mut odd = Odd::default();
        for content in [first, second] {
            odd.begin_member();
            odd.stored(false, &content);
            odd.fixed(true, 30, &mut Random::new(9));
            odd.end_member();
        }
        let Odd { blob, content, starts, .. } = odd;
        for start in [starts[1], starts[3]] {
            let checkpoint = without_unreferred(&whole(start, &content), behind(start, &blob)).unwrap();
            let mut decoded = Vec::new();
            let stored = &blob[start.bit as usize / 8..];
            ExtentReader::new(&checkpoint, stored).unwrap().read_to_end(&mut decoded).unwrap();
            assert!(decoded == content[start.content..] && count(&checkpoint) < 400);
        }
    }
}
