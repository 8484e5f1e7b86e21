"""Makes the picture of the README: a real terminal in which real commands ran, as SVG.

    terminal.py PROGRAM OUTPUT.svg

Needs Linux, docker with a folder for plugins of its own, docker-registry, and what benches/ needs for its image: Debian's packages.
"""
import fcntl
import html
import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent.parent / "benches"))
import inputs  # noqa: E402
import registry  # noqa: E402

COLUMNS, ROWS = 104, 60
FONT, WIDTH, HEIGHT, MARGIN, BAR = 13, 7.83, 18, 16, 34
INK, PAPER, QUIET = "#d6deeb", "#10151c", "#7f8c98"
COLOURS = {30: "#5c6773", 31: "#ff8f80", 32: "#a5d76e", 33: "#ffd479", 34: "#6cb6ff", 35: "#d2a8ff", 36: "#76d6e0", 37: "#d6deeb"}
IMAGE = "localhost:5000/team/tools:1"

# What is typed, and what of the answer is shown.
SESSION = [
    f"docker artifact get {IMAGE} /bin/ls",
    "./ls -l",
    f"docker artifact ls --time-style long-iso {IMAGE} '/usr/bin/sha*'",
    f"docker artifact ls --tree {IMAGE} /etc/skel",
    f"docker artifact get {IMAGE} /usr/bin/sha265sum",
]


def run(line, environment, folder):
    """What a terminal gets from `line`."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(["sh", "-c", line], stdin=subprocess.DEVNULL, stdout=child, stderr=child, cwd=folder, env=environment, start_new_session=True)
    os.close(child)
    said = b""
    while select.select([parent], [], [], 60)[0]:
        try:
            more = os.read(parent, 1 << 16)
        except OSError:
            break
        if not more:
            break
        said += more
    process.wait()
    os.close(parent)
    return said.decode()


def shown(said):
    """The lines that stand on the screen at the end: a list of (style, letter) for each."""
    lines, row, at, style = [[]], 0, 0, ()
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", said):
        if part == "\n":
            row += 1
            if row == len(lines):
                lines.append([])
        elif part == "\r":
            at = 0
        elif part[0] != "\x1b":
            cells = lines[row]
            cells.extend([((), " ")] * (at - len(cells)))
            cells[at : at + len(part)] = [(style, letter) for letter in part]
            at += len(part)
        elif part.endswith("m"):
            codes = tuple(int(code or 0) for code in part[2:-1].split(";"))
            style = () if codes == (0,) else codes
        elif part.endswith("K"):
            del lines[row][0 if part[2] == "2" else at :]
        elif part.endswith("A"):
            row = max(row - int(part[2:-1] or 1), 0)
        elif part.endswith("J"):
            del lines[row][at:]
            del lines[row + 1 :]
    return lines


def text(cells, x, y):
    """The element of a line."""
    spans, run_of, last = [], "", None
    for style, letter in cells + [(None, "")]:
        if style != last and run_of:
            colour = next((COLOURS[code] for code in last or () if code in COLOURS), INK)
            weight = ' font-weight="600"' if 1 in (last or ()) else ""
            spans.append(f'<tspan fill="{colour}"{weight}>{html.escape(run_of)}</tspan>')
            run_of = ""
        run_of, last = run_of + letter, style
    return f'<text x="{x}" y="{y}" xml:space="preserve">{"".join(spans)}</text>'


def wrapped(cells):
    return [cells[start : start + COLUMNS] for start in range(0, max(len(cells), 1), COLUMNS)]


def picture(session):
    """The SVG of what was typed and said."""
    rows = []
    for line, said in session:
        rows.append([((32,), "$ "), *(((1,), letter) for letter in line)])
        answer = shown(said)
        while answer and not answer[-1]:
            answer.pop()
        rows.extend(row for cells in answer for row in wrapped(cells))
        rows.append([])
    rows.pop()
    width, height = round(COLUMNS * WIDTH + 2 * MARGIN), BAR + len(rows) * HEIGHT + MARGIN
    dots = "".join(f'<circle cx="{MARGIN + 6 + 20 * at}" cy="17" r="5.5" fill="{colour}"/>' for at, colour in enumerate(["#ff6b62", "#f8c14a", "#4fc35a"]))
    drawn = "\n".join(text(cells, MARGIN, BAR + HEIGHT * at + FONT) for at, cells in enumerate(rows) if cells)
    said = html.escape("; ".join(line for line, _ in session))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>A terminal: {said}</title>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>\n{dots}\n'
        f'<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="{FONT}">\n{drawn}\n</g>\n</svg>\n'
    )


def main():
    program, output = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    registry.free_port = lambda: 5000
    kept = here.parent.parent / "target/bench"
    kept.mkdir(parents=True, exist_ok=True)
    made = inputs.Inputs(kept).tool()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        plugins = scratch / "config/cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-artifact").symlink_to(program)
        environment = dict(os.environ, DOCKER_CONFIG=str(scratch / "config"), DOCKER_ARTIFACT_CACHE=str(scratch / "cache"), LC_ALL="C.UTF-8", TERM="xterm-256color")
        environment.pop("NO_COLOR", None)
        (scratch / "work").mkdir()
        with registry.serving(scratch / "registry") as place:
            place.push(inputs.Image("team/tools", made.layers))
            # As the team has indexed its image, nobody fetches a layer for a file.
            run(f"docker artifact index -q {IMAGE}", dict(environment, DOCKER_ARTIFACT_CACHE="off"), scratch)
            session = [(line, run(line, environment, scratch / "work")) for line in SESSION]
    output.write_text(picture(session))


main()
