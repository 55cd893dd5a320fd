"""What is swept by default, in the names that Milvus has for it; every contender translates to its own."""
import sys

WALK = [{"ef": ef} for ef in (10, 16, 24, 32, 48, 64, 96, 128, 192, 256)]
# Codes of a sixteenth of the vectors' bytes and kept blocks of a hundredth: all in all less than a tenth.
ON_DISK = {"max_degree": 48, "search_list_size": 128, "pq_code_budget_gb_ratio": 0.0625, "search_cache_budget_gb_ratio": 0.01}
BEAM = [{"search_list": length, "beamwidth": 8} for length in (10, 16, 24, 32, 48, 64, 96, 128)]
PROBE = [{"nprobe": count} for count in (4, 8, 16, 32, 64, 128)]


def sweep(index, rows, dim):
    """Build parameters, and search parameters from fast to thorough. About four lists for every root of the rows."""
    nlist = 1 << max(4, (4 * int(rows**0.5)).bit_length() - 1)
    refined = [{**step, "refine_k": 4} for step in PROBE]
    divisor = lambda most: next(size for size in range(max(most, 1), 0, -1) if dim % size == 0)
    # A byte for four dimensions, or for HNSW_PRQ, whose groups have two codewords each, for eight.
    quarter, eighth = divisor(dim // 4), divisor(dim // 8)
    graph = {"M": 16, "efConstruction": 200}
    refine = {"refine": "true", "refine_type": "flat"}
    rabitq = ({"nlist": nlist, **refine}, [{**step, "refine_k": factor} for factor in (10, 40) for step in PROBE])
    sweeps = {
        "FLAT": ({}, [{}]),
        "BIN_FLAT": ({}, [{}]),
        "HNSW": (graph, WALK),
        "HNSW_SQ": ({**graph, "sq_type": "SQ8", "refine": "true", "refine_type": "FP32"}, WALK),
        "HNSW_PQ": ({**graph, "m": quarter, "nbits": 8, **refine}, [{**step, "refine_k": 4} for step in WALK]),
        "HNSW_PRQ": ({**graph, "m": eighth, "nrq": 2, "nbits": 8, **refine}, [{**step, "refine_k": 4} for step in WALK]),
        "IVF_FLAT": ({"nlist": nlist}, PROBE),
        "BIN_IVF_FLAT": ({"nlist": nlist}, PROBE),
        "IVF_SQ8": ({"nlist": nlist}, PROBE),
        "IVF_PQ": ({"nlist": nlist, "m": quarter, "nbits": 8, **refine}, refined),
        "IVF_RABITQ": rabitq,
        "IVF_RABITQ_FASTSCAN": rabitq,
        "DISKANN": (ON_DISK, BEAM),
        "SCANN": ({"nlist": nlist}, [{**step, "reorder_k": 100} for step in PROBE]),
    }
    if index not in sweeps:
        print(f"{index} has no sweep, one setting is measured: --build and --search say others", file=sys.stderr, flush=True)
    return sweeps.get(index, ({}, [{}]))


def chosen(index, rows, dim, builds, search):
    """The builds and the sweep of an index, with what the command line says instead: `M=8,efConstruction=60` for each build,
    and `ef=10,20`."""
    default_build, default_search = sweep(index, rows, dim)
    chosen_builds = [dict(pair.split("=", 1) for pair in build.split(",") if pair) for build in builds] or [default_build]
    if search:
        names = [pair.split("=", 1)[0] for pair in search]
        values = [pair.split("=", 1)[1].split(",") for pair in search]
        longest = max(map(len, values))
        spread = [each * longest if len(each) == 1 else each for each in values]
        default_search = [dict(zip(names, step)) for step in zip(*spread)]
    return chosen_builds, default_search


def deep(params, k):
    """The same search for `k` results: a candidate list reaches them."""
    grown = dict(params)
    for name in ("ef", "reorder_k", "search_list"):
        if name in grown:
            grown[name] = max(int(grown[name]), k)
    return grown
