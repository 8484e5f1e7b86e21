//! Blobs of every compression: whole, odd, damaged and cut.

use std::io::Write;

use super::*;
use crate::support::random::Random;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A zstd frame without content whose window has this size (RFC 8878, section 3.1.1.1.2).
fn zstd_frame_with_window(log: u8) -> Vec<u8> {
    vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3, 1, 0, 0]
}

/// Some megabytes that compress, but not to nothing.
fn text() -> Vec<u8> {
    Random::new(0).compressible(2 << 20)
}

fn decompress(blob: &[u8]) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    Decompressed::new(blob)?.read_to_end(&mut data)?;
    Ok(data)
}

fn problem(blob: &[u8]) -> LayerError {
    decompress(blob).expect_err("this blob is no good").into()
}

#[test]
fn each_compression_is_known_by_its_bytes() {
    for (blob, compression) in [
        (gzip(b"data"), Compression::Gzip),
        (zstd(b"data"), Compression::Zstd),
        (b"data".to_vec(), Compression::None),
        (b"BZh9 is a file name, too".to_vec(), Compression::None),
        (Vec::new(), Compression::None),
    ] {
        assert_eq!(Decompressed::new(&blob[..]).unwrap().compression(), compression);
    }
}

#[test]
fn what_layers_may_not_be_is_named() {
    for (blob, name) in
        [(&b"\xfd7zXZ\0\0\x04\xe6\xd6"[..], "xz"), (b"BZh91AY&SY\x05", "bzip2"), (b"\x04\x22\x4d\x18", "lz4")]
    {
        let error = problem(blob).to_string();
        assert!(error.contains(&format!("{name}-compressed")), "{error}");
    }
}

#[test]
fn all_of_the_data_comes_out_however_it_is_read() {
    let data = text();
    for blob in [gzip(&data), zstd(&data), data.clone()] {
        assert!(decompress(&blob).unwrap() == data);
        for size in [1000, OUTPUT, 3 * OUTPUT + 1] {
            let mut stream = Decompressed::new(&blob[..]).unwrap();
            let mut read = Vec::new();
            let mut buffer = vec![0; size];
            loop {
                let amount = stream.read(&mut buffer).unwrap();
                if amount == 0 {
                    break;
                }
                read.extend_from_slice(&buffer[..amount]);
            }
            assert!(read == data, "read {size} bytes at a time");
            assert_eq!(stream.compressed_offset(), blob.len() as u64);
        }
    }
}

#[test]
fn a_blob_may_come_in_single_bytes() {
    struct Single<'a>(&'a [u8]);
    impl Read for Single<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let amount = buffer.len().min(1);
            self.0.read(&mut buffer[..amount])
        }
    }
    let data = b"some data ".repeat(100);
    for blob in [gzip(&data), zstd(&data), data.clone()] {
        let mut read = Vec::new();
        Decompressed::new(Single(&blob)).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, data);
    }
}

#[test]
fn gzip_may_have_many_members_and_zeros_behind_them() {
    let blob = [gzip(b"one "), gzip(b""), gzip(b"two"), vec![0; 1000]].concat();
    assert_eq!(decompress(&blob).unwrap(), b"one two");
}

#[test]
fn a_gzip_header_may_have_all_its_fields() {
    let mut encoder = flate2::GzBuilder::new()
        .extra(vec![7; 3000])
        .filename("layer.tar")
        .comment("a comment")
        .write(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"data").unwrap();
    assert_eq!(decompress(&encoder.finish().unwrap()).unwrap(), b"data");
}

#[test]
fn damaged_gzip_is_an_error() {
    let good = gzip(&text());
    let trailer = good.len() - 8;
    for (at, words) in [(trailer, "incorrect data check"), (trailer + 4, "incorrect length check")] {
        let mut blob = good.clone();
        blob[at] ^= 1;
        let error = problem(&blob);
        assert!(matches!(error, LayerError::Damaged { format: "gzip", .. }));
        assert!(error.to_string().contains(words), "{error}");
    }
    for behind in [&b"junk"[..], b"\0\0junk", b"\x1f"] {
        let error = problem(&[&good, behind].concat());
        assert!(matches!(error, LayerError::Damaged { format: "gzip", .. }), "{error}");
    }
}

#[test]
fn zstd_may_have_many_frames_and_some_to_skip() {
    let skipped = [&[0x5a, 0x2a, 0x4d, 0x18, 5, 0, 0, 0][..], b"12345"].concat();
    let blob = [skipped.clone(), zstd(b"one "), skipped.clone(), zstd(b""), zstd(b"two"), skipped].concat();
    assert_eq!(decompress(&blob).unwrap(), b"one two");
}

#[test]
fn damaged_zstd_is_an_error() {
    let good = zstd(&text());
    let mut blob = good.clone();
    *blob.last_mut().unwrap() ^= 1;
    let error = problem(&blob);
    assert!(matches!(error, LayerError::Damaged { format: "zstd", .. }), "{error}");
    assert!(error.to_string().contains("checksum"), "{error}");
    assert!(matches!(problem(&[&good, &b"junk"[..]].concat()), LayerError::Damaged { .. }));
}

#[test]
fn zstd_gets_no_more_than_32_mib_for_its_window() {
    assert_eq!(decompress(&zstd_frame_with_window(25)).unwrap(), b"");
    let error = problem(&zstd_frame_with_window(26)).to_string();
    assert!(error.contains("32 MiB"), "{error}");
}

#[test]
fn a_cut_blob_is_never_a_whole_one() {
    for blob in [gzip(b"some data"), zstd(b"some data")] {
        for end in 5..blob.len() {
            let error = decompress(&blob[..end]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end} bytes");
            assert!(error.to_string().contains("ends too early"), "{error}");
        }
    }
}

#[test]
fn damage_is_told_from_the_sources_own_failure() {
    /// Fails when it is asked for more than it has.
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::new(io::ErrorKind::ConnectionReset, "the wire was cut")),
                read => Ok(read),
            }
        }
    }
    let data = text();
    for blob in [gzip(&data), zstd(&data), data] {
        for size in [1000, 2 * OUTPUT] {
            let mut stream = Decompressed::new(Failing(&blob)).unwrap();
            let mut buffer = vec![0; size];
            let error = loop {
                match stream.read(&mut buffer) {
                    Ok(0) => panic!("a clean end"),
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(
                (error.kind(), error.to_string().as_str()),
                (io::ErrorKind::ConnectionReset, "the wire was cut")
            );
            assert!(!stream.is_damaged());
            stream.drain_blob().expect("a source that has failed is not asked again");
        }
    }
}
