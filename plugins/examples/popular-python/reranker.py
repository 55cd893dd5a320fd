from math import log1p

from elanus_plugin import Column, Parameter, Refused, by_score, relevance, reranker


@reranker(
    name="popular",
    version="1.0.0",
    columns=[Column("sales", float)],
    parameters=[Parameter("weight", 0.1, "How much sales count.")],
)
class Popular:
    """What many have bought comes first."""

    def __init__(self, parameters):
        self.weight = parameters["weight"]
        if self.weight < 0:
            raise Refused(f"weight is {self.weight}, at least 0 is allowed")

    def rerank(self, request, candidates):
        return by_score(
            relevance(distance) + self.weight * log1p(sales or 0)
            for distance, sales in zip(candidates.distances, candidates["sales"])
        )
