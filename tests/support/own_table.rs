//! Writes our own tables of layers, as a cache of this machine or in the place where the image is.

use std::collections::HashMap;
use std::io::{Cursor, Read, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use docker_artifact::artifact::{Attached, AttachedTable, Cached, Error, Tables};
use docker_artifact::image::digest::{Digest, Hasher};
use docker_artifact::image::manifest::Descriptor;
use docker_artifact::layer::content::DataOffset;
use docker_artifact::layer::{Entry, Flow, Kind, LayerError, Tracked, scan, sniff};
use docker_artifact::table::own::{Blob, Part, Writer};
use futures_util::future::{BoxFuture, ready};

use super::image::Packed;
use super::registry::Registry;

/// How many bytes of a layer lie between two hashes of it.
const HASHED: usize = 32 << 10;

/// The table of the layer in `blob`, with the digests of all files, or with what the blob's hash had come to.
pub fn table_of(blob: &[u8], digests: bool) -> (Vec<u8>, Part) {
    lying_table(blob, digests, &|_| {})
}

/// The same, of entries that are not those of the layer, but what `lie` makes of them.
pub fn lying_table(blob: &[u8], digests: bool, lie: &dyn Fn(&mut Entry)) -> (Vec<u8>, Part) {
    let digest = Digest::of(blob);
    let of = Blob { digest, size: blob.len() as u64, compression: sniff(&blob[..blob.len().min(10)]).unwrap() };
    let mut writer = Writer::new(tempfile::tempfile().unwrap(), Box::new(tempfile::tempfile), of);
    let stream = Tracked::new(Cursor::new(blob.to_vec())).unwrap();
    scan(stream, &mut |entry, data| {
        let mut digest = None;
        if let Kind::File { size, sparse: false } = entry.kind
            && size > 0
        {
            let mut content = Vec::new();
            data.read_to_end(&mut content)?;
            digest = digests.then(|| Digest::of(&content));
            let extent = data.extent().unwrap();
            writer.checkpoint(extent.compressed.start, extent.uncompressed.start, &extent.checkpoint).unwrap();
            writer.reached(extent.compressed.end, DataOffset(entry.data_offset).0 + size);
        }
        let mut entry = entry.clone();
        lie(&mut entry);
        writer.entry(&entry, digest).unwrap();
        Ok::<_, LayerError>(Flow::Continue)
    })
    .unwrap();
    if !digests {
        let mut hasher = Hasher::default();
        for (number, bytes) in blob.chunks(HASHED).enumerate() {
            writer.hashed((number * HASHED) as u64, &hasher);
            hasher.update(bytes);
        }
    }
    let mut written = writer.finish().unwrap();
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut written.file).unwrap();
    written.file.read_to_end(&mut bytes).unwrap();
    (bytes, written.top)
}

/// Tables of an image's layers.
#[derive(Default)]
pub struct OwnTables {
    kept: Mutex<HashMap<Digest, Vec<u8>>>,
    attached: HashMap<Digest, AttachedTable>,
}

impl OwnTables {
    /// As this machine keeps them.
    pub fn cached(image: &Packed) -> Arc<Self> {
        let kept = image.layers.iter().map(|layer| (Digest::of(&layer.bytes), table_of(&layer.bytes, false).0));
        Arc::new(OwnTables { kept: Mutex::new(kept.collect()), ..OwnTables::default() })
    }

    /// As a registry has them, in this repository; with `embedded`, their top nodes are known.
    pub fn attached(image: &Packed, registry: &Registry, repository: &str, embedded: bool) -> Arc<Self> {
        let tables: Vec<_> = image.layers.iter().map(|layer| table_of(&layer.bytes, true)).collect();
        let tables = tables.iter().map(|(bytes, top)| (bytes.as_slice(), top));
        OwnTables::stored(image, tables, registry, repository, embedded)
    }

    /// The same, with these tables.
    pub fn of<'a>(
        image: &Packed,
        tables: impl Iterator<Item = (&'a [u8], &'a Part)>,
        registry: &Registry,
        repository: &str,
    ) -> Arc<Self> {
        OwnTables::stored(image, tables, registry, repository, true)
    }

    fn stored<'a>(
        image: &Packed,
        tables: impl Iterator<Item = (&'a [u8], &'a Part)>,
        registry: &Registry,
        repository: &str,
        embedded: bool,
    ) -> Arc<Self> {
        let attached = image.layers.iter().zip(tables).map(|(layer, (bytes, top))| {
            let digest = Digest::of(bytes);
            registry.store_blob(repository, digest.as_str(), bytes);
            let top_bytes = Bytes::copy_from_slice(&bytes[top.range.0 as usize..top.range.1 as usize]);
            let blob = Descriptor { digest: digest.to_string(), size: bytes.len() as i64, ..Descriptor::default() };
            let top_bytes = embedded.then_some(top_bytes);
            (Digest::of(&layer.bytes), AttachedTable { blob, top: top.clone(), top_bytes, is_covered: false })
        });
        Arc::new(OwnTables { attached: attached.collect(), ..OwnTables::default() })
    }

    /// The same, where the image's digest covers them.
    pub fn vouched_for(&self) -> Arc<Self> {
        let covered = |(layer, table): (&Digest, &AttachedTable)| {
            (layer.clone(), AttachedTable { is_covered: true, ..table.clone() })
        };
        Arc::new(OwnTables { attached: self.attached.iter().map(covered).collect(), ..OwnTables::default() })
    }

    /// What lookups are given.
    pub fn tables(self: &Arc<Self>) -> Tables {
        let (cached, attached) = (Arc::clone(self) as Arc<dyn Cached>, Arc::clone(self) as Arc<dyn Attached>);
        Tables { cached: Some(cached), attached: Some(attached), ..Tables::default() }
    }

    /// Changes a table that is kept.
    pub fn edit(&self, layer: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        edit(self.kept.lock().unwrap().get_mut(&layer.parse().unwrap()).unwrap());
    }

    /// How many are kept.
    pub fn count(&self) -> usize {
        self.kept.lock().unwrap().len()
    }
}

impl Cached for OwnTables {
    fn table(&self, layer: &Digest) -> Option<std::fs::File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(self.kept.lock().unwrap().get(layer)?).unwrap();
        Some(file)
    }

    fn drop_table(&self, layer: &Digest) {
        self.kept.lock().unwrap().remove(layer);
    }
}

impl Attached for OwnTables {
    fn tables(&self) -> BoxFuture<'_, Result<HashMap<Digest, AttachedTable>, Error>> {
        Box::pin(ready(Ok(self.attached.clone())))
    }
}
