//! The decoder by itself: its stops, its starts, and that nothing it is asked does harm.

use super::super::odd_deflate::Odd;
use super::*;
use crate::support::random::Random;

/// The data of one member with these blocks, without header and trailer, and what it decompresses to.
fn raw(blocks: impl FnOnce(&mut Odd)) -> (Vec<u8>, Vec<u8>) {
    let mut odd = Odd::default();
    odd.begin_member();
    blocks(&mut odd);
    (odd.blob.split_off(10), odd.content)
}

fn inflate(inflate: &mut Inflate, input: &[u8]) -> Result<Vec<u8>, String> {
    let mut output = vec![0; 1 << 20];
    let done = inflate.step(input, &mut output, false)?;
    assert_eq!((done.consumed, done.at), (input.len(), At::End));
    output.truncate(done.produced);
    Ok(output)
}

#[test]
fn it_stops_in_front_of_each_block_and_tells_the_bit() {
    let (data, _) = raw(|odd| {
        odd.empty(false);
        odd.empty(false);
        odd.dynamic(false, b"ab");
        odd.stored(false, b"cd");
        odd.empty(true);
    });
    let mut inflate = Inflate::new(Wrapper::None).unwrap();
    let (mut at, mut output) = (0, [0; 100]);
    let mut stops = Vec::new();
    loop {
        let step = inflate.step(&data[at..], &mut output, true).unwrap();
        at += step.consumed;
        match step.at {
            At::Block(bits) => stops.push(at * 8 - usize::from(bits)),
            At::Inside => {}
            At::End => break,
        }
    }
    // An empty block has 10 bits, the dynamic one 3 + 5 + 5 + 4 + 18 × 3 + 256 + 2 + 2 + 2 × 9 + 1. The stored one has 3, goes on at
    // the next byte, and ends there.
    assert_eq!(stops, [10, 20, 370, 376 + 32 + 16]);
    assert_eq!(at, data.len());
}

#[test]
fn what_is_before_the_window_cannot_be_referred_to() {
    let window = b"0123456789";
    let (data, content) = raw(|odd| {
        odd.stored(false, window);
        odd.fixed(true, 50, &mut Random::new(3));
    });
    let data = &data[5 + window.len()..];
    let mut whole = Inflate::new(Wrapper::None).unwrap();
    whole.set_window(window).unwrap();
    assert_eq!(inflate(&mut whole, data).unwrap(), content[window.len()..]);
    let mut without = Inflate::new(Wrapper::None).unwrap();
    assert!(inflate(&mut without, data).is_err());
    // A window that is too long counts from its end.
    let mut long = Inflate::new(Wrapper::None).unwrap();
    long.set_window(&[&vec![b'x'; 3 * WINDOW][..], window].concat()).unwrap();
    assert_eq!(inflate(&mut long, data).unwrap(), content[window.len()..]);
}

#[test]
fn another_stream_does_not_see_the_one_before() {
    let (first, content) = raw(|odd| odd.stored(true, b"0123456789"));
    let (second, _) = raw(|odd| {
        odd.stored(false, b"0123456789");
        odd.fixed(true, 50, &mut Random::new(3));
    });
    let mut decoder = Inflate::new(Wrapper::None).unwrap();
    assert_eq!(inflate(&mut decoder, &first).unwrap(), content);
    decoder.reset(Wrapper::None).unwrap();
    assert!(inflate(&mut decoder, &second[15..]).is_err());
}

#[test]
fn whatever_it_is_asked_in_whatever_order_it_stays_within_its_slices() {
    for seed in 0..3000 {
        let random = &mut Random::new(seed);
        let mut input = Odd::new(seed % 40, 8).blob;
        for _ in 0..random.below(3) {
            let at = random.below(input.len());
            input[at] ^= 1 << random.below(8);
        }
        let mut at = if random.below(2) == 0 { 0 } else { random.below(input.len()) };
        let wrapper = |random: &mut Random| if random.below(2) == 0 { Wrapper::None } else { Wrapper::Gzip };
        let mut inflate = Inflate::new(wrapper(random)).unwrap();
        // Asked wrongly, or behind an error, any of these may fail.
        for _ in 0..random.below(40) {
            match random.below(10) {
                0 => drop(inflate.prime(random.below(9) as u8, 0xff)),
                1 => {
                    let length = random.below(2 * WINDOW);
                    drop(inflate.set_window(&vec![b'w'; length]));
                }
                2 => drop(inflate.reset(wrapper(random))),
                _ => {
                    let most = if random.below(3) == 0 { 20 } else { 70_000 };
                    let end = input.len().min(at + random.below(most));
                    let room = random.below(most);
                    let mut output = vec![0x5a; room + 64];
                    let (output, guard) = output.split_at_mut(room);
                    if let Ok(done) = inflate.step(&input[at..end], output, random.below(2) == 0) {
                        assert!(done.consumed <= end - at && done.produced <= room);
                        at += done.consumed;
                    }
                    assert!(guard.iter().all(|&byte| byte == 0x5a), "seed {seed}");
                }
            }
        }
    }
}
