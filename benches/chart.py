"""Draws a few telling cases as horizontal bars: two SVG files, one for a light page and one for a dark one."""
import statistics
from html import escape

import report

# Case, title, and the commands to show: how their names begin, and what the chart calls them.
SHOWN = [
    ("small-file", "a small file, topmost of five layers", [("docker-artifact", "docker artifact get"), ("regctl", "regctl image get-file")]),
    (
        "base-file",
        "/etc/passwd under a layer of over 1 GB: all layers are read",
        [("docker-artifact", "docker artifact get, verified"), ("regctl", "regctl, checks nothing"), ("crane", "crane export | tar"), ("docker pull", "docker pull, create, cp")],
    ),
    (
        "labelled-1m",
        "1 MiB at the end of that layer, by its name, over {mbit} Mbit/s and {rtt} ms",
        [("docker-artifact", "docker artifact get, verified"), ("curl", "curl, told the bytes"), ("regctl", "regctl, checks nothing")],
    ),
    (
        "big-directory",
        "a directory of over 1 GB, onto a memory file system",
        [("docker-artifact", "docker artifact get, verified"), ("crane", "crane export | tar -x")],
    ),
    ("million-list", "a list of 1,000,000 files", [("docker-artifact", "docker artifact ls -a, verified"), ("zcat", "zcat | tar -tv")]),
]
THEMES = {
    "benchmarks.svg": {"page": "#ffffff", "text": "#1f2328", "quiet": "#59636e", "ours": "#0969da", "peer": "#afb8c1"},
    "benchmarks-dark.svg": {"page": "#0d1117", "text": "#e6edf3", "quiet": "#9198a1", "ours": "#4493f8", "peer": "#3d444d"},
}
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
WIDTH, MARGIN, NAMES, BAR, STEP, HEADING, GAP = 760, 16, 216, 14, 22, 26, 14


def groups(results, options):
    """What is drawn: a title, and for each bar its name, the median of the wall time in seconds, and whether it is ours."""
    for key, title, wanted in SHOWN:
        if key not in results:
            continue
        bars = []
        for begin, name in wanted:
            figures = [each for case in (key, f"{key}-engine") if case in results for each in results[case]["figures"].values()]
            figure = next((each for each in figures if each.name.startswith(begin) and each.runs), None)
            if figure:
                bars.append((name, statistics.median(figure.all("wall")), begin.startswith("docker-artifact")))
        if len(bars) > 1:
            yield title.format(mbit=f"{options.mbit:g}", rtt=f"{options.rtt:g}"), bars


def draw(drawn, colours):
    """One SVG. Each group has a scale of its own: its longest bar takes the whole width."""
    room, y, parts = WIDTH - NAMES - 2 * MARGIN - 70, MARGIN, []
    for title, bars in drawn:
        parts.append(f'<text x="{MARGIN}" y="{y + 15}" font-size="14" font-weight="600" fill="{colours["text"]}">{escape(title)}</text>')
        y += HEADING
        longest = max(value for _, value, _ in bars)
        for name, value, is_ours in bars:
            length = max(2.0, value / longest * room)
            weight = ' font-weight="600"' if is_ours else ""
            middle = y + BAR - 3
            parts.append(f'<text x="{MARGIN + NAMES - 8}" y="{middle}" text-anchor="end"{weight} fill="{colours["text" if is_ours else "quiet"]}">{escape(name)}</text>')
            parts.append(f'<rect x="{MARGIN + NAMES}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{colours["ours" if is_ours else "peer"]}"/>')
            parts.append(f'<text x="{MARGIN + NAMES + length + 6:.1f}" y="{middle}"{weight} fill="{colours["text"]}">{escape(report.seconds(value))}</text>')
            y += STEP
        y += GAP
    height = y - GAP + MARGIN
    said = "; ".join(f"{title}: " + ", ".join(f"{name} {report.seconds(value)}" for name, value, _ in bars) for title, bars in drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" font-family="{FONT}" font-size="12">\n'
        f"<title>Wall time, shorter is better</title>\n<desc>{escape(said)}</desc>\n"
        f'<rect width="{WIDTH}" height="{height}" fill="{colours["page"]}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def write(folder, results, options):
    """Writes both files into `folder`, and gives their paths; none where there is nothing to compare."""
    drawn = list(groups(results, options))
    if not drawn:
        return []
    paths = []
    for name, colours in THEMES.items():
        paths.append(folder / name)
        paths[-1].write_text(draw(drawn, colours))
    return paths
