"""The images that are measured: which layers they have, how those are compressed, and where they are kept.

Layers are made once, from real files, and kept below target/bench/inputs; a layer's folder holds its blob and `layer.json`, which says what it is.
"""
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import layers

# Kept inputs of another version are made anew.
VERSION = 1
TYPES = {"gzip": "application/vnd.oci.image.layer.v1.tar+gzip", "zstd": "application/vnd.oci.image.layer.v1.tar+zstd"}


@dataclasses.dataclass
class Layer:
    """A layer's blob in a file, and what an image says of it. Sizes are bytes."""

    blob: Path
    kind: str
    digest: str
    size: int
    diff_id: str
    uncompressed: int
    entries: int


@dataclasses.dataclass
class Image:
    """An image, with its layers from the lowest to the topmost."""

    name: str
    layers: list

    @property
    def size(self):
        """Bytes of all layers as stored."""
        return sum(layer.size for layer in self.layers)


class Hashing:
    """A file that knows the digest and the length of what was written."""

    def __init__(self, file):
        self.file, self.hash, self.bytes = file, hashlib.sha256(), 0

    def write(self, data):
        self.hash.update(data)
        self.bytes += len(data)
        return self.file.write(data)


def digest_of(path):
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


class Inputs:
    """Makes what is asked for, below `folder`, unless it is there. `tiny` stands for small inputs that need nothing but Python and gzip."""

    def __init__(self, folder, tiny=False):
        self.folder, self.tiny = Path(folder) / f"inputs-{VERSION}", tiny
        self.folder.mkdir(parents=True, exist_ok=True)

    def layer(self, name, write, level=6):
        """The layer that `write` writes the tar of, as gzip compresses it."""
        return self.made(name, "gzip", ["gzip", f"-{level}", "--no-name"], write)

    def made(self, name, kind, command, write):
        place = self.folder / name
        if not (place / "layer.json").exists():
            print(f"making the layer {name} ...", flush=True)
            with tempfile.TemporaryDirectory(dir=self.folder) as temporary:
                # The temporary folder is removed, what is in it moves.
                made = Path(temporary) / "made"
                made.mkdir()
                blob = made / "blob"
                with open(blob, "wb") as file, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file) as compressor:
                    plain = Hashing(compressor.stdin)
                    entries = write(plain)
                    compressor.stdin.close()
                if compressor.returncode != 0:
                    raise SystemExit(f"{command[0]}: status {compressor.returncode}")
                what = {"digest": digest_of(blob), "size": blob.stat().st_size, "diff_id": "sha256:" + plain.hash.hexdigest()}
                (made / "layer.json").write_text(json.dumps(what | {"uncompressed": plain.bytes, "entries": entries, "kind": kind}))
                shutil.rmtree(place, ignore_errors=True)
                made.rename(place)
        return Layer(blob=place / "blob", **json.loads((place / "layer.json").read_text()))

    def as_zstd(self, layer):
        """The same layer as zstd compresses it."""

        def write(out):
            with subprocess.Popen(["gzip", "-dc", layer.blob], stdout=subprocess.PIPE) as plain:
                shutil.copyfileobj(plain.stdout, out, 1 << 20)
            return layer.entries

        return self.made(f"{layer.blob.parent.name}-zstd", "zstd", ["zstd", "-3", "-q", "-c"], write)

    def expected(self, layer, *names):
        """What GNU tar makes of these files of a layer: name to path."""
        folder = layer.blob.parent / "files"
        if missing := [name for name in names if not (folder / name).exists()]:
            folder.mkdir(exist_ok=True)
            subprocess.run(["tar", "-xzf", layer.blob, "-C", folder, "--no-same-owner", *missing], check=True)
        return {name: folder / name for name in names}

    # --- the images ---

    def debian(self):
        """One layer: a Debian root file system."""
        return Image("bench/debian", [self.layer("debian", layers.tiny_debian if self.tiny else layers.debian)])

    def tool(self):
        """Five layers: Debian, a small one, a toolchain of over 1 GiB, and two small ones."""

        def small(number):
            return self.layer(f"small{number}", lambda out: layers.small(out, number))

        toolchain = self.layer("toolchain", lambda out: layers.toolchain(out, self.tiny))
        return Image("bench/tool", [*self.debian().layers, small(1), toolchain, small(2), small(3)])

    def tool_zstd(self):
        """The same five layers as zstd. None where there is no zstd."""
        if not shutil.which("zstd"):
            return None
        return Image("bench/tool-zstd", [self.as_zstd(layer) for layer in self.tool().layers])

    def million(self):
        """One layer of 1,000,000 empty files in 1,000 directories."""
        directories, files = (10, 10) if self.tiny else (1000, 1000)
        return Image("bench/million", [self.layer("million", lambda out: layers.many(out, directories, files))])

    def sized(self, name, files, length):
        """One layer of `files` files of `length` bytes each."""
        length = min(length, 1 << 17) if self.tiny else length
        return Image(f"bench/{name}", [self.layer(name, lambda out: layers.sized(out, files, length, self.tiny), level=1)])

    def archive(self):
        """The five layers as `docker save` wrote them up to Docker 24: each layer uncompressed as <id>/layer.tar, a config, and manifest.json."""
        image, path = self.tool(), self.folder / "saved.tar"
        if path.exists():
            return path
        print("making the saved archive ...", flush=True)
        with tempfile.TemporaryDirectory(dir=self.folder) as work, tarfile.open(f"{work}/saved.tar", "w") as out:
            config = config_of(image)
            names = [f"{layer.diff_id.removeprefix('sha256:')}/layer.tar" for layer in image.layers]
            for layer, name in zip(image.layers, names):
                member = tarfile.TarInfo(name)
                member.size = layer.uncompressed
                with subprocess.Popen(["gzip", "-dc", layer.blob], stdout=subprocess.PIPE) as plain:
                    out.addfile(member, plain.stdout)
            config_name = hashlib.sha256(config).hexdigest() + ".json"
            manifest = [{"Config": config_name, "RepoTags": ["bench/tool:1"], "Layers": names}]
            for name, content in ((config_name, config), ("manifest.json", json.dumps(manifest).encode())):
                with tempfile.TemporaryFile() as file:
                    file.write(content)
                    file.seek(0)
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    out.addfile(member, file)
            out.close()
            os.rename(f"{work}/saved.tar", path)
        return path


def config_of(image):
    diff_ids = [layer.diff_id for layer in image.layers]
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()


def manifest_of(image):
    """An OCI manifest of `image`, and its config."""
    config = config_of(image)
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": "sha256:" + hashlib.sha256(config).hexdigest(),
            "size": len(config),
        },
        "layers": [{"mediaType": TYPES[layer.kind], "digest": layer.digest, "size": layer.size} for layer in image.layers],
    }, config
