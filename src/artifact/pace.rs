//! How the reading of a large layer goes: whether the network waits for the decoder, and whether the layer has decided what was asked
//! for. Then it is known when the next layer may be read beside it.
//!
//! A file of a base image lies below all other layers, and a decoder keeps one processor busy. Where another one is idle and bytes come
//! faster than they are decoded, the layer below is read at the same time: on a slow link, where it would take bytes from the one
//! that may decide, it is not. So a layer that turns out not to matter costs at most what it has stored, and no time.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::image::Layer;
use crate::source::{BlobReader, LayerBlob};

/// Layers of fewer bytes, as stored, are over too soon for anything to be gained.
const WORTHWHILE: u64 = 32 << 20;

/// So many bytes of a layer are read alone: what lies at its start needs no other layer.
const ALONE: u64 = 16 << 20;

/// So many bytes of contents may be kept of all layers beside one, which may hide them. There may be no room for more, and what is not
/// kept is read again where it turns out to matter.
const MAX_KEPT: u64 = 16 << 20;

/// Waiting for bytes may take this part of the time, and still the decoder counts as the slower one.
const WAITING_PART: u32 = 4;

/// What is known of one layer's reading, while it goes on.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Told when there is room for another layer beside it.
    room: Notify,
    /// Whether no layer below this one is wanted any more.
    is_over: AtomicBool,
    /// How many bytes of contents were kept of the layers beside it, or were to be.
    kept: AtomicU64,
}

impl Pace {
    /// Whether reading another layer beside `layer` could be worth it.
    pub(super) fn is_worthwhile(layer: &Layer) -> bool {
        layer.size() >= WORTHWHILE && available_parallelism().is_ok_and(|processors| processors.get() > 1)
    }

    /// Waits until there is room for another layer. Never returns if there will be none.
    pub(super) async fn room(&self) {
        self.room.notified().await;
        if self.is_over() {
            std::future::pending::<()>().await;
        }
    }

    /// Says that no layer below this one is wanted any more: a reading beside it ends with its next bytes.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether that was said.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Whether the content of a file of so many bytes of a layer beside this one may be kept.
    pub(super) fn may_keep(&self, bytes: u64) -> bool {
        let room = |kept: u64| kept.checked_add(bytes).filter(|kept| *kept <= MAX_KEPT);
        self.kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    /// The layer in `blob`, whose reading this is to be told of. What lies in a file of this machine is left as it is.
    pub(super) fn watching(self: &Arc<Self>, blob: LayerBlob) -> LayerBlob {
        match blob {
            LayerBlob::Stream(reader, trail) => {
                let (began, waited) = (Instant::now(), Duration::ZERO);
                let pace = Arc::clone(self);
                let reader = Watched { reader, pace, bytes: 0, began, waited, is_told: false };
                LayerBlob::Stream(Box::new(reader), trail)
            }
            stored => stored,
        }
    }

    /// The layer in `blob`, which is read beside this one's only as long as that makes sense.
    pub(super) fn beside(self: &Arc<Self>, blob: LayerBlob) -> LayerBlob {
        match blob {
            LayerBlob::Stream(reader, trail) => {
                LayerBlob::Stream(Box::new(Beside { reader, pace: Arc::clone(self) }), trail)
            }
            stored => stored,
        }
    }
}

/// Tells the pace of its reading.
struct Watched {
    reader: BlobReader,
    pace: Arc<Pace>,
    bytes: u64,
    began: Instant,
    /// How long bytes were waited for.
    waited: Duration,
    is_told: bool,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_told {
            return self.reader.read(buffer);
        }
        let asked = Instant::now();
        let read = self.reader.read(buffer)?;
        self.waited += asked.elapsed();
        self.bytes += read as u64;
        if self.bytes >= ALONE && self.waited * WAITING_PART < self.began.elapsed() {
            self.is_told = true;
            self.pace.room.notify_one();
        }
        Ok(read)
    }
}

/// Ends when nobody wants it any more.
struct Beside {
    reader: BlobReader,
    pace: Arc<Pace>,
}

impl Read for Beside {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.pace.is_over() {
            return Err(io::Error::other("the layer is not needed"));
        }
        self.reader.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether there is room beside a reader that needs so long for each mebibyte, whose bytes are decoded in so long.
    fn has_room(coming: Duration, decoding: Duration, mebibytes: usize) -> bool {
        struct Slow(Duration);
        impl Read for Slow {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                spend(self.0);
                Ok(buffer.len())
            }
        }
        fn spend(time: Duration) {
            let began = Instant::now();
            while began.elapsed() < time {
                std::hint::spin_loop();
            }
        }
        let pace = Arc::new(Pace::default());
        let LayerBlob::Stream(mut reader, _) = pace.watching(LayerBlob::Stream(Box::new(Slow(coming)), Arc::default()))
        else {
            panic!("a stream stays one")
        };
        let mut piece = vec![0; 1 << 20];
        for _ in 0..mebibytes {
            reader.read_exact(&mut piece).unwrap();
            spend(decoding);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { futures_util::FutureExt::now_or_never(pace.room()).is_some() })
    }

    #[test]
    fn there_is_room_where_the_decoder_is_the_slower_one_and_some_was_read() {
        let (long, short) = (Duration::from_millis(4), Duration::ZERO);
        assert!(has_room(short, long, 17));
        assert!(!has_room(long, short, 17), "the link is the slower one");
        assert!(!has_room(short, long, 15), "so little may be all that is needed");
    }

    #[test]
    fn a_layer_beside_one_that_has_decided_is_read_no_further() {
        let pace = Arc::new(Pace::default());
        let LayerBlob::Stream(mut reader, _) = pace.beside(LayerBlob::Stream(Box::new(io::repeat(7)), Arc::default()))
        else {
            panic!("a stream stays one")
        };
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        pace.end();
        assert!(reader.read_exact(&mut byte).is_err());
    }
}
