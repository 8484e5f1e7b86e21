"""What it has to reach: each row says in which case, against what, and at most how much.

A row is computed from the figures of the whole run; one whose case was not run, or whose peer is absent, says so.
"""
import dataclasses
import statistics

MIB = 1 << 20


@dataclasses.dataclass
class Row:
    """A row of the table: `met` is None where there is nothing to say it from."""

    case: str
    against: str
    at_most: str
    measured: str
    met: bool = None


def pairs(figures, peers):
    """Our wall time by the slowest of `peers`, round by round. None where one is missing."""
    mine, *others = figures.values()
    chosen = [figure for figure in others if figure.name.startswith(tuple(peers))]
    if len(chosen) != len(peers):
        return None
    return [own / max(walls) for own, *walls in zip(mine.all("wall"), *(figure.all("wall") for figure in chosen))]


def bound(figures, turn, mbit):
    """The seconds that our bytes and our round trips, of `turn` seconds each, take on the thin link, whatever the program."""
    wire = next(iter(figures.values())).wire
    return wire["down_bytes"] * 8 / (mbit * 1e6) + wire["turns"] * turn


def rows(results, sizes, options):
    """The table. `results` is case to what Bench.run gives, `sizes` the stored bytes of the images by name."""

    def figures(key):
        return results[key]["figures"] if key in results else None

    def ratio(key, case, against, peers, limit, shown):
        if not figures(key):
            return Row(case, against, shown, "not run")
        found = pairs(figures(key), peers)
        if not found:
            return Row(case, against, shown, "nothing to compare with")
        middle = statistics.median(found)
        digits = 4 if limit < 0.1 else 2
        spread = f" ({min(found):.{digits}f}–{max(found):.{digits}f})" if len(found) > 1 else ""
        return Row(case, against, shown, f"{middle:.{digits}f} ×{spread}", middle <= limit)

    def peak(keys, case, limit, names=None):
        found = [max(f.all("peak")) for key in keys if figures(key) for f in figures(key).values() if f.name.startswith("docker-artifact") or key == "memory"]
        if not found:
            return Row(case, "", f"{limit} MiB", "not run")
        low, high = min(found) / MIB, max(found) / MIB
        return Row(case, "", f"{limit} MiB", f"{low:.1f}–{high:.1f} MiB" if len(found) > 1 else f"{high:.1f} MiB", high <= limit)

    yield ratio("small-file", "small file, top layer", "`regctl image get-file`", ["regctl"], 0.7, "0.7 ×")
    thin = "labelled 1 MiB at the end of the big layer, thin link"
    yield ratio("labelled-1m", thin, "`curl` of manifest, config and range, one connection", ["curl"], 1.25, "1.25 ×")
    yield ratio("labelled-1m", thin, "`regctl image get-file`", ["regctl"], 1 / 60, "1/60 × (0.0167)")
    known = "1 MiB of a big layer, thin link"
    yield ratio("cached-thin", f"{known}, its layers read before", "`regctl image get-file`", ["regctl"], 1 / 40, "1/40 × (0.025)")
    yield ratio("indexed-thin", f"{known}, indexed image", "`regctl image get-file`", ["regctl"], 1 / 40, "1/40 × (0.025)")
    yield ratio("filling", "the cache filled on the way, all layers read", "the same without a cache", ["docker-artifact get, without"], 1.10, "1.10 ×")
    for key, name in (("absent-file", "absent file"), ("base-file", "base-layer file")):
        yield ratio(key, f"{name}, all layers read and verified", "`regctl` (verifies nothing)", ["regctl"], 0.32, "0.32 ×")
        yield ratio(key, f"{name}, all layers read and verified", "`crane export \\| tar`", ["crane"], 0.2, "0.2 ×")
        yield ratio(key, f"{name}, all layers read and verified", "the larger of `igzip -d` and `sha256sum` of the layers", ["igzip", "sha256sum"], 1.25, "1.25 ×")
    name = "base-layer file, zstd layers"
    yield ratio("base-file-zstd", name, "the larger of `zstd -d` and `sha256sum` of the layers", ["zstd", "sha256sum"], 1.15, "1.15 ×")
    yield ratio("base-file-zstd", name, "`regctl` (verifies nothing)", ["regctl"], 0.6, "0.6 ×")
    for key, result in results.items():
        if result["thin"]:
            figure, least = next(iter(result["figures"].values())), bound(result["figures"], options.turn, options.mbit)
            times = figure.median("wall") / least
            counted = f"{figure.wire['down_bytes'] / 1e6:.2f} MB / rate + {figure.wire['turns']} round trips of {options.turn * 1000:.1f} ms"
            yield Row(f"{result['title']}, thin link", counted, "1.08 ×", f"{times:.2f} ×", times <= 1.08)
    yield peak(["memory", "million-get"], "memory of `get`, layers of 10 MB to 3 GB, 10 to 1,000,000 entries", 48)
    yield peak(["million-list"], "memory of `ls -a`, 1,000,000 entries", 160)
    yield ratio("million-list", "`ls -a`, 1,000,000 entries", "`zcat \\| tar -tv` of the layer", ["zcat"], 0.7, "0.7 ×")
    yield ratio("big-directory", "a directory of over 1 GB onto a memory file system", "`crane export \\| tar -x`", ["crane"], 0.35, "0.35 ×")
    for key, image in (("globs-and-links", "bench/debian"), ("globs-of-all", "bench/tool")):
        what = ("bytes read: " + results[key]["title"].split(":")[0]) if key in results else "bytes read: globs, links, several paths"
        # The links' targets are a few megabytes of it; manifests and HTTP heads are less.
        against, shown = "the layers' stored bytes, and the extents of link targets that had passed by", "1.0 × (up to 1.02)"
        if not figures(key):
            yield Row(what, against, shown, "not run")
            continue
        read = next(iter(figures(key).values())).wire["down_bytes"]
        times = read / sizes[image]
        yield Row(what, against, shown, f"{times:.3f} × ({read / 1e6:.1f} of {sizes[image] / 1e6:.1f} MB)", times <= 1.02)
    if figures("handshake"):
        mine, true = figures("handshake").values()
        more = statistics.median(a - b for a, b in zip(mine.all("wall"), true.all("wall"))) * 1000
        yield Row("the handshake", "`/bin/true`", "+ 1 ms", f"+ {more:.2f} ms", more <= 1)
    else:
        yield Row("the handshake", "`/bin/true`", "+ 1 ms", "not run")
