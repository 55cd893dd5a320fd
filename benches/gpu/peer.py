#!/usr/bin/env python3
"""The search of gpu-bench in PyTorch: a matrix product, norms, and topk, over tiles of rows, in 32-bit floats.

Takes the arguments of gpu-bench and ignores those that mean nothing here. Prints its table.
"""

import argparse
import time

import torch

TILE_BYTES = 4 << 30


def search(rows, squares, queries, k, metric):
    """Distances and numbers of the k nearest rows of each query."""
    tile = max(k, TILE_BYTES // (4 * len(queries)))
    best = None
    for first in range(0, len(rows), tile):
        part = rows[first : first + tile]
        products = queries @ part.T
        if metric == "L2":
            products.mul_(-2).add_(squares[first : first + tile])
        elif metric == "IP":
            products.neg_()
        else:
            products.mul_(-torch.rsqrt(squares[first : first + tile]))
        found = torch.topk(products, min(k, len(part)), dim=1, largest=False)
        numbers = found.indices + first
        if best is None:
            best = found.values, numbers
        else:
            values = torch.cat([best[0], found.values], 1)
            merged = torch.topk(values, min(k, values.shape[1]), dim=1, largest=False)
            best = merged.values, torch.cat([best[1], numbers], 1).gather(1, merged.indices)
    return best


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--metric", default="L2")
    parser.add_argument("--queries", default="1,10,100,1000,10000")
    parser.add_argument("--seconds", type=float, default=2.0)
    given, _ = parser.parse_known_args()

    torch.backends.cuda.matmul.allow_tf32 = False
    rows = torch.randn(given.rows, given.dim, device="cuda")
    squares = (rows * rows).sum(1)
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}; rows and queries on the device, results left there")
    print(f"{'queries':>7} {'ms':>10} {'queries/s':>12} {'TFLOP/s':>9}")
    for count in map(int, given.queries.split(",")):
        queries = torch.randn(count, given.dim, device="cuda")
        search(rows, squares, queries, given.k, given.metric)
        times = []
        started = time.perf_counter()
        while len(times) < 3 or time.perf_counter() - started < given.seconds:
            torch.cuda.synchronize()
            one = time.perf_counter()
            search(rows, squares, queries, given.k, given.metric)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - one)
        median = sorted(times)[len(times) // 2]
        operations = 2 * given.rows * given.dim * count / median
        print(f"{count:>7} {1e3 * median:>10.3f} {count / median:>12.1f} {operations / 1e12:>9.3f}", flush=True)


if __name__ == "__main__":
    main()
