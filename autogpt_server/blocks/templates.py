"""Fills Jinja templates that anybody may have written: no way out of the sandbox, and bounds on time and size.

Jinja's own sandbox keeps a template from Python's insides.  It does not keep it from running for ever or from
filling the memory, so every loop, call, filter and piece of text is charged to a budget here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import CodeType
from typing import Any, cast

from jinja2 import Template, TemplateError, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from autogpt_server.errors import BlockError

#: Characters of a template.
_MAX_TEMPLATE = 100_000
#: Characters and items that one rendering may make, in between and in the end.
_MAX_SIZE = 10_000_000
#: Seconds that one rendering may take.
_MAX_SECONDS = 2.0
#: Largest whole number that a call or a filter takes, and digits of one that a formula gives.
_MAX_NUMBER = 100_000

# fmt: off
#: Methods of texts whose result is not much longer than the text.  A call of `replace` is measured first.
_TEXT_METHODS = frozenset((
    "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdecimal", "isdigit",
    "islower", "isnumeric", "isspace", "istitle", "isupper", "lower", "lstrip", "partition", "removeprefix",
    "removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines",
    "startswith", "strip", "swapcase", "title", "upper",
))
# fmt: on


def render(template: str, values: dict[str, Any], *, escape_html: bool = False) -> str:
    """Fill a template.

    Raises:
        BlockError: The template is wrong, reaches for what it may not, or takes too much time or room.
    """
    if len(template) > _MAX_TEMPLATE:
        raise BlockError(f"the template has {len(template):,} characters; the limit is {_MAX_TEMPLATE:,}")
    environment = _Environment(autoescape=escape_html)
    try:
        compiled = Template.from_code(environment, _compile(template, escape_html), environment.globals)
        return "".join(compiled.root_render_func(compiled.new_context(values)))
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise BlockError(f"template{f', line {line}' if line else ''}: {error}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BlockError(f"template: {error}") from None
    except (RecursionError, SyntaxError, MemoryError):
        raise BlockError("template: nested too deeply") from None


@lru_cache(maxsize=256)
def _compile(template: str, escape_html: bool) -> CodeType:
    environment = _Environment(autoescape=escape_html)
    tree = _Charging().visit(environment.parse(template))
    return environment.compile(tree)


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox of one rendering, with the budget that is left of it."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(autoescape=autoescape, finalize=_finalize)
        self.globals.pop("lipsum")
        self.filters = {**_FILTERS, **{name: self._guarded(guard) for name, guard in _GUARDED_FILTERS.items()}}
        self._left = _MAX_SIZE
        self._ends_at = time.monotonic() + _MAX_SECONDS

    def charge(self, size: int) -> None:
        """Take from the budget."""
        self._left -= size + 1
        if self._left < 0:
            raise SecurityError(f"it makes more than {_MAX_SIZE:,} characters or items")
        if time.monotonic() > self._ends_at:
            raise SecurityError(f"it takes longer than {_MAX_SECONDS:g} s")

    def charged(self, value: Any) -> Any:
        """Take the size of a value, all levels of it, from the budget, and return it."""
        waiting: list[Any] = [value]
        size = 0
        while waiting:
            part = waiting.pop()
            size += len(part) if isinstance(part, str) else 1
            if isinstance(part, dict):
                waiting.extend(cast(dict[Any, Any], part))
                waiting.extend(cast(dict[Any, Any], part).values())
            elif isinstance(part, list | tuple):
                waiting.extend(cast(Iterable[Any], part))
            if size + len(waiting) > self._left:
                break
        self.charge(size + len(waiting))
        return value

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.charge(0)
        _check_numbers((*args, *kwargs.values()))
        if getattr(obj, "__name__", "") == "replace" and isinstance(text := getattr(obj, "__self__", None), str):
            self.charge(_replaced_size(text, *args))
        return super().call(context, obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> None:
        """Leave ``str.format`` to ``is_safe_attribute``, which refuses it: its widths have no bound."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        match obj:
            case str():
                return attr in _TEXT_METHODS
            case bytes() | int() | float():
                return False
            case _:
                return super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            raise SecurityError("use the filter `format` instead of %")
        if operator == "*":
            for items, times in ((left, right), (right, left)):
                if isinstance(times, int) and hasattr(items, "__len__"):
                    self.charge(len(items) * max(times, 0))
        if operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
            _check_digits(left.bit_length() * (abs(right) if operator == "**" else 1) + right.bit_length())
        return self.charged(super().call_binop(context, operator, left, right))

    def _guarded(self, guard: Callable[..., int]) -> Callable[..., Any]:
        """A filter that is charged before it runs, for what it is going to make."""
        name = guard.__name__.removeprefix("_size_of_")
        plain = FILTERS[name]
        passed = getattr(plain, "jinja_pass_arg", None)

        def guarded(*args: Any, **kwargs: Any) -> Any:
            given = args[1:] if passed is not None else args
            _check_numbers((*given[1:], *kwargs.values()))
            self.charge(guard(*given, **kwargs))
            return plain(*args, **kwargs)

        if passed is not None:
            guarded.jinja_pass_arg = passed  # pyright: ignore[reportFunctionMemberAccess]
        return guarded


# The context is asked for, though not needed, so that Jinja does not finish constants while it compiles: those
# would not be charged.
@pass_context
def _finalize(context: Any, value: Any) -> Any:
    text = value if isinstance(value, str) else str(context.environment.charged(value))
    context.environment.charge(len(text))
    return text


class _Charging(NodeTransformer):
    """Puts the charges into a template's syntax tree."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        return self._charge_body(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        return self._charge_body(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        call = node.call
        node = self._charge_body(node)
        # Its call stays a call; the sandbox charges it.
        node.call = call
        return node

    def visit_FilterBlock(self, node: nodes.FilterBlock) -> nodes.Node:
        node.body = [self.visit(child) for child in node.body]
        return node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.Node:
        node.body = [self.visit(child) for child in node.body]
        return node

    def _charge_body(self, node: Any) -> Any:
        constant = sum(len(data.data) for child in node.body for data in _find(child, nodes.TemplateData))
        self.generic_visit(node)
        charge = nodes.Call(nodes.EnvironmentAttribute("charge"), [nodes.Const(constant)], [], None, None)
        node.body.insert(0, nodes.ExprStmt(charge).set_lineno(node.lineno))
        return node

    def _charge_value(self, node: Any) -> nodes.Node:
        if getattr(node, "ctx", "load") != "load":
            return node
        self.generic_visit(node)
        return nodes.Call(nodes.EnvironmentAttribute("charged"), [node], [], None, None).set_lineno(node.lineno)

    visit_Concat = visit_Call = visit_Filter = visit_List = visit_Tuple = visit_Dict = _charge_value
    visit_Slice = NodeTransformer.generic_visit


def _find(node: nodes.Node, kind: type[nodes.TemplateData]) -> Iterable[nodes.TemplateData]:
    return [node] if isinstance(node, kind) else node.find_all(kind)


def _check_numbers(values: Iterable[Any]) -> None:
    if any(isinstance(value, int) and abs(value) > _MAX_NUMBER for value in values):
        raise SecurityError(f"calls and filters take no number above {_MAX_NUMBER:,}")


def _check_digits(bits: int) -> None:
    if bits > 10_000:
        raise SecurityError("a number gets too large")


def _replaced_size(text: Any, old: Any, new: Any, *_: Any, **__: Any) -> int:
    return len(str(text)) + str(text).count(str(old)) * len(str(new))


def _size_of_center(value: Any, width: int = 80) -> int:
    return len(str(value)) + width


def _size_of_indent(s: Any, width: Any = 4, *_: Any, **__: Any) -> int:
    return len(str(s)) + (str(s).count("\n") + 1) * (width if isinstance(width, int) else len(str(width)))


def _size_of_replace(s: Any, old: Any, new: Any, *_: Any, **__: Any) -> int:
    return _replaced_size(s, old, new)


def _size_of_format(value: Any, *args: Any, **kwargs: Any) -> int:
    text = str(value)
    if "*" in text or re.search(r"\d{4}", text):
        raise SecurityError("`format` takes no width of more than three digits")
    longest = max((len(arg) for arg in (*args, *kwargs.values()) if isinstance(arg, str)), default=0)
    return len(text) + text.count("%") * max(longest, 1000)


def _size_of_batch(value: Any, linecount: int, fill_with: Any = None) -> int:
    return linecount


def _size_of_slice(value: Any, slices: int, fill_with: Any = None) -> int:
    return slices


def _size_of_wordwrap(s: Any, width: int = 79, break_long_words: bool = True, wrapstring: Any = None, *_: Any) -> int:
    return len(str(s)) * (1 + len(wrapstring or "\n"))


def _size_of_join(value: Any, d: Any = "", attribute: Any = None) -> int:
    return len(value) * len(str(d)) if hasattr(value, "__len__") else _MAX_NUMBER * len(str(d))


def _size_of_tojson(value: Any, indent: int | None = None) -> int:
    return len(str(value)) * (1 + (indent or 0))


_GUARDED_FILTERS: dict[str, Callable[..., int]] = {
    guard.__name__.removeprefix("_size_of_"): guard
    for guard in (
        _size_of_batch,
        _size_of_center,
        _size_of_format,
        _size_of_indent,
        _size_of_join,
        _size_of_replace,
        _size_of_slice,
        _size_of_tojson,
        _size_of_wordwrap,
    )
}
#: `random` would make a rerun differ; the others make large texts from small ones.
_FILTERS = {
    name: function
    for name, function in FILTERS.items()
    if name not in ("random", "urlize", "xmlattr", "pprint", "filesizeformat")
}
