"""Binds the reranker of the author's module `reranker` to the exports of the world of that name."""

import reranker  # noqa: F401  declares itself
from componentize_py_types import Err
from elanus_columns import KINDS, Vectors, error, texts, values
from elanus_plugin import Candidates, Parameter, Request, declared_reranker, kind_of, places
from wit_world import exports
from wit_world.exports import reranking
from wit_world.imports import parameters as contract

if not declared_reranker:
    raise TypeError("reranker.py declares no reranker: put @reranker(..) before a class")

PLUGIN = declared_reranker[0]

SOURCES = {
    "named": reranking.ColumnSource_Named,
    "parameter": reranking.ColumnSource_Parameter,
    "parameter-list": reranking.ColumnSource_ParameterList,
}
VALUES = {
    bool: (contract.ValueKind.BOOLEAN, contract.Value_Boolean),
    int: (contract.ValueKind.INTEGER, contract.Value_Integer),
    float: (contract.ValueKind.NUMBER, contract.Value_Number),
    str: (contract.ValueKind.TEXT, contract.Value_Text),
}

# An object of `Reranking` serves one call: what lasts is here.
current: list[object] = []


def described(parameter: Parameter) -> contract.Parameter:
    kind, value = VALUES[parameter.type]
    default = None if isinstance(parameter.default, type) else value(parameter.default)
    return contract.Parameter(parameter.name, parameter.description, kind, default)


class Reranking(exports.Reranking):
    """The three functions of the world."""

    def describe(self) -> reranking.Descriptor:
        columns = [
            reranking.NeededColumn(SOURCES[column.source](column.name), KINDS[kind_of(column.type, column.name)])
            for column in PLUGIN.columns
        ]
        return reranking.Descriptor(
            name=PLUGIN.name,
            version=PLUGIN.version,
            description=PLUGIN.description,
            columns=columns,
            needs_vectors=PLUGIN.needs_vectors,
            needs_query_text=PLUGIN.needs_query_text,
            max_candidates=PLUGIN.max_candidates,
            parameters=[described(parameter) for parameter in PLUGIN.parameters],
        )

    def configure(self, arguments: list[contract.Argument]) -> None:
        try:
            current[:] = [PLUGIN.make({argument.name: argument.value.value for argument in arguments})]
        except Exception as raised:
            raise Err(error(raised)) from None

    def rerank(self, request: reranking.Request, candidates: reranking.Candidates) -> reranking.Ranking:
        try:
            keys = candidates.keys.value
            shown = Candidates(
                keys=texts(keys) if isinstance(candidates.keys, reranking.Keys_Texts) else keys,
                distances=candidates.distances,
                columns=[values(named.column) for named in candidates.columns],
                vectors=() if candidates.vectors is None else Vectors(candidates.vectors),
                names=[named.name for named in candidates.columns],
            )
            asked = Request(Vectors(request.query_vectors), request.query_text, request.limit)
            ranked = places(current[0].rerank(asked, shown))
            return reranking.Ranking([at for at, _ in ranked], [score for _, score in ranked])
        except Exception as raised:
            raise Err(error(raised)) from None
