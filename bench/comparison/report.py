"""Writes what was measured as Markdown and as a picture."""

from html import escape

BAR_HEIGHT = 18
ROW_HEIGHT = 24
TITLE_HEIGHT = 34
LABEL_WIDTH = 210
BAR_WIDTH = 470
WIDTH = LABEL_WIDTH + BAR_WIDTH + 160


def figure_text(figure):
    noisy = " noisy" if figure.noisy else ""
    return f"{figure.median:.2f} ({figure.lowest:.2f} to {figure.highest:.2f}{noisy})"


def markdown(results, machine, versions, rounds):
    yield "# Compared with others\n"
    yield f"Made by `bench/compare` in one run: {rounds} rounds, all contenders in turn in each."
    yield "Figures are medians, with the lowest and the highest in brackets; a ratio is made within"
    yield "a round. *Noisy*: the quartiles lie more than 15% of the median apart. Every contender's"
    yield "bytes were checked against the same digest. Images lie in memory.\n"
    yield f"Machine: {machine}\n"
    for version in versions:
        yield f"- {version}"
    yield "\n![the same as bars](results.svg)\n"
    for result in results:
        yield f"## {result.title}\n"
        yield f"| | {result.measure.unit} | {result.judged} is faster by | at least |  |"
        yield "|---|---|---|---|---|"
        for label, figure in result.figures.items():
            ratio = result.ratios.get(label)
            least = result.measure.at_least.get(label)
            met = "" if least is None else "yes" if ratio.median >= least else "**no**"
            yield (f"| {label} | {figure_text(figure)} | "
                   f"{figure_text(ratio) if ratio else ''} | {least or ''} | {met} |")
        yield ""


def svg(results):
    height = sum(TITLE_HEIGHT + ROW_HEIGHT * len(result.figures) for result in results) + 12
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
           f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">')
    yield f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    y = 0
    for result in results:
        y += TITLE_HEIGHT
        title = f"{result.title}, {result.measure.unit}"
        yield f'<text x="10" y="{y - 8}" font-weight="bold">{escape(title)}</text>'
        longest = max(figure.highest for figure in result.figures.values())
        for label, figure in result.figures.items():
            yield from bar(y, label, figure, longest, label == result.judged)
            y += ROW_HEIGHT
    yield "</svg>"


def bar(y, label, figure, longest, judged):
    scale = BAR_WIDTH / longest
    middle = y + BAR_HEIGHT / 2
    low = LABEL_WIDTH + figure.lowest * scale
    high = LABEL_WIDTH + figure.highest * scale
    colour = "#1f6feb" if judged else "#9aa4b2"
    yield (f'<text x="{LABEL_WIDTH - 8}" y="{middle + 4.5:.1f}" text-anchor="end">'
           f"{escape(label)}</text>")
    yield (f'<rect x="{LABEL_WIDTH}" y="{y}" width="{figure.median * scale:.1f}" '
           f'height="{BAR_HEIGHT}" fill="{colour}"/>')
    yield (f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#24292f" stroke-width="1.5"/>')
    yield f'<text x="{high + 8:.1f}" y="{middle + 4.5:.1f}">{figure.median:.2f}</text>'
