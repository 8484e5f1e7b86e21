//! HTTP/1.1 by hand (RFC 9112), because a test must decide on each byte: where an answer stops, and whether the connection
//! then closes cleanly, is reset or falls silent.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};

/// A connection, with or without TLS.
pub enum Stream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
    /// A socket of this machine.
    Unix(UnixStream),
}

impl Stream {
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
            Stream::Plain(socket) => {
                let mut socket = socket;
                socket.read(&mut ignored)
            }
            Stream::Tls(stream) => (&stream.sock).read(&mut ignored),
            Stream::Unix(socket) => {
                let mut socket = socket;
                socket.read(&mut ignored)
            }
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

/// A request, read whole.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET` and its like.
    pub method: String,
    /// What was asked for: a path with its query, or what a proxy is given.
    pub target: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The header `name` (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query's pairs, decoded.
    pub fn query(&self) -> Vec<(String, String)> {
        form(self.target.split_once('?').map_or("", |(_, query)| query))
    }

    /// The first value of `name` in the query.
    pub fn query_value(&self, name: &str) -> Option<String> {
        value_of(self.query(), name)
    }

    /// Reads the next request of a connection; `None` is its orderly end.
    pub fn read(connection: &mut BufReader<Stream>) -> io::Result<Option<Request>> {
        let Some(start) = line(connection)? else { return Ok(None) };
        let mut words = start.split(' ');
        let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0")) = (words.next(), words.next(), words.next())
        else {
            return Err(ErrorKind::InvalidData.into());
        };
        let mut request =
            Request { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() };
        while let Some(text) = line(connection)?.filter(|text| !text.is_empty()) {
            let (name, value) = text.split_once(':').ok_or(ErrorKind::InvalidData)?;
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if request.header("expect").is_some() {
            connection.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if request.header("transfer-encoding").is_some() {
            request.body = chunked(connection)?;
        } else if let Some(length) = request.header("content-length") {
            request.body = vec![0; length.parse().map_err(|_| ErrorKind::InvalidData)?];
            connection.read_exact(&mut request.body)?;
        }
        Ok(Some(request))
    }
}

/// The pairs of a query or of a form body.
pub fn form(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

/// The first value of `name` among `pairs`.
pub fn value_of(pairs: Vec<(String, String)>, name: &str) -> Option<String> {
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, hex.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn line(connection: &mut BufReader<Stream>) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if connection.take(16 << 10).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let text = String::from_utf8(bytes).map_err(|_| ErrorKind::InvalidData)?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// A body in chunks (RFC 9112 section 7.1), without trailers.
fn chunked(connection: &mut BufReader<Stream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(connection)?.ok_or(ErrorKind::UnexpectedEof)?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| ErrorKind::InvalidData)?;
        let start = body.len();
        body.resize(start + size, 0);
        connection.read_exact(&mut body[start..])?;
        line(connection)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

/// An answer.
#[derive(Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, without `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// The bytes that the body is part of.
    pub body: Arc<[u8]>,
    /// Which part of them.
    pub range: std::ops::Range<usize>,
    /// What `Content-Length` says, where that is not the body's length.
    pub content_length: Option<u64>,
    /// How much of it is sent, and what happens then.
    pub ending: Ending,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    /// It is sent whole, and the connection stays open.
    Whole,
    /// The connection closes cleanly after so many bytes of the body.
    Cut(usize),
    /// The connection is reset after so many bytes of the body.
    Reset(usize),
    /// After so many bytes of the body nothing more comes, and the connection stays open.
    Stall(usize),
    /// The connection is reset before any answer.
    NoAnswer,
}

impl Response {
    /// An answer with this body.
    pub fn new(status: u16, body: impl Into<Arc<[u8]>>) -> Self {
        let body = body.into();
        let range = 0..body.len();
        Response { status, headers: Vec::new(), body, range, content_length: None, ending: Ending::Whole }
    }

    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Response::new(status, Vec::new())
    }

    /// An error as the distribution-spec writes them (*Error Codes*).
    pub fn error(status: u16, code: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"the registry says {code}"}}]}}"#);
        Response::new(status, body.into_bytes()).header("Content-Type", "application/json")
    }

    /// A JSON document.
    pub fn json(value: &serde_json::Value) -> Self {
        Response::new(200, value.to_string().into_bytes()).header("Content-Type", "application/json")
    }

    /// With one more header; one of the same name gives way.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends the answer, counting the body's bytes in `sent`. Gives whether the connection can go on.
    pub fn write(&self, stream: &mut Stream, is_head: bool, sent: &AtomicU64) -> io::Result<bool> {
        let body = self.body.get(self.range.clone()).unwrap_or_default();
        let length = self.content_length.unwrap_or(body.len() as u64);
        let mut head = format!("HTTP/1.1 {} {}\r\nContent-Length: {length}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        let limit = match self.ending {
            Ending::Whole => body.len(),
            Ending::Cut(limit) | Ending::Reset(limit) | Ending::Stall(limit) => limit,
            Ending::NoAnswer => 0,
        };
        let body = if is_head { &[] } else { &body[..limit.min(body.len())] };
        for chunk in body.chunks(64 << 10) {
            stream.write_all(chunk)?;
            sent.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        }
        stream.flush()?;
        Ok(self.ending == Ending::Whole && length == self.range.len() as u64)
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        206 => "Partial Content",
        307 => "Temporary Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Other",
    }
}
