use std::io::Write;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::super::fixture::{Tar, Told};
use super::*;
use crate::support::random::noise;

/// `xz` of a tar of 2048 bytes whose only member `hello` holds `world`.
const XZ: &str = "/Td6WFoAAATm1rRGAgAhAQwAAACPmEGc4Af/AEFdADQZSduFWz9vCt0Vi9OHQmEDU+OOM0pn4M8CGv6OjwjXIdUl3TO8nljr/sgPPmf6RuYH3YQLjI4s\
                  Kad2egqP4ycAAAAAAPyOWUOrmLjJAAFdgBAAAAD5KLqSscRn+wIAAAAABFla";
/// The same as two streams with padding between them, one with SHA-256, one with CRC-32.
const XZ_STREAMS: &str = "/Td6WFoAAArh+wyhAgAhAQwAAACPmEGc4AJXADddADQZSduFWz9vCt0Vi9OHQmEDU+OOM0pn4M8CGv6OjwjXIdUl3TO8nljr/sgPPmf6RuYH2wDDZwAAADSm\
                          4TfnBJC7jYR7q0r0zaMn+S0AoLu+mNCQ9uQPitjEAAFr2AQAAACLiIGXtunfHAIAAAAACllaAAAAAAAAAAD9N3pYWgAAAWki3jYCACEBDAAAAI+YQZzg\
                          BacAD10AAG/9//+jt/9HPXIfPQAAAACtiHEtAAEnqAsAAAAFsqpOPjANiwIAAAAAAVla";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn tar() -> Vec<u8> {
    Tar::default().file("noise", noise(1, 200_000)).end()
}

fn copied(reader: impl Read) -> Result<Vec<u8>, SourceError> {
    let mut file = spool(reader, "x", None, NOT_BY_PLACE, &crate::progress::Silent)?;
    let mut bytes = Vec::new();
    io::Seek::rewind(&mut file).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    Ok(bytes)
}

fn xz(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap()
}

#[test]
fn every_compression_gives_the_same_archive() {
    let tar = tar();
    let halves = |compress: fn(&[u8]) -> Vec<u8>| [compress(&tar[..1000]), compress(&tar[1000..])].concat();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3], zstd(&tar).as_slice()].concat();
    for (how, bytes) in [
        ("plain", tar.clone()),
        ("gzip", gzip(&tar)),
        ("gzip members", halves(gzip)),
        ("zstd", zstd(&tar)),
        ("zstd frames", halves(zstd)),
        ("zstd behind a skippable frame", skippable),
        ("bzip2", bzip2(&tar)),
        ("bzip2 streams", halves(bzip2)),
    ] {
        assert!(copied(bytes.as_slice()).unwrap() == tar, "{how}");
    }
    for text in [XZ, XZ_STREAMS] {
        let tar = copied(xz(text).as_slice()).unwrap();
        assert_eq!((tar.len(), &tar[512..517]), (2048, &b"world"[..]));
    }
}

/// A reader that gives one byte at a time.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn a_pipe_that_drips_is_read_all_the_same() {
    let tar = tar();
    assert!(copied(Drops(&tar)).unwrap() == tar);
    assert!(copied(Drops(&gzip(&tar))).unwrap() == tar);
}

#[test]
fn the_copy_has_no_name_and_its_size_is_told() {
    let tar = tar();
    let compressed = gzip(&tar);
    let told = Told::default();
    let file = spool(compressed.as_slice(), "x.tar.gz", Some(7), NOT_BY_PLACE, &told).unwrap();
    assert_eq!(rustix::fs::fstat(&file).unwrap().st_nlink, 0);
    let notice = "x.tar.gz is gzip-compressed; copied 201.73 kB of it to a temporary file";
    assert_eq!(*told.notices.lock().unwrap(), [notice]);
    assert_eq!((*told.open.lock().unwrap(), *told.bytes.lock().unwrap()), (0, compressed.len() as u64));
}

#[test]
fn a_compressed_stream_that_is_cut_is_truncated() {
    let tar = tar();
    for (how, bytes) in [("gzip", gzip(&tar)), ("zstd", zstd(&tar)), ("bzip2", bzip2(&tar)), ("xz", xz(XZ))] {
        // Ten bytes tell what it is.
        for length in (10..bytes.len()).step_by(bytes.len() / 100) {
            let told = Told::default();
            let error = spool(&bytes[..length], "x", None, NOT_BY_PLACE, &told).unwrap_err().to_string();
            assert!(error.contains(&format!("truncated: its {how} stream")), "{how} {length}: {error}");
            assert_eq!(*told.open.lock().unwrap(), 0);
        }
    }
}

#[test]
fn a_damaged_stream_is_an_error_and_never_a_panic() {
    let tar = tar();
    for (how, bytes) in [("gzip", gzip(&tar)), ("zstd", zstd(&tar)), ("bzip2", bzip2(&tar)), ("xz", xz(XZ))] {
        let step = (bytes.len() / 200).max(1);
        for at in (10..bytes.len()).step_by(step) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            // zstd writes no checksum unless told, and gzip's header has bytes that mean nothing.
            if let Ok(copy) = copied(damaged.as_slice()) {
                assert!(copy == tar || matches!(how, "zstd" | "gzip"), "{how} {at}");
            }
        }
    }
}

#[test]
fn what_is_no_tar_is_not_copied() {
    /// A reader that counts.
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            buffer.fill(b'x');
            self.0 += buffer.len() as u64;
            Ok(buffer.len())
        }
    }
    let mut endless = Endless(0);
    let error = spool(&mut endless, "x", None, NOT_BY_PLACE, &crate::progress::Silent).unwrap_err().to_string();
    assert!(error.contains("it does not begin with a tar header"), "{error}");
    assert!(endless.0 <= 2 * BUFFER as u64);
    let error = copied(gzip(&[b'x'; 5000]).as_slice()).unwrap_err().to_string();
    assert!(error.contains("its gzip-compressed content is not a tar"), "{error}");
    assert!(copied(&b""[..]).unwrap_err().to_string().contains("it is empty"));
}

#[test]
fn more_memory_than_a_decoder_may_take_is_refused() {
    // A frame with a window of 256 MiB (RFC 8878, section 3.1.1), and one raw block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3, (3 << 3) | 1, 0, 0, b'a', b'b', b'c'];
    let error = copied(&frame[..]).unwrap_err().to_string();
    assert!(error.contains("its zstd stream is damaged"), "{error}");
    let allowed = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, (3 << 3) | 1, 0, 0, b'a', b'b', b'c'];
    let error = copied(&allowed[..]).unwrap_err().to_string();
    assert!(error.contains("it has only 3 bytes"), "{error}");
    // A block whose header asks for a dictionary of 4 GiB.
    let mut bytes = xz(XZ);
    assert_eq!(bytes[14..17], [0x21, 1, 12]);
    bytes[16] = 40;
    let mut checksum = flate2::Crc::new();
    checksum.update(&bytes[12..20]);
    bytes[20..24].copy_from_slice(&checksum.sum().to_le_bytes());
    let error = copied(bytes.as_slice()).unwrap_err().to_string();
    assert!(error.contains("memory too big"), "{error}");
}

#[test]
fn a_failing_reader_is_not_a_damaged_archive() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let compressed = gzip(&tar());
    for length in [0, 5, 1000] {
        let error = copied(compressed[..length].chain(Failing)).unwrap_err();
        assert!(matches!(error, SourceError::Io { .. }), "{length}: {error}");
    }
}
