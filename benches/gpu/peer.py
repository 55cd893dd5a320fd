#!/usr/bin/env python3
"""The searches of gpu-bench in PyTorch, in 32-bit floats: exact search, inverted lists, lists with codewords, and a walk through
a graph.

Takes the arguments of gpu-bench and ignores those that mean nothing here. Lists are searched when --nlist is given, by codewords
when --m is as well, the graph when --graph-degree is. Rows are drawn from the same distribution, not the same rows. Prints the
tables of gpu-bench. With --device cpu it runs anywhere, to see that it works.
"""

import argparse
import sys
import time

try:
    import torch
except ImportError:
    torch = None

# Bytes of the largest matrix at a time.
TILE_BYTES = 4 << 30
# Rounds of k-means, training rows for each list, and queries of which the recall is told.
ROUNDS, SAMPLE, RECALL_QUERIES = 10, 128, 1000
# The recall at which the fastest setting is told.
WANTED_RECALL = 0.95


def distances(queries, rows, squares, metric):
    """Queries x rows, smaller is nearer; under L2 without the squared length of the query, under COSINE without its length."""
    products = queries @ rows.T
    if metric == "L2":
        return products.mul_(-2).add_(squares)
    if metric == "COSINE":
        products.mul_(torch.rsqrt(squares))
    return products.neg_()


def exact(rows, squares, queries, k, metric):
    """Distances and numbers of the k nearest rows of each query."""
    tile = max(k, TILE_BYTES // (4 * len(queries)))
    best = None
    for first in range(0, len(rows), tile):
        part = slice(first, first + tile)
        of_part = distances(queries, rows[part], squares[part], metric)
        found = torch.topk(of_part, min(k, of_part.shape[1]), dim=1, largest=False)
        found = found.values, found.indices + first
        best = found if best is None else merged(best, found, k)
    return best


def merged(one, other, k):
    """The k best of two lists of each query."""
    values = torch.cat([one[0], other[0]], 1)
    found = torch.topk(values, min(k, values.shape[1]), dim=1, largest=False)
    return found.values, torch.cat([one[1], other[1]], 1).gather(1, found.indices)


def clusters(count, dim, device, seed):
    """Rows around a thousand centers, which are the same for every seed."""
    generator = torch.Generator(device).manual_seed(1)
    centers = torch.randn(1000, dim, device=device, generator=generator)
    generator.manual_seed(seed)
    of = torch.randint(1000, (count,), device=device, generator=generator)
    return torch.randn(count, dim, device=device, generator=generator).mul_(0.5).add_(centers[of])


class Lists:
    """Rows sorted by their nearest centroid."""

    def __init__(self, rows, nlist, metric):
        grouping = "L2" if metric == "L2" else "IP"
        sample = rows[torch.randperm(len(rows), device=rows.device)[: nlist * SAMPLE]]
        self.metric, self.grouping = metric, grouping
        self.centroids = sample[:nlist].clone()
        for _ in range(ROUNDS):
            of = self.nearest(sample, 1)[:, 0]
            sums = torch.zeros_like(self.centroids).index_add_(0, of, sample)
            counts = torch.bincount(of, minlength=nlist).clamp_(min=1)
            means = sums / counts[:, None]
            self.centroids = means if grouping == "L2" else torch.nn.functional.normalize(means)
        of = self.nearest(rows, 1)[:, 0]
        self.numbers = torch.argsort(of, stable=True)
        self.rows = rows[self.numbers]
        self.squares = (self.rows * self.rows).sum(1)
        self.ends = torch.bincount(of, minlength=nlist).cumsum(0).tolist()

    def nearest(self, queries, count):
        squares = (self.centroids * self.centroids).sum(1)
        count = min(count, len(self.centroids))
        found = []
        for part in queries.split(max(1, TILE_BYTES // (4 * len(self.centroids)))):
            of_part = distances(part, self.centroids, squares, self.grouping)
            found.append(torch.topk(of_part, count, dim=1, largest=False).indices)
        return torch.cat(found)

    def span(self, wanted):
        return slice(self.ends[wanted - 1] if wanted else 0, self.ends[wanted])

    def search(self, queries, k, nprobe):
        """List by list: all queries that want it against all of its rows."""
        probes = self.nearest(queries, nprobe)
        values = torch.full((len(queries), k), float("inf"), device=queries.device)
        numbers = torch.full((len(queries), k), -1, device=queries.device)
        order = torch.argsort(probes.flatten(), stable=True)
        wanted, counts = torch.unique_consecutive(probes.flatten()[order], return_counts=True)
        first = 0
        for wanted_list, count in zip(wanted.tolist(), counts.tolist()):
            asking = order[first : first + count] // probes.shape[1]
            first += count
            part = self.span(wanted_list)
            if part.start == part.stop:
                continue
            of_list = distances(queries[asking], self.rows[part], self.squares[part], self.metric)
            found = torch.topk(of_list, min(k, of_list.shape[1]), dim=1, largest=False)
            found = found.values, self.numbers[part][found.indices]
            values[asking], numbers[asking] = merged((values[asking], numbers[asking]), found, k)
        return values, numbers


class Codes(Lists):
    """What rows differ by from their list's centroid, in `m` groups of dimensions of a codeword each (Jegou et al., 2011)."""

    # Rows that codewords are learnt from, and rows for each wanted one that are compared again.
    SAMPLE, AGAIN = 65_536, 4

    def __init__(self, rows, nlist, m, nbits, metric):
        super().__init__(rows, nlist, metric)
        if rows.shape[1] % m:
            sys.exit(f"peer.py: --m {m} does not divide the dimension {rows.shape[1]}")
        self.width, words = rows.shape[1] // m, 1 << nbits
        counts = torch.tensor(self.ends, device=rows.device).diff(prepend=torch.zeros(1, dtype=torch.long, device=rows.device))
        of = torch.repeat_interleave(torch.arange(nlist, device=rows.device), counts)
        if metric == "COSINE":
            self.rows = torch.nn.functional.normalize(self.rows)
            self.squares = torch.ones_like(self.squares)
        picked = torch.randperm(len(rows), device=rows.device)[: max(self.SAMPLE, words)]
        sample = self.rows[picked] - self.centroids[of[picked]]
        self.codes = torch.empty(len(rows), m, dtype=torch.uint8, device=rows.device)
        self.words = torch.empty(m, words, self.width, device=rows.device)
        for group in range(m):
            columns = slice(group * self.width, (group + 1) * self.width)
            self.words[group] = self.learnt(sample[:, columns], words)
            for part in torch.arange(len(rows), device=rows.device).split(max(1, TILE_BYTES // (4 * words))):
                differences = self.rows[part][:, columns] - self.centroids[of[part]][:, columns]
                self.codes[part, group] = self.nearest_word(differences, self.words[group]).to(torch.uint8)

    @staticmethod
    def nearest_word(rows, words):
        return ((words * words).sum(1) - 2 * rows @ words.T).argmin(1)

    def learnt(self, sample, count):
        words = sample[:count].clone()
        if len(words) < count:
            words = torch.cat([words, torch.zeros(count - len(words), sample.shape[1], device=sample.device)])
        for _ in range(ROUNDS):
            of = self.nearest_word(sample, words)
            sums = torch.zeros_like(words).index_add_(0, of, sample)
            counts = torch.bincount(of, minlength=count)[:, None]
            words = torch.where(counts > 0, sums / counts.clamp(min=1), words)
        return words

    def search(self, queries, k, nprobe):
        if self.metric == "COSINE":
            queries = torch.nn.functional.normalize(queries)
        probes, wanted = self.nearest(queries, nprobe), self.AGAIN * k
        values = torch.full((len(queries), wanted), float("inf"), device=queries.device)
        places = torch.full((len(queries), wanted), -1, device=queries.device)
        order = torch.argsort(probes.flatten(), stable=True)
        lists, counts = torch.unique_consecutive(probes.flatten()[order], return_counts=True)
        first = 0
        for of_list, count in zip(lists.tolist(), counts.tolist()):
            asking = order[first : first + count] // probes.shape[1]
            first += count
            part = self.span(of_list)
            if part.start == part.stop:
                continue
            found = torch.topk(self.estimates(queries[asking], of_list, part), min(wanted, part.stop - part.start), dim=1, largest=False)
            found = found.values, found.indices + part.start
            values[asking], places[asking] = merged((values[asking], places[asking]), found, wanted)
        rows = self.rows[places.clamp(min=0)]
        products = torch.bmm(rows, queries[:, :, None])[:, :, 0]
        exactly = self.squares[places.clamp(min=0)] - 2 * products if self.metric == "L2" else -products
        best = torch.topk(exactly.masked_fill_(places < 0, float("inf")), k, dim=1, largest=False)
        places = places.gather(1, best.indices)
        return best.values, torch.where(places < 0, -1, self.numbers[places.clamp(min=0)])

    def estimates(self, queries, of_list, part):
        """Distances by codewords of a list's rows, as many as tell its rows apart from those of other lists."""
        centroid, codes = self.centroids[of_list], self.codes[part].long()
        asked = queries - centroid if self.metric == "L2" else queries
        groups = asked.view(len(asked), -1, self.width).transpose(0, 1)
        tables = -2 * torch.bmm(groups, self.words.transpose(1, 2))
        if self.metric == "L2":
            tables += (self.words * self.words).sum(2)[:, None, :]
            found = (asked * asked).sum(1)[:, None].repeat(1, len(codes))
        else:
            tables *= 0.5
            found = -(queries @ centroid)[:, None].repeat(1, len(codes))
        for group in range(codes.shape[1]):
            found += tables[group][:, codes[:, group]]
        return found


class Graph:
    """The nearest rows of each row, found in lists, and a walk that keeps the best nodes."""

    def __init__(self, rows, degree, metric):
        nlist = max(1, min(4 * int(len(rows) ** 0.5), len(rows) // 64))
        lists = Lists(rows, nlist, metric)
        probes = max(16, 16 * degree // max(1, len(rows) // nlist))
        near = lists.nearest(lists.centroids, probes).tolist()
        self.links = torch.full((len(rows), degree), -1, device=rows.device)
        for own in range(nlist):
            part = lists.span(own)
            if part.start == part.stop:
                continue
            spans = [part] + [lists.span(other) for other in near[own] if other != own]
            at = torch.cat([torch.arange(span.start, span.stop, device=rows.device) for span in spans])
            of_list = distances(lists.rows[part], lists.rows[at], lists.squares[at], metric)
            # A row comes first among its own list's, in their order, and is no neighbour of itself.
            of_list.fill_diagonal_(float("inf"))
            count = min(degree, max(0, len(at) - 1))
            found = torch.topk(of_list, count, dim=1, largest=False).indices
            self.links[lists.numbers[part], :count] = lists.numbers[at][found]
        self.rows, self.metric = rows, metric
        self.squares = (rows * rows).sum(1)

    def score(self, queries, nodes):
        rows = self.rows[nodes.clamp(min=0)]
        products = torch.bmm(rows, queries[:, :, None])[:, :, 0]
        squares = self.squares[nodes.clamp(min=0)]
        if self.metric == "L2":
            found = products.mul_(-2).add_(squares)
        else:
            found = products.mul_(-torch.rsqrt(squares) if self.metric == "COSINE" else -1)
        return found.masked_fill_(nodes < 0, float("inf"))

    def search(self, queries, k, itopk):
        count, device = len(queries), queries.device
        start = torch.arange(itopk, device=device) * len(self.rows) // itopk
        nodes = start.expand(count, itopk).contiguous()
        values, order = self.score(queries, nodes).sort(1)
        nodes = nodes.gather(1, order)
        done = torch.zeros_like(nodes, dtype=torch.bool)
        for _ in range(itopk + 10):
            open_values = values.masked_fill(done, float("inf"))
            least, parent = open_values.min(1)
            if bool(torch.isinf(least).all()):
                break
            done.scatter_(1, parent[:, None], True)
            fresh = self.links[nodes.gather(1, parent[:, None])[:, 0]]
            known = (fresh[:, :, None] == nodes[:, None, :]).any(2)
            fresh = fresh.masked_fill(known | torch.isinf(least)[:, None], -1)
            all_values = torch.cat([values, self.score(queries, fresh)], 1)
            values, kept = torch.topk(all_values, itopk, dim=1, largest=False)
            nodes = torch.cat([nodes, fresh], 1).gather(1, kept)
            done = torch.cat([done, torch.zeros_like(fresh, dtype=torch.bool)], 1).gather(1, kept)
        return values[:, :k], nodes[:, :k]


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def median(seconds, device, call):
    """Seconds of a call."""
    call()
    times, started = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - started < seconds:
        wait(device)
        one = time.perf_counter()
        call()
        wait(device)
        times.append(time.perf_counter() - one)
    return sorted(times)[len(times) // 2]


def numbers(text):
    return [int(number) for number in text.split(",")]


def measure_exact(given):
    rows = torch.randn(given.rows, given.dim, device=given.device)
    squares = (rows * rows).sum(1)
    print(f"{'queries':>7} {'ms':>10} {'queries/s':>12} {'GB/s':>9} {'TFLOP/s':>9}")
    for count in given.queries:
        queries = torch.randn(count, given.dim, device=given.device)
        found = median(given.seconds, given.device, lambda: exact(rows, squares, queries, given.k, given.metric))
        floats = given.rows * given.dim / found
        print(
            f"{count:>7} {1e3 * found:>10.3f} {count / found:>12.1f} {4e-9 * floats:>9.1f} {2e-12 * floats * count:>9.3f}",
            flush=True,
        )


def measure_index(given, name, build, efforts):
    rows = clusters(given.rows, given.dim, given.device, 2)
    truth = clusters(RECALL_QUERIES, given.dim, given.device, 3)
    nearest = exact(rows, (rows * rows).sum(1), truth, given.k, given.metric)[1]
    wait(given.device)
    started = time.perf_counter()
    index = build(rows)
    wait(given.device)
    print(f"\n{given.rows} rows x {given.dim} in clusters: {name} built in {time.perf_counter() - started:.1f} s")
    print(f"{'effort':>7} {'queries':>7} {'recall':>7} {'ms':>10} {'queries/s':>12}")
    fastest = {}
    for effort in efforts:
        effort = max(effort, given.k) if isinstance(index, Graph) else effort
        found = index.search(truth, given.k, effort)[1]
        recall = (found[:, :, None] == nearest[:, None, :]).any(2).float().mean().item()
        for count in given.queries:
            queries = clusters(count, given.dim, given.device, 4 + count)
            seconds = median(given.seconds, given.device, lambda: index.search(queries, given.k, effort))
            if recall >= WANTED_RECALL:
                fastest[count] = max(fastest.get(count, 0.0), count / seconds)
            print(
                f"{effort:>7} {count:>7} {recall:>7.4f} {1e3 * seconds:>10.3f} {count / seconds:>12.1f}",
                flush=True,
            )
    for count in given.queries:
        told = f"{fastest[count]:.1f} queries/s" if count in fastest else "no effort reaches it"
        print(f"recall {WANTED_RECALL} of {name}, {count} queries at a time: {told}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--type", default="f32")
    parser.add_argument("--metric", default="L2")
    parser.add_argument("--queries", type=numbers, default="1,10,100,1000,10000")
    parser.add_argument("--nlist", type=int)
    parser.add_argument("--m", type=int)
    parser.add_argument("--nbits", type=int, default=8, choices=range(1, 9), metavar="1..8")
    parser.add_argument("--nprobe", type=numbers, default="1,8,32,128")
    parser.add_argument("--graph-degree", type=int)
    parser.add_argument("--itopk-size", type=numbers, default="32,64,128,256,512")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    given, _ = parser.parse_known_args()
    if given.type != "f32":
        return print(f"skipped: the searches here are of 32-bit floats, not {given.type}")
    if given.metric not in ("L2", "IP", "COSINE"):
        parser.error(f"--metric {given.metric}: L2, IP or COSINE")

    if torch is None:
        sys.exit("peer.py: skipped, there is no PyTorch (pip install torch)")
    torch.backends.cuda.matmul.allow_tf32 = False
    name = torch.cuda.get_device_name() if given.device == "cuda" else "the processor"
    print(f"torch {torch.__version__}, {name}; rows and queries on the device, results left there")
    measure_exact(given)
    if given.nlist:
        measure_index(given, "inverted lists", lambda rows: Lists(rows, given.nlist, given.metric), given.nprobe)
    if given.nlist and given.m:
        of_codes = (given.nlist, given.m, given.nbits, given.metric)
        measure_index(given, "lists with codewords", lambda rows: Codes(rows, *of_codes), given.nprobe)
    if given.graph_degree:
        measure_index(given, "graph", lambda rows: Graph(rows, given.graph_degree, given.metric), given.itopk_size)


if __name__ == "__main__":
    main()
