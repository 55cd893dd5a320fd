"""Full-text search: analyzers, and BM25 scores compared with the formula."""

import math
from collections import Counter

import pytest
from pymilvus import DataType, Function, FunctionType, MilvusException

WORDS = "vector database query engine index graph list term score rank text word page row column".split()
TEXTS = [
    " ".join(WORDS[(i * 7 + j * j) % len(WORDS)] for j in range(1 + i % 11)) + ("" if i % 5 else " Rare!")
    for i in range(300)
]


def bm25(texts, query, k1=1.2, b=0.75):
    """Scores by key of the texts that share a word with the query; `texts` are lists of words by key."""
    mean = sum(map(len, texts.values())) / len(texts)
    scores = {}
    for key, words in texts.items():
        counts, score = Counter(words), 0.0
        for word in query:
            having = sum(word in other for other in texts.values())
            idf = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
            count = counts[word]
            score += idf * count * (k1 + 1) / (count + k1 * (1 - b + b * len(words) / mean)) if count else 0.0
        if score > 0:
            scores[key] = score
    return scores


def words(text):
    return "".join(c.lower() if c.isalnum() else " " for c in text).split()


def collection(client, name, **index):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("text", DataType.VARCHAR, max_length=1000, enable_analyzer=True)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        Function(name="bm25", function_type=FunctionType.BM25, input_field_names=["text"], output_field_names=["sparse"])
    )
    indexes = client.prepare_index_params()
    indexes.add_index(field_name="sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params=index)
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")


def check(client, name, live, query, **constants):
    expected = bm25({i: words(TEXTS[i]) for i in live}, words(query), **constants)
    hits = client.search(name, [query], anns_field="sparse", limit=50, output_fields=["text"])[0]
    assert len(hits) == min(50, len(expected))
    for hit in hits:
        assert hit["distance"] == pytest.approx(expected[hit["id"]], rel=1e-5)
        assert hit["entity"]["text"] == TEXTS[hit["id"]]
    best = sorted(expected.values(), reverse=True)[: len(hits)]
    assert [hit["distance"] for hit in hits] == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("constants", [{}, {"k1": 2.0, "b": 0.3}], ids=["default", "given"])
def test_scores_are_the_formula_over_the_whole_collection(client, name, constants):
    collection(client, name, **{f"bm25_{key}": value for key, value in constants.items()})
    queries = ["rare", "vector database", "engine rank rank nothing", "Graph, index; ROW?"]
    client.insert(name, [{"id": i, "text": TEXTS[i]} for i in range(200)])
    for query in queries:
        check(client, name, range(200), query, **constants)
    client.flush(name)
    client.insert(name, [{"id": i, "text": TEXTS[i]} for i in range(200, 300)])
    client.delete(name, ids=list(range(0, 300, 4)))
    live = [i for i in range(300) if i % 4]
    for query in queries:
        check(client, name, live, query, **constants)
    assert len(client.search(name, ["no such words"], anns_field="sparse", limit=5)[0]) == 0


def test_the_output_is_nobodys_to_read_or_write(client, name):
    collection(client, name)
    client.insert(name, [{"id": 1, "text": "some text"}])
    row = client.query(name, filter="id == 1", output_fields=["*"])[0]
    assert row == {"id": 1, "text": "some text"}
    with pytest.raises(MilvusException, match="not allowed to retrieve raw data of field sparse"):
        client.query(name, filter="id == 1", output_fields=["sparse"])
    with pytest.raises(MilvusException, match="please provide varchar/text for BM25 Function based search"):
        client.search(name, [{1: 1.0}], anns_field="sparse", limit=1)
    described = client.describe_collection(name)
    assert [function["name"] for function in described["functions"]] == ["bm25"]
    assert described["fields"][2]["is_function_output"]


def test_analyzers_show_their_tokens(client):
    text = "The Milvus vector database is built for scale!"
    assert client.run_analyzer(text, {"type": "english"}).tokens == ["milvus", "vector", "databas", "built", "scale"]
    tokens = client.run_analyzer([text], {"tokenizer": "standard"}, with_detail=True, with_hash=True)[0].tokens
    assert [token["token"] for token in tokens][:2] == ["The", "Milvus"]
    assert (tokens[1]["start_offset"], tokens[1]["end_offset"], tokens[1]["position"]) == (4, 10, 1)
    with pytest.raises(MilvusException, match="not supported: the tokenizer 'icu'"):
        client.run_analyzer(text, {"tokenizer": "icu"})
