//! An HTTP server in this process, on a port of its own on 127.0.0.1 or on a socket of this machine. What it answers a
//! [`Service`] decides, byte by byte: where an answer stops, and whether the connection then closes in order, is reset or
//! falls silent.
//!
//! Each connection has its thread, as nothing here needs to be fast, only exact. [`Server`] is the service that is a closure
//! and remembers what it was asked; the registry is another.

mod message;
mod stream;
mod tls;

use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;

pub use message::{Ending, Length, Request, Response, form, value_of};
pub use stream::Stream;
pub use tls::{Authority, self_signed};

/// What answers requests.
pub trait Service: Send + Sync + 'static {
    /// The answer to one request.
    fn answer(&self, request: Request) -> Response;

    /// Whether the connection that was just made is reset at once.
    fn refuses(&self) -> bool {
        false
    }

    /// Is called when an answer has stalled.
    fn has_stalled(&self) {}

    /// Goes on with a connection whose last answer ended in [`Ending::Tunnel`].
    fn tunnel(&self, socket: TcpStream) -> io::Result<()> {
        drop(socket);
        Ok(())
    }
}

/// A free port of 127.0.0.1.
pub fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("the loopback interface has a free port")
}

/// Answers every connection to `listener`, until the process ends.
pub fn spawn(listener: TcpListener, tls: Option<Arc<ServerConfig>>, service: Arc<dyn Service>) {
    let accept = move || {
        for socket in listener.incoming().map_while(Result::ok) {
            if service.refuses() {
                Stream::from(socket).reset();
                continue;
            }
            let (tls, service) = (tls.clone(), service.clone());
            std::thread::spawn(move || {
                // A client that goes away, or that speaks something else, ends its connection and nothing more.
                let _ = Stream::open(socket, tls).and_then(|stream| serve(stream, &*service));
            });
        }
    };
    std::thread::spawn(accept);
}

/// Answers every connection to a socket of this machine, until the process ends.
pub fn spawn_unix(listener: UnixListener, service: Arc<dyn Service>) {
    let accept = move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let service = service.clone();
            std::thread::spawn(move || serve(Stream::Unix(socket), &*service));
        }
    };
    std::thread::spawn(accept);
}

/// Answers one request after the other, until the client goes or an answer ends the connection.
pub fn serve(stream: Stream, service: &dyn Service) -> io::Result<()> {
    let mut connection = BufReader::new(stream);
    while let Some(request) = Request::read(&mut connection)? {
        let is_head = request.method == "HEAD";
        let is_last = request.header("connection") == "close";
        let response = service.answer(request);
        let goes_on = response.write(connection.get_mut(), is_head)?;
        match response.ending {
            Ending::NoAnswer | Ending::Reset(_) => {
                connection.into_inner().reset();
                return Ok(());
            }
            Ending::Stall(_) => {
                service.has_stalled();
                connection.get_ref().stall();
                return Ok(());
            }
            Ending::Tunnel => {
                return connection.into_inner().into_socket().map_or(Ok(()), |socket| service.tunnel(socket));
            }
            _ if is_last || !goes_on => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}

/// A server that answers by a script: each request on a connection of its own. It serves until the process ends.
#[derive(Clone)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Request>>>,
}

struct Scripted<F> {
    script: F,
    received: Arc<Mutex<Vec<Request>>>,
}

impl<F: Fn(&Request, usize) -> Response + Send + Sync + 'static> Service for Scripted<F> {
    fn answer(&self, request: Request) -> Response {
        let before = {
            let mut received = self.received.lock().expect("no thread panics here");
            received.push(request.clone());
            received.len() - 1
        };
        (self.script)(&request, before).header("Connection", "close")
    }
}

impl Server {
    /// Answers each request by `script`, which also gets the number of requests that came before.
    pub fn start(script: impl Fn(&Request, usize) -> Response + Send + Sync + 'static) -> Self {
        Server::serve(None, script)
    }

    /// The same over TLS.
    pub fn start_tls(
        tls: Arc<ServerConfig>,
        script: impl Fn(&Request, usize) -> Response + Send + Sync + 'static,
    ) -> Self {
        Server::serve(Some(tls), script)
    }

    fn serve(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&Request, usize) -> Response + Send + Sync + 'static,
    ) -> Self {
        let listener = listen();
        let address = listener.local_addr().expect("a bound socket has an address");
        let received = Arc::<Mutex<Vec<Request>>>::default();
        spawn(listener, tls, Arc::new(Scripted { script, received: received.clone() }));
        Server { address, received }
    }

    /// Every request so far.
    pub fn received(&self) -> Vec<Request> {
        self.received.lock().expect("no thread panics here").clone()
    }

    /// The method and path of every request, without query.
    pub fn paths(&self) -> Vec<String> {
        self.received().iter().map(|request| format!("{} {}", request.method, request.path())).collect()
    }

    /// The URL of a path here, without TLS.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}
