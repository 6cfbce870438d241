# SPDX-License-Identifier: Apache-2.0
"""A terminal's screen as SVG: svg(text), of what "tmux capture-pane -e -p" prints."""

import re
from xml.sax.saxutils import escape

COLUMN, ROW, MARGIN = 8.4, 18, 12
BACKGROUND, FOREGROUND = "#1c1f24", "#d6d8dc"
BOLD, DIM = ' font-weight="bold"', ' opacity="0.6"'
COLOURS = {31: "#ff7b72", 32: "#7ee787", 33: "#f2cc60"}


class Pen:
    """What the escape sequences so far have set."""

    def __init__(self):
        self.set(0)

    def set(self, code):
        if code == 0:
            self.bold = self.dim = self.reverse = False
            self.colour = FOREGROUND
        elif code == 1:
            self.bold = True
        elif code == 2:
            self.dim = True
        elif code == 7:
            self.reverse = True
        elif code in COLOURS:
            self.colour = COLOURS[code]
        elif code == 39:
            self.colour = FOREGROUND

    def draw(self, x, y, text):
        """Rectangle and words from column x on; their widths are forced, whatever the font's."""
        parts = []
        if self.reverse:
            parts.append(f'<rect x="{MARGIN + x * COLUMN:.1f}" y="{y - ROW + 5}" '
                         f'width="{len(text) * COLUMN:.1f}" height="{ROW}" fill="{self.colour}"/>')
        for word in re.finditer(r"\S+(?: \S+)*", text):
            parts.append(
                f'<text x="{MARGIN + (x + word.start()) * COLUMN:.1f}" y="{y}" '
                f'textLength="{len(word.group()) * COLUMN:.1f}" '
                f'fill="{BACKGROUND if self.reverse else self.colour}"'
                f'{BOLD if self.bold else ""}{DIM if self.dim else ""}>'
                f'{escape(word.group())}</text>')
        return parts


def svg(screen, title):
    lines = screen.rstrip("\n").split("\n")
    pen, parts, width = Pen(), [], 0
    for row, line in enumerate(lines):
        x, y = 0, MARGIN + (row + 1) * ROW - 5
        for text, codes in re.findall(r"([^\x1b]+)|\x1b\[([0-9;]*)m", line):
            if text:
                parts += pen.draw(x, y, text)
                x += len(text)
            else:
                for code in (codes or "0").split(";"):
                    pen.set(int(code or 0))
        width = max(width, x)
    w, h = 2 * MARGIN + width * COLUMN, 2 * MARGIN + len(lines) * ROW
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h}" width="{w:.0f}" '
        f'height="{h}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14">',
        f"<title>{escape(title)}</title>",
        f'<rect width="100%" height="100%" rx="6" fill="{BACKGROUND}"/>', *parts, "</svg>", ""])
