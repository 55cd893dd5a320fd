"""Function chains: scores, order and number of hits computed step by step, compared with the steps by hand."""

import math

import pytest
from pymilvus import DataType, Function, FunctionChain, FunctionChainStage, FunctionType, MilvusException
from pymilvus.function_chain import FunctionChainExpr, FunctionChainOp, col, fn

ROWS = [{"id": i, "v": [i / 10 + i * i / 997, 0.0], "n": None if i % 7 == 3 else (i * 13) % 20, "name": "abc"[i % 3]} for i in range(30)]


@pytest.fixture(params=["L2", "IP"])
def metric(request, client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("n", DataType.INT16, nullable=True)
    schema.add_field("name", DataType.VARCHAR, max_length=5)
    indexes = client.prepare_index_params()
    indexes.add_index("v", index_type="FLAT", metric_type=request.param)
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")
    client.insert(name, ROWS)
    return request.param


def found(metric, limit):
    """The nearest rows to (1, 0) with their scores, best first."""
    scored = [(row, (row["v"][0] - 1) ** 2 if metric == "L2" else row["v"][0]) for row in ROWS]
    scored.sort(key=lambda pair: (pair[1] if metric == "L2" else -pair[1], pair[0]["id"]))
    return scored[:limit]


def search(client, name, chain, limit=20, **given):
    hits = client.search(name, [[1.0, 0.0]], anns_field="v", limit=limit, function_chains=chain, **given)[0]
    return [(hit["id"], hit["distance"]) for hit in hits]


def close(pairs):
    return [(key, pytest.approx(score, rel=1e-5, abs=1e-6)) for key, score in pairs]


def test_steps_map_sort_and_limit(client, name, metric):
    chain = (
        FunctionChain(FunctionChainStage.L2_RERANK, name="fresh")
        .map("fresh", fn.decay(col("n"), function="exp", origin=4, scale=5, offset=1, decay=0.4))
        .map("$score", fn.num_combine(col("$score"), col("fresh"), col("n"), mode="weighted", weights=[0.5, 2.0, 0.1]))
        .map("$score", fn.round_decimal(col("$score"), decimal=3))
        .sort(col("$score"), desc=True, tie_break_col=col("$id"))
        .limit(8, offset=2)
    )
    expected = []
    for row, score in found(metric, 20):
        if row["n"] is not None:
            fresh = math.exp(max(0, abs(row["n"] - 4) - 1) * math.log(0.4) / 5)
            expected.append((row["id"], round(0.5 * score + 2.0 * fresh + 0.1 * row["n"], 3)))
    expected.sort(key=lambda pair: (-pair[1], pair[0]))
    assert search(client, name, chain) == close(expected[2:10])
    # What a step writes or reads is not returned unless it is asked for.
    hits = client.search(name, [[1.0, 0.0]], anns_field="v", limit=20, function_chains=chain, output_fields=["name"])[0]
    assert all(set(hit["entity"]) == {"name"} for hit in hits)


def test_without_a_sort_hits_stay_in_their_order_and_null_is_zero(client, name, metric):
    chain = FunctionChain(FunctionChainStage.L2_RERANK).map("$score", fn.num_combine(col("n"), col("$score"), mode="sum"))
    expected = [(row["id"], 0.0 if row["n"] is None else row["n"] + score) for row, score in found(metric, 20)]
    assert search(client, name, chain) == close(expected)
    assert search(client, name, chain, limit=5, offset=3) == close(expected[3:8])


def test_any_column_sorts_and_null_comes_last(client, name, metric):
    rows = found(metric, 20)
    by_name = FunctionChain(FunctionChainStage.L2_RERANK).sort("name", desc=False)
    assert [key for key, _ in search(client, name, by_name)] == [row["id"] for row, _ in sorted(rows, key=lambda p: p[0]["name"])]
    for descending in (True, False):
        chain = FunctionChain(FunctionChainStage.L2_RERANK).sort("n", desc=descending, tie_break_col="$id")
        order = sorted(
            rows, key=lambda p: (p[0]["n"] is None, (-1 if descending else 1) * (p[0]["n"] or 0), p[0]["id"])
        )
        assert [key for key, _ in search(client, name, chain)] == [row["id"] for row, _ in order]


def test_stages_run_one_after_the_other(client, name, metric):
    first = FunctionChain(FunctionChainStage.L0_RERANK).map("x", fn.num_combine(col("n"), col("n"), mode="sum"))
    first = first.map("$score", fn.num_combine(col("$score"), col("x"), mode="sum"))
    second = FunctionChain(FunctionChainStage.L1_RERANK).sort("name", desc=True, tie_break_col="$id").limit(12)
    third = FunctionChain(FunctionChainStage.L2_RERANK).sort("$score", desc=True).limit(7)
    # The first stage leaves the hits best first, by what the metric calls better; an unknown score is 0.
    rows = [(row, 0.0 if row["n"] is None else score + 2 * row["n"]) for row, score in found(metric, 20)]
    rows.sort(key=lambda pair: (pair[1] if metric == "L2" else -pair[1], pair[0]["id"]))
    assert search(client, name, first) == close([(row["id"], score) for row, score in rows])
    rows.sort(key=lambda pair: (-ord(pair[0]["name"]), pair[0]["id"]))
    assert search(client, name, [second, first]) == close([(row["id"], score) for row, score in rows[:12]])
    rows = sorted(rows[:12], key=lambda pair: -pair[1])[:7]
    # In the order of the stages, whatever the order of the request.
    assert search(client, name, [third, first, second]) == close([(row["id"], score) for row, score in rows])


@pytest.mark.parametrize("policy, of_null", [("as_zero", lambda s: s), ("skip", lambda s: s), ("propagate", lambda s: 0.0)])
def test_null_policies(client, name, metric, policy, of_null):
    combine = FunctionChainExpr("num_combine", (col("$score"), col("n")), {"mode": "sum", "null_policy": policy})
    chain = FunctionChain(FunctionChainStage.L2_RERANK).map("$score", combine)
    expected = [(row["id"], of_null(score) if row["n"] is None else row["n"] + score) for row, score in found(metric, 20)]
    assert search(client, name, chain) == close(expected)


def chain_of(op, **parts):
    chain = FunctionChain(FunctionChainStage.L2_RERANK)
    chain._ops.append(FunctionChainOp(op, **parts))
    return chain


L2 = FunctionChainStage.L2_RERANK
TOTAL = fn.num_combine(col("$score"), col("n"))


@pytest.mark.parametrize(
    "chain, error",
    [
        (FunctionChain(FunctionChainStage.POST_PROCESS).map("$score", TOTAL), "not supported: function chain stage PostProcess"),
        (FunctionChain(FunctionChainStage.L0_RERANK).sort("n"), "sort in a chain of stage L0_RERANK; allowed is map"),
        (FunctionChain(FunctionChainStage.L0_RERANK).limit(3), "limit in a chain of stage L0_RERANK; allowed is map"),
        ([FunctionChain(L2), FunctionChain(L2)], "stage L2Rerank has two chains"),
        # What one stage writes is not there in the next.
        ([FunctionChain(FunctionChainStage.L1_RERANK).map("x", TOTAL), FunctionChain(L2).sort("x")], "input 'x' not found"),
        (FunctionChain(L2).map("$id", TOTAL), 'system output "\\$id" is not writable'),
        (FunctionChain(L2).map("$tmp", TOTAL), 'system output "\\$tmp" is not writable'),
        (FunctionChain(L2).sort("$seg_offset"), 'system input "\\$seg_offset" is not readable'),
        (FunctionChain(L2).sort("nothing"), "function chain input 'nothing' not found"),
        (FunctionChain(L2).sort("v"), "function chain input 'v' is FloatVector"),
        (FunctionChain(L2).map("x", fn.num_combine(col("name"), col("n"))), "'name' is VarChar, it must be a number"),
        (FunctionChain(L2).map("x", fn.decay(col("n"), function="exp", origin=0, scale=0)), "scale must be greater than 0"),
        (chain_of("filter"), "not supported: step filter"),
        (chain_of("explode"), "unknown step explode; allowed are map, sort, limit"),
        (chain_of("limit", params={"limit": 3, "page": 1}), "limit has no parameter page"),
        (chain_of("map", expr=FunctionChainExpr("magic", (col("n"),)), outputs=("x",)), "unknown function magic"),
    ],
)
def test_what_a_chain_cannot_do_is_named(client, name, metric, chain, error):
    with pytest.raises(MilvusException, match=error):
        search(client, name, chain)


def test_a_chain_is_the_only_ranker(client, name, metric):
    ranker = Function(
        name="d",
        input_field_names=["n"],
        function_type=FunctionType.RERANK,
        params={"reranker": "decay", "function": "exp", "origin": 0, "scale": 1},
    )
    with pytest.raises(Exception, match="cannot be used together|mutually exclusive"):
        search(client, name, FunctionChain(L2).map("$score", TOTAL), ranker=ranker)
