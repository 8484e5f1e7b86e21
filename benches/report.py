"""Figures as Markdown tables, which people read on a terminal too, and the part of docs/benchmarks.md that is generated."""
import statistics

BEGIN, END = "<!-- what `make bench` wrote: begin -->", "<!-- what `make bench` wrote: end -->"
GROUPS = {False: "On loopback", True: "Over the thin link"}


def seconds(value):
    if value < 0.0995:
        return f"{value * 1000:.1f} ms" if value < 0.00995 else f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 9.995 else f"{value:.1f} s"


def size(count):
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= limit:
            return f"{count / limit:.1f} {unit}"
    return f"{count} B"


def spread(values, show):
    middle = show(statistics.median(values))
    low, high = show(min(values)), show(max(values))
    return middle if low == high else f"{middle} ({low}–{high})"


def mebibytes(count):
    return f"{count / (1 << 20):.1f} MiB" if count < 100 << 20 else f"{count / (1 << 20):.0f} MiB"


def table(head, rows):
    """A Markdown table with columns of one width. The first column is left-aligned, and so is what `head` marks with a colon."""
    rows = [head] + [[str(cell) for cell in row] for row in rows]
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def of_case(result):
    """The table of one case, under its title."""
    figures = list(result["figures"].values())
    mine, rows = figures[0], []
    for figure in figures:
        ratios = [a / b for a, b in zip(mine.all("wall"), figure.all("wall"))]
        wire = figure.wire
        name = figure.name.replace("|", "\\|")
        rows.append(
            [
                f"**{name}**" if figure is mine else name,
                spread(figure.all("wall"), seconds),
                seconds(figure.median("cpu")),
                spread(figure.all("peak"), mebibytes),
                size(wire["down_bytes"] + wire["up_bytes"]) if wire else "–",
                f"{len(wire['requests'])} in {wire['turns']}" if wire else "–",
                figure.checks or "–",
                f"{statistics.median(ratios):.3g} ×" if figure is not mine and result["compare"] else "",
            ]
        )
    head = ["", "wall", "CPU", "peak memory", "bytes", "requests, turns", "checks", "ours takes"]
    note = f"\n\n{result['note']}" if result["note"] else ""
    return f"#### {result['title'][0].upper()}{result['title'][1:]}\n\n{table(head, rows)}{note}\n"


def of_targets(rows):
    said = {True: "met", False: "**not met**", None: "–"}
    head = ["case", "against", "at most", "measured", ""]
    return table(head, [[row.case, row.against, row.at_most, row.measured, said[row.met]] for row in rows])


def whole(results, rows, skipped, about):
    """All that is generated: what it was measured on, the targets, and each case."""
    parts = [about, "### The targets\n\n" + of_targets(rows) + "\n"]
    for thin, title in GROUPS.items():
        cases = [of_case(result) for result in results.values() if result["thin"] == thin]
        if cases:
            parts.append(f"### {title}\n\n" + "\n".join(cases))
    if skipped:
        parts.append("### Left out\n\n" + "\n".join(f"- {line}" for line in skipped) + "\n")
    return "\n".join(parts)


def write_into(document, text):
    """Puts `text` between the marks of a document."""
    old = document.read_text()
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{document} has no lines {BEGIN} and {END}")
    document.write_text(f"{before}{BEGIN}\n\n{text.rstrip()}\n\n{END}{after}")
