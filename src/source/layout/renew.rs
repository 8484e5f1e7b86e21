//! A layout in which an image has become another one: its manifests and its config by their new digests, and whatever points at
//! them.

use super::super::SourceError;
use super::super::copied::Exchange;
use super::super::files::Files;
use super::super::local::malformed;
use super::super::renamed::NewName;
use super::super::{MAX_MANIFESTS, RawManifest};
use super::{IMAGE_NAME, INDEX, Layout, Listed, REF_NAME, blob_name};
use crate::image::digest::Digest;
use crate::image::edit::{EditError, Step, quoted, remove, set_members};
use crate::image::index::IndexEntry;
use crate::image::manifest::Manifest;
use crate::image::mend::Moved;

impl Layout {
    /// What is exchanged where the documents that `moved` have become others, those of the image whose manifest, or index of
    /// manifests, was `root`. It keeps its names, or has none but `name`.
    pub(in crate::source) fn renewed(
        &self,
        mut moved: Moved,
        root: &RawManifest,
        name: Option<&NewName>,
    ) -> Result<Vec<Exchange>, SourceError> {
        let unreadable = |error: EditError| malformed(self.files.place(), error.to_string());
        let between = self.way_to(&root.digest)?;
        for parent in between.iter().rev() {
            let after = moved.index(&text(&*self.files, parent)?).map_err(unreadable)?;
            moved.insert(&parent.digest, &after);
        }
        let top = &between.first().unwrap_or(root).digest;
        let entries = self.entries()?;
        let index = text(&*self.files, &self.index)?;
        let mut index = moved.index(&index).map_err(unreadable)?;
        if let Some(name) = name {
            if *top == self.index.digest {
                let problem = format!("its {INDEX} is one image itself, and cannot give it a name; leave out --tag");
                return Err(malformed(self.files.place(), problem));
            }
            let has_name = |image: &Listed| image.names.iter().any(|other| name.is(other));
            if self.images.iter().any(|image| image.entry.digest != *top && has_name(image)) {
                return Err(name.is_taken(&*self.files));
            }
            index = renamed(&index, &entries, top, name).map_err(unreadable)?;
        }
        // What else is listed may name the same blobs.
        let keeps_old = *top != self.index.digest && entries.iter().any(|entry| entry.digest != *top);
        let blobs = moved.changed().filter(|(old, _)| *old != self.index.digest);
        let blob = |(old, now): (Digest, &str)| Exchange {
            old: blob_name(&old),
            new: blob_name(&Digest::of(now.as_bytes())),
            content: now.to_owned().into(),
            keeps_old,
        };
        let mut exchanges: Vec<Exchange> = blobs.map(blob).collect();
        exchanges.push(Exchange { old: INDEX.into(), new: INDEX.into(), content: index.into(), keeps_old: false });
        Ok(exchanges)
    }

    /// The configs of the images that `root` is or lists, as far as they are held; few of them are looked at.
    pub(in crate::source) fn configs_of(&self, root: &RawManifest) -> Result<Vec<Digest>, SourceError> {
        let config = |raw: &RawManifest| match Manifest::parse(&raw.bytes, raw.media_type.as_deref()) {
            Ok(Manifest::Image(manifest)) => manifest.config.digest.parse().ok(),
            _ => None,
        };
        let Ok(Manifest::Index(entries)) = Manifest::parse(&root.bytes, root.media_type.as_deref()) else {
            return Ok(config(root).into_iter().collect());
        };
        let mut configs = Vec::new();
        for entry in entries.iter().filter(|entry| entry.is_image()).take(MAX_MANIFESTS) {
            match self.manifest(&entry.digest) {
                Ok(raw) => configs.extend(config(&raw)),
                Err(SourceError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(configs)
    }

    /// The indexes on the way from the layout's own to the manifest `digest`, without both; few of them are looked at.
    fn way_to(&self, digest: &Digest) -> Result<Vec<RawManifest>, SourceError> {
        let mut looked_at = 0;
        // Each index on the way, with what it lists and nobody has looked at.
        let mut way: Vec<(RawManifest, Vec<IndexEntry>)> = vec![(self.index.clone(), self.entries()?)];
        if *digest == self.index.digest {
            return Ok(Vec::new());
        }
        while let Some((_, entries)) = way.last_mut() {
            if entries.iter().any(|entry| entry.digest == *digest) {
                return Ok(way.into_iter().skip(1).map(|(index, _)| index).collect());
            }
            let Some(entry) = entries.pop() else {
                way.pop();
                continue;
            };
            looked_at += 1;
            if looked_at > MAX_MANIFESTS {
                break;
            }
            let raw = match self.manifest(&entry.digest) {
                Ok(raw) => raw,
                Err(SourceError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            if let Ok(Manifest::Index(entries)) = Manifest::parse(&raw.bytes, raw.media_type.as_deref()) {
                way.push((raw, entries));
            }
        }
        let problem = format!("its {INDEX} does not lead to {digest}; name an image that it lists");
        Err(malformed(self.files.place(), problem))
    }
}

/// `index` with the first of its `entries` of digest `top` under this name alone, and without the others.
fn renamed(index: &str, entries: &[IndexEntry], top: &Digest, name: &NewName) -> Result<String, EditError> {
    let names =
        [(IMAGE_NAME.to_owned(), Some(quoted(&name.full())?)), (REF_NAME.to_owned(), Some(quoted(name.tag())?))];
    let mut text = index.to_owned();
    for (position, _) in entries.iter().enumerate().rev().filter(|(_, entry)| entry.digest == *top) {
        let at = [Step::Key("manifests"), Step::Index(position)];
        let is_again = entries[..position].iter().any(|other| other.digest == *top);
        text = match is_again {
            true => remove(&text, &at)?,
            false => set_members(&text, &[at[0], at[1], Step::Key("annotations")], &names)?,
        };
    }
    Ok(text)
}

fn text(files: &dyn Files, raw: &RawManifest) -> Result<String, SourceError> {
    let not_utf8 = |_| malformed(files.place(), format!("{} is not UTF-8", raw.digest));
    String::from_utf8(raw.bytes.to_vec()).map_err(not_utf8)
}
