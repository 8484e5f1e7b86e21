//! What a part of a range index says that an artifact holds: checked against the artifact's record, and made a tree.
//!
//! The order, the names and the sums are the specification's (`docs/formats.md`, *The digest of a directory*), and are checked
//! although the record's digest covers them: whoever wrote the record may have hashed what is no listing. The places are covered
//! by nothing, so no content is known by its place alone: see [`Stretch`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::range_index::{InvalidPart, Listed, ListedKind, Place, listing_digest};
use crate::extract::{Item, Metadata, Node, Staged};
use crate::image::digest::{DiffId, Digest};
use crate::image::label::Record;

/// The deepest path in a directory's listing, in components: a tree is built and taken down level by level.
const MAX_DEPTH: usize = 512;

/// A file's content: where it is said to be, and what must be there. Content that was found right is kept under all of it, so
/// that nobody gets it by its place who was promised something else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stretch {
    /// The layer.
    pub layer: DiffId,
    /// Bytes from the start of the layer's uncompressed tar to the content's first byte.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 that it must have.
    pub digest: Digest,
}

impl Stretch {
    /// Where it ends; [`u64::MAX`] for what no tar could hold.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }
}

/// The content of `entry`; `None` where it is no file, or has no place.
pub fn stretch(entry: &Listed) -> Option<Stretch> {
    let (ListedKind::File { size, digest }, Some(Place { layer, offset })) = (&entry.kind, &entry.place) else {
        return None;
    };
    Some(Stretch { layer: layer.clone(), offset: *offset, size: *size, digest: digest.clone() })
}

/// Whether `entries` are those of the artifact that `record` is of.
///
/// # Errors
///
/// When they are not what the record's digest is of, or nothing that a listing may be.
pub fn check(record: &Record, entries: &[Listed]) -> Result<(), InvalidPart> {
    match record {
        Record::File { size, mode, digest, layer, offset, .. } => {
            let content = Stretch { layer: layer.clone(), offset: *offset, size: *size, digest: digest.clone() };
            match entries {
                [entry] if entry.path.is_empty() && entry.mode == *mode && stretch(entry) == Some(content) => Ok(()),
                _ => Err(InvalidPart::new("it is about another file than the labelled one")),
            }
        }
        Record::Directory { size, digest, .. } => {
            if listing_digest(entries) != *digest {
                return Err(InvalidPart::new("its listing is not the labelled one"));
            }
            check_order(entries)?;
            check_files(entries, *size)
        }
    }
}

/// A directory, and then all that is below it: each entry in a directory that was listed before it, and names in byte order,
/// so that none comes twice.
fn check_order(entries: &[Listed]) -> Result<(), InvalidPart> {
    let no_listing = |problem: &str| Err(InvalidPart::new(format!("its listing is not valid: {problem}")));
    let Some((top, below)) = entries.split_first() else { return no_listing("it is empty") };
    if !top.path.is_empty() || top.kind != ListedKind::Directory {
        return no_listing("it does not begin with a directory of no name");
    }
    // The directories that the next entry may be in, each inside the one before it.
    let mut open = vec![""];
    let mut last = "";
    for entry in below {
        let path = entry.path.as_str();
        if path.contains('\0') || path.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return no_listing("it has a name that no file can have");
        }
        if path.split('/').count() > MAX_DEPTH {
            return no_listing("its directories lie too deep in one another");
        }
        if !last.split('/').lt(path.split('/')) {
            return no_listing("a name comes twice, or out of order");
        }
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        while open.last().is_some_and(|directory| *directory != parent) {
            open.pop();
        }
        if open.is_empty() {
            return no_listing("something is in a directory that was not listed before it");
        }
        if entry.kind == ListedKind::Directory {
            open.push(path);
        }
        last = path;
    }
    Ok(())
}

/// Each file has a place, `size` bytes are listed in all, and what shares a place is one file: hard links agree in everything.
fn check_files(entries: &[Listed], size: u64) -> Result<(), InvalidPart> {
    let mut total = 0_u64;
    let mut files: HashMap<(&DiffId, u64), &Listed> = HashMap::new();
    for entry in entries {
        let ListedKind::File { size, .. } = &entry.kind else { continue };
        let place = entry.place.as_ref().ok_or_else(|| InvalidPart::new("it has a file without a place"))?;
        let first = files.entry((&place.layer, place.offset)).or_insert(entry);
        if (&first.kind, first.mode, first.mtime) != (&entry.kind, entry.mode, entry.mtime) {
            return Err(InvalidPart::new("it has two files in one place"));
        }
        total = total.saturating_add(*size);
    }
    if total != size {
        return Err(InvalidPart::new("its listing has another length than the label says"));
    }
    Ok(())
}

/// The tree that a listing, which [`check`] found to be one, describes; `None` where a content is missing.
pub fn tree(entries: &[Listed], contents: &HashMap<Stretch, Arc<Staged>>) -> Option<Item> {
    let (top, below) = entries.split_first()?;
    let mut tree = item(top, contents)?;
    for entry in below {
        let (directories, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        let mut parent = &mut tree;
        for component in directories.split('/').filter(|component| !component.is_empty()) {
            let Node::Directory(children) = &mut parent.node else { return None };
            parent = children.get_mut(component.as_bytes())?;
        }
        let Node::Directory(children) = &mut parent.node else { return None };
        children.insert(name.as_bytes().to_vec(), item(entry, contents)?);
    }
    Some(tree)
}

fn item(entry: &Listed, contents: &HashMap<Stretch, Arc<Staged>>) -> Option<Item> {
    let node = match &entry.kind {
        ListedKind::Directory => Node::Directory(BTreeMap::new()),
        ListedKind::Symlink { target } => Node::Symlink(target.clone().into_bytes()),
        ListedKind::File { .. } => Node::File(Arc::clone(contents.get(&stretch(entry)?)?)),
    };
    let metadata = Metadata { mode: entry.mode.0, mtime: (entry.mtime, 0), ..Metadata::default() };
    Some(Item { metadata, node })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::digest::ChainId;
    use crate::image::label::Mode;

    fn entry(path: &str, kind: ListedKind) -> Listed {
        let place = Place { layer: DiffId(Digest::of(b"layer")), offset: 512 * path.len() as u64 };
        let place = matches!(kind, ListedKind::File { .. }).then_some(place);
        Listed { path: path.to_owned(), kind, mode: Mode(0o755), mtime: 7, place }
    }

    fn file(path: &str) -> Listed {
        entry(path, ListedKind::File { size: 3, digest: Digest::of(b"abc") })
    }

    fn directory(path: &str) -> Listed {
        entry(path, ListedKind::Directory)
    }

    /// The record of a directory of these entries and this length.
    fn record(entries: &[Listed], size: u64) -> Record {
        Record::Directory {
            path: "/d".to_owned(),
            real: None,
            size,
            mode: Mode(0o755),
            digest: listing_digest(entries),
            layers: Vec::new(),
            chain: ChainId(Digest::of(b"chain")),
        }
    }

    /// What is said of these entries by a record that is of them.
    fn verdict(entries: &[Listed]) -> String {
        let size = entries.iter().filter_map(stretch).map(|stretch| stretch.size).sum();
        check(&record(entries, size), entries).map_or_else(|error| error.to_string(), |()| "a listing".to_owned())
    }

    #[test]
    fn a_directory_and_all_that_is_in_it_is_a_listing() {
        let link = entry("l", ListedKind::Symlink { target: "a/b".to_owned() });
        for entries in [
            vec![directory("")],
            vec![directory(""), directory("a"), file("a/b"), directory("a/c"), file("a/c/d"), file("a-"), link],
        ] {
            assert_eq!(verdict(&entries), "a listing", "{entries:?}");
        }
    }

    #[test]
    fn what_is_no_listing_is_refused_although_its_digest_is_right() {
        let deep = vec!["d"; MAX_DEPTH + 1].join("/");
        for (entries, problem) in [
            (vec![], "it is empty"),
            (vec![file("")], "does not begin with a directory"),
            (vec![directory("a")], "does not begin with a directory"),
            (vec![directory(""), directory("")], "a name that no file can have"),
            (vec![directory(""), directory("s"), file("s//x")], "a name that no file can have"),
            (vec![directory(""), file("/x")], "a name that no file can have"),
            (vec![directory(""), file("x/")], "a name that no file can have"),
            (vec![directory(""), file(".")], "a name that no file can have"),
            (vec![directory(""), directory("a"), file("a/..")], "a name that no file can have"),
            (vec![directory(""), file("a\0b")], "a name that no file can have"),
            (vec![directory(""), file(&deep)], "too deep"),
            (vec![directory(""), file("a"), file("a")], "twice, or out of order"),
            (vec![directory(""), directory("a"), file("a/x"), file("a")], "twice, or out of order"),
            (vec![directory(""), file("b"), file("a")], "twice, or out of order"),
            (vec![directory(""), file("a-"), directory("a"), file("a/b")], "twice, or out of order"),
            (vec![directory(""), file("a/b")], "not listed before it"),
            (vec![directory(""), file("a"), file("a/b")], "not listed before it"),
            (vec![directory(""), directory("a"), file("b"), file("b/c")], "not listed before it"),
            (vec![directory(""), Listed { place: None, ..file("a") }], "without a place"),
            (vec![directory(""), file("a"), Listed { mode: Mode(0o600), ..file("b") }], "two files in one place"),
            (vec![directory(""), file("a"), Listed { mtime: 8, ..file("b") }], "two files in one place"),
        ] {
            let verdict = verdict(&entries);
            assert!(verdict.contains(problem), "{entries:?}: {verdict}");
        }
    }

    #[test]
    fn a_listing_is_as_long_as_its_record_says() {
        let entries = [directory(""), file("a")];
        assert!(check(&record(&entries, 4), &entries).unwrap_err().to_string().contains("another length"));
    }
}
