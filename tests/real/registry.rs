//! Debian's `docker-registry`, one process for each test that asks, on a loopback port of its own.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A registry that runs for as long as this value lives.
pub struct Registry {
    /// `127.0.0.1:PORT`, what image references begin with.
    pub host: String,
    process: std::process::Child,
    storage: TempDir,
}

/// The one account of a registry that asks for a password.
pub const USER: &str = "reader";
pub const PASSWORD: &str = "correct horse";

impl Registry {
    /// A registry that lets everybody in.
    pub fn open() -> Self {
        Self::start(TempDir::new().unwrap(), "")
    }

    /// A registry that wants [`USER`] and [`PASSWORD`] by Basic authentication.
    pub fn with_password() -> Self {
        let storage = TempDir::new().unwrap();
        let accounts = storage.path().join("htpasswd");
        // bcrypt of PASSWORD, the only hash that docker-registry takes.
        std::fs::write(&accounts, format!("{USER}:$2y$05$dockerartifacttestsalemSRxCtJZK57SiQSi6290e1rzkTlSjg2\n"))
            .unwrap();
        let authentication = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", accounts.display());
        Self::start(storage, &authentication)
    }

    fn start(storage: TempDir, more: &str) -> Self {
        let config = storage.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n{more}",
            storage.path().join("data").display()
        );
        std::fs::write(&config, text).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It names the port that the system chose once it listens there.
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut said = String::new();
        let host = loop {
            let start = said.len();
            assert_ne!(log.read_line(&mut said).unwrap(), 0, "docker-registry stopped at once:\n{said}");
            if let Some((_, address)) = said[start..].split_once("listening on ") {
                break address.split(|c: char| c != '.' && c != ':' && !c.is_ascii_digit()).next().unwrap().to_owned();
            }
        };
        std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
        Self { host, process, storage }
    }

    /// What ends this registry from a shell: for one that lives in a static, which is never dropped.
    pub fn end_command(&self) -> String {
        format!("kill {}; rm -r {}", self.process.id(), self.storage.path().display())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
