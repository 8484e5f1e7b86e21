//! The server's end of a connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A connection, with or without TLS.
pub enum Stream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
    /// A socket of this machine.
    Unix(UnixStream),
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Stream::Plain(socket)
    }
}

impl Stream {
    /// What a server makes of a connection to it.
    pub fn open(socket: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let Some(tls) = tls else { return Ok(Stream::Plain(socket)) };
        let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, socket))))
    }

    /// The connection itself, where nothing encrypts it.
    pub fn into_socket(self) -> Option<TcpStream> {
        match self {
            Stream::Plain(socket) => Some(socket),
            Stream::Tls(_) | Stream::Unix(_) => None,
        }
    }

    /// Closes the connection with a TCP reset in place of an orderly end, which a socket of this machine does not know.
    pub fn reset(self) {
        let socket = match &self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &stream.sock,
            Stream::Unix(_) => return,
        };
        // A linger time of zero makes close() discard what is unsent and send RST (RFC 9293 section 3.10.4, *ABORT*).
        // Where that fails the client sees an orderly end, and its test says so.
        let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }

    /// Says nothing more, and waits until the client goes.
    pub fn stall(&self) {
        let mut ignored = [0; 64];
        let mut read = || match self {
            Stream::Plain(socket) => (&*socket).read(&mut ignored),
            Stream::Tls(stream) => (&stream.sock).read(&mut ignored),
            Stream::Unix(socket) => (&*socket).read(&mut ignored),
        };
        while read().is_ok_and(|length| length > 0) {}
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
            Stream::Unix(socket) => socket.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
            Stream::Unix(socket) => socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(stream) => stream.flush(),
            Stream::Unix(socket) => socket.flush(),
        }
    }
}
