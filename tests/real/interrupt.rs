//! Ctrl-C in the real `docker`, in the middle of a blob: the terminal sends SIGINT to the whole group of processes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::engine::{self, NEEDS};
use crate::plugin::Plugin;
use crate::tools::{can_run, run};

/// Enough to be well inside the lowest layer, whose blob is about 15 MB.
const BYTES_LET_THROUGH: u64 = 4 << 20;

/// Forwards connections to `target` until so many bytes came back, and holds everything from then on.
/// Gives its own address and a channel that says when it began to hold.
fn stalling_forwarder(target: String) -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = channel();
    thread::spawn(move || {
        let passed = Arc::new(AtomicU64::new(0));
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(&target).unwrap();
            let (mut up, mut upstream) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut up, &mut upstream));
            let (passed, tell) = (passed.clone(), tell.clone());
            thread::spawn(move || forward_until_stalled(server, client, &passed, &tell));
        }
    });
    (address, told)
}

fn forward_until_stalled(mut from: TcpStream, mut to: TcpStream, passed: &AtomicU64, tell: &Sender<()>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        if passed.fetch_add(bytes as u64, Ordering::Relaxed) > BYTES_LET_THROUGH {
            let _ = tell.send(());
            // Held open for as long as the other side stays.
            let _ = to.read(&mut buffer);
            return;
        }
        if to.write_all(&buffer[..bytes]).is_err() {
            return;
        }
    }
}

#[test]
fn ctrl_c_in_the_middle_of_a_layer_leaves_nothing_and_exits_with_130() {
    if !can_run("ctrl_c_in_the_middle_of_a_layer_leaves_nothing_and_exits_with_130", &[NEEDS, &["kill"]].concat()) {
        return;
    }
    let (host, path) = engine::pushed().reference.split_once('/').unwrap();
    let (address, stalled) = stalling_forwarder(host.to_owned());
    let destination = TempDir::new().unwrap();
    let plugin = Plugin::installed();

    let output = format!("{}/", destination.path().display());
    // Whatever runs the tests may ignore the signal, as a shell does for its background jobs.
    let mut child = Command::new("env")
        .args([
            "--default-signal=INT",
            "docker",
            "artifact",
            "get",
            &format!("{address}/{path}"),
            "/usr/bin",
            "-o",
            &output,
        ])
        .env("DOCKER_CONFIG", plugin.config())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while stalled.recv_timeout(Duration::from_millis(200)).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
    }
    run(Command::new("kill").args(["-INT", "--", &format!("-{}", child.id())]));
    let ended = child.wait_with_output().unwrap();

    assert_eq!(ended.status.code(), Some(130), "{}", String::from_utf8_lossy(&ended.stderr));
    let left: Vec<_> = std::fs::read_dir(destination.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
