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

/// A channel that holds no more than about a mebibyte, and its reader as much again.
pub(super) fn channel() -> (Sender, PieceReader) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (sender, PieceReader { receiver, waiting: Vec::new(), current: Bytes::new(), is_over: false })
}

/// The channel's other end, for a thread that may block.
pub(super) struct PieceReader {
    receiver: mpsc::Receiver<Piece>,
    /// What has been taken from the channel and not yet read, the next one last. All that is there is taken at once, so that the task
    /// is woken once to fill the whole channel again, and not for each piece.
    waiting: Vec<Piece>,
    current: Bytes,
    is_over: bool,
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.is_over && !buffer.is_empty() {
            if self.waiting.is_empty() {
                self.receiver.blocking_recv_many(&mut self.waiting, PIECES);
                self.waiting.reverse();
            }
            match self.waiting.pop() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_takes_all_that_waits_so_that_the_whole_channel_is_free_again() {
        let (sender, mut reader) = channel();
        for number in 0..PIECES {
            assert!(sender.try_send(Piece::Data(vec![number as u8].into())).is_ok());
        }
        assert_eq!(sender.capacity(), 0);
        let mut byte = [0xff];
        assert_eq!(reader.read(&mut byte).unwrap(), 1);
        assert_eq!((byte, sender.capacity()), ([0], PIECES));
        assert!(sender.try_send(Piece::End).is_ok());
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, (1..PIECES as u8).collect::<Vec<_>>());
        assert_eq!(reader.read(&mut byte).unwrap(), 0);
    }

    #[test]
    fn a_task_that_goes_away_without_an_end_is_a_failure_after_what_it_sent() {
        let (sender, mut reader) = channel();
        assert!(sender.try_send(Piece::Data(Bytes::from_static(b"ab"))).is_ok());
        drop(sender);
        let mut all = Vec::new();
        assert_eq!(reader.read_to_end(&mut all).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(all, b"ab");
    }
}
