//! The way of a blob's bytes from the task that fetches them to the thread that reads them: a channel of bounded length.

use std::io::{self, Read};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::source::SourceError;

/// The most bytes that go through the channel in one piece.
pub(super) const PIECE_BYTES: usize = 64 << 10;
/// The most pieces that wait in the channel.
const PIECES: usize = 16;

/// What goes through the channel. A channel that closes without an end was cut off.
pub(super) enum Piece {
    /// The next bytes, at most [`PIECE_BYTES`].
    Data(Bytes),
    /// All bytes have come and are what they should be.
    End,
    /// There will be no more.
    Failed(SourceError),
}

/// The end that the task holds.
pub(super) type Sender = mpsc::Sender<Piece>;

/// A channel that holds no more than about a mebibyte.
pub(super) fn channel() -> (Sender, PieceReader) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (sender, PieceReader { receiver, current: Bytes::new(), is_over: false })
}

/// The channel's other end, for a thread that may block.
pub(super) struct PieceReader {
    receiver: mpsc::Receiver<Piece>,
    current: Bytes,
    is_over: bool,
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.is_over && !buffer.is_empty() {
            match self.receiver.blocking_recv() {
                Some(Piece::Data(bytes)) => self.current = bytes,
                Some(Piece::End) => self.is_over = true,
                Some(Piece::Failed(error)) => return Err(error.into()),
                None => return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the download was stopped")),
            }
        }
        let length = buffer.len().min(self.current.len());
        let piece = self.current.split_to(length);
        if let Some(target) = buffer.get_mut(..length) {
            target.copy_from_slice(&piece);
        }
        Ok(length)
    }
}
