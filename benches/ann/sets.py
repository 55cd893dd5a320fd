"""The data sets, as .npy files of base and queries, with exact neighbours beside them.

small      20,000 x  64, L2      as syn128, for a quick look
syn128    200,000 x 128, L2      1,000 Gaussians of unequal weight and width in a 24-dimensional latent space, projected, plus noise
syn768    100,000 x 768, COSINE  the same recipe with wider Gaussians, of unit length
mnist784   60,000 x 784, L2      pixels of the MNIST digits
text384    50,000 x 384, COSINE  embeddings of sentences
"""
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DRAWN = {
    "small": dict(rows=20_000, dim=64, seed=9, clusters=100),
    "syn128": dict(rows=200_000, dim=128, seed=7),
    "syn768": dict(rows=100_000, dim=768, seed=8, spread=1.2),
}
REAL = {"mnist784": ("train", "test"), "text384": ("base", "test")}
COSINE = {"syn768", "text384"}
QUERIES = 1000
DEPTH = 100


@dataclass
class Data:
    name: str
    metric: str
    base: Path
    queries: Path
    allowed: Path | None
    truth: Path


def mixture(rows, dim, seed, latent=24, clusters=1000, spread=0.8, noise=0.1):
    random = np.random.default_rng(seed)
    basis = random.standard_normal((latent, dim)).astype(np.float32) / np.sqrt(latent)
    centre = random.standard_normal((clusters, latent)).astype(np.float32)
    weight = random.lognormal(0, 0.7, clusters)
    weight /= weight.sum()
    width = (spread * random.lognormal(0, 0.25, clusters)).astype(np.float32)

    def draw(count):
        chosen = random.choice(clusters, count, p=weight)
        inside = random.standard_normal((count, latent)).astype(np.float32)
        near = centre[chosen] + width[chosen][:, None] * inside
        return (near @ basis + noise * random.standard_normal((count, dim)).astype(np.float32)).astype(np.float32)

    return draw(rows), draw(QUERIES)


def hdf5(path):
    """ann-benchmarks' layout: `train`, `test`, and the distance as an attribute."""
    import h5py

    with h5py.File(path) as file:
        distance = {"euclidean": "L2", "angular": "COSINE", "ip": "IP", "dot": "IP", "hamming": "HAMMING", "jaccard": "JACCARD"}
        metric = distance.get(file.attrs.get("distance", "euclidean"))
        return file["train"][:], file["test"][:], metric


def fvecs(path):
    raw = np.fromfile(path, dtype=np.int32)
    if len(raw) == 0 or raw[0] <= 0 or len(raw) % (raw[0] + 1) != 0:
        sys.exit(f"{path}: not an .fvecs file")
    return raw.reshape(-1, raw[0] + 1)[:, 1:].copy().view(np.float32)


def array(path):
    return fvecs(path) if path.suffix == ".fvecs" else np.load(path)


def real(name, folder):
    if folder is None:
        sys.exit(f"{name} is read from a folder: --data FOLDER with {name}.npz (arrays {' and '.join(REAL[name])}) or {name}.hdf5 (ann-benchmarks' layout) in it")
    if (folder / f"{name}.npz").exists():
        arrays = np.load(folder / f"{name}.npz")
        return tuple(arrays[part] for part in REAL[name])
    if (folder / f"{name}.hdf5").exists():
        return hdf5(folder / f"{name}.hdf5")[:2]
    sys.exit(f"{folder} holds neither {name}.npz (arrays {' and '.join(REAL[name])}) nor {name}.hdf5 (ann-benchmarks' layout)")


def load(name, given):
    """Base, queries and metric of a set."""
    path = Path(name)
    if name in DRAWN:
        return *mixture(**DRAWN[name]), "COSINE" if name in COSINE else "L2"
    if name in REAL:
        return *real(name, given.data), "COSINE" if name in COSINE else "L2"
    if not path.exists():
        sys.exit(f"no set and no file {name}; sets are {', '.join([*DRAWN, *REAL])}")
    if path.suffix in (".hdf5", ".h5"):
        return hdf5(path)
    if given.queries is None:
        sys.exit(f"{name} needs its queries: --queries FILE")
    return array(path), array(given.queries), "L2"


def rounded(vectors, kind, mean, scale):
    """32-bit floats as numbers of another type: bits are set above the column's mean, integers reach `scale`."""
    match kind:
        case "float":
            return vectors
        case "half":
            return vectors.astype(np.float16)
        case "bfloat16":
            bits = np.ascontiguousarray(vectors).view(np.uint32)
            return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        case "int8":
            return np.clip(np.rint(vectors * (127 / scale)), -127, 127).astype(np.int8)
        case "bit":
            return np.packbits(vectors > mean, axis=1)


def prepare(name, given, make_truth):
    """Writes the files of a set, unless they are there; `make_truth` writes the exact neighbours."""
    stem = Path(name).stem if Path(name).suffix else name
    base, queries, metric = load(name, given)
    base, queries = base[: given.rows], queries[:QUERIES]
    metric = given.metric or ("HAMMING" if given.type == "bit" else metric)
    if base.dtype == bool or (base.dtype == np.uint8 and metric in ("HAMMING", "JACCARD")):
        base, queries = ((part if part.dtype == np.uint8 else np.packbits(part, axis=1)) for part in (base, queries))
    else:
        base, queries = base.astype(np.float32), queries.astype(np.float32)
        if name in COSINE:
            base = base / np.linalg.norm(base, axis=1, keepdims=True)
            queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        mean, scale = base.mean(axis=0), max(float(np.quantile(np.abs(base[:5000]), 0.999)), 1e-30)
        base, queries = (rounded(part, given.type, mean, scale) for part in (base, queries))
    base, queries = np.ascontiguousarray(base), np.ascontiguousarray(queries)
    # The checksum ties neighbours to the vectors that they were computed from.
    key = zlib.crc32(queries, zlib.crc32(base))
    stem = f"{stem}-{given.type}" if given.type != "float" else stem
    folder = given.cache / "data"
    folder.mkdir(parents=True, exist_ok=True)
    data = Data(stem, metric, *(folder / f"{stem}-{key:08x}-{part}.npy" for part in ("base", "queries")), None, Path())
    for path, rows in ((data.base, base), (data.queries, queries)):
        if not path.exists():
            np.save(path, rows)
    label = metric
    if given.allow is not None:
        data.allowed = folder / f"{stem}-{key:08x}-allowed-{given.allow:g}.npy"
        np.save(data.allowed, (np.random.default_rng(3).random((len(base), 1)) * 100 < given.allow).astype(np.uint8))
        data.name, label = f"{stem}-allow-{given.allow:g}", f"{metric}-{given.allow:g}"
    data.truth = folder / f"{stem}-{key:08x}-{label}-truth.npy"
    if not data.truth.exists():
        make_truth(data)
    return data


def distances(data, base, queries, rows):
    """Distance of every query to its `rows` (-1: none, infinitely far), computed in 64 bits."""
    out = np.full(rows.shape, np.inf)
    for index, (query, found) in enumerate(zip(queries, rows)):
        there = found >= 0
        near, query = base[found[there]], query
        if data.metric in ("HAMMING", "JACCARD"):
            differ = np.bitwise_count(near ^ query).sum(axis=1, dtype=float)
            either = np.bitwise_count(near | query).sum(axis=1, dtype=float)
            out[index, there] = differ if data.metric == "HAMMING" else np.where(either > 0, differ / np.maximum(either, 1), 1)
            continue
        near, query = (wide(part) for part in (near, query))
        if data.metric == "L2":
            out[index, there] = ((near - query) ** 2).sum(axis=1)
        else:
            norms = np.linalg.norm(near, axis=1) * np.linalg.norm(query) if data.metric == "COSINE" else 1
            out[index, there] = -(near @ query) / np.maximum(norms, 1e-300)
    return out


def wide(part):
    """Numbers as 64-bit floats; 16-bit integers are bfloat16s."""
    if part.dtype == np.uint16:
        part = (part.astype(np.uint32) << 16).view(np.float32)
    return part.astype(np.float64)
