"""How an answer's JSON becomes values: each is checked, so that what a type says is so."""

from __future__ import annotations

from typing import Any, Callable, Protocol, TypeVar

T = TypeVar("T")
#: Reads a value; the second argument says where in the answer it is.
Reader = Callable[[Any, str], T]


class Mismatch(ValueError):
    """The answer is not what the API's description says. Says where, never what is there."""

    def __init__(self, path: str, wanted: str) -> None:
        super().__init__(f"{f'`{path}`' if path else 'it'} is not {wanted}")


class Fields(Protocol):
    """Reads fields of one object."""

    def __call__(self, name: str, reader: Reader[T]) -> T: ...


def text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise Mismatch(path, "text")
    return value


def integer(value: Any, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Mismatch(path, "a whole number")
    return value


def number(value: Any, path: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise Mismatch(path, "a number")
    return value


def flag(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise Mismatch(path, "true or false")
    return value


def verbatim(value: Any, path: str) -> Any:
    """An object that is handed on as it came."""
    return _object(value, path)


def nothing(value: Any, path: str) -> None:
    return None


def items(item: Reader[T]) -> Reader[list[T]]:
    def read(value: Any, path: str) -> list[T]:
        if not isinstance(value, list):
            raise Mismatch(path, "a list")
        return [item(one, f"{path}[{index}]") for index, one in enumerate(value)]

    return read


def entries(item: Reader[T]) -> Reader[dict[str, T]]:
    def read(value: Any, path: str) -> dict[str, T]:
        return {key: item(one, f"{path}.{key}") for key, one in _object(value, path).items()}

    return read


def or_none(reader: Reader[T]) -> Reader[T | None]:
    """What is not there, or ``null``, is ``None``."""
    return lambda value, path: None if value is None else reader(value, path)


def items_or_empty(item: Reader[T]) -> Reader[list[T]]:
    return lambda value, path: [] if value is None else items(item)(value, path)


def entries_or_empty(item: Reader[T]) -> Reader[dict[str, T]]:
    return lambda value, path: {} if value is None else entries(item)(value, path)


def fields(value: Any, path: str) -> Fields:
    found = _object(value, path)

    def of(name: str, reader: Reader[T]) -> T:
        return reader(found.get(name), f"{path}.{name}" if path else name)

    return of


def at(name: str, reader: Reader[T]) -> Reader[T]:
    """One field of an object, for answers that wrap what is asked for."""
    return lambda value, path: fields(value, path)(name, reader)


def _object(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Mismatch(path, "an object")
    return value
