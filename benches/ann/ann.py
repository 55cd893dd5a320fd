"""Recall and speed of the indexes, next to those of other libraries on the same vectors, in turns in one run.

  python3 benches/ann/ann.py                                              20,000 x 64 drawn on the spot, HNSW, IVF_FLAT, FLAT
  python3 benches/ann/ann.py --set syn128 --index HNSW --peers faiss hnswlib usearch
  python3 benches/ann/ann.py --set syn128 --index HNSW --build M=8,efConstruction=100 --build M=32,efConstruction=400
  python3 benches/ann/ann.py --set mnist784 --data FOLDER                 FOLDER holds mnist784.npz or mnist784.hdf5
  python3 benches/ann/ann.py --set glove-100-angular.hdf5 --index HNSW --search ef=32,64,128,256,512
  python3 benches/ann/ann.py --set base.npy --queries queries.npy --metric COSINE
  python3 benches/ann/ann.py --set syn128 --index HNSW --peers --before OLD_BINARY     two builds of this project

Sets: small, syn128, syn768 (drawn), mnist784, text384 (real, read from --data), or a file: ann-benchmarks' .hdf5, or
.npy or .fvecs of the base with --queries beside it. --help lists all options.

Needs Rust, Python 3.11 with venv, Linux, and for the peers a package index. Packages, converted data, exact neighbours
and results go to --cache. Progress goes to the standard error.
"""
import argparse
import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGES = {"faiss": "faiss-cpu==1.15.1", "hnswlib": "hnswlib==0.8.0", "usearch": "usearch==2.26.6", "lancedb": "lancedb==0.40.0"}
BASICS = ["numpy==2.4.6", "h5py==3.16.0"]
TYPES = ["float", "half", "bfloat16", "int8", "bit"]


def say(text):
    print(text, file=sys.stderr, flush=True)


def options():
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "elanus-ann"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_argument_group("what is measured")
    what.add_argument("--set", nargs="+", default=["small"], metavar="NAME|FILE", help="data sets (default: small)")
    what.add_argument("--data", type=Path, metavar="FOLDER", help="where mnist784 and text384 are read from")
    what.add_argument("--queries", type=Path, metavar="FILE", help="the queries of a base in a .npy or .fvecs file")
    what.add_argument("--metric", choices=["L2", "IP", "COSINE", "HAMMING", "JACCARD"], help="default: that of the set")
    what.add_argument("--type", choices=TYPES, default="float", help="what the numbers are rounded to; bit: the side of each column's mean")
    what.add_argument("--rows", type=int, help="use only the first so many rows")
    what.add_argument("--allow", type=float, metavar="PERCENT", help="a random filter lets this part of the rows through")
    what.add_argument("--index", nargs="+", default=["HNSW", "IVF_FLAT", "FLAT"], metavar="TYPE", help="default: HNSW IVF_FLAT FLAT; each has a sweep of its own")
    what.add_argument("--build", action="append", default=[], metavar="NAME=VALUE,..", help="build parameters instead of the default ones, for one --index; several times for contenders that are built in several ways")
    what.add_argument("--search", nargs="+", metavar="NAME=VALUE,VALUE,..", help="search parameters to sweep instead, for one --index")
    against = parser.add_argument_group("against what")
    against.add_argument("--peers", nargs="*", choices=list(PACKAGES), default=list(PACKAGES), help="default: all of them; none: only ours")
    against.add_argument("--ours", type=Path, metavar="BINARY", help="the ann example (default: built by cargo)")
    against.add_argument("--before", type=Path, metavar="BINARY", help="the ann example of another build, measured as well")
    how = parser.add_argument_group("how")
    how.add_argument("--k", type=int, default=10, help="neighbours of a timed search (default: 10)")
    how.add_argument("--rounds", type=int, default=5, help="turns of every contender and setting; medians count (default: 5)")
    how.add_argument("--seconds", type=float, default=0.5, help="least length of a turn (default: 0.5)")
    how.add_argument("--threads", type=int, default=1, help="of a batch of queries (default: 1)")
    how.add_argument("--build-threads", type=int, default=os.cpu_count(), help="default: one per core")
    how.add_argument("--seed", type=int, default=1)
    how.add_argument("--out", type=Path, metavar="FOLDER", help="for ann.json and the plots (default: results in --cache)")
    how.add_argument("--cache", type=Path, default=cache, help=f"default: {cache}")
    given = parser.parse_args()
    if (given.build or given.search) and len(given.index) > 1:
        parser.error("--build and --search are for one --index")
    return given


def environment(cache, peers):
    """Goes on in a virtual environment with what is needed; returns the peers that could be installed."""
    home = cache / "venv"
    python = home / "bin" / "python"
    if not python.exists():
        say(f"making {home}")
        venv.create(home, with_pip=True)
    if Path(sys.prefix).resolve() != home.resolve():
        os.execv(python, [str(python), *sys.argv])
    ready = []
    for name, packages in [("", BASICS)] + [(peer, [PACKAGES[peer]]) for peer in peers]:
        mark = home / "-".join(["ready", *packages])
        if not mark.exists():
            say(f"installing {' '.join(packages)}")
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
            if subprocess.run(pip, stdout=sys.stderr).returncode != 0:
                if not name:
                    sys.exit("numpy and h5py are needed")
                say(f"{name} is left out: {packages[0]} cannot be installed")
                continue
            mark.touch()
        ready += [name] if name else []
    return ready


def our_binary():
    """Builds the `ann` example and says where it is."""
    say("cargo build --release --example ann")
    command = ["cargo", "build", "--release", "--locked", "--package", "elanus-index", "--example", "ann", "--message-format", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit("the build failed")
    built = [json.loads(line) for line in done.stdout.splitlines()]
    return next(item["executable"] for item in reversed(built) if item.get("target", {}).get("name") == "ann" and item.get("executable"))


def main():
    given = options()
    given.cache.mkdir(parents=True, exist_ok=True)
    peers = environment(given.cache, given.peers)
    # These need numpy, which is there from here on.
    import contenders
    import report
    import sets

    commands = {"elanus": [str(given.ours or our_binary())]}
    if given.before:
        commands["before"] = [str(given.before)]
    for peer in peers:
        commands[peer] = [sys.executable, str(HERE / "peers.py"), peer]
    out = given.out or given.cache / "results" / time.strftime("%Y%m%d-%H%M%S")
    out.mkdir(parents=True, exist_ok=True)
    results = []
    for name in given.set:
        data = sets.prepare(name, given, lambda data: contenders.truth(commands["elanus"], data))
        for index in given.index:
            found = contenders.measure(commands, data, index, given)
            report.show(found, given.k)
            report.plot(found, out / f"{data.name}-{index}.svg")
            results.append(found)
            (out / "ann.json").write_text(json.dumps(results, indent=1))
    say(f"written: {out}/ann.json and {len(results)} plots")


if __name__ == "__main__":
    main()
