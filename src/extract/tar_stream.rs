//! Results on standard output: the bytes of one file, or a tar stream of several things.
//!
//! The stream is POSIX.1-2001 *pax interchange format* (`pax` in POSIX.1): ustar headers, with an extended header in front
//! wherever a ustar field cannot hold a value.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use tar::{EntryType, Header};

use super::error::{ExtractError, ShownBytes};
use super::options::PublishOptions;
use super::staging::{Staged, read_fully};
use super::tree::{Uses, path_of, read_back, survey};
use super::warnings::Warnings;
use super::{BUFFER, Item, Metadata, Node};

/// The unit of a tar stream, in bytes.
const BLOCK: usize = 512;
/// The largest size or time that a ustar field holds: eleven octal digits.
const MOST_IN_12: u64 = 0o77_777_777_777;
/// The largest user or group ID that a ustar field holds: seven octal digits.
const MOST_IN_8: u64 = 0o7_777_777;
/// How many bytes of holes are written in all, which are zeros here: an image can claim any number of them for nothing. It is
/// enough for the virtual disks that are kept in images, and takes some ten seconds.
const STREAMED_HOLES: u64 = 16 << 30;
/// The length of a ustar name, in bytes.
const NAME: usize = 100;

/// Writes the bytes of the one file, or else the tar stream of [`write_tar`]. Gives the warnings.
///
/// # Errors
///
/// As [`write_tar`].
pub fn write_stdout(
    items: &[(Vec<u8>, Item)],
    options: &PublishOptions,
    out: &mut dyn Write,
) -> Result<Vec<String>, ExtractError> {
    let [(name, Item { node: Node::File(staged), .. })] = items else { return write_tar(items, options, out) };
    check_holes(items)?;
    copy(staged, name, out)?;
    out.flush().map_err(ExtractError::Output)?;
    Ok(Vec::new())
}

/// Writes `items`, raw base names and what they stand for, as a tar stream: modes, times, sizes, links and hard links as
/// they are in the image, owners, setuid and extended attributes with [`PublishOptions::preserve`] (for which nobody needs
/// to be root here). Special files are skipped. Gives the warnings.
///
/// # Errors
///
/// [`ExtractError::Output`] when `out` fails; names that are none, trees too deep and holes too large are refused before the
/// first byte.
pub fn write_tar(
    items: &[(Vec<u8>, Item)],
    options: &PublishOptions,
    out: &mut dyn Write,
) -> Result<Vec<String>, ExtractError> {
    let uses = survey(items)?;
    check_holes(items)?;
    let mut stream = Stream { out, options: *options, uses, first: HashMap::new(), warnings: Warnings::default() };
    for (name, item) in items {
        stream.item(&mut name.clone(), item)?;
    }
    stream.write(&[0; 2 * BLOCK])?;
    stream.out.flush().map_err(ExtractError::Output)?;
    Ok(stream.warnings.into_lines())
}

/// Refuses what would be more zeros than are written. Content with several names is written once.
fn check_holes(items: &[(Vec<u8>, Item)]) -> Result<(), ExtractError> {
    let (mut holes, mut seen) = (0_u64, HashSet::new());
    let mut waiting: Vec<&Item> = items.iter().map(|(_, item)| item).collect();
    while let Some(item) = waiting.pop() {
        match &item.node {
            Node::File(staged) if seen.insert(staged.id) => holes = holes.saturating_add(staged.holes),
            Node::Directory(children) => waiting.extend(children.values()),
            Node::File(_) | Node::Symlink(_) | Node::Special => {}
        }
    }
    if holes > STREAMED_HOLES { Err(ExtractError::TooManyZeros { holes, limit: STREAMED_HOLES }) } else { Ok(()) }
}

struct Stream<'a> {
    out: &'a mut dyn Write,
    options: PublishOptions,
    uses: Uses,
    /// Where the content of files with several names was written, by the ID of the staged file.
    first: HashMap<u64, Vec<u8>>,
    warnings: Warnings,
}

impl Stream<'_> {
    /// Writes the item at `path`, which is left as it was.
    fn item(&mut self, path: &mut Vec<u8>, item: &Item) -> Result<(), ExtractError> {
        match &item.node {
            Node::File(staged) => self.file(path, &item.metadata, staged),
            Node::Symlink(target) => self.header(path, &item.metadata, EntryType::Symlink, target, 0),
            Node::Directory(children) => {
                let length = path.len();
                path.push(b'/');
                self.header(path, &item.metadata, EntryType::Directory, b"", 0)?;
                for (name, child) in children {
                    path.truncate(length + 1);
                    path.extend_from_slice(name);
                    self.item(path, child)?;
                }
                path.truncate(length);
                Ok(())
            }
            Node::Special => {
                self.warnings
                    .add(|| format!("skipped {}: device nodes, pipes and sockets are never created", ShownBytes(path)));
                Ok(())
            }
        }
    }

    fn file(&mut self, path: &[u8], metadata: &Metadata, staged: &Staged) -> Result<(), ExtractError> {
        if let Some(first) = self.first.get(&staged.id).cloned() {
            return self.header(path, metadata, EntryType::Link, &first, 0);
        }
        if self.uses.get(&staged.id).is_some_and(|&uses| uses > 1) {
            self.first.insert(staged.id, path.to_owned());
        }
        self.header(path, metadata, EntryType::Regular, b"", staged.size)?;
        copy(staged, path, self.out)?;
        self.pad(staged.size)
    }

    fn header(
        &mut self,
        path: &[u8],
        metadata: &Metadata,
        kind: EntryType,
        link: &[u8],
        size: u64,
    ) -> Result<(), ExtractError> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(self.options.mode(metadata));
        let mut records = Records::default();
        records.name("path", path, &mut header.as_old_mut().name);
        records.name("linkpath", link, &mut header.as_old_mut().linkname);
        header.set_size(records.number("size", size, MOST_IN_12));
        let (seconds, nanoseconds) = metadata.mtime;
        match u64::try_from(seconds) {
            Ok(seconds) if seconds <= MOST_IN_12 && nanoseconds == 0 => header.set_mtime(seconds),
            time => {
                header.set_mtime(time.unwrap_or(0).min(MOST_IN_12));
                records.add("mtime", decimal(seconds, nanoseconds).as_bytes());
            }
        }
        let (uid, gid) = if self.options.preserve { (metadata.uid, metadata.gid) } else { (0, 0) };
        header.set_uid(records.number("uid", uid, MOST_IN_8));
        header.set_gid(records.number("gid", gid, MOST_IN_8));
        // The attributes of a file with several names are with the first.
        let xattrs = if self.options.preserve && kind != EntryType::Link { metadata.xattrs.as_slice() } else { &[] };
        for (name, value) in xattrs {
            // The record's keyword ends at its first equals sign.
            match std::str::from_utf8(name) {
                Ok(name) if !name.contains('=') => records.add(&format!("SCHILY.xattr.{name}"), value),
                _ => self.warnings.add(|| {
                    format!("{}: attribute {} not kept: no tar stream can name it", ShownBytes(path), ShownBytes(name))
                }),
            }
        }
        if !records.0.is_empty() {
            let mut extended = Header::new_ustar();
            extended.set_entry_type(EntryType::XHeader);
            extended.set_mode(0o644);
            extended.set_mtime(0);
            extended.set_uid(0);
            extended.set_gid(0);
            extended.set_size(records.0.len() as u64);
            fit(b"PaxHeaders/entry", &mut extended.as_old_mut().name);
            extended.set_cksum();
            self.write(extended.as_bytes())?;
            self.write(&records.0)?;
            self.pad(records.0.len() as u64)?;
        }
        header.set_cksum();
        self.write(header.as_bytes())
    }

    /// Fills the last block of `size` bytes.
    fn pad(&mut self, size: u64) -> Result<(), ExtractError> {
        let over = (size % BLOCK as u64) as usize;
        if over == 0 { Ok(()) } else { self.write(&[0; BLOCK][over..]) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ExtractError> {
        self.out.write_all(bytes).map_err(ExtractError::Output)
    }
}

/// The records of an extended header: `LENGTH KEYWORD=VALUE\n` each.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn add(&mut self, keyword: &str, value: &[u8]) {
        // The length counts its own digits.
        let rest = keyword.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(format!("{length} {keyword}=").as_bytes());
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    /// Puts as much of a name as fits into the ustar `field`, and all of it into a record if that is not enough, or if it
    /// is not ASCII, which is all that a ustar name can hold everywhere.
    fn name(&mut self, keyword: &str, name: &[u8], field: &mut [u8; NAME]) {
        fit(name, field);
        let text = std::str::from_utf8(name);
        if name.len() <= NAME && (name.is_ascii() || text.is_err()) {
            return;
        }
        if text.is_err() {
            // Names in extended headers are UTF-8 unless this says otherwise.
            self.add("hdrcharset", b"BINARY");
        }
        self.add(keyword, name);
    }

    /// The number for a ustar field that holds up to `most`, with a record if it is more.
    fn number(&mut self, keyword: &str, number: u64, most: u64) -> u64 {
        if number > most {
            self.add(keyword, number.to_string().as_bytes());
        }
        number.min(most)
    }
}

fn fit(name: &[u8], field: &mut [u8; NAME]) {
    let length = name.len().min(NAME);
    field[..length].copy_from_slice(&name[..length]);
}

/// A time as extended headers have it: decimal seconds, with a fraction where there is one.
fn decimal(seconds: i64, nanoseconds: u32) -> String {
    let time = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let (whole, fraction) = (time.unsigned_abs() / 1_000_000_000, time.unsigned_abs() % 1_000_000_000);
    let text = format!("{}{whole}.{fraction:09}", if time < 0 { "-" } else { "" });
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Writes exactly the content's bytes.
fn copy(staged: &Staged, name: &[u8], out: &mut dyn Write) -> Result<(), ExtractError> {
    let path = path_of(name);
    let mut file = staged.open().map_err(|error| read_back(&path, error))?;
    let mut buffer = vec![0; usize::try_from(staged.size).unwrap_or(BUFFER).min(BUFFER)];
    let mut left = staged.size;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
        let read = read_fully(&mut file, &mut buffer[..length]).map_err(|error| read_back(&path, error))?;
        if read < length {
            return Err(read_back(&path, std::io::Error::from(std::io::ErrorKind::UnexpectedEof)));
        }
        out.write_all(&buffer[..length]).map_err(ExtractError::Output)?;
        left -= length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::sample::*;
    use super::super::{Destination, Staging};
    use super::*;

    const PLAIN: PublishOptions = PublishOptions { preserve: false, special_bits: false };

    /// What a reader of the stream sees of an entry.
    #[derive(Debug, PartialEq)]
    struct Seen {
        kind: EntryType,
        path: Vec<u8>,
        link: Vec<u8>,
        content: Vec<u8>,
        header: Fields,
        records: Vec<(String, Vec<u8>)>,
    }

    /// Mode, owner, group and time.
    type Fields = (u32, u64, u64, u64);

    fn read(stream: &[u8]) -> Vec<Seen> {
        let mut archive = tar::Archive::new(stream);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let records = entry.pax_extensions().unwrap().into_iter().flatten().map(|record| {
                let record = record.unwrap();
                (record.key().unwrap().to_owned(), record.value_bytes().to_owned())
            });
            let records = records.collect();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let header = entry.header();
            Seen {
                kind: header.entry_type(),
                path: entry.path_bytes().into_owned(),
                link: entry.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default(),
                content,
                header: (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()),
                records,
            }
        });
        entries.collect()
    }

    fn write(items: &[(Vec<u8>, Item)], options: &PublishOptions) -> (Vec<u8>, Vec<String>) {
        let mut stream = Vec::new();
        let warnings = write_tar(items, options, &mut stream).unwrap();
        (stream, warnings)
    }

    fn staging() -> Staging {
        Staging::new(&Destination::Stdout).unwrap()
    }

    #[test]
    fn one_file_is_its_bytes_and_anything_else_a_tar_stream() {
        let staging = staging();
        let mut out = Vec::new();
        write_stdout(&named([("a", file(&staging, b"hello"))]), &PLAIN, &mut out).unwrap();
        assert_eq!(out, b"hello");
        for items in [
            named([("a", file(&staging, b"1")), ("b", file(&staging, b"2"))]),
            named([("d", directory(0o755, [("a", file(&staging, b"1"))]))]),
            named([("l", symlink("target"))]),
        ] {
            let mut out = Vec::new();
            write_stdout(&items, &PLAIN, &mut out).unwrap();
            assert_eq!(out.len() % BLOCK, 0);
            assert!(!read(&out).is_empty());
        }
    }

    #[test]
    fn a_tree_reads_back_as_it_was() {
        let staging = staging();
        let shared = staged(&staging, &[7; 700]);
        let tree = directory(
            0o2755,
            [("a", link_of(&shared)), ("b", link_of(&shared)), ("l", symlink("../etc")), ("null", special())],
        );
        let (stream, warnings) = write(&named([("d", tree), ("z", link_of(&shared))]), &PLAIN);
        assert_eq!(warnings, ["skipped d/null: device nodes, pipes and sockets are never created"]);
        assert_eq!(&stream[stream.len() - 2 * BLOCK..], [0; 2 * BLOCK]);
        let seen = read(&stream);
        let summary: Vec<_> = seen.iter().map(|seen| (seen.kind, seen.path.as_slice(), seen.link.as_slice())).collect();
        let expected: [(EntryType, &[u8], &[u8]); 5] = [
            (EntryType::Directory, b"d/", b""),
            (EntryType::Regular, b"d/a", b""),
            (EntryType::Link, b"d/b", b"d/a"),
            (EntryType::Symlink, b"d/l", b"../etc"),
            (EntryType::Link, b"z", b"d/a"),
        ];
        assert_eq!(summary, expected);
        assert_eq!(seen[1].content, [7; 700]);
        let mtime = MTIME.0 as u64;
        assert_eq!((seen[0].header, seen[1].header), ((0o755, 0, 0, mtime), (0o640, 0, 0, mtime)));
        assert_eq!(seen[1].records, [("mtime".to_owned(), b"1600000000.123456789".to_vec())]);
    }

    #[test]
    fn names_that_a_header_cannot_hold_are_kept() {
        let staging = staging();
        for name in ["x".repeat(100), "x".repeat(101), "y".repeat(255), "naïve".to_owned()] {
            let target = format!("../{name}");
            let items = named([(&*name, file(&staging, b"1")), ("link", symlink(&target))]);
            let seen = read(&write(&items, &PLAIN).0);
            assert_eq!(seen[0].path, name.as_bytes());
            assert_eq!(seen[1].link, target.as_bytes());
        }
        for name in [vec![0xff; 20], vec![0xff; 200]] {
            let items = [(name.clone(), file(&staging, b"1"))];
            let seen = read(&write(&items, &PLAIN).0);
            assert_eq!(seen[0].path, name);
            assert_eq!(seen[0].records.iter().any(|(key, _)| key == "hdrcharset"), name.len() > NAME);
        }
    }

    #[test]
    fn owners_and_attributes_are_recorded_on_request() {
        let staging = staging();
        let mut item = file(&staging, b"1");
        item.metadata = Metadata {
            mode: 0o4755,
            uid: 1000,
            gid: 5_000_000_000,
            mtime: (7, 0),
            xattrs: vec![(b"user.a".to_vec(), b"\x01=\0".to_vec()), (b"user.a=b".to_vec(), b"x".to_vec())],
        };
        let items = [(b"tool".to_vec(), item)];
        let (stream, warnings) = write(&items, &PublishOptions { preserve: true, special_bits: false });
        let seen = read(&stream);
        assert_eq!(seen[0].header, (0o4755, 1000, 5_000_000_000, 7));
        let expected = [("gid", b"5000000000".as_slice()), ("SCHILY.xattr.user.a", b"\x01=\0")];
        assert_eq!(seen[0].records, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(warnings, ["tool: attribute user.a=b not kept: no tar stream can name it"]);
        assert_eq!(read(&write(&items, &PLAIN).0)[0].header, (0o755, 0, 0, 7));
    }

    #[test]
    fn times_are_decimal_seconds() {
        for (time, text) in [
            ((0, 0), "0"),
            ((10, 0), "10"),
            ((1, 500_000_000), "1.5"),
            ((-1, 0), "-1"),
            ((-1, 500_000_000), "-0.5"),
            ((-2, 1), "-1.999999999"),
            ((i64::MIN, 0), "-9223372036854775808"),
        ] {
            assert_eq!(decimal(time.0, time.1), text);
        }
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in 0..2000 {
            let mut records = Records::default();
            records.add("k", &vec![b'v'; length]);
            let text = String::from_utf8(records.0).unwrap();
            let (claimed, _) = text.split_once(' ').unwrap();
            assert_eq!(claimed.parse::<usize>().unwrap(), text.len());
        }
    }

    #[test]
    fn a_reader_that_goes_away_is_an_error_of_the_output() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let staging = staging();
        let items = named([("a", file(&staging, b"hello"))]);
        let error = write_stdout(&items, &PLAIN, &mut Closed).unwrap_err();
        assert!(matches!(&error, ExtractError::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe));
        let error = write_tar(&items, &PLAIN, &mut Closed).unwrap_err();
        assert!(matches!(error, ExtractError::Output(_)), "{error}");
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused_before_the_first_byte() {
        let staging = staging();
        let items = named([("a", file(&staging, b"1")), ("../b", file(&staging, b"2"))]);
        let mut out = Vec::new();
        let error = write_tar(&items, &PLAIN, &mut out).unwrap_err();
        assert!(matches!(error, ExtractError::UnsafeName { .. }) && out.is_empty(), "{error}");
    }
}
