//! Images in memory, for the tests of this folder.

use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::{BoxFuture, ready};
use tar::{Builder, EntryType, Header};

use crate::image::config::ImageConfig;
use crate::image::digest::{DiffId, Digest};
use crate::image::platform::Choice;
use crate::image::{Blob, Image, Layer};
use crate::progress::Progress;
use crate::source::{LayerBlob, Promise, Source, SourceError, StoredLayer};

/// One member of a layer.
#[derive(Clone, Copy)]
pub enum Member<'a> {
    /// A file: its path and its content.
    File(&'a str, &'a [u8]),
    /// A symbolic link: its path and its target.
    Link(&'a str, &'a str),
    /// A directory.
    Directory(&'a str),
}

/// A file with this content.
pub fn file<'a>(path: &'a str, content: &'a str) -> Member<'a> {
    Member::File(path, content.as_bytes())
}

/// A tar of these members.
pub fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for member in members {
        let mut header = Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(0);
        match *member {
            Member::File(path, content) => {
                header.set_size(content.len() as u64);
                tar.append_data(&mut header, path, content).unwrap();
            }
            Member::Link(path, target) => {
                header.set_entry_type(EntryType::Symlink);
                tar.append_link(&mut header, path, target).unwrap();
            }
            Member::Directory(path) => {
                header.set_entry_type(EntryType::Directory);
                header.set_mode(0o755);
                tar.append_data(&mut header, path, &b""[..]).unwrap();
            }
        }
    }
    tar.into_inner().unwrap()
}

/// The same bytes, compressed.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// How a place has its layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// They come once, as from a registry.
    Streams,
    /// They lie in files, and the digests of their blobs are known.
    Stored,
}

/// An image in memory.
pub struct Memory {
    /// The image.
    pub image: Arc<Image>,
    layers: Vec<Vec<u8>>,
    stored: As,
    is_pinned: bool,
    /// The positions (from the bottom) of the layers that cannot be had.
    lost: Vec<usize>,
    /// Those that were opened, in order.
    opened: Arc<Opened>,
    /// Layers whose bytes from here on come once another one has been opened: layer, bytes, and that one.
    held: Option<(usize, u64, usize)>,
}

#[derive(Default)]
struct Opened {
    layers: Mutex<Vec<usize>>,
    more: Condvar,
}

/// Nothing, once another layer has been opened.
struct Gate {
    opened: Arc<Opened>,
    until: usize,
}

impl Read for Gate {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        let layers = self.opened.layers.lock().unwrap_or_else(PoisonError::into_inner);
        // So long only where the test fails.
        let patience = Duration::from_secs(20);
        let closed = |layers: &mut Vec<usize>| !layers.contains(&self.until);
        drop(self.opened.more.wait_timeout_while(layers, patience, closed));
        Ok(0)
    }
}

impl Memory {
    /// An image with these layers, bottom first, as they are to be stored.
    pub fn new(layers: Vec<Vec<u8>>, stored: As) -> Self {
        Memory::labelled(layers, stored, &[])
    }

    /// The same with these labels.
    pub fn labelled(layers: Vec<Vec<u8>>, stored: As, labels: &[(&str, &str)]) -> Self {
        let blob =
            |bytes: &Vec<u8>| Blob { digest: Some(Digest::of(bytes)), size: bytes.len() as u64, ..Blob::default() };
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut config = ImageConfig::default();
        config.config.labels = labels;
        config.rootfs.diff_ids =
            layers.iter().map(|bytes| DiffId(Digest::of(&[bytes, &b"tar"[..]].concat()))).collect();
        let image = Image::of_blobs(None, config, 0, layers.iter().map(blob).collect()).unwrap();
        let opened = Arc::default();
        Memory { image: Arc::new(image), layers, stored, is_pinned: false, lost: Vec::new(), opened, held: None }
    }

    /// The same, named by its digest.
    pub fn pinned(self) -> Self {
        Memory { is_pinned: true, ..self }
    }

    /// The same without the layer at this position from the bottom.
    pub fn without(self, layer: usize) -> Self {
        Memory { lost: vec![layer], ..self }
    }

    /// The same with what the layer at the position `layer` has behind so many bytes coming only once the one at `until` has been opened.
    pub fn holding(self, layer: usize, bytes: u64, until: usize) -> Self {
        Memory { held: Some((layer, bytes, until)), ..self }
    }

    /// The layers that were opened so far, in order, by their positions from the bottom.
    pub fn opened(&self) -> Vec<usize> {
        self.opened.layers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Source for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn address(&self, _: Option<&Digest>) -> String {
        self.name()
    }

    fn is_pinned(&self) -> bool {
        self.is_pinned
    }

    fn bytes_fetched(&self) -> u64 {
        0
    }

    fn image<'a>(&'a self, _: &'a Choice, _: &'a dyn Progress) -> BoxFuture<'a, Result<Image, SourceError>> {
        Box::pin(ready(Ok(Image::clone(&self.image))))
    }

    fn layer<'a>(&'a self, layer: &'a Layer) -> BoxFuture<'a, Result<LayerBlob, SourceError>> {
        self.opened.layers.lock().unwrap_or_else(PoisonError::into_inner).push(layer.index);
        self.opened.more.notify_all();
        let bytes = self.layers[layer.index].clone();
        if self.lost.contains(&layer.index) {
            let (what, detail) = (format!("layer {}", layer.index), String::new());
            return Box::pin(ready(Err(SourceError::NotFound { what, detail })));
        }
        if let Some((held, start, until)) = self.held
            && held == layer.index
        {
            let (start, rest) = bytes.split_at(start as usize);
            let gate = Gate { opened: Arc::clone(&self.opened), until };
            let reader = Cursor::new(start.to_vec()).chain(gate).chain(Cursor::new(rest.to_vec()));
            return Box::pin(ready(Ok(LayerBlob::Stream(Box::new(reader), Arc::default()))));
        }
        Box::pin(ready(Ok(match self.stored {
            As::Streams => LayerBlob::Stream(Box::new(Cursor::new(bytes)), Arc::default()),
            As::Stored => LayerBlob::Stored(StoredLayer::of(&bytes, layer.digest().cloned().map(Promise::Blob))),
        })))
    }
}
