"""Runs the contenders, one process each, in turns.

Each of them answers the same requests, one JSON object per line, listed at the top of engine/index/examples/ann/main.rs.
While one works the others wait.
"""
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import families
import report
import sets

# A turn of single searches takes about this long at most.
LONGEST_TURN = 3.0


class Refused(Exception):
    """What a contender does not do, in its words."""


class Worker:
    """A process that answers lines with lines."""

    def __init__(self, name, command):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self.heard()

    def heard(self):
        line = self.process.stdout.readline()
        if not line:
            raise Refused(f"{self.name} ended with {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.heard()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def contender_of(name, command, data, threads):
    files = [str(data.base), str(data.queries), data.metric, str(threads)] + ([str(data.allowed)] if data.allowed else [])
    return Worker(name, [*command, *files])


def truth(command, data):
    print(f"{data.name}: exact neighbours", file=sys.stderr, flush=True)
    contender = contender_of("elanus", command, data, threads=0)
    contender.ask(do="truth", k=sets.DEPTH, to=str(data.truth))
    contender.close()


class Judge:
    """Recall by distance: of rows equally far any will do."""

    def __init__(self, data):
        self.data = data
        self.base, self.queries = np.load(data.base, mmap_mode="r"), np.load(data.queries)
        self.truth = sets.distances(data, self.base, self.queries, np.load(data.truth))

    def recall(self, rows, k):
        k = min(k, self.truth.shape[1])
        wanted = np.isfinite(self.truth[:, :k]).sum(axis=1)
        found = np.sort(rows[:, :k], axis=1)
        found[:, 1:][found[:, 1:] == found[:, :-1]] = -1
        reach = self.truth[np.arange(len(self.truth)), np.maximum(wanted - 1, 0)]
        distances = sets.distances(self.data, self.base, self.queries, found)
        near = distances <= (reach + 1e-5 * np.abs(reach))[:, None]
        return float((near & (found >= 0)).sum() / max(wanted.sum(), 1))


def measure(commands, data, index, given):
    """All contenders on one set and one type of index; one for each library and way to build it."""
    judge = Judge(data)
    rows, dim = judge.base.shape
    builds, steps = families.chosen(index, rows, dim, given.build, given.search)
    result = {
        "set": data.name, "metric": data.metric, "rows": rows, "dim": dim * (8 if given.type == "bit" else 1), "type": given.type,
        "bytes": judge.base.nbytes, "allow": given.allow, "index": index, "builds": builds, "k": given.k, "rounds": given.rounds,
        "threads": given.threads, "build_threads": given.build_threads, "contenders": {}, "left_out": {}, "ceilings": {},
    }
    running = []
    with tempfile.TemporaryDirectory(prefix="ann-") as folder:
        for name, command in commands.items():
            for build in builds:
                label = name if len(builds) == 1 else f"{name} {report.written(build)}"
                say = lambda text: print(f"{data.name} {index} {label}: {text}", file=sys.stderr, flush=True)
                contender = None
                try:
                    contender = contender_of(name, command, data, given.threads)
                    say("building")
                    built = contender.ask(do="build", index=index, params=build, threads=given.build_threads, seed=given.seed)
                    say(f"built in {built['seconds']:.1f} s, looking at recall")
                    settings = [first_look(contender, judge, params, given.k, Path(folder)) for params in steps]
                except Refused as refused:
                    say(f"left out: {refused}")
                    result["left_out"][label] = str(refused)
                    if contender:
                        contender.close()
                    continue
                running.append((contender, settings))
                about = {"library": name, "build": build, "about": contender.about, "built": built, "opened": opened(contender, index)}
                result["contenders"][label] = {**about, "settings": settings}
    ceilings = Ceilings(running, given) if index in ("FLAT", "BIN_FLAT") and given.allow is None and running else None
    for turn in range(given.rounds):
        print(f"{data.name} {index}: round {turn + 1} of {given.rounds}", file=sys.stderr, flush=True)
        if ceilings:
            ceilings.take_turn()
        # Every second round goes the other way, so that nobody always follows the same neighbour.
        for step in range(len(steps)):
            for contender, settings in running if turn % 2 == 0 else reversed(running):
                take_turn(contender, settings[step], given)
    if ceilings:
        ceilings.take_turn()
        result["ceilings"] = ceilings.close()
    for contender, settings in running:
        contender.close()
        for setting in settings:
            for name in ("qps", "batch_qps", "p50", "p99"):
                values = [value for value in setting[name] if value is not None]
                setting[f"all_{name}"], setting[name] = values, statistics.median(values) if values else None
    return result


def opened(contender, index):
    """What it takes ours to open its index as a file; nothing of others, and of one that lives in its file."""
    if contender.name != report.OURS or index == "DISKANN":
        return None
    try:
        return contender.ask(do="open")
    except Refused as refused:
        print(f"not opened: {refused}", file=sys.stderr, flush=True)
        return None


class Ceilings:
    """What the machine gives to a search that looks at every row: reading memory on one thread, and products of matrices on
    those of a batch. Taken before, between and after the rounds, as long as a turn of a contender takes."""

    def __init__(self, running, given):
        self.reader = next((contender for contender, _ in running if contender.name == report.OURS), None)
        self.multiplier = Worker("ceilings", [sys.executable, str(Path(__file__).parent / "ceilings.py"), str(given.threads)])
        self.seconds = given.seconds
        self.found = {"bytes_per_second": [], "flop_per_second": []}

    def take_turn(self):
        for worker, what in ((self.reader, "read"), (self.multiplier, "multiply")):
            try:
                answer = worker.ask(do=what, seconds=self.seconds) if worker else {}
            except Refused as refused:  # an older build of ours
                print(f"no ceiling: {refused}", file=sys.stderr, flush=True)
                continue
            for name, value in answer.items():
                self.found[name].append(value)

    def close(self):
        self.multiplier.close()
        return self.found


def first_look(contender, judge, params, k, folder):
    """Recall, and what a search does, from passes that are not timed."""
    target = folder / "found.npy"
    looked = contender.ask(do="search", params=params, k=k, to=str(target))
    found = np.load(target)
    recall = {"1": judge.recall(found, 1), str(k): judge.recall(found, k)}
    contender.ask(do="search", params=families.deep(params, sets.DEPTH), k=sets.DEPTH, to=str(target))
    recall[str(sets.DEPTH)] = judge.recall(np.load(target), sets.DEPTH)
    # As many single searches as fit into a turn, all of them where they do. A batch is always whole, since libraries change
    # their ways with its size, but for those that have none.
    pace = looked.pop("seconds") / len(found)
    queries = min(len(found), max(20, int(LONGEST_TURN / pace)))
    batch = len(found) if contender.about.get("batches", True) else queries
    return {"params": params, "recall": recall, **looked, "queries": queries, "batch": batch, "qps": [], "batch_qps": [], "p50": [], "p99": [], "work": [], "batch_work": []}


def take_turn(contender, setting, given):
    request = dict(do="time", params=setting["params"], k=given.k, seconds=given.seconds)
    one = contender.ask(**request, queries=setting["queries"], batch=False)
    for name in ("qps", "p50", "p99"):
        setting[name].append(one[name])
    batch = contender.ask(**request, queries=setting["batch"], batch=True)
    setting["batch_qps"].append(batch["qps"])
    for name, answer in (("work", one), ("batch_work", batch)):
        setting[name].append((answer.get("done"), answer.get("processor_seconds")))
