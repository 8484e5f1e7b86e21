"""The cases: what is asked for, and what people would use instead. Each function makes one, once it is to be run.

In every case the first command is ours. A peer that is not there is left out.
"""
import shlex

import inputs
from measure import Case, Command

ALL, NOTHING, DIGESTS = "all", "nothing", "digests, after the fact"
CASES = {}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def case(title):
    """Makes the function below it the case of its name: `function(bench)` gives its commands, or a sentence that says why there are none."""

    def keep(function):
        CASES[function.__name__.replace("_", "-")] = (title, function)
        return function

    return keep


def build(bench, key):
    """The case `key`, or why it cannot be run."""
    title, function = CASES[key]
    made = function(bench)
    if isinstance(made, str):
        return made
    made.key, made.title = key, title
    made.commands = [command for command in made.commands if command]
    return made


# --- commands that several cases have ---


def ours(bench, arguments, name="docker-artifact get", checks=ALL, **how):
    return Command(name, f"{shlex.quote(str(bench.program))} {arguments}", checks=checks, **how)


def get(bench, image, path, wanted=None, more="", **how):
    return ours(bench, f"get -q {{host}}/{image.name}:1 {path} -o {{out}}{more}", expect=wanted, **how)


def unverified(bench, image, path, wanted):
    return get(bench, image, path, wanted, " --no-verify", name="docker-artifact get --no-verify", checks=NOTHING)


def regctl(bench, image, path, wanted=None, name="regctl image get-file", **how):
    if program := bench.peers.get("regctl"):
        reference = f"{{host}}/{image.name}:1"
        return Command(name, f"{program} --host reg={{host}},tls=disabled image get-file {reference} {path} {{out}}", wanted, checks=NOTHING, **how)
    return None


def crane(bench, image, tar, wanted=None, name="crane export | tar", **how):
    if program := bench.peers.get("crane"):
        return Command(name, f"{program} export --insecure {{host}}/{image.name}:1 - | tar {tar}", wanted, checks=DIGESTS, **how)
    return None


def over_blobs(bench, image, program, name, arguments=""):
    """`program` over the layers of an image, which lie on disk, one after the other."""
    if program not in ("sha256sum", "gzip") and program not in bench.peers:
        return None
    files = " ".join(shlex.quote(str(layer.blob)) for layer in image.layers)
    return Command(name, f"for blob in {files}; do {program} {arguments} $blob; done >/dev/null")


def of_big(bench, name):
    """A file of the big layer, as tar reads it."""
    image = bench.inputs.tool()
    return bench.inputs.expected(image.layers[2], name)[name]


def of_base(bench, name):
    return bench.inputs.expected(bench.inputs.debian().layers[0], name)[name]


# --- on loopback ---


@case("a file of 20 kB from the topmost layer")
def small_file(bench):
    image = bench.inputs.tool()
    wanted = bench.inputs.expected(image.layers[4], "opt/small3/file1")["opt/small3/file1"]
    return Case("", "", [get(bench, image, "/opt/small3/file1", wanted), regctl(bench, image, "/opt/small3/file1", wanted)])


@case("`/etc/passwd`, from the lowest of five layers: all are read")
def base_file(bench):
    image, wanted = bench.inputs.tool(), of_base(bench, "etc/passwd")
    base = image.layers[0].digest.removeprefix("sha256:")
    commands = [
        get(bench, image, "/etc/passwd", wanted),
        regctl(bench, image, "/etc/passwd", wanted, rounds=3),
        crane(bench, image, "-xO etc/passwd >{out}", wanted, rounds=2),
        over_blobs(bench, image, "igzip", "igzip -d of the layers", "-dc"),
        over_blobs(bench, image, "sha256sum", "sha256sum of the layers"),
    ]
    if program := bench.peers.get("skopeo"):
        copy = f"{program} --insecure-policy copy -q --src-tls-verify=false docker://{{host}}/{image.name}:1 dir:{{tree}}/copy"
        commands.append(Command("skopeo copy; tar", f"{copy} && tar -xzOf {{tree}}/copy/{base} etc/passwd >{{out}}", wanted, checks=ALL, rounds=2))
    return Case("", "", commands)


@case("a path that the image does not have: all five layers are read")
def absent_file(bench):
    image = bench.inputs.tool()
    return Case(
        "", "",
        [
            get(bench, image, "/opt/late/absent", fails=True),
            regctl(bench, image, "/opt/late/absent", fails=True, rounds=3),
            crane(bench, image, "-xO opt/late/absent >{out}", fails=True, rounds=2),
            over_blobs(bench, image, "igzip", "igzip -d of the layers", "-dc"),
            over_blobs(bench, image, "sha256sum", "sha256sum of the layers"),
        ],
    )  # fmt: skip


@case("`/etc/passwd` again, the same layers as zstd")
def base_file_zstd(bench):
    image, wanted = bench.inputs.tool_zstd(), of_base(bench, "etc/passwd")
    if image is None:
        return "zstd is not installed"
    return Case(
        "", "",
        [
            get(bench, image, "/etc/passwd", wanted),
            regctl(bench, image, "/etc/passwd", wanted),
            over_blobs(bench, image, "zstd", "zstd -d of the layers", "-dcq"),
            over_blobs(bench, image, "sha256sum", "sha256sum of the layers"),
        ],
    )  # fmt: skip


def in_big(bench, name):
    """A file of 1 MiB in the big layer: ours with and without the check, and the peers."""
    image, wanted = bench.inputs.tool(), of_big(bench, name)
    return Case(
        "", "",
        [
            get(bench, image, f"/{name}", wanted),
            unverified(bench, image, f"/{name}", wanted),
            regctl(bench, image, f"/{name}", wanted, rounds=3),
            crane(bench, image, f"-xO {name} >{{out}}", wanted, rounds=1),
        ],
        note="`regctl` stops reading at the end of the file and checks nothing, as `--no-verify` does; a check takes the rest of the layer.",
    )  # fmt: skip


@case("1 MiB at the start of the big layer")
def early(bench):
    return in_big(bench, "opt/early/1m")


@case("1 MiB half way into the big layer")
def half_way(bench):
    return in_big(bench, "opt/half/1m")


@case("1 MiB at the end of the big layer")
def late(bench):
    return in_big(bench, "opt/late/1m")


@case("`/bin/ls`, where `/bin` is a link to `usr/bin`")
def behind_link(bench):
    image, wanted = bench.inputs.debian(), of_base(bench, "usr/bin/ls")
    return Case(
        "", "",
        [
            get(bench, image, "/bin/ls", wanted),
            regctl(bench, image, "/usr/bin/ls", wanted, name="regctl, told the real path"),
            crane(bench, image, "-xO usr/bin/ls >{out}", wanted, name="crane export | tar, told the real path", rounds=3),
        ],
        note="Given `/bin/ls`, neither peer finds it. `regctl` stops reading at the end of the file and checks nothing.",
    )  # fmt: skip


@case("`/etc/passwd`, from the lowest of five layers, and tables of all of them for the next time")
def filling(bench):
    image, wanted = bench.inputs.tool(), of_base(bench, "etc/passwd")
    cache = shlex.quote(str(bench.places.disk / "filled"))
    program = shlex.quote(str(bench.program))
    line = f"{program} get -q {{host}}/{image.name}:1 /etc/passwd -o {{out}}"
    return Case(
        "", "",
        [
            Command("docker-artifact get, into an empty cache", f"env DOCKER_ARTIFACT_CACHE={cache} {line}", wanted, checks=ALL, after=f"rm -rf {cache}"),
            Command("docker-artifact get, without a cache", f"env DOCKER_ARTIFACT_CACHE=off {line}", wanted, checks=ALL),
        ],
    )  # fmt: skip


@case("a file that the topmost layer deleted")
def deleted(bench):
    image = bench.inputs.tool()
    return Case(
        "", "",
        [
            get(bench, image, "/etc/deleted", fails=True),
            regctl(bench, image, "/etc/deleted", fails=True),
            crane(bench, image, "-xO etc/deleted >{out}", fails=True, rounds=2),
        ],
    )  # fmt: skip


@case("a directory of 1,000 files")
def directory(bench):
    image = bench.inputs.tool()
    return Case(
        "", "",
        [
            ours(bench, f"get -q {{host}}/{image.name}:1 /opt/thousand -o {{tree}}/", tree=True),
            crane(bench, image, "-x -C {tree} opt/thousand", tree=True, rounds=3),
        ],
    )  # fmt: skip


@case("a toolchain of over 1 GB, onto a memory file system")
def big_directory(bench):
    image = bench.inputs.tool()
    needed = image.layers[2].uncompressed + (512 << 20)
    if bench.places.memory == bench.places.disk or bench.places.room < needed:
        return f"/dev/shm has no {needed >> 20} MiB free"
    return Case(
        "", "",
        [
            ours(bench, f"get -q {{host}}/{image.name}:1 /opt/toolchain -o {{tree}}/", tree=True, rounds=3),
            crane(bench, image, "-x -C {tree} opt/toolchain", tree=True, rounds=3),
        ],
    )  # fmt: skip


@case("ten paths in one call")
def ten_paths(bench):
    image = bench.inputs.tool()
    # Some from each end of the image.
    names = [f"opt/small{number}/file{number}" for number in (1, 2, 3)] + ["opt/late/1k", "opt/half/1m", "opt/early/1m"]
    names += ["opt/thousand/file007", "etc/passwd", "usr/bin/ls", "usr/bin/perl"]
    ten = " ".join(f"/{name}" for name in names)
    commands = [
        ours(bench, f"get -q {{host}}/{image.name}:1 {ten} --parents -o {{tree}}/", tree=True),
        crane(bench, image, f"-x -C {{tree}} {' '.join(names)}", tree=True, rounds=3),
    ]
    if program := bench.peers.get("regctl"):
        each = f"{program} --host reg={{host}},tls=disabled image get-file {{host}}/{image.name}:1 /$path {{tree}}/$n"
        run = f"n=0; for path in {' '.join(names)}; do n=$((n+1)); {each} || exit; done"
        commands.append(Command("regctl, ten times", run, tree=True, checks=NOTHING, rounds=1))
    return Case("", "", commands)


@case("globs, links and several paths of a Debian base: each layer is read once")
def globs_and_links(bench):
    image = bench.inputs.debian()
    # What /usr/bin/gcc leads to lies before it in the layer.
    run = f"get -q {{host}}/{image.name}:1 '/etc/*-release' /bin/ls /usr/bin/gcc '/usr/bin/per?' --parents -o {{tree}}/"
    return Case("", "", [ours(bench, run)])


@case("globs, links and several paths of all five layers")
def globs_of_all(bench):
    image = bench.inputs.tool()
    run = f"get -q {{host}}/{image.name}:1 '/etc/*-release' /bin/ls '/opt/*/file1' '/opt/*/1m' --parents -o {{tree}}/"
    return Case("", "", [ours(bench, run)])


@case("one file of 1,000,000 in one layer")
def million_get(bench):
    image = bench.inputs.million()
    path = "/srv/data/d0009/file-0009.txt"
    return Case("", "", [get(bench, image, path), regctl(bench, image, path), get(bench, image, f"{path}.absent", fails=True, name="docker-artifact get, absent")])


@case("a list of all 1,000,000")
def million_list(bench):
    image = bench.inputs.million()
    blob = shlex.quote(str(image.layers[0].blob))
    return Case(
        "", "",
        [
            ours(bench, f"ls -a {{host}}/{image.name}:1", name="docker-artifact ls -a"),
            Command("zcat | tar -tv", f"zcat {blob} | tar -tv >/dev/null"),
            ours(bench, f"ls -aq {{host}}/{image.name}:1", name="docker-artifact ls -aq, names alone"),
        ],
    )  # fmt: skip


@case("memory, by the size of the layer and the number of its entries")
def memory(bench):
    commands = []
    for name, files, length in (("10 MiB, 10 files", 10, 1 << 20), ("3 GiB, 24 files", 24, 128 << 20)):
        image = bench.inputs.sized(f"sized-{files}", files, length)
        commands.append(get(bench, image, f"/srv/sized/file{files - 1:04}", name=name, rounds=2))
    image = bench.inputs.tool()
    layer = image.layers[2]
    name = f"{layer.uncompressed / 1e9:.1f} GB, {layer.entries:,} entries"
    commands.append(get(bench, image, "/opt/late/1m", of_big(bench, "opt/late/1m"), name=name))
    image = bench.inputs.million()
    layer = image.layers[0]
    commands.append(get(bench, image, "/srv/data/d0009/file-0009.txt", name=f"{layer.uncompressed >> 20} MiB, {layer.entries:,} entries"))
    for command in commands:
        command.rounds = 3
    note = "All are `docker-artifact get` of the last file. The layer of 3 GiB is 32 MiB of the toolchain again and again."
    return Case("", "", commands, note=note, compare=False)


@case("the handshake with the docker CLI")
def handshake(bench):
    repeat = 3 if bench.options.check else 40
    return Case(
        "", "",
        [ours(bench, "docker-cli-plugin-metadata", name="docker-artifact docker-cli-plugin-metadata", checks="", repeat=repeat), Command("/bin/true", "/bin/true", repeat=repeat)],
    )  # fmt: skip


# --- archives ---


@case("1 MiB out of a saved archive (`docker save`)")
def saved(bench):
    archive, wanted, image = bench.inputs.archive(), of_big(bench, "opt/half/1m"), bench.inputs.tool()
    file = shlex.quote(str(archive))
    big = f"{image.layers[2].diff_id.removeprefix('sha256:')}/layer.tar"
    run = f"get -q archive://{shlex.quote(str(archive))} /opt/half/1m -o {{out}}"
    commands = [
        ours(bench, run, expect=wanted, checks=NOTHING),
        ours(bench, f"{run} --verify", name="docker-artifact get --verify", expect=wanted),
    ]
    if bench.places.room > 3 * image.layers[2].uncompressed + (1 << 30) or bench.options.check:
        unpack = f"tar -xf {file} -C {{tree}} && cd {{tree}} && mkdir big && tar -xf {big} -C big --no-same-owner && mv big/opt/half/1m {{out}}"
        commands.append(Command("tar -xf; tar -xf", unpack, wanted, checks=NOTHING, rounds=3))
    commands.append(Command("tar -xO | tar -xO, told the layer", f"tar -xOf {file} {big} | tar -xO opt/half/1m >{{out}}", wanted, checks=NOTHING))
    note = "Plain layers in a file of this machine are stepped through: headers and the file are read, and nothing is compared unless `--verify` is given."
    return Case("", "", commands, note=note)


# --- over the thin link ---


def labelled(bench, size):
    """A labelled file at the end of the big layer, and `curl` of the manifest, the config and what ours reads of the layer, on one connection."""
    name = f"opt/late/{size}"
    wanted, image = of_big(bench, name), bench.inputs.tool()
    mine = ours(bench, f"get -q {{host}}/bench/labelled:1 f{size} -o {{out}}", expect=wanted)
    _, counts, _ = bench.counted(mine)
    big = image.layers[2].digest
    ranges = [request["range"].removeprefix("bytes=") for request in counts["requests"] if big in request["line"] and request["range"]]
    commands = [mine]
    if ranges and (program := bench.peers.get("curl")):
        manifest = bench.registry.manifest("bench/labelled")
        blobs = "http://{host}/v2/bench/labelled/blobs"
        run = f"{program} -fsS -H 'Accept: {MANIFEST}' http://{{host}}/v2/bench/labelled/manifests/1 -o /dev/null"
        run += f" {blobs}/{manifest['config']['digest']} -o /dev/null --next -fsS -r {ranges[0]} {blobs}/{big} -o {{out}}"
        commands.append(Command("curl, told the range", run, checks=NOTHING))
    # One of the three is enough to see what reading all of the layer costs.
    if size == "1m":
        commands.append(regctl(bench, image, f"/{name}", wanted, rounds=1))
    return Case(
        "", "", commands, thin=True,
        note="`curl` gets the manifest, the config and the very bytes of the layer that ours reads, on one connection. It does not decompress them.",
    )  # fmt: skip


@case("a labelled file of 1 KiB at the end of the big layer")
def labelled_1k(bench):
    return labelled(bench, "1k")


@case("a labelled file of 1 MiB at the end of the big layer")
def labelled_1m(bench):
    return labelled(bench, "1m")


@case("a labelled file of 100 MiB at the end of the big layer")
def labelled_100m(bench):
    return labelled(bench, "100m")


@case("a file of 20 kB from the topmost layer, not labelled")
def small_file_thin(bench):
    made = small_file(bench)
    made.thin = True
    return made


@case("`/etc/passwd`, from the lowest of five layers")
def base_file_thin(bench):
    image, wanted = bench.inputs.tool(), of_base(bench, "etc/passwd")
    return Case("", "", [get(bench, image, "/etc/passwd", wanted, rounds=1), regctl(bench, image, "/etc/passwd", wanted, rounds=1)], thin=True)


def known(bench, name, image, environment, note):
    """1 MiB half way into the big layer, where a table tells where it is."""
    wanted = of_big(bench, "opt/half/1m")
    mine = f"env {environment} {shlex.quote(str(bench.program))} get -q {{host}}/{name}:1 /opt/half/1m -o {{out}}"
    return Case(
        "", "",
        [Command("docker-artifact get", mine, wanted, checks=ALL), regctl(bench, image, "/opt/half/1m", wanted, rounds=1)],
        thin=True, note=note,
    )  # fmt: skip


@case("1 MiB half way into the big layer, whose layers were read once before")
def cached_thin(bench):
    image, cache = bench.inputs.tool(), bench.places.disk / "cache"
    environment = f"DOCKER_ARTIFACT_CACHE={shlex.quote(str(cache))}"
    bench.prepared(f"env {environment} {shlex.quote(str(bench.program))} ls -aq {bench.registry.host}/{image.name}:1")
    return known(bench, image.name, image, environment, "The cache has a table of each layer, which `ls -a` left there.")


@case("1 MiB half way into the big layer of an indexed image, nothing known before")
def indexed_thin(bench):
    image = bench.inputs.tool()
    bench.registry.push(inputs.Image("bench/indexed", image.layers))
    bench.prepared(f"{shlex.quote(str(bench.program))} index -q {bench.registry.host}/bench/indexed:1")
    return known(bench, "bench/indexed", image, "DOCKER_ARTIFACT_CACHE=off", "`docker artifact index` has attached a table of each layer to the image.")


# --- last, as what it writes and deletes keeps the disk busy for a while ---


@case("`/etc/passwd`, from the lowest of five layers, by way of an engine")
def base_file_engine(bench):
    image, wanted = bench.inputs.tool(), of_base(bench, "etc/passwd")
    program = bench.peers.get("docker")
    if not program:
        return "no docker, or no engine answers"
    reference, name = f"{{host}}/{image.name}:1", f"docker-artifact-bench-{bench.registry.port}"
    run = f"{program} pull -q {reference} && {program} create --name {name} {reference} true && {program} cp {name}:/etc/passwd {{out}}"
    after = f"{program} rm -f {name}; {program} image rm {reference}"
    return Case(
        "", "",
        [get(bench, image, "/etc/passwd", wanted, rounds=1), Command("docker pull, create, cp", run, wanted, checks=ALL, rounds=1, after=after)],
        note="One round. What the engine needs to remove the image again is not counted.",
    )  # fmt: skip
