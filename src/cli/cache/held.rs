//! All that is kept, of layers and of what builds were given, in one list.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::build::kept::{KeptImage, forget_image, kept_images};
use crate::cache::{Cache, Contents, KeptLayer, Pruned};
use crate::cli::timestamp;
use crate::image::digest::Digest;
use crate::table::own::{OwnTable, Trailer};

/// What is kept, if anything may be.
pub(super) struct Held {
    cache: Option<Arc<Cache>>,
}

impl Held {
    pub(super) fn new(cache: Option<Arc<Cache>>) -> Self {
        Held { cache }
    }

    /// A row for each layer, for all manifests, and for each image of builds; only those of a digest with `digests`.
    pub(super) fn rows(&self, digests: bool) -> Vec<Value> {
        let Some(cache) = &self.cache else { return Vec::new() };
        let Contents { layers, others } = cache.contents();
        let mut rows: Vec<Value> = layers.iter().map(|kept| layer(cache, kept)).collect();
        rows.extend(self.images().iter().map(|image| row("image", Some(&image.digest), image.bytes, Some(image.used))));
        if others.files > 0 && !digests {
            rows.push(row("manifests", None, others.bytes, others.used));
        }
        rows
    }

    /// The digests of all rows that have one, each once.
    pub(super) fn digests(&self) -> Vec<Digest> {
        let Some(cache) = &self.cache else { return Vec::new() };
        let mut digests: Vec<Digest> = cache.contents().layers.into_iter().map(|layer| layer.digest).collect();
        digests.extend(self.images().into_iter().map(|image| image.digest));
        digests.sort();
        digests.dedup();
        digests
    }

    /// Forgets what is kept under this digest.
    pub(super) fn forget(&self, digest: &Digest) -> Pruned {
        let Some(cache) = &self.cache else { return Pruned::default() };
        let mut pruned = cache.forget(digest).unwrap_or_default();
        pruned += forget_image(cache.root(), digest);
        pruned
    }

    /// Removes what nobody has used since; everything, without a time.
    pub(super) fn prune(&self, unused_since: Option<SystemTime>) -> Pruned {
        let Some(cache) = &self.cache else { return Pruned::default() };
        let is_old = |used: SystemTime| unused_since.is_none_or(|since| used < since);
        let mut pruned = cache.remove_all(is_old);
        for image in self.images().into_iter().filter(|image| is_old(image.used)) {
            pruned += forget_image(cache.root(), &image.digest);
        }
        pruned
    }

    fn images(&self) -> Vec<KeptImage> {
        self.cache.as_ref().map(|cache| kept_images(cache.root())).unwrap_or_default()
    }
}

/// The row of a layer, with what its table says of it, if that can be read.
fn layer(cache: &Cache, KeptLayer { digest, bytes, used }: &KeptLayer) -> Value {
    let mut row = row("layer", Some(digest), *bytes, Some(*used));
    let table = cache.look_at(digest).and_then(|file| top(&file).ok().flatten());
    if let Some(table) = table.filter(|table| table.blob().digest == *digest) {
        row["Size"] = json!(table.blob().size);
        row["Entries"] = json!(table.rows());
    }
    row
}

/// The table in `file`, as far as its top node tells; `None` where there is none.
fn top(file: &File) -> io::Result<Option<OwnTable>> {
    let length = file.metadata()?.len();
    let mut last = [0; Trailer::LENGTH];
    let Some(start) = length.checked_sub(Trailer::LENGTH as u64) else { return Ok(None) };
    file.read_exact_at(&mut last, start)?;
    let Ok(Trailer { top: part, .. }) = Trailer::read(&last, length) else { return Ok(None) };
    let mut top = vec![0; usize::try_from(part.length()).unwrap_or(0)];
    file.read_exact_at(&mut top, part.range.0)?;
    Ok(OwnTable::of_any(&top, &part).ok())
}

fn row(kind: &str, digest: Option<&Digest>, bytes: u64, used: Option<SystemTime>) -> Value {
    let seconds = used.and_then(|used| used.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
    json!({
        "Type": kind,
        "Digest": digest,
        "Size": null,
        "Entries": null,
        "DiskSize": bytes,
        "LastUsed": seconds.and_then(|seconds| i64::try_from(seconds).ok()).map(timestamp::utc),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Compression;
    use crate::table::own::{Blob, Writer};

    #[test]
    fn a_layer_is_listed_with_what_its_table_says() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Arc::new(Cache::at(directory.path(), 1 << 30).unwrap());
        let digest = Digest::of(b"layer");
        let blob = Blob { digest: digest.clone(), size: 1_234, compression: Compression::Gzip };
        let table = cache.new_table().unwrap();
        Writer::new(table.file.try_clone().unwrap(), Box::new(table.scratches()), blob).finish().unwrap();
        table.keep(&digest).unwrap();
        let other = cache.new_table().unwrap();
        other.keep(&Digest::of(b"other")).unwrap();
        let rows = Held::new(Some(cache)).rows(false);
        let row = |digest: &Digest| rows.iter().find(|row| row["Digest"] == json!(digest)).unwrap().clone();
        assert_eq!((&row(&digest)["Size"], &row(&digest)["Entries"]), (&json!(1_234), &json!(0)));
        assert_eq!(row(&Digest::of(b"other"))["Size"], Value::Null);
    }
}
