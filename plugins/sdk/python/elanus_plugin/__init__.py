"""Write rerankers and SQL functions for Elanus: a class or a function becomes a plugin.

Nothing here needs WebAssembly: what is written with it can be imported and tested as it is.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

__all__ = [
    "Candidates",
    "Column",
    "Parameter",
    "Refused",
    "Request",
    "Unsupported",
    "Vector",
    "by_score",
    "function",
    "library",
    "log",
    "now",
    "random_bits",
    "relevance",
    "reranker",
]

Vector = list[float]

Row = typing.Union[float, int, bool, str, Vector, None]

# The form in which values of a Python type cross.
KINDS = {float: "f64s", int: "s64s", bool: "bools", str: "text", Vector: "vectors"}


class Refused(Exception):
    """A parameter or an argument has a value that the plugin does not take. The text reaches the user."""


class Unsupported(Exception):
    """Something that the plugin does not do. The text reaches the user."""


def kind_of(annotation: object, what: str) -> str:
    """The form of a type: one of `KINDS`."""
    try:
        return KINDS[annotation]  # type: ignore[index]
    except (KeyError, TypeError):
        raise TypeError(f"{what} is {annotation!r}; float, int, bool, str and Vector are allowed") from None


@dataclass
class Column:
    """A column that a reranker needs, by its name."""

    name: str
    type: type
    source: str = "named"

    @classmethod
    def named_by(cls, parameter: str, type: type) -> Column:
        """The column whose name is the value of this text parameter; an empty value: no column."""
        return cls(parameter, type, "parameter")

    @classmethod
    def listed_in(cls, parameter: str, type: type) -> Column:
        """The columns whose names are the value of this text parameter, separated by commas."""
        return cls(parameter, type, "parameter-list")


@dataclass
class Parameter:
    """A parameter of a reranker: its default, or its type if it must be given."""

    name: str
    default: bool | int | float | str | type
    description: str = ""

    @property
    def type(self) -> type:
        return self.default if isinstance(self.default, type) else type(self.default)


@dataclass
class Request:
    """What is searched."""

    # The query vectors; most searches have one, some have none.
    query_vectors: Sequence[Vector] = ()
    query_text: str | None = None
    # How many candidates the caller will use: an order may be shorter than the candidates, but not than this.
    limit: int = 10


@dataclass
class Candidates:
    """What was found, best first: everything has one entry per candidate."""

    keys: Sequence[int] | Sequence[str]
    # Smaller is better, whatever the metric.
    distances: Sequence[float]
    # In the order of the description, those of a list in the order of the list; None for a null.
    columns: Sequence[Sequence[Row]] = ()
    # The searched vectors, if the reranker asks for them.
    vectors: Sequence[Vector] = ()
    # The names of the columns.
    names: Sequence[str] = field(default=())

    def __len__(self) -> int:
        return len(self.distances)

    def __getitem__(self, name: str) -> Sequence[Row]:
        """The column of that name."""
        if name not in self.names:
            raise LookupError(f"there is no column '{name}' among those that were asked for: {', '.join(self.names)}")
        return self.columns[self.names.index(name)]


def relevance(distance: float) -> float:
    """Larger is better: 1 / (1 + distance), and 1 - distance for the negative ones of cosines, inner products and scores."""
    return 1.0 - distance if distance < 0 else 1.0 / (1.0 + distance)


def by_score(scores: Iterable[float]) -> list[tuple[int, float]]:
    """All candidates by their scores, the largest first; of equal ones the earlier first."""
    return sorted(enumerate(scores), key=lambda place: -place[1])


def host(interface: str, call: str):
    """An interface of the host, which a plugin that was built without rights does not have."""
    contract = getattr(sys.modules.get("wit_world.imports"), interface, None)
    if contract is None:
        raise Unsupported(f"{call} asks the host: build the plugin with `elanus plugin build --with-rights`")
    return contract


def now() -> int:
    """Milliseconds since 1970 (UTC). Needs the right `clock`, and a plugin built with rights."""
    return host("clock", "now()").now()


def random_bits() -> int:
    """64 bits that are not for secrets. Needs the right `random`, and a plugin built with rights."""
    return host("random", "random_bits()").next()


def log(message: str, level: str = "info") -> None:
    """A line in the host's log: error, warn, info or debug. Needs the right `log`, and a plugin built with rights."""
    contract = host("log", "log()")
    contract.write(contract.Level[level.upper()], message)


def places(returned: object) -> list[tuple[int, float]]:
    """What `rerank` returned, as pairs of an index and a score."""
    if not isinstance(returned, Iterable):
        raise TypeError(f"rerank returned {returned!r}, not pairs of an index and a score")
    pairs = list(returned)
    for pair in pairs:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise TypeError(f"rerank returned {pair!r} among its places, not a pair of an index and a score")
    return pairs


@dataclass
class RerankerPlugin:
    """What `reranker` was told."""

    make: Callable[[dict], object]
    name: str
    version: str
    description: str
    columns: list[Column]
    parameters: list[Parameter]
    needs_vectors: bool
    needs_query_text: bool
    max_candidates: int


@dataclass
class FunctionPlugin:
    """What `function` was told."""

    call: Callable[..., Row]
    name: str
    description: str
    # Name, form and whether the function takes nulls there.
    parameters: list[tuple[str, str, bool]]
    returns: str
    volatility: str


@dataclass
class LibraryPlugin:
    """What `library` was told, and the functions of the module."""

    name: str = ""
    version: str = ""
    functions: list[FunctionPlugin] = field(default_factory=list)


# The plugin that the module of the author has declared: a component has one.
declared_reranker: list[RerankerPlugin] = []
declared_library = LibraryPlugin()


def reranker(
    *,
    name: str,
    version: str,
    columns: Sequence[Column] = (),
    parameters: Sequence[Parameter] = (),
    vectors: bool = False,
    query_text: bool = False,
    max_candidates: int = 0,
) -> Callable[[type], type]:
    """Makes a class the plugin.

    The class is made with a dict of all parameters, again whenever they change, and has a method
    `rerank(request, candidates)` that returns places, best first: an index into the candidates and a finite score, larger
    is better. Its docstring is the description.
    """

    def declare(cls: type) -> type:
        if declared_reranker:
            raise TypeError(f"{cls.__name__} is a second reranker: a plugin is one")
        for column in columns:
            kind_of(column.type, f"the type of column '{column.name}'")
        for parameter in parameters:
            if parameter.type not in (bool, int, float, str):
                raise TypeError(f"parameter '{parameter.name}' is {parameter.type!r}; bool, int, float and str are allowed")
        declared_reranker.append(
            RerankerPlugin(
                cls, name, version, sentence(cls), list(columns), list(parameters), vectors, query_text, max_candidates
            )
        )
        return cls

    return declare


def library(*, name: str, version: str) -> None:
    """Names the plugin of a module with functions."""
    declared_library.name, declared_library.version = name, version


def function(call: Callable | None = None, *, volatility: str = "immutable"):
    """Makes a function one of SQL, called once per row.

    Its annotations are its signature: float, int, bool, str and Vector, for arguments and result. An argument `T | None`
    may be None; a row with a null for any other argument is null without a call. A result of None is null. The first line
    of the docstring is the description.
    """
    if call is None:
        return lambda decorated: function(decorated, volatility=volatility)
    if volatility not in ("immutable", "stable", "volatile"):
        raise TypeError(f"volatility is {volatility!r}; immutable, stable and volatile are allowed")
    hints = typing.get_type_hints(call)
    parameters = []
    for name in inspect.signature(call).parameters:
        bare, optional = without_none(hints.get(name))
        parameters.append((name, kind_of(bare, f"argument '{name}' of {call.__name__}"), optional))
    bare, _ = without_none(hints.get("return"))
    returns = kind_of(bare, f"the result of {call.__name__}")
    declared_library.functions.append(
        FunctionPlugin(call, call.__name__, sentence(call), parameters, returns, volatility)
    )
    return call


def without_none(annotation: object) -> tuple[object, bool]:
    """The T of `T | None`, and whether it was one."""
    others = [part for part in typing.get_args(annotation) if part is not type(None)]
    if annotation != Vector and len(others) == 1 and len(typing.get_args(annotation)) == 2:
        return others[0], True
    return annotation, False


def sentence(documented: object) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(documented) or "").partition("\n")[0]
