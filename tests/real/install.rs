//! `install.sh` with a release, from a web server on loopback: what it takes, and what it refuses.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::tools::{WebServer, can_run, finish, run};

const NEEDS: &[&str] = &["curl", "python3", "busybox"];

/// Releases 1.2.3 and, as the latest, 2.0.0, whose programs only say which they are; and a home directory.
struct Machine {
    home: TempDir,
    releases: TempDir,
    server: WebServer,
}

impl Machine {
    fn new() -> Self {
        let releases = TempDir::new().unwrap();
        for (folder, version) in [("download/v1.2.3", "1.2.3"), ("latest/download", "2.0.0")] {
            release(&releases.path().join(folder), version);
        }
        let server = WebServer::of(releases.path());
        Machine { home: TempDir::new().unwrap(), releases, server }
    }

    /// install.sh, with no program in reach but these, and what every system has.
    fn install(&self, programs: &[&str], arguments: &[&str]) -> Output {
        let bin = self.home.path().join("tools");
        let _ = fs::remove_dir_all(&bin);
        fs::create_dir(&bin).unwrap();
        let path = std::env::var_os("PATH").unwrap();
        let usual =
            "sh cat cksum cp chmod cut dirname grep ln mkdir mktemp mv readlink rm rmdir sed sha256sum tr uname";
        for name in usual.split(' ').chain(programs.iter().copied()) {
            let program = if name == "wget" { "busybox" } else { name };
            let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
            symlink(found.unwrap(), bin.join(name)).unwrap();
        }
        let mut sh = Command::new("/bin/sh");
        sh.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh")).args(arguments);
        sh.env_clear()
            .env("HOME", self.home.path())
            .env("PATH", &bin)
            .env("DOCKER_ARTIFACT_RELEASES", &self.server.url);
        finish(sh.current_dir(self.home.path()))
    }

    /// What the installed programs say, one after the other.
    fn installed(&self) -> Vec<String> {
        let programs = [".local/bin/docker-artifact", ".local/bin/copy_binary", ".docker/cli-plugins/docker-artifact"];
        let run = |name| run(&mut Command::new(self.home.path().join(name)));
        programs.map(|name| String::from_utf8(run(name)).unwrap().trim().to_owned()).into()
    }

    fn nothing_is_installed(&self) -> bool {
        !self.home.path().join(".local").exists() && !self.home.path().join(".docker").exists()
    }
}

/// Every file that a release could have for a machine, with its checksum.
fn release(folder: &Path, version: &str) {
    fs::create_dir_all(folder).unwrap();
    let program = format!("#!/bin/sh\necho {version}\n");
    let sum: String = Sha256::digest(&program).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut sums = String::new();
    for platform in ["linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"] {
        let name = format!("docker-artifact-{platform}");
        fs::write(folder.join(&name), &program).unwrap();
        sums += &format!("{sum}  {name}\n");
    }
    fs::write(folder.join("SHA256SUMS"), sums).unwrap();
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_release_is_installed_upgraded_and_removed() {
    if !can_run("a_release_is_installed_upgraded_and_removed", NEEDS) {
        return;
    }
    let machine = Machine::new();
    for (program, version, expected) in
        [("curl", "1.2.3", "1.2.3"), ("wget", "v1.2.3", "1.2.3"), ("curl", "latest", "2.0.0")]
    {
        let output = machine.install(&[program], &["--version", version]);
        assert!(output.status.success(), "{program}: {}", said(&output));
        assert_eq!(machine.installed(), [expected; 3], "{program}");
    }
    assert_eq!(
        fs::metadata(machine.home.path().join(".local/bin/docker-artifact")).unwrap().permissions().mode() & 0o777,
        0o755
    );
    let output = machine.install(&[], &["--uninstall"]);
    assert!(output.status.success() && machine.nothing_is_installed(), "{}", said(&output));
}

#[test]
fn without_rust_the_latest_release_is_installed() {
    if !can_run("without_rust_the_latest_release_is_installed", NEEDS) {
        return;
    }
    let machine = Machine::new();
    let output = machine.install(&["wget"], &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(machine.installed(), ["2.0.0"; 3]);
}

#[test]
fn what_does_not_have_its_checksum_is_not_installed() {
    if !can_run("what_does_not_have_its_checksum_is_not_installed", NEEDS) {
        return;
    }
    let machine = Machine::new();
    let folder = machine.releases.path().join("download/v1.2.3");
    for platform in ["linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"] {
        fs::write(folder.join(format!("docker-artifact-{platform}")), "#!/bin/sh\necho other\n").unwrap();
    }
    for program in ["curl", "wget"] {
        let output = machine.install(&[program], &["--version", "1.2.3"]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("does not have its checksum"), "{}", said(&output));
        assert!(machine.nothing_is_installed());
    }

    fs::write(folder.join("SHA256SUMS"), "").unwrap();
    let output = machine.install(&["curl"], &["--version", "1.2.3"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("does not list"), "{}", said(&output));
    assert!(machine.nothing_is_installed());
}

#[test]
fn a_release_that_cannot_be_had_is_named() {
    if !can_run("a_release_that_cannot_be_had_is_named", NEEDS) {
        return;
    }
    let machine = Machine::new();
    for program in ["curl", "wget"] {
        let output = machine.install(&[program], &["--version", "9.9.9"]);
        assert_eq!(output.status.code(), Some(1), "{program}");
        assert!(said(&output).contains("cannot download") && said(&output).contains("v9.9.9"), "{}", said(&output));
    }
    let output = machine.install(&[], &["--version", "1.2.3"]);
    assert!(said(&output).contains("neither curl nor wget"), "{}", said(&output));
    for arguments in [&["--version", "1.2.3/../.."][..], &["--version", "1.2.3", "--binary", "/bin/sh"]] {
        let output = machine.install(&["curl"], arguments);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    }
    assert!(machine.nothing_is_installed());
}
