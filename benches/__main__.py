"""Times `docker-artifact` side by side with what people would use instead.

    python3 benches [--quick] [--rounds N] [--only CASE]... [--list] [--check]

Makes its images from real files, once, below target/bench; serves them with Debian's docker-registry on a free port of loopback; and runs each command of
a case once per round, in turn. Prints a table per case, and all targets at the end. A run of all cases writes docs/benchmarks.md (between two marks),
docs/benchmarks.svg, docs/benchmarks-dark.svg and target/bench/results.json; one with --only writes nothing but the last.

Needs docker-registry, GNU time, gzip and tar; apt-get, dpkg-deb and rustc for the inputs. Compares with crane and regctl (from the PATH, or built with
`go install`), skopeo, docker, igzip, zstd and curl; what is absent is named and left out. Needs no root.
"""
import argparse
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # a checkout stays clean

import cases
import chart
import inputs
import measure
import peers
import registry
import report
import targets

ROOT = Path(__file__).resolve().parent.parent
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "docker-artifact"


def arguments():
    args = argparse.ArgumentParser(prog="python3 benches", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--program", type=Path, default=BUILT, help="the program (default: the release build)")
    args.add_argument("--rounds", type=int, help="rounds of each case (default 5, with --quick 2); what takes long has fewer")
    args.add_argument("--quick", action="store_true", help="fewer rounds")
    args.add_argument("--only", action="append", default=[], metavar="CASE", help="run this case; may be given several times")
    args.add_argument("--list", action="store_true", help="print the cases, and run nothing")
    args.add_argument("--check", action="store_true", help="every case once, with tiny inputs, in seconds: that all of this works; figures mean nothing")
    args.add_argument("--rtt", type=float, help="the thin link's round-trip time in ms (default 40)")
    args.add_argument("--mbit", type=float, default=100.0, help="the thin link's rate in Mbit/s (default 100)")
    args.add_argument("--output", type=Path, default=ROOT / "docs", metavar="FOLDER", help="where benchmarks.md and the charts are (default: docs)")
    options = args.parse_args()
    if unknown := [name for name in options.only if name not in cases.CASES]:
        args.error(f"no such case: {', '.join(unknown)}; --list has them")
    if options.rounds is None:
        options.rounds = 1 if options.check else 2 if options.quick else 5
    if options.rtt is None:
        options.rtt = 1.0 if options.check else 40.0
    if options.rounds < 1:
        args.error("at least one round")
    return options


def label(program, host, environment):
    """Labels what the cases take by name. The labelled image has the same layers, in a repository of its own."""
    names = [f"f{size}=/opt/late/{size}" for size in ("1k", "1m", "100m")]
    command = [program, "label", "-q", "-t", f"{host}/bench/labelled:1", f"{host}/bench/tool:1", *names]
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def prepare(kept, options, found, stack):
    """Inputs, registry and places: all that cases need. Gives the bench, and the stored bytes of each image."""
    made = inputs.Inputs(kept, tiny=options.check)
    images = [made.debian(), made.tool(), made.million(), made.sized("sized-10", 10, 1 << 20), made.sized("sized-24", 24, 128 << 20)]
    images += [image for image in [made.tool_zstd()] if image]
    made.archive()
    places = measure.Places(stack, kept)
    served = stack.enter_context(registry.serving(Path(kept) / ("registry-tiny" if options.check else "registry")))
    for image in images:
        served.push(image)
    bench = measure.Bench(options.program.resolve(), found, made, served, places, options)
    label(bench.program, served.host, places.environment)
    options.turn = bench.turn()
    return bench, {image.name: image.size for image in images}


def about(bench, options, found, sizes):
    """What the figures were measured on, in words."""
    ask = {"docker-artifact": str(bench.program), **found, "docker-registry": "docker-registry", "tar": "tar", "gzip": "gzip"}
    versions = ", ".join(f"{name} {peers.version(name, path)}" for name, path in ask.items())
    tool = bench.inputs.tool()
    layers = ", ".join(f"{report.size(layer.size)} ({report.size(layer.uncompressed)} uncompressed)" for layer in tool.layers)
    stored = ", ".join(f"`{name}` {report.size(size)}" for name, size in sizes.items())
    return (
        f"Measured on {time.strftime('%-d %B %Y')}: {peers.machine()}; up to {options.rounds} round{'s' * (options.rounds != 1)} of each case.\n\n"
        f"Versions: {versions}.\n\nImages as stored: {stored}. The layers of `bench/tool`, from the lowest: {layers}.\n"
        f"The thin link has {options.mbit:g} Mbit/s and a round-trip time of {options.rtt:g} ms. "
        f"With what the registry takes to answer, a round trip through it is {options.turn * 1000:.1f} ms.\n"
    )


def run(bench, options):
    """Runs the cases. Gives their results, and what was left out."""
    results, skipped = {}, []
    for key in options.only or cases.CASES:
        made = cases.build(bench, key)
        if isinstance(made, str):
            skipped.append(f"{cases.CASES[key][0]}: {made}")
            print(f"left out: {skipped[-1]}\n", flush=True)
            continue
        results[key] = bench.run(made)
        print(f"{key}: ran" if options.check else report.of_case(results[key]), flush=True)
    return results, skipped


def save(path, results, rows):
    """All figures, for other programs. Times are seconds, sizes bytes."""
    figures = {key: result | {"figures": {name: dataclasses.asdict(each) for name, each in result["figures"].items()}} for key, result in results.items()}
    path.write_text(json.dumps({"cases": figures, "targets": [dataclasses.asdict(row) for row in rows]}, indent=1))


def check(results, rows, text):
    """That a run of all cases gave a figure for each, and that what is written can be read."""
    import xml.etree.ElementTree

    may_lack = ("big-directory", "base-file-zstd", "base-file-engine")
    bare = [key for key in cases.CASES if key not in results and key not in may_lack]
    if bare or not all(figure.runs for result in results.values() for figure in result["figures"].values()):
        sys.exit(f"--check: without figures: {bare}")
    if not rows or "not run" in {row.measured for row in rows if "zstd" not in row.case and "1 GB" not in row.case}:
        sys.exit("--check: a target has no figure")
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder) / "benchmarks.md"
        document.write_text((ROOT / "docs" / "benchmarks.md").read_text())
        report.write_into(document, text)
        options = argparse.Namespace(rtt=40.0, mbit=100.0)
        for path in chart.write(Path(folder), results, options):
            xml.etree.ElementTree.parse(path)
    print("--check: passed")


def main():
    options = arguments()
    if options.list:
        for key, (title, _) in cases.CASES.items():
            print(f"{key:18} {title}")
        return
    if lacking := peers.missing():
        sys.exit(f"needs the Debian packages {', '.join(lacking)}")
    if not options.program.exists():
        sys.exit(f"{options.program} is not there; run `make build`")
    # What was begun is ended by the same blocks that an error runs through.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    with contextlib.ExitStack() as stack:
        kept = Path(stack.enter_context(tempfile.TemporaryDirectory())) if options.check else ROOT / "target" / "bench"
        kept.mkdir(parents=True, exist_ok=True)
        found, absent = peers.find(kept, build=not options.check)
        skipped = [f"{name}: {why}" for name, why in absent.items()]
        for line in skipped:
            print(f"absent: {line}", flush=True)
        bench, sizes = prepare(kept, options, found, stack)
        results, left_out = run(bench, options)
        rows = list(targets.rows(results, sizes, options))
        if not options.check:
            print("### The targets\n\n" + report.of_targets(rows) + "\n", flush=True)
        text = report.whole(results, rows, skipped + left_out, about(bench, options, found, sizes))
        save(kept / "results.json", results, rows)
        if options.check:
            check(results, rows, text)
        elif not options.only:
            report.write_into(options.output / "benchmarks.md", text)
            chart.write(options.output, results, options)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
