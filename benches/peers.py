"""The programs that are compared with: where they are, which version, and what is missing."""
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

# Built with `go install` where they are not on the PATH.
GO = {
    "regctl": "github.com/regclient/regclient/cmd/regctl@latest",
    "crane": "github.com/google/go-containerregistry/cmd/crane@latest",
}
# Debian's packages of the others.
PACKAGES = {"skopeo": "skopeo", "docker": "docker.io", "igzip": "isal", "zstd": "zstd", "curl": "curl"}
NEEDED = {"docker-registry": "docker-registry", "gzip": "gzip", "tar": "tar", "/usr/bin/time": "time"}
ASK = {
    "regctl": ["regctl", "version", "--format", "{{.VCSTag}}"],
    "crane": ["crane", "version"],
    "docker": ["docker", "--version"],
}


def missing():
    """What the benchmark cannot do without and is not there, as the Debian packages that have it."""
    return sorted(package for program, package in NEEDED.items() if not shutil.which(program))


def find(kept, build=True):
    """The peers that are there, as name to path, after building what Go can build into `kept`; and what is absent, with where to get it."""
    found, absent = {}, {}
    for name, module in GO.items():
        built = Path(kept) / "bin" / name
        if build and not shutil.which(name) and not built.exists() and shutil.which("go"):
            print(f"building {name} ...", flush=True)
            subprocess.run(["go", "install", module], env=os.environ | {"GOBIN": str(built.parent)}, capture_output=True, check=False)
        if path := shutil.which(name) or (built.exists() and str(built)):
            found[name] = path
        else:
            absent[name] = f"go install {module}"
    for name, package in PACKAGES.items():
        if path := shutil.which(name):
            found[name] = path
        else:
            absent[name] = f"apt install {package}"
    if "docker" in found and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        del found["docker"]
        absent["docker"] = "no engine answers"
    return found, absent


def version(name, path):
    """What a program says about its version, on a line."""
    ask = [path, *ASK[name][1:]] if name in ASK else [path, "--version"]
    try:
        said = subprocess.run(ask, capture_output=True, text=True, check=False, timeout=20, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    line = next((line.strip() for line in (said.stdout + said.stderr).splitlines() if line.strip()), "unknown")
    if name == "regctl" and line in ("", "unknown"):
        return built_version(path)
    number = re.search(r"v?\d+\.\d+[\w.+~-]*", line)
    return number[0] if number else built_version(path)


def built_version(path):
    """The version of a Go program, out of its own build record."""
    if not shutil.which("go"):
        return "unknown"
    said = subprocess.run(["go", "version", "-m", path], capture_output=True, text=True, check=False).stdout
    match = re.search(r"^\s*mod\s+\S+\s+(\S+)", said, re.MULTILINE)
    return match[1] if match else "unknown"


def machine():
    """The processors and the system, in words."""
    model = platform.processor() or platform.machine()
    try:
        model = next(line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    count = len(os.sched_getaffinity(0))
    return f"{count} processor{'s' if count != 1 else ''} ({model}), {platform.system()} {platform.release().split('-')[0]}"
