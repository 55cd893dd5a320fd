"""Vectors to measure with, and their exact nearest neighbours."""

from __future__ import annotations

import numpy as np

K = 10


def mixture(count: int, queries: int, dim: int, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """1,000 Gaussians of unequal weight and width in a 24-dimensional latent space, projected to `dim`, plus noise."""
    random = np.random.default_rng(seed)
    basis = random.standard_normal((24, dim)).astype(np.float32) / np.sqrt(24)
    centres = random.standard_normal((1000, 24)).astype(np.float32)
    weights = random.lognormal(0, 0.7, 1000)
    widths = (0.8 * random.lognormal(0, 0.25, 1000)).astype(np.float32)

    def draw(n: int) -> np.ndarray:
        which = random.choice(1000, n, p=weights / weights.sum())
        latent = centres[which] + widths[which][:, None] * random.standard_normal((n, 24)).astype(np.float32)
        return (latent @ basis + 0.1 * random.standard_normal((n, dim))).astype(np.float32)

    return draw(count), draw(queries)


def exact_neighbours(base: np.ndarray, queries: np.ndarray, metric: str, k: int = K) -> np.ndarray:
    """Rows of the `k` nearest of `base` for each query."""
    if metric == "COSINE":
        base = base / np.linalg.norm(base, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    try:
        import faiss
    except ImportError:
        found = np.empty((len(queries), k), np.int64)
        squares = (base**2).sum(1) if metric == "L2" else 0.0
        for start in range(0, len(queries), 64):
            product = queries[start : start + 64] @ base.T
            distance = squares - 2 * product if metric == "L2" else -product
            part = np.argpartition(distance, k - 1, 1)[:, :k]
            order = np.take_along_axis(distance, part, 1).argsort(1)
            found[start : start + 64] = np.take_along_axis(part, order, 1)
        return found
    index = faiss.IndexFlatL2(base.shape[1]) if metric == "L2" else faiss.IndexFlatIP(base.shape[1])
    index.add(np.ascontiguousarray(base))
    return index.search(np.ascontiguousarray(queries), k)[1]
