"""langchain-milvus as its users write it: quick_start.py URI COLLECTION. Prints one line of JSON.

The embedding counts letter pairs, so it needs no model, no network and gives the same vectors everywhere.
"""

import json
import sys
import zlib

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_milvus import Milvus


class LetterPairs(Embeddings):
    def embed_query(self, text: str) -> list[float]:
        vector = [0.0] * 64
        text = f" {text.lower()} "
        for pair in zip(text, text[1:]):
            vector[zlib.crc32("".join(pair).encode()) % 64] += 1.0
        length = sum(x * x for x in vector) ** 0.5
        return [x / length for x in vector]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


DOCUMENTS = [
    Document(page_content="kites hover over open grassland", metadata={"kind": "bird", "page": 1}),
    Document(page_content="a vector index answers nearest neighbour questions", metadata={"kind": "computer", "page": 2}),
    Document(page_content="bread needs flour, water, salt and time", metadata={"kind": "kitchen", "page": 3}),
    Document(page_content="owls hunt at night over grassland", metadata={"kind": "bird", "page": 4}),
    Document(page_content="a query engine plans joins and groups", metadata={"kind": "computer", "page": 5}),
]


def main(uri: str, collection: str) -> None:
    embedding = LetterPairs()
    store = Milvus.from_documents(
        DOCUMENTS,
        embedding,
        connection_args={"uri": uri},
        collection_name=collection,
        drop_old=True,
    )
    nearest = store.similarity_search("owls hunt at night over grassland", k=2)
    scored = store.similarity_search_with_score("bread needs flour, water, salt and time", k=1)
    filtered = store.similarity_search("owls hunt at night over grassland", k=5, expr='kind == "computer"')
    diverse = store.max_marginal_relevance_search("grassland", k=2, fetch_k=4)
    added = store.add_documents([Document(page_content="salt keeps fish", metadata={"kind": "kitchen", "page": 6})])
    found = store.similarity_search("salt keeps fish", k=1)
    store.delete(ids=added)
    gone = store.similarity_search("salt keeps fish", k=10)

    opened = Milvus(embedding, connection_args={"uri": uri}, collection_name=collection)
    again = opened.similarity_search("a query engine plans joins and groups", k=1)
    retriever = opened.as_retriever(search_kwargs={"k": 1})
    invoked = retriever.invoke("kites hover over open grassland")
    print(
        json.dumps(
            {
                "nearest": [document.page_content for document in nearest],
                "kind": nearest[0].metadata["kind"],
                "score": scored[0][1],
                "filtered": sorted(document.metadata["page"] for document in filtered),
                "diverse": len(diverse),
                "found": found[0].page_content,
                "gone": [document.page_content for document in gone],
                "again": again[0].page_content,
                "invoked": invoked[0].page_content,
            }
        )
    )


main(*sys.argv[1:])
