"""Full-text search: analyzers, and BM25 scores compared with the formula."""

import json
import random

import pytest
from documents import Bm25, docstrings, words
from pymilvus import DataType, Function, FunctionType, LexicalHighlighter, MilvusClient, MilvusException

WORDS = "vector database query engine index graph list term score rank text word page row column".split()
TEXTS = [
    " ".join(WORDS[(i * 7 + j * j) % len(WORDS)] for j in range(1 + i % 11)) + ("" if i % 5 else " Rare!")
    for i in range(300)
]


def collection(client, name, text=None, **index):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    text = text or {"datatype": DataType.VARCHAR, "max_length": 1000}
    schema.add_field("text", enable_analyzer=True, enable_match=True, **text)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        Function(name="bm25", function_type=FunctionType.BM25, input_field_names=["text"], output_field_names=["sparse"])
    )
    indexes = client.prepare_index_params()
    indexes.add_index(field_name="sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params=index)
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")


def check(client, name, live, query, **constants):
    expected = Bm25({i: TEXTS[i] for i in live}, **constants).scores(query)
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


@pytest.mark.parametrize("algorithm", ["DAAT_MAXSCORE", "DAAT_WAND", "TAAT_NAIVE"])
def test_real_documents_have_the_scores_of_the_formula(client, name, algorithm):
    texts = [text for text in docstrings() if len(text) <= 1000]
    assert len(texts) >= 5_000
    collection(client, name, inverted_index_algo=algorithm)
    for start in range(0, len(texts), 2_000):
        client.insert(name, [{"id": i, "text": texts[i]} for i in range(start, min(start + 2_000, len(texts)))])
        if start == 2_000:
            client.flush(name)
    oracle, choose = Bm25(dict(enumerate(texts))), random.Random(5)
    for _ in range(100):
        query = " ".join(choose.sample(words(choose.choice(texts)), 1) * choose.randint(1, 2) + words(choose.choice(texts))[:3])
        expected = oracle.scores(query)
        hits = client.search(name, [query], anns_field="sparse", limit=20)[0]
        assert [hit["distance"] for hit in hits] == pytest.approx(sorted(expected.values(), reverse=True)[:20], rel=1e-5)
        assert [expected[hit["id"]] for hit in hits] == pytest.approx([hit["distance"] for hit in hits], rel=1e-5)


def test_texts_of_any_length(client, name):
    collection(client, name, text={"datatype": DataType.TEXT})
    field = next(field for field in client.describe_collection(name)["fields"] if field["name"] == "text")
    assert field["type"] == DataType.TEXT and "max_length" not in field["params"]
    # Longer than any VARCHAR.
    long = "whale " * 200_000 + "Ishmael"
    client.insert(name, [{"id": 0, "text": long}, {"id": 1, "text": "a pond"}, {"id": 2, "text": ""}])
    for _ in "as written", "as a segment":
        assert client.query(name, filter="text_match(text, 'ishmael')", output_fields=["text"])[0]["text"] == long
        hits = client.search(name, ["pond whale"], anns_field="sparse", limit=5)[0]
        expected = Bm25({0: long, 1: "a pond", 2: ""}).scores("pond whale")
        assert {hit["id"]: hit["distance"] for hit in hits} == pytest.approx(expected, rel=1e-5)
        assert [row["id"] for row in client.query(name, filter="text == ''", output_fields=["id"])] == [2]
        client.flush(name)


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
    pinyin = {"tokenizer": "jieba", "filter": [{"type": "pinyin", "keep_joined_full_pinyin": True}]}
    assert client.run_analyzer("中文", pinyin).tokens == ["中文", "zhong", "wen", "zhongwen"]
    tokens = client.run_analyzer([text], {"tokenizer": "standard"}, with_detail=True, with_hash=True)[0].tokens
    assert [token["token"] for token in tokens][:2] == ["The", "Milvus"]
    assert (tokens[1]["start_offset"], tokens[1]["end_offset"], tokens[1]["position"]) == (4, 10, 1)
    groups = {"tokenizer": {"type": "char_group", "delimiters": ["o", "punctuation", "ascii_digit"]}}
    assert client.run_analyzer("testotest,test1test", groups).tokens == ["test"] * 4
    with pytest.raises(MilvusException, match="not supported: the tokenizer 'lindera' without dictionaries"):
        client.run_analyzer(text, {"tokenizer": {"type": "lindera", "dict_kind": "ipadic"}})


def test_texts_are_matched_by_their_terms(client, name):
    collection(client, name)
    client.insert(name, [{"id": i, "text": text} for i, text in enumerate(TEXTS)])

    def ids(text, **values):
        return {row["id"] for row in client.query(name, filter=text, filter_params=values, output_fields=["id"])}

    def having(*wanted, least=1):
        return {i for i, text in enumerate(TEXTS) if sum(word in words(text) for word in wanted) >= least}

    assert ids("text_match(text, 'Rare ENGINE')") == having("rare", "engine")
    assert ids("TEXT_MATCH(text, {words})", words="rare engine") == having("rare", "engine")
    two = having("graph", "index", "rank", least=2)
    assert ids("text_match(text, 'graph index rank', minimum_should_match=2)") == two and two
    phrase = {i for i, text in enumerate(TEXTS) if " graph rare " in " " + " ".join(words(text)) + " "}
    assert ids("phrase_match(text, 'graph RARE')") == phrase and phrase
    assert ids("not text_match(text, 'rare')") == set(range(len(TEXTS))) - having("rare")
    # Full-text search among the texts that match.
    hits = client.search(name, ["vector"], anns_field="sparse", limit=50, filter="text_match(text, 'rare')")[0]
    assert {hit["id"] for hit in hits} == having("vector") & having("rare")
    for text, error in [
        ("text_match(id, 'x')", "non-string is unsupported: field id is Int64"),
        ("text_match(text, 'x', minimum_should_match=0)", "minimum_should_match must be 1 to 1000, got 0"),
        ("phrase_match(text, 'x', -1)", "slop must be 0 to 4294967295, got -1"),
    ]:
        with pytest.raises(MilvusException, match=error):
            ids(text)


def test_fields_are_matched_only_when_made_for_it(client, name):
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("text", DataType.VARCHAR, max_length=100, enable_match=True)
    with pytest.raises(MilvusException, match="has enable_match without enable_analyzer"):
        client.create_collection(name, schema=schema)


def test_another_field_chooses_the_analyzer(client, name):
    several = {
        "by_field": "language",
        "analyzers": {
            "english": {"type": "english"},
            "chinese": {"tokenizer": "jieba"},
            "default": {"tokenizer": "whitespace"},
        },
        "alias": {"en": "english"},
    }
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("language", DataType.VARCHAR, max_length=20, nullable=True)
    text = {"max_length": 1000, "enable_analyzer": True, "multi_analyzer_params": several}
    schema.add_field("text", DataType.VARCHAR, **text)
    schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(
        Function(name="bm25", function_type=FunctionType.BM25, input_field_names=["text"], output_field_names=["sparse"])
    )
    indexes = client.prepare_index_params()
    indexes.add_index(field_name="sparse", index_type="AUTOINDEX", metric_type="BM25")
    client.create_collection(name, schema=schema, index_params=indexes, consistency_level="Strong")
    languages = ["english", "en", "klingon", None, "chinese"]
    texts = ["The Foxes ran", "a fox", "The Foxes ran", "Foxes", "敏捷的棕色狐狸"]
    client.insert(name, [{"id": i, "language": language, "text": text} for i, (language, text) in enumerate(zip(languages, texts))])

    def found(query, analyzer=None):
        params = {} if analyzer is None else {"analyzer_name": analyzer}
        hits = client.search(name, [query], anns_field="sparse", limit=10, search_params={"params": params})[0]
        return {hit["id"]: hit["distance"] for hit in hits}

    tokens = [client.run_analyzer(text, collection_name=name, field_name="text", analyzer_names=language or "default").tokens
              for language, text in zip(languages, texts)]  # fmt: skip
    assert tokens[:4] == [["fox", "ran"], ["fox"], ["The", "Foxes", "ran"], ["Foxes"]] and "狐狸" in tokens[4]
    scores = Bm25({i: " ".join(words) for i, words in enumerate(tokens)}, split=str.split).scores
    for flushed in False, True:
        for analyzer in "english", "en":
            assert found("FOXES", analyzer) == pytest.approx(scores("fox"), rel=1e-5)
        for analyzer in None, "default", "romulan":
            assert found("Foxes ran", analyzer) == pytest.approx(scores("Foxes ran"), rel=1e-5)
        assert set(found("狐狸", "chinese")) == {4}
        if not flushed:
            client.flush(name)
    # Another language, other terms.
    client.upsert(name, [{"id": 3, "language": "english", "text": "Foxes"}])
    assert set(found("fox", "english")) == {0, 1, 3}
    with pytest.raises(MilvusException, match="field 'language' cannot be dropped: function 'bm25' uses it"):
        client.drop_collection_field(name, "language")


def test_several_analyzers_are_checked(client, name):
    def create(**params):
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("text", DataType.VARCHAR, max_length=1000, enable_analyzer=True, **params)
        schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
        schema.add_function(
            Function(name="f", function_type=FunctionType.BM25, input_field_names=["text"], output_field_names=["sparse"])
        )
        client.create_collection(name, schema=schema)

    several = {"by_field": "nothing", "analyzers": {"default": {}}}
    for params, error in [
        ({"multi_analyzer_params": several}, "analyzer field 'nothing' not found"),
        ({"multi_analyzer_params": {"by_field": "id", "analyzers": {"default": {}}}}, "it must be a VARCHAR field"),
        ({"multi_analyzer_params": {"by_field": "text", "analyzers": {}}}, "must have an analyzer 'default'"),
        ({"multi_analyzer_params": several, "analyzer_params": {}}, "analyzer_params and multi_analyzer_params"),
        ({"multi_analyzer_params": {**several, "by_field": "text"}, "enable_match": True}, "only one analyzer can be matched by"),
    ]:
        with pytest.raises(MilvusException, match=error):
            create(**params)
    collection(client, name)
    client.insert(name, [{"id": 0, "text": "rare"}])
    with pytest.raises(MilvusException, match="analyzer_name 'english': field 'text' has one analyzer"):
        client.search(name, ["rare"], anns_field="sparse", search_params={"params": {"analyzer_name": "english"}})


def test_found_terms_are_highlighted(client, name):
    collection(client, name)
    texts = ["my first test doc", "my second test doc. Milvus is here", "nothing"]
    client.insert(name, [{"id": i, "text": text} for i, text in enumerate(texts)])

    def highlights(queries, **given):
        highlighter = LexicalHighlighter(pre_tags=["{"], post_tags=["}"], **given)
        found = client.search(name, queries, anns_field="sparse", limit=5, highlighter=highlighter)
        return [{hit["id"]: hit["highlight"]["text"]["fragments"] for hit in hits} for hits in found]

    assert highlights(["test", "Milvus"], highlight_search_text=True) == [
        {0: ["{test} doc"], 1: ["{test} doc. Milvus is here"]},
        {1: ["{Milvus} is here"]},
    ]
    more = [{"type": "TextMatch", "field": "text", "text": "my doc"}]
    assert highlights(["test"], highlight_search_text=True, highlight_query=more, fragment_size=9) == [
        {0: ["{my} first ", "{test} {doc}"], 1: ["{my} second", "{test} {doc}."]}
    ]
    assert highlights(["nothing"], highlight_query=more) == [{2: []}]
    for given, error in [
        ({}, "needs highlight_search_text or highlight_query"),
        ({"highlight_query": [{**more[0], "field": "id"}]}, "highlight field id has no analyzer"),
        ({"highlight_query": [{**more[0], "type": "Other"}]}, "allowed is TextMatch"),
        ({"highlight_search_text": True, "fragment_size": 0}, "fragment_size of a highlighter must be"),
    ]:
        with pytest.raises(MilvusException, match=error):
            highlights(["test"], **given)


def test_words_of_analyzers_in_files(own_server):
    client = MilvusClient(own_server.uri)
    folder = own_server.data / "file"
    folder.mkdir()
    (folder / "stops.txt").write_text("the\nis\n")
    (folder / "parts.txt").write_text("vektor\ndatenbank\n")
    (folder / "noise.txt").write_bytes(b"\xff\xfe")
    for name in ["stops", "parts", "noise"]:
        client.add_file_resource(name, f"file/{name}.txt")

    def remote(name, file=None):
        return {"type": "remote", "resource_name": name, "file_name": file or f"{name}.txt"}

    params = {
        "tokenizer": "standard",
        "filter": [
            "lowercase",
            {"type": "decompounder", "word_list_file": remote("parts")},
            {"type": "stop", "stop_words": ["a"], "stop_words_file": remote("stops")},
        ],
    }
    assert client.run_analyzer("The Vektordatenbank is a bird", params).tokens == ["vektor", "datenbank", "bird"]

    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("text", DataType.VARCHAR, max_length=100, enable_analyzer=True, enable_match=True, analyzer_params=params)
    schema.add_field("terms", DataType.SPARSE_FLOAT_VECTOR)
    schema.add_function(Function(name="bm25", function_type=FunctionType.BM25, input_field_names=["text"], output_field_names=["terms"]))
    indexes = client.prepare_index_params()
    indexes.add_index("terms", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    client.create_collection("birds", schema=schema, index_params=indexes, consistency_level="Strong")
    client.insert("birds", [{"id": 1, "text": "The Vektordatenbank"}, {"id": 2, "text": "the bird is a kite"}])
    # What users see has the name of the file, and the file may go.
    text = next(field for field in client.describe_collection("birds")["fields"] if field["name"] == "text")
    assert json.loads(text["params"]["analyzer_params"]) == params
    for name in ["stops", "parts"]:
        client.remove_file_resource(name)
    client.close()
    own_server.kill()
    own_server.start()
    client = MilvusClient(own_server.uri)
    client.insert("birds", [{"id": 3, "text": "eine Datenbank"}])
    assert {hit["id"] for hit in client.search("birds", ["Datenbank"], anns_field="terms", limit=5)[0]} == {1, 3}
    assert client.search("birds", ["the is a"], anns_field="terms", limit=5)[0] == []
    assert [row["id"] for row in client.query("birds", "text_match(text, 'vektor')")] == [1]

    with pytest.raises(MilvusException, match="field terms, which a function fills: it is searched by texts"):
        client.search("birds", ids=[1], anns_field="terms", limit=5)
    for file, what in [
        (remote("stops"), "file resource 'stops' not found; there are noise"),
        (remote("noise"), "'noise.txt' of file resource 'noise' is not UTF-8"),
        (remote("noise", "other.txt"), "file resource 'noise' has no file 'other.txt': its file is 'noise.txt'"),
        ({"type": "local", "path": "/etc/hostname"}, "register the file with AddFileResource"),
    ]:
        with pytest.raises(MilvusException, match=what):
            client.run_analyzer("a", {"tokenizer": "standard", "filter": [{"type": "stop", "stop_words_file": file}]})


def test_languages_choose_analyzers(own_server):
    client = MilvusClient(own_server.uri)
    english = "The foxes were running through the quiet forests"
    params = {"tokenizer": {
        "type": "language_identifier", "identifier": {"type": "whatlang", "confidence": 0},
        "analyzers": {"default": {"tokenizer": "whitespace"}, "en": {"type": "english"}}, "mapping": {"English": "en"},
    }}  # fmt: skip
    assert client.run_analyzer(english, params).tokens == ["fox", "were", "run", "through", "quiet", "forest"]
    params["tokenizer"]["identifier"]["confidence"] = 1
    assert client.run_analyzer(english, params).tokens == english.split()
    assert client.run_analyzer("Быстрая лиса.", params).tokens == ["Быстрая", "лиса."]
    assert client.run_analyzer("ฐานข้อมูล และ ๒๕๖๙", {"type": "thai"}).tokens[-1] == "2569"
    assert "في" not in client.run_analyzer("المكتبة في القاهرة", {"type": "arabic"}).tokens
    params["tokenizer"]["identifier"] = "lingua"
    with pytest.raises(MilvusException, match="--features lingua"):
        client.run_analyzer(english, params)
