//! Requests and answers, read and written by hand (RFC 9112).

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Stream;

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
    /// The header `name` (in lower case), or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
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
            let (name, value) = (name.to_ascii_lowercase(), value.trim());
            // Several of one name are one list (RFC 9110 section 5.3, *Field Order*).
            match request.headers.iter_mut().find(|(key, _)| *key == name) {
                Some((_, values)) => values.push_str(&format!(", {value}")),
                None => request.headers.push((name, value.to_owned())),
            }
        }
        if !request.header("expect").is_empty() {
            connection.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if !request.header("transfer-encoding").is_empty() {
            request.body = chunked(connection)?;
        } else if !request.header("content-length").is_empty() {
            request.body = vec![0; request.header("content-length").parse().map_err(|_| ErrorKind::InvalidData)?];
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
    /// What is said of the body's length.
    pub length: Length,
    /// How much of it is sent, and what happens then.
    pub ending: Ending,
    /// How many bytes of the body have been sent.
    pub sent: Arc<AtomicU64>,
}

/// What `Content-Length` says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// The truth.
    True,
    /// This.
    Said(u64),
    /// Nothing: the header is missing.
    Unsaid,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ending {
    /// It is sent whole, and the connection stays open.
    Whole,
    /// The connection closes in order after so many bytes of the body.
    Cut(usize),
    /// The connection is reset after so many bytes of the body.
    Reset(usize),
    /// After so many bytes of the body nothing more comes, and the connection stays open.
    Stall(usize),
    /// The connection is reset before any answer.
    NoAnswer,
    /// The connection closes in order before any answer.
    HangUp,
    /// The connection is for something else from now on (RFC 9110 section 9.3.6, *CONNECT*).
    Tunnel,
}

impl Response {
    /// An answer with this body.
    pub fn new(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Response { headers, ..Response::of(status, body.as_ref().into()) }
    }

    /// An answer with this body, which is not copied.
    pub fn of(status: u16, body: Arc<[u8]>) -> Self {
        let range = 0..body.len();
        let (length, ending, sent) = (Length::True, Ending::Whole, Arc::default());
        Response { status, headers: Vec::new(), body, range, length, ending, sent }
    }

    /// An answer of status 200 with this body.
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Response::new(200, &[], body)
    }

    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Response::new(status, &[], "")
    }

    /// An answer that says it has `length` bytes, whatever it has.
    pub fn promising(length: usize, status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        Response { length: Length::Said(length as u64), ..Response::new(status, headers, body) }
    }

    /// An answer in chunks, whose length nobody says beforehand.
    pub fn chunked(body: &[u8]) -> Self {
        let mut chunks = Vec::new();
        for chunk in body.chunks(1000) {
            chunks.extend(format!("{:x}\r\n", chunk.len()).bytes());
            chunks.extend(chunk);
            chunks.extend(b"\r\n");
        }
        chunks.extend(b"0\r\n\r\n");
        Response::until_closed(200, &[("Transfer-Encoding", "chunked")], chunks)
    }

    /// An answer that ends where the connection does, and says no length.
    pub fn until_closed(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        Response { length: Length::Unsaid, ..Response::new(status, headers, body) }
    }

    /// No answer: the connection ends.
    pub fn nothing() -> Self {
        Response { ending: Ending::HangUp, ..Response::status(200) }
    }

    /// An error as the distribution-spec writes them (*Error Codes*).
    pub fn error(status: u16, code: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"the registry says {code}"}}]}}"#);
        Response::new(status, &[("Content-Type", "application/json")], body)
    }

    /// A JSON document.
    pub fn json(value: &serde_json::Value) -> Self {
        Response::new(200, &[("Content-Type", "application/json")], value.to_string())
    }

    /// With one more header; one of the same name gives way.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends nothing more then, and does not close the connection either.
    pub fn then_stall(self) -> Self {
        Response { ending: Ending::Stall(usize::MAX), ..self }
    }

    /// Sends the answer, counting the body's bytes in `sent`. Gives whether the connection can go on.
    pub fn write(&self, stream: &mut Stream, is_head: bool) -> io::Result<bool> {
        let body = self.body.get(self.range.clone()).unwrap_or_default();
        let limit = match self.ending {
            Ending::NoAnswer | Ending::HangUp => return Ok(false),
            Ending::Cut(limit) | Ending::Reset(limit) | Ending::Stall(limit) => limit,
            Ending::Whole | Ending::Tunnel => body.len(),
        };
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        match self.length {
            _ if self.ending == Ending::Tunnel => {}
            Length::True => head.push_str(&format!("Content-Length: {}\r\n", body.len())),
            Length::Said(length) => head.push_str(&format!("Content-Length: {length}\r\n")),
            Length::Unsaid => {}
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        let body = if is_head { &[] } else { &body[..limit.min(body.len())] };
        for chunk in body.chunks(64 << 10) {
            stream.write_all(chunk)?;
            self.sent.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        }
        stream.flush()?;
        let closes = self.headers.iter().any(|(name, value)| name == "Connection" && value == "close");
        Ok(self.ending == Ending::Whole && self.length == Length::True && !closes)
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
