"""Tables, ratios at equal recall, and plots of what `contenders.measure` found."""
import math
import statistics
from html import escape

LEVELS = (0.90, 0.95, 0.99)
OURS = "elanus"
# An older build of ours.
BEFORE = "before"
COLOURS = ("#c0392b", "#2471a3", "#1e8449", "#b7950b", "#76448a", "#566573")


def written(params):
    return " ".join(f"{name}={value}" for name, value in params.items()) or "-"


def table(head, rows):
    """A Markdown table."""
    texts = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in texts]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def threads(count):
    return f"{count} thread{'s' if count != 1 else ''}"


def number(value, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}"


def show(result, k):
    allow = f", {result['allow']:g} % of the rows allowed" if result["allow"] is not None else ""
    builds = written(result["builds"][0]) if len(result["builds"]) == 1 else f"{len(result['builds'])} builds"
    print(f"\n## {result['set']} {result['index']}: {result['rows']:,} x {result['dim']} {result['type']} {result['metric']}{allow}; {builds}\n")
    contenders = result["contenders"]
    for name, reason in result["left_out"].items():
        ours = "**Not measured here: ours.** " if name.split()[0] == OURS else ""
        print(f"{ours}Left out: {name}: {reason}\n")
    if not contenders:
        print("nobody could build it")
        return
    rows = []
    for name, found in contenders.items():
        built = found["built"]
        held = built["held_bytes"] / max(result["rows"], 1)
        rows.append([name, number(built["seconds"], 1), number(built["peak_growth"] / 1e6), number(held)])
    print(table(["contender", f"build s ({threads(result['build_threads'])})", "peak MB", "bytes/vector, the vector included where it is in memory"], rows))
    for name, found in contenders.items():
        if found["opened"]:
            bytes_, warm, cold = (found["opened"][key] for key in ("bytes", "seconds", "seconds_from_disk"))
            print(f"\nThe file of {name}: {number(bytes_ / 1e6, 1)} MB, open in {number(warm * 1e3, 1)} ms by mapping it, {number(cold * 1e3, 1)} ms off the disk.")
    rows = []
    for name, found in contenders.items():
        for step in found["settings"]:
            recalls = [f"{value:.4f}" for value in step["recall"].values()]
            figures = [number(step["qps"]), number(step["batch_qps"]), number(step["p50"]), number(step["p99"]), number(step["distances"])]
            rows.append([name, written(step["params"]), *recalls, *figures])
    recalls = [f"recall@{depth}" for depth in next(iter(contenders.values()))["settings"][0]["recall"]]
    print("\n" + table(["contender", "search", *recalls, "queries/s", f"in a batch, {threads(result['threads'])}", "p50 us", "p99 us", "distances"], rows))
    ratios(result, k)
    ceilings(result)


def ceilings(result):
    """What part of the machine's rates a search of all rows reaches, by seconds of the processor: what others take of it
    does not count. The middle turn next to the middle turn, and the fastest next to the fastest."""
    found = result["ceilings"]
    if not found:
        return
    # Comparing bits is no multiplication.
    flop = 2 * result["rows"] * result["dim"] if result["type"] != "bit" else None
    kinds = [
        ("work", result["bytes"], found["bytes_per_second"], "GB/s, one at a time"),
        ("batch_work", flop, found["flop_per_second"], f"GFLOP/s, in a batch, {threads(result['threads'])}"),
    ]
    kinds = [kind for kind in kinds if kind[1] and kind[2]]
    head, rows = ["contender"], [["the machine"]]
    for _, _, ceiling, label in kinds:
        head += [label, "of the machine's", "fastest turn", "of the machine's"]
        rows[0] += [gigas(statistics.median(ceiling)), "", gigas(max(ceiling)), ""]
    for name, contender in result["contenders"].items():
        row = [name]
        for turns, work, ceiling, _ in kinds:
            # Nothing from a build that does not say.
            rates = [work * done / worked for done, worked in contender["settings"][0][turns] if done and worked]
            for best in (statistics.median, max):
                row += [gigas(best(rates)), f"{100 * best(rates) / best(ceiling):.0f} %"] if rates else ["-", "-"]
        rows.append(row)
    print("\nBy seconds of the processor, next to reading memory and products of matrices in the same run:\n")
    print(table(head, rows), flush=True)


def gigas(value):
    return number(value / 1e9, 1)


def at_recall(settings, level, k, rate):
    """Queries per second at a recall: between the two settings around it on the frontier, in the logarithm; the fastest
    one where all are above; nothing where none reaches it."""
    points = sorted((step["recall"][str(k)], step[rate]) for step in settings)
    # On the frontier nothing is both faster and better.
    frontier = [point for index, point in enumerate(points) if all(point[1] > other[1] for other in points[index + 1 :])]
    above = [point for point in frontier if point[0] >= level]
    below = [point for point in frontier if point[0] < level]
    if not above:
        return None
    (high, fast), low = above[0], below[-1] if below else None
    if low is None or high == level:
        return fast
    part = (level - low[0]) / (high - low[0])
    return math.exp(math.log(low[1]) + part * (math.log(fast) - math.log(low[1])))


def ratios(result, k):
    """Ours against each library, each with whatever it was built with: the frontier is of all its builds."""
    libraries = {}
    for found in result["contenders"].values():
        libraries.setdefault(found["library"], []).extend(found["settings"])
    if OURS not in libraries or len(libraries) < 2:
        return
    rows = []
    for rate, label in (("qps", "one at a time"), ("batch_qps", "in a batch")):
        for level in LEVELS:
            ours = at_recall(libraries[OURS], level, k, rate)
            theirs = {name: at_recall(settings, level, k, rate) for name, settings in libraries.items() if name != OURS}
            reached = [value for name, value in theirs.items() if value and name != BEFORE]
            ratio = lambda other: f"{ours / other:.2f}" if ours and other else "-"
            rows.append([label, f"{level:.2f}", number(ours), *map(ratio, theirs.values()), ratio(max(reached, default=None))])
    print(f"\nTimes faster than the others at equal recall@{k} (below 1: slower):\n")
    print(table(["queries", "recall", "ours/s", *theirs, "the best of them"], rows), flush=True)


def plot(result, path):
    """Queries per second over recall@k as an SVG."""
    k = str(result["k"])
    lines = {
        name: sorted((step["recall"][k], step["qps"]) for step in found["settings"]) for name, found in result["contenders"].items()
    }
    points = [point for line in lines.values() for point in line]
    if not points:
        return
    width, height, left, top, right, bottom = 760, 460, 70, 40, 150, 50
    low = min(0.99, math.floor(min(recall for recall, _ in points) * 20) / 20)
    rates = [math.log10(rate) for _, rate in points]
    floor, ceiling = math.floor(min(rates)), max(math.ceil(max(rates)), math.floor(min(rates)) + 1)
    x = lambda recall: left + (recall - low) / (1 - low) * (width - left - right)
    y = lambda rate: top + (ceiling - math.log10(rate)) / (ceiling - floor) * (height - top - bottom)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="22" font-size="15">{escape(result["set"])} {escape(result["index"])} {result["rows"]:,} x {result["dim"]}, one query at a time</text>',
    ]
    for step in range(6):
        recall = low + (1 - low) * step / 5
        out.append(f'<line x1="{x(recall):.1f}" x2="{x(recall):.1f}" y1="{top}" y2="{height - bottom}" stroke="#ddd"/>')
        out.append(f'<text x="{x(recall):.1f}" y="{height - bottom + 18}" text-anchor="middle">{recall:.3f}</text>')
    for power in range(floor, ceiling + 1):
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{y(10**power):.1f}" y2="{y(10**power):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8}" y="{y(10**power) + 4:.1f}" text-anchor="end">{10**power:,}</text>')
    out.append(f'<text x="{(left + width - right) / 2}" y="{height - 12}" text-anchor="middle">recall@{k}</text>')
    out.append(f'<text transform="translate(16 {height / 2}) rotate(-90)" text-anchor="middle">queries per second</text>')
    for index, (name, line) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        path_of = " ".join(f"{x(recall):.1f},{y(rate):.1f}" for recall, rate in line)
        out.append(f'<polyline points="{path_of}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x(recall):.1f}" cy="{y(rate):.1f}" r="3" fill="{colour}"/>' for recall, rate in line]
        out.append(f'<text x="{width - right + 14}" y="{top + 18 + 20 * index}" fill="{colour}">{escape(name)}</text>')
    path.write_text("\n".join([*out, "</svg>\n"]))
