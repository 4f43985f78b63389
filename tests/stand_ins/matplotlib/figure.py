"""A figure on which everything can be drawn, and nothing is to be seen."""

from typing import Any


class _Anything:
    """Has every attribute, can be called, cut into panels and gone through."""

    def __getattr__(self, name: str) -> "_Anything":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *arguments: Any, **options: Any) -> "_Anything":
        return self

    def __getitem__(self, place: Any) -> "_Anything":
        return self

    def __iter__(self):
        return iter((self, self, self))


class Figure(_Anything):
    """What curves.py draws on; it is written as a file without content."""

    def __init__(self, *arguments: Any, **options: Any):
        del arguments, options
