"""What multiplying matrices takes: `ceilings.py THREADS`, a process that answers as the contenders do.

| `do` | takes | answers |
|---|---|---|
| `multiply` | `seconds` | flop for each second of the processors of numpy's products of two square matrices of 32-bit floats, as many as fit, on THREADS |
"""
import json
import os
import sys
import time

# BLAS reads them when numpy is loaded.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = sys.argv[1]

import numpy as np

SIDE = 1536


def multiply(seconds):
    random = np.random.default_rng(1)
    left, right = (random.standard_normal((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    product = np.empty_like(left)
    # Of all threads together, and without what others take of the processors.
    products, worked, start = 0, time.process_time(), time.perf_counter()
    while products == 0 or time.perf_counter() - start < seconds:
        np.matmul(left, right, out=product)
        products += 1
    return {"flop_per_second": products * 2 * SIDE**3 / (time.process_time() - worked)}


def main():
    print(json.dumps({"numpy": np.__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(multiply(request["seconds"])), flush=True)


if __name__ == "__main__":
    main()
