"""hnswlib and Faiss on the files the `ann` example reads, with the same parameters and the same rules.

usage: python peers.py --base X.npy --queries Q.npy --gt GT.npy [--metric L2|IP|COSINE] [--k 10] [--m 16]
       [--ef-construction 200] [--ef 32 64 128] [--nlist 1024] [--nprobe 8 16 32 64] [--threads 0]
needs numpy, and hnswlib and faiss-cpu for their parts (a missing one is skipped)
"""
import argparse
import os
import time

import numpy as np


def measure(name, queries, truth, k, search):
    """Searches one query at a time on one thread; the best of three passes counts."""
    best, found = float("inf"), []
    for _ in range(3):
        start = time.perf_counter()
        found = [search(queries[i : i + 1]) for i in range(len(queries))]
        best = min(best, time.perf_counter() - start)
    hits = sum(len(set(row[0]) & set(want[:k])) for row, want in zip(found, truth))
    print(f"{name:<28} recall@{k} {hits / (k * len(queries)):.4f}  {len(queries) / best:.0f} queries/s", flush=True)


def run_hnswlib(options, base, queries, truth):
    import hnswlib

    index = hnswlib.Index(space={"L2": "l2", "IP": "ip", "COSINE": "cosine"}[options.metric], dim=base.shape[1])
    index.init_index(len(base), M=options.m, ef_construction=options.ef_construction)
    index.set_num_threads(options.threads)
    start = time.perf_counter()
    index.add_items(base)
    print(f"hnswlib build {time.perf_counter() - start:.2f} s")
    index.set_num_threads(1)
    for ef in options.ef:
        index.set_ef(ef)
        measure(f"hnswlib ef={ef}", queries, truth, options.k, lambda q: index.knn_query(q, options.k)[0])


def run_faiss(options, base, queries, truth):
    import faiss

    if options.metric == "COSINE":
        base, queries = base.copy(), queries.copy()
        faiss.normalize_L2(base)
        faiss.normalize_L2(queries)
    metric = faiss.METRIC_L2 if options.metric == "L2" else faiss.METRIC_INNER_PRODUCT
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlat(base.shape[1], metric)
    flat.add(base)
    measure("Faiss FLAT", queries[:200], truth, options.k, lambda q: flat.search(q, options.k)[1])
    quantizer = faiss.IndexFlat(base.shape[1], metric)
    lists = faiss.IndexIVFFlat(quantizer, base.shape[1], options.nlist, metric)
    faiss.omp_set_num_threads(options.threads)
    start = time.perf_counter()
    lists.train(base)
    lists.add(base)
    print(f"Faiss IVF_FLAT build {time.perf_counter() - start:.2f} s")
    faiss.omp_set_num_threads(1)
    for nprobe in options.nprobe:
        lists.nprobe = nprobe
        measure(f"Faiss IVF_FLAT nprobe={nprobe}", queries, truth, options.k, lambda q: lists.search(q, options.k)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--gt", required=True)
    parser.add_argument("--metric", default="L2", choices=["L2", "IP", "COSINE"])
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=200)
    parser.add_argument("--ef", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--nlist", type=int, default=1024)
    parser.add_argument("--nprobe", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--threads", type=int, default=0, help="of builds; 0: one per core")
    options = parser.parse_args()
    options.threads = options.threads or os.cpu_count()
    base, queries = np.load(options.base), np.load(options.queries)
    truth = np.load(options.gt)
    for run in (run_hnswlib, run_faiss):
        try:
            run(options, base, queries, truth)
        except ImportError as error:
            print(f"skipped: {error}")


if __name__ == "__main__":
    main()
