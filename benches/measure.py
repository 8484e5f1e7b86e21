"""Runs the commands of a case in turn, and keeps what each run took."""
import contextlib
import dataclasses
import filecmp
import http.client
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from registry import free_port

HERE = Path(__file__).resolve().parent


@dataclasses.dataclass
class Command:
    """What is run, and what must come of it.

    `run` is a shell command, or runs without a shell where it needs none. In it, {host} is the registry, {out} the file to write, and {tree} an
    empty folder in memory.
    """

    name: str
    run: str
    expect: Path = None  # what {out} has to hold
    tree: bool = False  # {tree} has to hold as many files and bytes as after the case's first command
    fails: bool = False  # there is nothing to get, and the command says so
    checks: str = ""  # what it verifies, for the table
    rounds: int = 99  # at most; fewer for what takes long
    repeat: int = 1  # times per round, for what takes next to no time
    after: str = ""  # shell command that tidies up, not measured


@dataclasses.dataclass
class Case:
    """Commands that are compared: the first is ours."""

    key: str
    title: str
    commands: list
    thin: bool = False
    note: str = ""
    compare: bool = True  # the commands do the same, so their times have ratios


class Failed(Exception):
    """A command did not do what it should."""


@dataclasses.dataclass
class Figures:
    """What a command took, by round: seconds of wall and processor time, bytes of peak memory; and what crossed the wire, of one run."""

    name: str
    checks: str
    runs: list
    wire: dict = None

    def all(self, key):
        return [run[key] for run in self.runs]

    def median(self, key):
        return statistics.median(self.all(key))


class Places:
    """Where commands write: a folder on disk, and one in memory where there is room. Both are removed at the end."""

    def __init__(self, stack, kept):
        self.disk = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=kept)))
        memory = Path("/dev/shm")
        self.room = shutil.disk_usage(memory).free if memory.is_dir() and os.access(memory, os.W_OK) else 0
        self.memory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory))) if self.room > 64 << 20 else self.disk
        for name in ("home", "config"):
            (self.disk / name).mkdir()
        # Nobody's credentials, certificates or preferences. The engine is the one that DOCKER_HOST names.
        keep = {key: os.environ[key] for key in ("PATH", "DOCKER_HOST", "TMPDIR") if key in os.environ}
        self.environment = keep | {"HOME": str(self.disk / "home"), "DOCKER_CONFIG": str(self.disk / "config"), "DOCKER_ARTIFACT_CACHE": "off", "LC_ALL": "C.UTF-8"}

    def fresh(self):
        out, tree = self.disk / "out", self.memory / "tree"
        out.unlink(missing_ok=True)
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir()
        return out, tree


def contents(folder):
    """How many files and links are below `folder`, and their bytes."""
    count = size = 0
    for top, directories, files in os.walk(folder):
        for name in files + directories:
            status = os.lstat(os.path.join(top, name))
            if not os.path.isdir(os.path.join(top, name)) or os.path.islink(os.path.join(top, name)):
                count, size = count + 1, size + status.st_size
    return count, size


def execute(line, environment, figures):
    """Runs a command line under GNU time. Gives its status, wall and processor seconds, peak memory of its largest process, and its errors."""
    argv = ["sh", "-c", line] if any(sign in line for sign in "|;&<>$*") else shlex.split(line)
    with tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            ["/usr/bin/time", "-q", "-f", "%M", "-o", figures, *argv],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True,
        )
        try:
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        errors.seek(0)
        text = errors.read().decode(errors="replace").strip()
    peak = int(Path(figures).read_text().split()[-1]) * 1024
    return process.returncode, {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak": peak}, text


class Bench:
    """What cases are made from: the program, its peers, the images, and the registry that has them."""

    def __init__(self, program, peers, inputs, registry, places, options):
        self.program, self.peers, self.inputs, self.registry, self.places, self.options = program, peers, inputs, registry, places, options

    def once(self, command, host, first=None):
        """Runs a command once against `host`. Gives its figures, and what is in its folder if that counts."""
        out, tree = self.places.fresh()
        line = command.run.replace("{host}", host).replace("{out}", str(out)).replace("{tree}", str(tree))
        total, found = {"wall": 0.0, "cpu": 0.0, "peak": 0}, None
        try:
            for _ in range(command.repeat):
                status, used, errors = execute(line, self.places.environment, self.places.disk / "figures")
                if (status != 0) != command.fails:
                    raise Failed(f"{line}\nstatus {status}: {errors[-500:]}")
                total = {"wall": total["wall"] + used["wall"], "cpu": total["cpu"] + used["cpu"], "peak": max(total["peak"], used["peak"])}
            if command.expect and not (out.exists() and filecmp.cmp(out, command.expect, shallow=False)):
                raise Failed(f"{line}\nthe file is not what it should be")
            if command.tree:
                found = contents(tree)
                if not found[0] or (first and found != first):
                    raise Failed(f"{line}\nwrote {found[0]} files with {found[1]} bytes instead of {first}")
        finally:
            if command.after:
                after = command.after.replace("{host}", host)
                subprocess.run(["sh", "-c", after], env=self.places.environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return {"wall": total["wall"] / command.repeat, "cpu": total["cpu"] / command.repeat, "peak": total["peak"]}, found

    def prepared(self, line):
        """Runs what a case needs to have been run before."""
        status, _, errors = execute(line, self.places.environment, self.places.disk / "figures")
        if status != 0:
            raise Failed(f"{line}\nstatus {status}: {errors[-500:]}")

    @contextlib.contextmanager
    def link(self, thin):
        """A way to the registry that counts, and is long and thin where asked. Gives its address, and a dict that has the counts behind the block."""
        counts, port = {}, free_port()
        with tempfile.NamedTemporaryFile("r", dir=self.places.disk) as log:
            command = [sys.executable, HERE / "link.py", str(port), str(self.registry.port), "--log", log.name]
            if thin:
                command += ["--rtt", str(self.options.rtt), "--mbit", str(self.options.mbit)]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
            try:
                if process.stdout.readline() != b"ready\n":
                    raise Failed("the link does not start")
                yield f"127.0.0.1:{port}", counts
            finally:
                process.terminate()
                process.wait()
                process.stdout.close()
            counts.update(json.load(log))

    def turn(self):
        """The seconds that a request and its answer take over the thin link, on an open connection, the median of twenty: what a round trip costs here."""
        with self.link(True) as (host, _):
            connection = http.client.HTTPConnection(host, timeout=30)
            taken = []
            for _ in range(21):
                begun = time.monotonic()
                connection.request("GET", "/v2/")
                connection.getresponse().read()
                taken.append(time.monotonic() - begun)
            connection.close()
        # The first one opened the connection.
        return statistics.median(taken[1:])

    def counted(self, command, thin=False, first=None):
        """One run through a link that counts: the figures, and the counts."""
        with self.link(thin) as (host, counts):
            figures, found = self.once(command, host, first)
        return figures, counts, found

    def run(self, case):
        """All rounds of a case: a round runs each command once, so that a machine that slows down does so for all of them.

        The round before the first fills the page cache and is not counted; commands of three rounds or fewer, which take long, have none. A peer that fails is named and left out.
        """
        figures = {command.name: Figures(command.name, command.checks, []) for command in case.commands}
        first = None
        for number in range(1 if self.options.check else 0, self.options.rounds + 1):
            for command in case.commands:
                if command.name not in figures or number > command.rounds or (number == 0 and command.rounds <= 3):
                    continue
                try:
                    if case.thin:
                        used, counts, found = self.counted(command, True, first)
                        figures[command.name].wire = counts
                    else:
                        used, found = self.once(command, self.registry.host, first)
                    first = first or found
                    if number > 0:
                        figures[command.name].runs.append(used)
                except Failed as failed:
                    if command is case.commands[0] or self.options.check:
                        sys.exit(f"{case.key}, {command.name}: {failed}")
                    print(f"left out of {case.key}: {command.name}: {failed}", file=sys.stderr, flush=True)
                    del figures[command.name]
        if not case.thin:
            for command in case.commands:
                if command.name in figures and "{host}" in command.run and command.repeat == 1 and not command.after:
                    _, figures[command.name].wire, _ = self.counted(command, False, first)
        return {"title": case.title, "note": case.note, "thin": case.thin, "compare": case.compare, "figures": figures}
