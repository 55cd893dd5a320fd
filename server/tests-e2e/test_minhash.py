"""MinHash: signatures compared with the algorithm in Python, duplicates found by them."""

import hashlib
import random
import struct

import pytest
from documents import docstrings, words
from pymilvus import DataType, Function, FunctionType, MilvusClient, MilvusException

PRIME = (1 << 61) - 1
WRAP = (1 << 64) - 1
HASHES = 64


def twister(seed):
    """The numbers of C++'s `std::mt19937_64`."""
    state = [seed & WRAP]
    for i in range(1, 312):
        state.append((6364136223846793005 * (state[-1] ^ (state[-1] >> 62)) + i) & WRAP)
    while True:
        for i in range(312):
            x = (state[i] & 0xFFFFFFFF80000000) | (state[(i + 1) % 312] & 0x7FFFFFFF)
            state[i] = state[(i + 156) % 312] ^ (x >> 1) ^ (0xB5026F5AA96619E9 if x & 1 else 0)
        for y in state.copy():
            y ^= (y >> 29) & 0x5555555555555555
            y ^= (y << 17) & 0x71D67FFFEDA60000
            y ^= (y << 37) & 0xFFF7EEE000000000
            yield (y ^ (y >> 43)) & WRAP


def signature(tokens, size, seed, hashes=HASHES):
    """The elements of a signature by SHA-1; `tokens` are byte strings."""
    numbers = twister(seed)
    size = min(size, len(tokens))
    shingles = {b"".join(tokens[i : i + size]) for i in range(len(tokens) - size + 1)} if tokens else set()
    base = [struct.unpack("<i", hashlib.sha1(shingle).digest()[:4])[0] for shingle in shingles]
    elements = []
    for _ in range(hashes):
        a, b = next(numbers) % (PRIME - 1) + 1, next(numbers) % PRIME
        elements.append(min((((a * h + b) & WRAP) % PRIME & 0xFFFFFFFF for h in base), default=0xFFFFFFFF))
    return elements


def share(one, other):
    return sum(a == b for a, b in zip(one, other)) / len(one)


def share_band(one, other, bands):
    size = len(one) // bands
    return any(one[i * size : (i + 1) * size] == other[i * size : (i + 1) * size] for i in range(bands))


def collection(client, name, params=None, index=None, index_type="MINHASH_LSH", hashes=HASHES):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("text", DataType.VARCHAR, max_length=8000, enable_analyzer=True)
    schema.add_field("signature", DataType.BINARY_VECTOR, dim=32 * hashes)
    schema.add_function(
        Function(
            name="minhash",
            function_type=FunctionType.MINHASH,
            input_field_names=["text"],
            output_field_names=["signature"],
            params={"num_hashes": hashes} if params is None else params,
        )
    )
    indexes = client.prepare_index_params()
    given = {"mh_element_bit_width": 32, "mh_lsh_band": 16, "with_raw_data": True} if index is None else index
    indexes.add_index(field_name="signature", index_type=index_type, metric_type="MHJACCARD", params=given)
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")


def found(client, name, text, limit=10, jaccard=True, **more):
    params = {"metric_type": "MHJACCARD", "params": {"mh_search_with_jaccard": jaccard}}
    hits = client.search(name, [text], anns_field="signature", search_params=params, limit=limit, **more)[0]
    return [(hit["id"], hit["distance"]) for hit in hits]


@pytest.mark.parametrize(
    "params",
    [
        {"hash_function": "sha1", "num_hashes": HASHES},
        {"hash_function": "sha1", "token_level": "char", "shingle_size": 5, "seed": 42},
    ],
    ids=["words", "characters"],
)
def test_signatures_are_those_of_the_algorithm(client, name, params):
    collection(client, name, params)
    texts = ["The quick brown fox jumps over the lazy dog", "Foxes!", "", "Größe: ändert sich 鸢", "x" * 30, "a b a b a b"]
    client.insert(name, [{"id": i, "text": text} for i, text in enumerate(texts)])
    of_words = params.get("token_level") != "char"
    for row in client.query(name, filter="id >= 0", output_fields=["signature"]):
        text = texts[row["id"]]
        if of_words and not text.isascii():
            continue
        if of_words:
            tokens = [word.encode() for word in words(text)]
        else:
            tokens = [bytes([byte]) for byte in text.encode()]
        expected = signature(tokens, params.get("shingle_size", 3), params.get("seed", 1234))
        assert list(struct.unpack(f"<{HASHES}I", bytes(row["signature"][0]))) == expected, text


@pytest.mark.parametrize("flush", [False, True], ids=["growing", "sealed"])
def test_duplicates_of_real_documents_are_found(client, name, flush):
    collection(client, name)
    chosen = [text for text in docstrings() if len(words(text)) >= 30][:300]
    texts, choose = dict(enumerate(chosen)), random.Random(3)
    edited = {}
    for i, text in list(texts.items())[::10]:
        parts = text.split(" ")
        parts[choose.randrange(len(parts))] = "edited"
        edited[1_000 + i] = i
        texts[1_000 + i] = " ".join(parts)
    client.insert(name, [{"id": i, "text": text} for i, text in texts.items()])
    if flush:
        client.flush(name)
    both = 0
    for copy, original in edited.items():
        hits = dict(found(client, name, texts[copy]))
        assert hits[copy] == 1.0
        assert all(0 < score <= 1 for score in hits.values())
        assert list(hits.values()) == sorted(hits.values(), reverse=True)
        both += original in hits
    # One word of thirty or more touches three shingles; of 16 bands of 4 elements one is nearly always left.
    assert both >= 0.9 * len(edited)


@pytest.mark.parametrize("index_type", ["MINHASH_LSH", "BIN_FLAT", "AUTOINDEX"])
def test_scores_are_the_part_of_equal_elements_and_hits_share_a_band(client, name, index_type):
    bands = 8
    collection(
        client,
        name,
        {"hash_function": "sha1", "shingle_size": 1},
        {"mh_lsh_band": bands, "mh_element_bit_width": 32},
        index_type=index_type,
    )
    choose = random.Random(7)
    texts = [" ".join(f"w{choose.randrange(14)}" for _ in range(12)) for _ in range(200)]
    client.insert(name, [{"id": i, "text": text} for i, text in enumerate(texts[:150])])
    client.flush(name)
    client.insert(name, [{"id": i, "text": texts[i]} for i in range(150, 200)])
    client.delete(name, ids=[3, 160])
    live = [i for i in range(200) if i not in (3, 160)]
    signatures = [signature([word.encode() for word in words(text)], 1, 1234) for text in texts]
    for query in (0, 77, 170):
        sharing = {i for i in live if share_band(signatures[query], signatures[i], bands)}
        hits = found(client, name, texts[query], limit=200, jaccard=False)
        assert {i for i, _ in hits} == sharing and {score for _, score in hits} == {1.0}
        assert [i for i, _ in hits] == sorted(sharing), "equal scores in the order of their keys"
        few = found(client, name, texts[query], limit=200, jaccard=False, filter="id < 50")
        assert {i for i, _ in few} == {i for i in sharing if i < 50}
        estimates = dict(found(client, name, texts[query], limit=200))
        assert sharing <= set(estimates) <= set(live)
        for i, score in estimates.items():
            assert score == pytest.approx(share(signatures[query], signatures[i]), abs=1e-6)


def test_a_range_has_close_texts_only(client, name):
    collection(client, name, {"hash_function": "sha1", "shingle_size": 1})
    base = [f"w{i}" for i in range(40)]
    texts = [" ".join(base[: 40 - i] + [f"x{i}_{j}" for j in range(i)]) for i in range(0, 40, 4)]
    client.insert(name, [{"id": i, "text": text} for i, text in enumerate(texts)])
    signatures = [signature([word.encode() for word in words(text)], 1, 1234) for text in texts]
    scores = {i: share(signatures[0], other) for i, other in enumerate(signatures)}
    params = {"mh_search_with_jaccard": True, "radius": 0.5, "range_filter": 0.95}
    hits = client.search(name, [texts[0]], anns_field="signature", search_params={"params": params}, limit=20)[0]
    got = {hit["id"]: hit["distance"] for hit in hits}
    assert set(got) == {i for i, score in scores.items() if 0.5 < score <= 0.95}


def test_signatures_of_a_users_own(client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("signature", DataType.BINARY_VECTOR, dim=64 * 16)
    indexes = client.prepare_index_params()
    indexes.add_index(
        field_name="signature",
        index_type="MINHASH_LSH",
        metric_type="MHJACCARD",
        params={"mh_element_bit_width": 64, "mh_lsh_band": 4},
    )
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")
    packed = [struct.pack("<16Q", *[1000 * (j >= i) + j for j in range(16)]) for i in range(16)]
    client.insert(name, [{"id": i, "signature": vector} for i, vector in enumerate(packed)])
    client.flush(name)
    params = {"params": {"mh_search_with_jaccard": True}}
    hits = client.search(name, [packed[0]], anns_field="signature", search_params=params, limit=4)[0]
    assert [(hit["id"], hit["distance"]) for hit in hits] == [(i, 1 - i / 16) for i in range(4)]
    index = client.describe_index(name, "signature")
    assert (index["index_type"], index["metric_type"]) == ("MINHASH_LSH", "MHJACCARD")


def test_schemas_describe_the_function(client, name):
    collection(client, name, {"shingle_size": 2})
    described = client.describe_collection(name)
    (function,) = described["functions"]
    assert (function["name"], function["type"]) == ("minhash", FunctionType.MINHASH)
    assert function["params"] == {"num_hashes": str(HASHES), "shingle_size": "2"}
    assert (list(function["input_field_names"]), list(function["output_field_names"])) == (["text"], ["signature"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"num_hashes": 63}, "dim 2048 does not match expected dim 2016"),
        ({"num_hashes": "many"}, "param num_hashes:many is not a number"),
        ({"shingle_size": 0}, "param shingle_size:0 must be positive"),
        ({"hash_function": "md5"}, "unknown hash function: md5"),
        ({"token_level": "line"}, "unknown token_level: line"),
        ({"seed": "x"}, "param seed:x is not a number"),
        ({"bands": 3}, "MinHash function has no param bands"),
    ],
)
def test_parameters_of_the_function_are_checked(client, name, params, message):
    with pytest.raises(MilvusException, match=message):
        collection(client, name, params)


@pytest.mark.parametrize(
    ("index_type", "index", "message"),
    [
        ("MINHASH_LSH", {"mh_element_bit_width": 12}, r"param 'mh_element_bit_width' \(12\) should be in range"),
        ("MINHASH_LSH", {"mh_element_bit_width": 96}, "the dimension should be a multiple of 'mh_element_bit_width'"),
        ("MINHASH_LSH", {"mh_lsh_band": 0}, r"param 'mh_lsh_band' \(0\) should be in range"),
        ("HNSW", {}, "index type HNSW does not support metric type: MHJACCARD"),
    ],
)
def test_parameters_of_the_index_are_checked(client, name, index_type, index, message):
    with pytest.raises(MilvusException, match=message):
        collection(client, name, index=index, index_type=index_type)


def test_what_is_no_text_or_no_metric_of_signatures_is_refused(client, name):
    collection(client, name)
    client.insert(name, [{"id": 1, "text": "one"}])
    with pytest.raises(MilvusException, match="please provide varchar/text for MinHash Function based search"):
        client.search(name, [bytes(4 * HASHES)], anns_field="signature", limit=1)
    with pytest.raises(MilvusException, match="metric type not match"):
        client.search(name, ["one"], anns_field="signature", search_params={"metric_type": "HAMMING"}, limit=1)


def test_functions_and_indexes_are_there_after_a_restart(own_server):
    client = MilvusClient(own_server.uri)
    collection(client, "texts")
    client.insert("texts", [{"id": i, "text": f"the same text but for the number {i}"} for i in range(50)])
    client.flush("texts")
    before = found(client, "texts", "the same text but for the number 7")
    assert before[0] == (7, 1.0)
    client.close()
    own_server.restart()
    client = MilvusClient(own_server.uri)
    assert found(client, "texts", "the same text but for the number 7") == before
    client.close()
