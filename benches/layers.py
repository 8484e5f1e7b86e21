"""Writes the tars that the layers are made of, from real files. Nothing here needs root: owners are written, never taken on.

Each function takes a file to write to and gives how many entries it wrote.
"""
import contextlib
import io
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

# What `FROM buildpack-deps` would bring, where there is no Docker Hub: apt says what they need.
DEBIAN = ["base-files", "bash", "coreutils", "build-essential", "git"]
# Deleted again by the layer on top.
DELETED = "etc/deleted"
KIB, MIB = 1 << 10, 1 << 20
TIME = 1_700_000_000


class Tar:
    """A tar that is written: directories once, everything with the same time and owner."""

    def __init__(self, out):
        self.tar = tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT)
        self.directories, self.entries = set(), 0

    def add(self, member, content=None):
        if member.isdir():
            if member.name in self.directories:
                return
            self.directories.add(member.name)
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime, member.pax_headers = TIME, {}
        self.tar.addfile(member, content)
        self.entries += 1

    def parents(self, name):
        """The directories above `name`, as far as they are not there yet."""
        parts = name.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            member = tarfile.TarInfo("/".join(parts[:count]))
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            self.add(member)

    def file(self, name, content, mode=0o755):
        self.parents(name)
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(content), mode
        self.add(member, io.BytesIO(content))

    def link(self, name, target):
        self.parents(name)
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, target, 0o777
        self.add(member)

    def copy(self, path, name):
        """The file, link or directory of this machine at `path`, as `name`. What else there is, such as a socket, is left out."""
        status = os.lstat(path)
        if os.path.islink(path):
            self.link(name, os.readlink(path))
        elif os.path.isdir(path):
            self.parents(f"{name}/")
        elif os.path.isfile(path):
            self.parents(name)
            member = tarfile.TarInfo(name)
            member.size, member.mode = status.st_size, status.st_mode & 0o777
            with open(path, "rb") as content:
                self.add(member, content)

    def close(self):
        self.tar.close()
        return self.entries


def debian_packages(folder):
    """Downloads Debian's packages into `folder`: those of DEBIAN and all they need, as if nothing were installed. Gives their files."""
    nothing = ["-o", "Dir::State::status=/dev/null"]
    plan = ["apt-get", *nothing, "--simulate", "install", "--no-install-recommends", *DEBIAN]
    planned = subprocess.run(plan, check=True, capture_output=True, text=True).stdout
    names = sorted(line.split()[1] for line in planned.splitlines() if line.startswith("Inst "))
    os.chmod(folder, 0o755)
    subprocess.run(["apt-get", "-qq", "download", *names], check=True, cwd=folder, stderr=subprocess.DEVNULL)
    return sorted(Path(folder).glob("*.deb"))


def debian(out):
    """A Debian root file system: the files of its packages, with /bin, /lib, /lib64 and /sbin as links into /usr."""
    merged = ("bin", "lib", "lib64", "sbin")

    def place(name):
        name = name.removeprefix("./").rstrip("/")
        return f"usr/{name}" if name.split("/")[0] in merged else name

    tar, seen = Tar(out), set(merged)
    for name in merged:
        tar.parents(f"usr/{name}/")
        tar.link(name, f"usr/{name}")
    with tempfile.TemporaryDirectory() as folder:
        for package in debian_packages(folder):
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as unpacking:
                with tarfile.open(fileobj=unpacking.stdout, mode="r|") as files:
                    for member in files:
                        member.name = place(member.name)
                        if member.name in ("", ".") or (not member.isdir() and member.name in seen):
                            continue
                        seen.add(member.name)
                        if member.islnk():
                            member.linkname = place(member.linkname)
                        tar.add(member, files.extractfile(member) if member.isreg() else None)
                unpacking.stdout.read()
    # What the packages' scripts would write.
    tar.file("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n", 0o644)
    tar.file(DELETED, b"a file of the base image\n", 0o644)
    return tar.close()


def tiny_debian(out):
    """In the place of `debian`, for a check in seconds."""
    tar = Tar(out)
    tar.link("bin", "usr/bin")
    tar.file("usr/bin/ls", b"\x7fELF" + bytes(range(256)) * 100)
    tar.file("usr/bin/perl", b"\x7fELF" + bytes(range(255)) * 300)
    tar.file("usr/bin/gcc-12", b"\x7fELF" + bytes(range(254)) * 200)
    tar.link("usr/bin/gcc", "gcc-12")
    tar.file("usr/lib/os-release", b'NAME="tiny"\n', 0o644)
    tar.link("etc/os-release", "../usr/lib/os-release")
    tar.file("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n", 0o644)
    tar.file(DELETED, b"a file of the base image\n", 0o644)
    return tar.close()


def toolchain_folders(tiny=False):
    """Where real files are: the Rust toolchain that cargo uses, and Go's behind it. As (name below /opt/toolchain, folder)."""
    here = Path(__file__).resolve().parent.parent
    if tiny:
        return [("rust", here / "src")]
    folders = [("rust", Path(subprocess.run(["rustc", "--print", "sysroot"], check=True, cwd=here, capture_output=True, text=True).stdout.strip()))]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        root = subprocess.run(["go", "env", "GOROOT"], check=True, capture_output=True, text=True).stdout.strip()
        folders.append(("go", Path(root)))
    return folders


def tree(folder):
    """All that is below `folder`, in one order everywhere: (path, bytes of content)."""
    for top, directories, files in os.walk(folder):
        directories.sort()
        for name in sorted(files + [each for each in directories if os.path.islink(os.path.join(top, each))]):
            path = os.path.join(top, name)
            yield path, 0 if os.path.islink(path) else os.path.getsize(path)
        if not files and not directories:
            yield top, 0


def content_of(folders):
    """The bytes of all files below `folders`, one behind the other, as pieces."""
    for _, folder in folders:
        for path, size in tree(folder):
            if size and os.path.isfile(path):
                with open(path, "rb") as file:
                    while piece := file.read(MIB):
                        yield piece


def bytes_of(folders, length):
    """The first `length` bytes of that content, which is begun anew where it is too short."""
    found = bytearray()
    while len(found) < length:
        for piece in content_of(folders):
            found += piece
            if len(found) >= length:
                break
    return bytes(found[:length])


def toolchain(out, tiny=False, at_least=1 << 30):
    """A layer of over 1 GiB: toolchains below /opt/toolchain, in copies where one is too little, and files at known places between them.

    /opt/early/1m comes first and /opt/half/1m half way, with the 1,000 files of /opt/thousand behind it. /opt/late/1k, 1m and 100m are last. Their
    content is the toolchain's own.
    """
    folders = toolchain_folders(tiny)
    files = [(path, size, f"{name}/{os.path.relpath(path, folder)}") for name, folder in folders for path, size in tree(folder)]
    total = sum(size for _, size, _ in files)
    # Names and padding count too; a minimal toolchain of half a gigabyte comes twice.
    copies = 1 if tiny else max(1, -(-at_least // total))
    hundred = 2 if tiny else 100
    content = bytes_of(folders, hundred * MIB)
    tar, written, half = Tar(out), 0, False
    tar.file("opt/early/1m", content[:MIB])
    for copy in range(copies):
        prefix = "opt/toolchain" if copies == 1 else f"opt/toolchain/{copy}"
        for path, size, name in files:
            if not half and written >= total * copies // 2:
                half = True
                tar.file("opt/half/1m", content[:MIB][::-1])
                for number in range(1000):
                    start = number * (len(content) // 1000)
                    tar.file(f"opt/thousand/file{number:03}", content[start : start + KIB + number * 7], 0o644)
            tar.copy(path, f"{prefix}/{name}")
            written += size
    tar.file("opt/late/100m", content)
    tar.file("opt/late/1k", content[-KIB:])
    tar.file("opt/late/1m", content[-MIB:])
    return tar.close()


def small(out, number):
    """One of the small layers that follow: a few files of text. The last one deletes a file of the base, too."""
    tar = Tar(out)
    for file in range(1, 21):
        lines = (f"key{line} = value {line * line * file % 9973}\n" for line in range(2000))
        tar.file(f"opt/small{number}/file{file}", "".join(lines).encode()[: 20_000 + file], 0o644)
    if number == 3:
        path = Path(DELETED)
        tar.file(str(path.with_name(f".wh.{path.name}")), b"", 0o644)
    return tar.close()


def plain_header(name, directory):
    """A ustar header of 512 bytes, for an empty file or a directory. By hand: tarfile takes a minute for a million."""
    header = bytearray(512)
    header[: len(name)] = name.encode()
    header[100:108] = b"0000755\0" if directory else b"0000644\0"
    header[108:124] = b"0000000\0" * 2
    header[124:136] = b"00000000000\0"
    header[136:148] = b"%011o\0" % TIME
    header[148:156] = b" " * 8
    header[156:157] = b"5" if directory else b"0"
    header[257:265] = b"ustar\x0000"
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def many(out, directories, files):
    """`directories` directories below /srv/data with `files` empty files each."""
    for directory in range(directories):
        folder = f"srv/data/d{directory:04}"
        out.write(plain_header(f"{folder}/", True))
        out.write(b"".join(plain_header(f"{folder}/file-{file:04}.txt", False) for file in range(files)))
    out.write(bytes(1024))
    return directories * (files + 1)


def sized(out, files, length, tiny=False):
    """`files` files of `length` bytes each below /srv/sized: the first 32 MiB of the toolchain again and again, turned a little for each file."""
    period = min(length, 32 * MIB)
    content = bytes_of(toolchain_folders(tiny), period)
    tar = Tar(out)
    for number in range(files):
        turn = number * 4099 % period
        turned = content[turn:] + content[:turn]
        member = tarfile.TarInfo(f"srv/sized/file{number:04}")
        member.size, member.mode = length, 0o644
        tar.parents(member.name)
        tar.add(member, Repeated(turned, length))
    return tar.close()


class Repeated:
    """A file to read whose content is `piece` again and again, `length` bytes in all."""

    def __init__(self, piece, length):
        self.piece, self.left, self.at = piece, length, 0

    def read(self, size):
        """The next `size` bytes, in full: tarfile takes fewer for the end of the file."""
        size, data = min(size, self.left), b""
        while len(data) < size:
            part = self.piece[self.at : self.at + size - len(data)]
            self.at = (self.at + len(part)) % len(self.piece)
            data += part
        self.left -= size
        return data
