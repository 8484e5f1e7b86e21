"""Debian's docker-registry on loopback, and what is pushed into it."""
import contextlib
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time

import inputs


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def started(command, port):
    """A server that runs until the block ends, once it listens on `port`."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"{command[0]} does not answer on port {port}")
            time.sleep(0.01)
        yield process
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def serving(storage):
    """The registry over the folder `storage`. Gives it as something to push to."""
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as config:
        config.write(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {storage}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
        )
        config.flush()
        with started(["docker-registry", "serve", config.name], port):
            yield Registry(port)


class Registry:
    """A registry that listens on a port of loopback, in plain HTTP."""

    def __init__(self, port):
        self.port, self.host = port, f"127.0.0.1:{port}"

    def call(self, method, url, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        with contextlib.closing(connection):
            connection.request(method, url, body, {key.replace("_", "-"): value for key, value in headers.items()})
            answer = connection.getresponse()
            return answer, answer.read()

    def put(self, url, body, **headers):
        answer, text = self.call("PUT", url, body, **headers)
        if answer.status != 201:
            sys.exit(f"PUT {url}: the registry answers {answer.status} {text[:200]!r}")

    def blob(self, repository, digest, body, size):
        """Pushes a blob, unless the repository has it from an earlier time."""
        if self.call("HEAD", f"/v2/{repository}/blobs/{digest}")[0].status == 200:
            return
        place = self.call("POST", f"/v2/{repository}/blobs/uploads/", Content_Length="0")[0].headers["Location"]
        place = place.split(f":{self.port}", 1)[-1]
        self.put(f"{place}&digest={digest}", body, Content_Length=str(size), Content_Type="application/octet-stream")

    def push(self, image):
        """Pushes `image` as tag 1 of its name."""
        manifest, config = inputs.manifest_of(image)
        for layer in image.layers:
            with open(layer.blob, "rb") as blob:
                self.blob(image.name, layer.digest, blob, layer.size)
        self.blob(image.name, manifest["config"]["digest"], config, len(config))
        self.put(f"/v2/{image.name}/manifests/1", json.dumps(manifest), Content_Type=manifest["mediaType"])

    def manifest(self, repository):
        """What tag 1 of `repository` is."""
        return json.loads(self.call("GET", f"/v2/{repository}/manifests/1", Accept="application/vnd.oci.image.manifest.v1+json")[1])
