"""What many have bought comes first: a reranker in Python."""

import math

from wit_world import exports
from wit_world.exports import reranking
from wit_world.imports import parameters, types


class Reranking(exports.Reranking):
    """The three functions of the world `reranker`."""

    # Of the class: an object serves one call.
    weight = 0.0

    def describe(self) -> reranking.Descriptor:
        return reranking.Descriptor(
            name="popular",
            version="1.0.0",
            description="What many have bought comes first.",
            columns=[
                reranking.NeededColumn(
                    source=reranking.ColumnSource_Named("sales"),
                    kind=types.ColumnKind_F32s(),
                )
            ],
            needs_vectors=False,
            needs_query_text=False,
            max_candidates=10_000,
            parameters=[
                parameters.Parameter(
                    name="weight",
                    description="How much sales count.",
                    kind=parameters.ValueKind.NUMBER,
                    default=parameters.Value_Number(0.1),
                )
            ],
        )

    def configure(self, arguments: list[parameters.Argument]) -> None:
        Reranking.weight = arguments[0].value.value

    def rerank(
        self, request: reranking.Request, candidates: reranking.Candidates
    ) -> reranking.Ranking:
        sales = candidates.columns[0].column.data.value
        scores = [
            1 / (1 + max(distance, 0)) + self.weight * math.log1p(count)
            for distance, count in zip(candidates.distances, sales)
        ]
        order = sorted(range(len(scores)), key=lambda at: -scores[at])
        return reranking.Ranking(order=order, scores=[scores[at] for at in order])
