"""Another library as a contender: `peers.py LIBRARY BASE.npy QUERIES.npy METRIC THREADS [ALLOWED.npy]`.

Answers the requests that engine/index/examples/ann/main.rs lists at its top (all but `truth`), with the same parameters
under the same names. An index, metric or type that a library does not have is an error in its answer, not a stop.
"""
import ctypes
import json
import os
import sys
import tempfile
import time

import numpy as np


class Refused(Exception):
    """What a library does not have."""


def floats(rows):
    """Numbers of any type as 32-bit floats; 16-bit integers are bfloat16s."""
    if rows.dtype == np.uint16:
        return (rows.astype(np.uint32) << 16).view(np.float32)
    return np.ascontiguousarray(rows, dtype=np.float32)


class Library:
    """What a library is asked for; `types` are those of its vectors, by the type of the numbers."""

    types = ("float32",)
    metrics = ("L2", "IP", "COSINE")
    indexes = ()
    # Names of the parameters that mean something to it, of builds and of searches.
    takes = ()
    filters = False
    # Whether many queries in one call are more than one after the other.
    batches = True

    def __init__(self, base, metric, threads, allowed):
        self.base, self.metric, self.threads, self.allowed = base, metric, threads, allowed
        name = type(self).__name__
        self.load()
        if base.dtype.name not in self.types:
            raise Refused(f"{name} has no vectors of {base.dtype.name}")
        if metric not in self.metrics or (base.dtype == np.uint8) != (metric in ("HAMMING", "JACCARD")):
            raise Refused(f"{name} has no {metric} of {base.dtype.name}")
        if allowed is not None and not self.filters:
            raise Refused(f"{name} has no filter that is a set of rows")

    def load(self):
        """Imports the library: neither its time nor its memory is that of an index."""

    def prepare(self, queries):
        return queries

    def set(self, params):
        """Takes search parameters over."""

    def work(self):
        """Distances that searches computed since the last call, if the library counts them."""
        return None


WALKED = ("M", "efConstruction", "ef")
LISTED = ("nlist", "nprobe", "m", "nbits", "refine", "refine_type", "refine_k")
REFINED = ("HNSW_SQ", "HNSW_PQ", "IVF_PQ", "IVF_RABITQ", "IVF_RABITQ_FASTSCAN", "SCANN")


class Faiss(Library):
    types = ("float32", "uint8")
    metrics = ("L2", "IP", "COSINE", "HAMMING")
    indexes = (
        "FLAT", "HNSW", "HNSW_SQ", "HNSW_PQ", "IVF_FLAT", "IVF_SQ8", "IVF_PQ", "IVF_RABITQ", "IVF_RABITQ_FASTSCAN", "SCANN",
        "BIN_FLAT", "BIN_IVF_FLAT",
    )
    takes = (*WALKED, *LISTED, "sq_type", "rbq_bits", "sub_dim", "reorder_k")
    filters = True

    def load(self):
        import faiss

        self.faiss = faiss

    def prepare(self, queries):
        if self.metric == "COSINE":
            queries = queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-30)
        return queries

    def build(self, index, params, threads):
        faiss, self.kind = self.faiss, index
        self.bits = self.base.dtype == np.uint8
        if self.allowed is not None and (self.bits or index not in ("FLAT", "HNSW", "IVF_FLAT")):
            raise Refused(f"Faiss has no filter in {index} of {self.base.dtype.name}")
        self.selector = self.allowed is not None and faiss.IDSelectorBatch(np.flatnonzero(self.allowed))
        faiss.omp_set_num_threads(threads)
        dim = self.base.shape[1] * (8 if self.bits else 1)
        kind = faiss.METRIC_L2 if self.metric == "L2" else faiss.METRIC_INNER_PRODUCT
        lists, size = f"IVF{params.get('nlist')}", int(params.get("m", 0))
        graph, scalar = f"HNSW{params.get('M')}", params.get("sq_type", "SQ8").upper()
        scalar = {"FP16": "SQfp16", "BF16": "SQbf16"}.get(scalar, scalar)
        bits, groups = params.get("rbq_bits", "1"), -(-dim // int(params.get("sub_dim", 2)))
        bits = "" if bits == "1" else bits
        if self.bits != (index in ("BIN_FLAT", "BIN_IVF_FLAT")) and not (self.bits and index == "HNSW"):
            raise Refused(f"Faiss has no {index} of {self.base.dtype.name}")
        if self.bits:
            made = {"BIN_FLAT": "BFlat", "HNSW": f"BHNSW{params.get('M')}", "BIN_IVF_FLAT": f"B{lists}"}
            self.index = faiss.index_binary_factory(dim, made[index])
        else:
            made = {
                "FLAT": "Flat", "HNSW": f"{graph},Flat", "HNSW_SQ": f"{graph},{scalar},RFlat",
                "HNSW_PQ": f"{graph},PQ{size}x{params.get('nbits')},RFlat", "IVF_FLAT": f"{lists},Flat", "IVF_SQ8": f"{lists},{scalar}",
                "IVF_PQ": f"{lists},PQ{size}x{params.get('nbits')},RFlat", "IVF_RABITQ": f"{lists},RaBitQ{bits},RFlat",
                "IVF_RABITQ_FASTSCAN": f"{lists},RaBitQfs{bits},RFlat",
                "SCANN": f"{lists},PQ{groups}x4fs,RFlat",
            }
            self.index = faiss.index_factory(dim, made[index], kind)
        if index.startswith("HNSW"):
            walked = faiss.downcast_index(self.index.base_index) if index in REFINED else self.index
            walked.hnsw.efConstruction = int(params["efConstruction"])
        base = self.prepare(self.base)
        self.index.train(base)
        self.index.add(base)

    def set(self, params):
        faiss, chosen = self.faiss, {"sel": self.selector} if self.selector else {}
        self.params = None
        if self.kind == "HNSW":
            self.index.hnsw.efSearch = int(params["ef"])
            self.params = None if self.bits else faiss.SearchParametersHNSW(efSearch=int(params["ef"]), **chosen)
        elif self.kind == "BIN_IVF_FLAT":
            self.index.nprobe = int(params["nprobe"])
        elif self.kind in ("FLAT", "BIN_FLAT"):
            self.params = faiss.SearchParameters(**chosen) if chosen else None
        elif self.kind.startswith("HNSW"):
            self.params = faiss.SearchParametersHNSW(efSearch=int(params["ef"]))
        else:
            self.params = faiss.SearchParametersIVF(nprobe=int(params["nprobe"]), **chosen)
        self.factor, self.reorder = float(params.get("refine_k", 1)), params.get("reorder_k")

    def search(self, queries, k):
        self.faiss.omp_set_num_threads(self.threads if len(queries) > 1 else 1)
        if self.kind in REFINED:
            factor = int(self.reorder) / k if self.reorder else self.factor
            params = self.faiss.IndexRefineSearchParameters(k_factor=max(factor, 1), base_index_params=self.params)
            return self.index.search(queries, k, params=params)[1]
        if self.params is None:
            return self.index.search(queries, k)[1]
        return self.index.search(queries, k, params=self.params)[1]

    def work(self):
        if self.kind.startswith("HNSW"):
            stats = self.faiss.cvar.hnsw_stats
        elif self.kind.startswith("IVF"):
            stats = self.faiss.cvar.indexIVF_stats
        else:
            return None
        done = stats.ndis
        stats.reset()
        return done


class Hnswlib(Library):
    indexes = ("HNSW",)
    takes = WALKED

    def load(self):
        import hnswlib

        self.hnswlib = hnswlib

    def build(self, index, params, threads):
        space = {"L2": "l2", "IP": "ip", "COSINE": "cosine"}[self.metric]
        self.index = self.hnswlib.Index(space=space, dim=self.base.shape[1])
        self.index.init_index(len(self.base), M=int(params["M"]), ef_construction=int(params["efConstruction"]))
        self.index.set_num_threads(threads)
        self.index.add_items(self.base)

    def set(self, params):
        self.index.set_ef(int(params["ef"]))

    def search(self, queries, k):
        return self.index.knn_query(queries, k, num_threads=self.threads if len(queries) > 1 else 1)[0]


class Usearch(Library):
    types = ("float32", "float16", "uint16", "int8", "uint8")
    metrics = ("L2", "IP", "COSINE", "HAMMING", "JACCARD")
    indexes = ("HNSW",)
    takes = WALKED
    counted = 0

    def load(self):
        from usearch.index import Index

        self.Index = Index

    def prepare(self, queries):
        return floats(queries) if queries.dtype == np.uint16 else queries

    def build(self, index, params, threads):
        metric = {"L2": "l2sq", "IP": "ip", "COSINE": "cos", "HAMMING": "hamming", "JACCARD": "tanimoto"}[self.metric]
        kind = {"float32": "f32", "float16": "f16", "uint16": "bf16", "int8": "i8", "uint8": "b1"}[self.base.dtype.name]
        self.index = self.Index(
            ndim=self.base.shape[1] * (8 if kind == "b1" else 1), metric=metric, dtype=kind,
            connectivity=int(params["M"]), expansion_add=int(params["efConstruction"]),
        )
        self.index.add(np.arange(len(self.base)), self.prepare(self.base), threads=threads)

    def set(self, params):
        self.index.expansion_search = int(params["ef"])

    def search(self, queries, k):
        found = self.index.search(queries, k, threads=self.threads if len(queries) > 1 else 1)
        self.counted += found.computed_distances
        keys = found.keys.astype(np.int64).reshape(len(queries), -1)
        for row, count in enumerate(getattr(found, "counts", [])):
            keys[row, count:] = -1
        return keys

    def work(self):
        done, self.counted = self.counted, 0
        return done


class Lancedb(Library):
    indexes = ("FLAT", "HNSW_SQ", "IVF_FLAT", "IVF_PQ")
    takes = (*WALKED, *LISTED, "sq_type")
    batches = False

    def load(self):
        os.environ["LANCE_CPU_THREADS"] = str(self.threads)
        import lancedb
        import lancedb.index
        import pyarrow

        self.lancedb, self.pyarrow = lancedb, pyarrow

    def build(self, index, params, threads):
        pa, kinds = self.pyarrow, self.lancedb.index
        if params.get("sq_type", "SQ8") != "SQ8":
            raise Refused(f"Lancedb has no sq_type {params['sq_type']}")
        self.folder = tempfile.TemporaryDirectory(prefix="lancedb-")
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(self.base.reshape(-1)), self.base.shape[1])
        rows = pa.table({"id": pa.array(np.arange(len(self.base), dtype=np.int64)), "vector": vectors})
        self.table = self.lancedb.connect(self.folder.name).create_table("rows", rows)
        self.name = {"L2": "l2", "IP": "dot", "COSINE": "cosine"}[self.metric]
        made = {
            "IVF_FLAT": (kinds.IvfFlat, dict(num_partitions=params.get("nlist"))),
            "IVF_PQ": (kinds.IvfPq, dict(num_partitions=params.get("nlist"), num_sub_vectors=params.get("m"), num_bits=params.get("nbits", 8))),
            "HNSW_SQ": (kinds.HnswSq, dict(num_partitions=1, m=params.get("M"), ef_construction=params.get("efConstruction"))),
        }
        if index in made:
            kind, numbers = made[index]
            config = kind(distance_type=self.name, **{name: int(value) for name, value in numbers.items()})
            self.table.create_index("vector", config=config)

    def set(self, params):
        self.params = {name: int(value) for name, value in params.items()}

    def search(self, queries, k):
        out = np.full((len(queries), k), -1, dtype=np.int64)
        for row, query in enumerate(queries):
            step = self.table.search(query).distance_type(self.name).limit(k).select(["id", "_distance"])
            if "ef" in self.params:
                step = step.nprobes(1).ef(self.params["ef"])
            if "nprobe" in self.params:
                step = step.nprobes(self.params["nprobe"])
            if "refine_k" in self.params:
                step = step.refine_factor(self.params["refine_k"])
            found = step.to_arrow()["id"].to_numpy()
            out[row, : len(found)] = found
        return out


def memory():
    """Resident bytes and their peak, after the allocator gave back what it does not use."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    return tuple(int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))


class Worker:
    def __init__(self, library, queries):
        self.library, self.queries, self.built = library, library.prepare(queries), False

    def answer(self, request):
        if request["do"] == "build":
            return self.build(request)
        self.check(request["params"])
        if not self.built:
            raise Refused("search before build")
        self.library.set(request["params"])
        return {"search": self.search, "time": self.time}[request["do"]](request)

    def check(self, params):
        for name in params:
            if name not in self.library.takes:
                raise Refused(f"{type(self.library).__name__} has no {name}")

    def build(self, request):
        if request["index"] not in self.library.indexes:
            raise Refused(f"{type(self.library).__name__} has no {request['index']}")
        self.check(request["params"])
        with open("/proc/self/clear_refs", "w") as peak:
            peak.write("5")
        before, _ = memory()
        start = time.perf_counter()
        self.library.build(request["index"], request["params"], request["threads"])
        seconds = time.perf_counter() - start
        after, peak = memory()
        self.built = True
        # The libraries copy the vectors, so what they hold is what the process grew by.
        return {"seconds": seconds, "held_bytes": max(after - before, 0), "peak_growth": max(peak - before, 0)}

    def search(self, request):
        self.library.work()
        start = time.perf_counter()
        found = [self.library.search(self.queries[row : row + 1], request["k"]) for row in range(len(self.queries))]
        seconds, work = time.perf_counter() - start, self.library.work()
        out = np.full((len(found), request["k"]), -1, dtype=np.int32)
        for row, rows in enumerate(found):
            out[row, : rows.shape[1]] = rows[0]
        np.save(request["to"], out)
        return {"seconds": seconds, "distances": work / len(found) if work is not None else None}

    def time(self, request):
        count, k = request["queries"], request["k"]
        latencies, done, worked, start = [], 0, time.process_time(), time.perf_counter()
        while done == 0 or time.perf_counter() - start < request["seconds"]:
            if request["batch"]:
                self.library.search(self.queries[:count], k)
            else:
                for row in range(count):
                    before = time.perf_counter()
                    self.library.search(self.queries[row : row + 1], k)
                    latencies.append(time.perf_counter() - before)
            done += count
        seconds, worked = time.perf_counter() - start, time.process_time() - worked
        part = lambda part: float(np.quantile(latencies, part) * 1e6) if latencies else None
        return {"qps": done / seconds, "p50": part(0.5), "p99": part(0.99), "done": done, "processor_seconds": worked}


def main():
    name, base, queries, metric, threads, *allowed = sys.argv[1:]
    # What a library prints itself must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    say = lambda answer: print(json.dumps(answer), file=answers, flush=True)
    try:
        library = {"faiss": Faiss, "hnswlib": Hnswlib, "usearch": Usearch, "lancedb": Lancedb}[name]
        allowed = np.load(allowed[0]).reshape(-1) if allowed else None
        worker = Worker(library(np.load(base), metric, int(threads), allowed), np.load(queries))
        say({"library": name, "batches": worker.library.batches})
    except Refused as refused:
        say({"error": str(refused)})
        return
    for line in sys.stdin:
        try:
            say(worker.answer(json.loads(line)))
        except Exception as error:  # a library's own error is an answer as well
            say({"error": f"{type(error).__name__}: {error}" if not isinstance(error, Refused) else str(error)})


if __name__ == "__main__":
    main()
