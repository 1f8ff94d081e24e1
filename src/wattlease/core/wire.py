"""Our frozen dataclasses as plain JSON data and back, driven by their type hints.

Law: `build(cls, parse(dump(plain(value))))` is `value`, to the last bit, and the same value gives the same bytes.

* A dataclass is an object of its fields in their order; a missing field takes its default, an unknown one is refused.
* A column (numpy) stays an array, for a dumper that knows them; NaN is null there. A column that holds an infinity
  becomes a list with "inf" and "-inf". An empty column of several dimensions is {"shape": [...]}.
* A single float that JSON cannot say is "nan", "inf" or "-inf", since null may mean None.
* A member of a union of dataclasses is {"ClassName": {...}}.
* A mapping keeps its order, because code may walk it.
* A pydantic model is what it prints by alias without its Nones.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel

T = TypeVar("T")
Code = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Codec:
    """How values of one hint become plain data, and back."""

    plain: Code
    build: Code


@dataclass(frozen=True, slots=True)
class Shape:
    """A dataclass's fields with their codecs; `optional` are those that have a default."""

    codecs: tuple[tuple[str, Codec], ...]
    names: frozenset[str]
    optional: frozenset[str]


def plain(value: Any, leave: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The dataclass as JSON data, its numpy columns still arrays, without the fields in `leave`."""
    return {n: code.plain(getattr(value, n)) for n, code in _shape(type(value)).codecs if n not in leave}


def build(cls: type[T], data: object, **given: object) -> T:
    """The value that `plain` took apart; fields in `given` are taken from there. ValueError names field and fault."""
    if not isinstance(data, dict):
        raise ValueError(f"{cls.__name__}: expected an object, found {_brief(data)}")
    shape = _shape(cls)
    unknown = data.keys() - shape.names
    if unknown:
        raise ValueError(f"{cls.__name__}: unknown field {min(unknown)!r}; it knows {', '.join(sorted(shape.names))}")
    made: dict[str, Any] = dict(given)
    for name, codec in shape.codecs:
        if name in data and name not in given:
            made[name] = _field(cls, name, codec, data[name])
    missing = shape.names - shape.optional - made.keys()
    if missing:
        raise ValueError(f"{cls.__name__}: field {min(missing)!r} is missing")
    return cls(**made)


def _field(cls: type, name: str, codec: Codec, data: object) -> object:
    try:
        return codec.build(data)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{cls.__name__}.{name}: {error}") from error


def _resolved(cls: Any) -> Shape:
    if not is_dataclass(cls):
        raise TypeError(f"{cls.__name__} is not a dataclass")
    hints = typing.get_type_hints(cls)
    made = [f for f in fields(cls) if f.init]
    optional = (f.name for f in made if f.default is not MISSING or f.default_factory is not MISSING)
    codecs = tuple((f.name, _codec(hints[f.name])) for f in made)
    return Shape(codecs, frozenset(f.name for f in made), frozenset(optional))


_shape: Callable[[Any], Shape] = cache(_resolved)


@cache
def _codec(hint: Any) -> Codec:
    """The codec of a type hint; TypeError for a hint that has none."""
    origin = typing.get_origin(hint)
    if origin is None:
        return _codec_of_class(hint)
    args = typing.get_args(hint)
    if origin is np.ndarray:
        return _column(np.dtype(typing.get_args(args[1])[0]))
    if origin is tuple:
        return _tuple(args)
    if origin is Literal:
        return Codec(_same, _one_of(args))
    if origin in (typing.Union, types.UnionType):
        return _union(args)
    if isinstance(origin, type) and issubclass(origin, Mapping) and args[0] is str:
        return _mapping(_codec(args[1]))
    raise TypeError(f"no plain data for {hint}")


def _codec_of_class(cls: Any) -> Codec:
    scalar = _SCALARS.get(cls)
    if scalar is not None:
        return scalar
    if isinstance(cls, type) and issubclass(cls, Enum):
        return Codec(lambda value: value.value, cls)
    if isinstance(cls, type) and issubclass(cls, BaseModel):
        return Codec(_dumped, cls.model_validate)
    if isinstance(cls, type) and is_dataclass(cls):
        return Codec(plain, lambda data: build(cls, data))
    raise TypeError(f"no plain data for {cls}")


def _dumped(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _same(value: object) -> object:
    return value


def _number(value: Any) -> float | str:
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _float(data: Any) -> float:
    if isinstance(data, bool) or not (isinstance(data, int | float) or data in ("nan", "inf", "-inf")):
        raise ValueError(f"expected a number, found {_brief(data)}")
    return float(data)


def _exactly(cls: type) -> Code:
    def check(data: object) -> object:
        if type(data) is not cls:
            raise ValueError(f"expected {cls.__name__}, found {_brief(data)}")
        return data

    return check


def _one_of(allowed: tuple[object, ...]) -> Code:
    def check(data: object) -> object:
        if data not in allowed:
            raise ValueError(f"expected one of {', '.join(map(repr, allowed))}, found {_brief(data)}")
        return data

    return check


_SCALARS: dict[Any, Codec] = {
    float: Codec(_number, _float),
    int: Codec(int, _exactly(int)),
    bool: Codec(bool, _exactly(bool)),
    str: Codec(str, _exactly(str)),
    type(None): Codec(_same, _exactly(type(None))),
}


def _list(data: object) -> list[Any]:
    if not isinstance(data, list | tuple):
        raise ValueError(f"expected a list, found {_brief(data)}")
    return list(data)


def _tuple(args: tuple[Any, ...]) -> Codec:
    if len(args) == 2 and args[1] is Ellipsis:
        code = _codec(args[0])
        if args[0] is str:  # thousands of ids a tick: a dumper takes the tuple as it is
            return Codec(_same, lambda data: tuple(map(code.build, _list(data))))
        return Codec(lambda v: [code.plain(x) for x in v], lambda data: tuple(map(code.build, _list(data))))
    codes = tuple(_codec(a) for a in args)

    def built(data: object) -> tuple[Any, ...]:
        return tuple(c.build(x) for c, x in zip(codes, _list(data), strict=True))

    return Codec(lambda value: [c.plain(x) for c, x in zip(codes, value, strict=True)], built)


def _mapping(code: Codec) -> Codec:
    def built(data: object) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise ValueError(f"expected an object, found {_brief(data)}")
        return {key: code.build(x) for key, x in data.items()}

    return Codec(lambda value: {key: code.plain(x) for key, x in value.items()}, built)


def _union(args: tuple[Any, ...]) -> Codec:
    members = tuple(a for a in args if a is not type(None))
    code = _codec(members[0]) if len(members) == 1 else _tagged(members)
    if len(members) == len(args):
        return code
    return Codec(
        lambda value: None if value is None else code.plain(value),
        lambda data: None if data is None else code.build(data),
    )


def _tagged(members: tuple[Any, ...]) -> Codec:
    """A union of dataclasses, told apart by their names."""
    by_name = {m.__name__: m for m in members if isinstance(m, type) and is_dataclass(m)}
    if len(by_name) != len(members):
        raise TypeError(f"no plain data for a union of {', '.join(map(str, members))}")

    def built(data: object) -> object:
        if not isinstance(data, dict) or len(data) != 1 or not data.keys() <= by_name.keys():
            raise ValueError(f"expected one of {', '.join(by_name)} as the only key, found {_brief(data)}")
        ((name, body),) = data.items()
        return build(by_name[name], body)

    return Codec(lambda value: {type(value).__name__: plain(value)}, built)


def _column(dtype: np.dtype[Any]) -> Codec:
    def taken_apart(value: Any) -> object:
        column = np.ascontiguousarray(value, dtype=dtype)
        if dtype.kind == "f" and np.isinf(column).any():
            return _spelled(column.tolist())
        if column.ndim > 1 and not column.size:
            return {"shape": list(column.shape)}
        return column

    def built(data: object) -> object:
        if isinstance(data, dict) and data.keys() == {"shape"}:
            return np.empty(data["shape"], dtype=dtype)
        if not isinstance(data, list | np.ndarray):
            raise ValueError(f"expected a list of {dtype.name}, found {_brief(data)}")
        if dtype.kind == "f":
            return np.array(data, dtype=dtype)  # None becomes NaN, "inf" an infinity
        column = np.array(data)
        if column.size and column.dtype.kind != dtype.kind:
            raise ValueError(f"expected a list of {dtype.name}, found {_brief(data)}")
        return column.astype(dtype)

    return Codec(taken_apart, built)


def _spelled(data: Any) -> Any:
    if isinstance(data, list):
        return [_spelled(x) for x in data]
    if math.isfinite(data):
        return data
    return None if math.isnan(data) else str(data)


def _brief(data: object) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}..."
