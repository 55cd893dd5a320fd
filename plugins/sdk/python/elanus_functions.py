"""Binds the functions of the author's module `functions` to the exports of the world `udf`."""

from itertools import repeat

import functions  # noqa: F401  declares itself
from componentize_py_types import Err
from elanus_columns import KINDS, column, error, values
from elanus_plugin import FunctionPlugin, declared_library
from wit_world import exports
from wit_world.exports import scalar_functions as contract
from wit_world.imports import types

if not declared_library.functions:
    raise TypeError("functions.py declares no function: put @function before one")
if not declared_library.name:
    raise TypeError('functions.py has no name: call library(name="..", version="1.0.0")')


def described(function: FunctionPlugin) -> contract.Signature:
    return contract.Signature(
        name=function.name,
        description=function.description,
        parameters=[contract.ParameterType(name, KINDS[kind]) for name, kind, _ in function.parameters],
        returns=KINDS[function.returns],
        volatility=contract.Volatility[function.volatility.upper()],
        # Called row by row, it must not see the value of a null: so the nulls have to cross.
        nulls=contract.NullHandling.CALLED_WITH_NULLS,
    )


def results(function: FunctionPlugin, arguments: list[contract.Argument], rows: int) -> list:
    given = []
    for argument in arguments:
        of_column = values(argument.value)
        given.append(repeat(of_column[0], rows) if isinstance(argument, contract.Argument_Constant) else of_column)
    never_null = [not optional for _, _, optional in function.parameters]
    nullable = any(
        strict and argument.value.validity is not None for strict, argument in zip(never_null, arguments)
    )
    call = function.call
    if not given:
        return [call() for _ in range(rows)]
    if not nullable:
        return [call(*row) for row in zip(*given)]
    return [
        None if any(strict and value is None for strict, value in zip(never_null, row)) else call(*row)
        for row in zip(*given)
    ]


def returned(function: FunctionPlugin, rows: list) -> types.Column:
    try:
        return column(function.returns, rows)
    except (AttributeError, TypeError, ValueError) as raised:
        raise TypeError(f"{function.name} returned values that are no {function.returns}: {raised}") from None


class ScalarFunctions(exports.ScalarFunctions):
    """The two functions of the world."""

    def describe(self) -> contract.Descriptor:
        return contract.Descriptor(
            name=declared_library.name,
            version=declared_library.version,
            functions=[described(function) for function in declared_library.functions],
        )

    def invoke(self, function: int, arguments: list[contract.Argument], rows: int) -> types.Column:
        try:
            called = declared_library.functions[function]
            return returned(called, results(called, arguments, rows))
        except Exception as raised:
            raise Err(error(raised)) from None
