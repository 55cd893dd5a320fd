"""What is swept by default, in the names that Milvus has for it; every contender translates to its own."""

WALK = [{"ef": ef} for ef in (10, 16, 24, 32, 48, 64, 96, 128, 192, 256)]
# Codes of a sixteenth of the vectors' bytes and kept blocks of a hundredth: all in all less than a tenth.
ON_DISK = {"max_degree": 48, "search_list_size": 128, "pq_code_budget_gb_ratio": 0.0625, "search_cache_budget_gb_ratio": 0.01}
BEAM = [{"search_list": length, "beamwidth": 8} for length in (10, 16, 24, 32, 48, 64, 96, 128)]
PROBE = [{"nprobe": count} for count in (4, 8, 16, 32, 64, 128)]


def sweep(index, rows, dim):
    """Build parameters, and search parameters from fast to thorough. About four lists for every root of the rows."""
    nlist = 1 << max(4, (4 * int(rows**0.5)).bit_length() - 1)
    refined = [{**step, "refine_k": 4} for step in PROBE]
    quarter = next(size for size in range(max(dim // 4, 1), 0, -1) if dim % size == 0)
    sweeps = {
        "FLAT": ({}, [{}]),
        "BIN_FLAT": ({}, [{}]),
        "HNSW": ({"M": 16, "efConstruction": 200}, WALK),
        "HNSW_SQ": ({"M": 16, "efConstruction": 200, "sq_type": "SQ8", "refine": "true", "refine_type": "FP32"}, WALK),
        "IVF_FLAT": ({"nlist": nlist}, PROBE),
        "BIN_IVF_FLAT": ({"nlist": nlist}, PROBE),
        "IVF_SQ8": ({"nlist": nlist}, PROBE),
        "IVF_PQ": ({"nlist": nlist, "m": quarter, "nbits": 8, "refine": "true", "refine_type": "flat"}, refined),
        "IVF_RABITQ": ({"nlist": nlist, "refine": "true", "refine_type": "flat"}, [{**step, "refine_k": 10} for step in PROBE]),
        "DISKANN": (ON_DISK, BEAM),
        "SCANN": ({"nlist": nlist}, [{**step, "reorder_k": 100} for step in PROBE]),
    }
    return sweeps.get(index, ({}, [{}]))


def chosen(index, rows, dim, build, search):
    """The sweep of an index, with what the command line says instead: `M=8,efConstruction=60` and `ef=10,20`."""
    default_build, default_search = sweep(index, rows, dim)
    if build:
        default_build = dict(pair.split("=", 1) for pair in build.split(","))
    if search:
        names = [pair.split("=", 1)[0] for pair in search]
        values = [pair.split("=", 1)[1].split(",") for pair in search]
        longest = max(map(len, values))
        spread = [each * longest if len(each) == 1 else each for each in values]
        default_search = [dict(zip(names, step)) for step in zip(*spread)]
    return default_build, default_search


def deep(params, k):
    """The same search for `k` results: a candidate list reaches them."""
    grown = dict(params)
    for name in ("ef", "reorder_k", "search_list"):
        if name in grown:
            grown[name] = max(int(grown[name]), k)
    return grown
