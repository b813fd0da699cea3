"""Expressions before they are compiled: names looked up, types checked, nulls made explicit.

Enters: the text of an expression, and what its names stand for. Leaves: the same expression in plain CEL, which the
library compiles, over flat variables: ``v0 …`` for the values of the names, ``n0 …`` for whether they are null.

CEL itself has two kinds of numbers that do not mix, and takes null for a value that differs from every other. Here

- every number is a double: ``amount / 100`` is a division of doubles, and a division by zero has no value;
- a null has no value either, and neither has what is computed or compared with it; ``&&`` and ``||`` need only the
  side that decides, as in CEL;
- ``x == null``, ``x != null`` and ``has(x)`` ask for it, of a name alone.

There are no macros, so an expression takes time in proportion to its length and to its values' length.
"""

import math
import re
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple, NoReturn

from kernel.errors import InvalidDefinition

#: Longer expressions are refused, before anything looks into them.
MAX_LENGTH: Final = 2_000
#: Deeper ones, too: the library's parser recurses on the machine's stack.
MAX_DEPTH: Final = 24
# A divisor stands twice in the result: nested divisions would double it each time.
_MAX_WRITTEN: Final = 20_000


class Kind(Enum):
    """What a value is; its value says so in words."""

    NUMBER = "a number"
    TEXT = "a string"
    FLAG = "a condition (true or false)"
    LIST = "a list of strings"


#: What a dotted name stands for: its kind, None for an unknown one.
Lookup = Callable[[str], Kind | None]


class Checked(NamedTuple):
    """An expression: its text in CEL, the names it reads, whose places number its variables, the patterns it matches."""

    text: str
    names: tuple[str, ...]
    patterns: tuple[str, ...]


class _Node(NamedTuple):
    kind: Kind | None  # None: the literal null
    text: str
    name: int | None = None  # the place of a name that stands alone, in brackets or not
    literal: str | None = None


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    | (?P<name>[A-Za-z_]\w*)
    | (?P<sign>&&|\|\||[<>=!]=|[-+*/%!<>?:()\[\],.])
    )""",
    re.VERBOSE | re.ASCII,
)
_METHODS: Final = ("startsWith", "endsWith", "contains", "matches")


class Checker:
    """Reads one expression. ``check`` is the whole of it."""

    def __init__(self, text: str, lookup: Lookup, *, path: str) -> None:
        self._text, self._lookup, self._path = text, lookup, path
        self._tokens: list[tuple[str, str]] = []
        self._at = 0
        self._depth = 0
        self._names: list[str] = []
        self._patterns: list[str] = []

    def check(self, wanted: Kind) -> Checked:
        """The expression, if it is one of this kind.

        Raises
        ------
        InvalidDefinition
            Too long or too deep, not CEL, an unknown name, kinds that do not go together, another kind than wanted.
        """
        if len(self._text) > MAX_LENGTH:
            self._refuse(f"at most {MAX_LENGTH} characters", f"{len(self._text)}")
        self._split()
        node = self._ternary()
        if self._peek() != "":
            self._refuse("the end of the expression, or an operator", self._peek())
        if node.kind is not wanted:
            self._refuse(wanted.value, self._words(node))
        if len(node.text) > _MAX_WRITTEN:
            self._refuse("fewer divisions within divisors", "too many")
        return Checked(node.text, tuple(self._names), tuple(self._patterns))

    # Tokens.

    def _split(self) -> None:
        at, text = 0, self._text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                rest = text[at:].lstrip()
                self._refuse("an expression in CEL, of names, numbers, strings and operators", rest[:20])
            self._tokens.append((str(match.lastgroup), match.group(str(match.lastgroup))))
            at = match.end()
        self._tokens.append(("end", ""))

    def _peek(self, ahead: int = 0) -> str:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)][1]

    def _kind_of_next(self) -> str:
        return self._tokens[self._at][0]

    def _next(self) -> str:
        token = self._tokens[self._at][1]
        self._at += 1
        return token

    def _takes(self, *signs: str) -> str | None:
        return self._next() if self._peek() in signs and self._kind_of_next() in ("sign", "name") else None

    def _expect(self, sign: str) -> None:
        if self._takes(sign) is None:
            self._refuse(sign, self._peek() or "the end of the expression")

    # Grammar, from what binds least to what binds most.

    def _ternary(self) -> _Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(f"at most {MAX_DEPTH} levels of nesting", "more")
        node = self._either()
        if self._takes("?"):
            self._want(node, Kind.FLAG)
            yes = self._either()
            self._expect(":")
            no = self._ternary()
            if yes.kind is None or yes.kind is not no.kind:
                self._refuse("two values of one kind, beside ':'", f"{self._words(yes)} and {self._words(no)}")
            node = _Node(yes.kind, f"({node.text} ? {yes.text} : {no.text})")
        self._depth -= 1
        return node

    def _either(self) -> _Node:
        return self._logical("||", lambda: self._logical("&&", self._relation))

    def _logical(self, sign: str, inner: Callable[[], _Node]) -> _Node:
        node = inner()
        while self._takes(sign):
            right = inner()
            self._want(node, Kind.FLAG)
            self._want(right, Kind.FLAG)
            node = _Node(Kind.FLAG, f"{node.text} {sign} {right.text}")
        return node

    def _relation(self) -> _Node:
        left = self._sum()
        while sign := self._takes("<=", ">=", "<", ">", "==", "!=", "in"):
            right = self._sum()
            left = self._compared(left, sign, right)
        return left

    def _compared(self, left: _Node, sign: str, right: _Node) -> _Node:
        if left.kind is None or right.kind is None:
            return self._null_test(left, sign, right)
        if sign == "in":
            if right.kind is not Kind.LIST or left.kind is not Kind.TEXT:
                self._refuse("a string in a list of strings", f"{self._words(left)} in {self._words(right)}")
        elif left.kind is not right.kind or left.kind is Kind.LIST:
            expected = f"two values of one kind that can be compared, beside {sign!r}"
            self._refuse(expected, f"{self._words(left)} and {self._words(right)}")
        elif left.kind is Kind.FLAG and sign not in ("==", "!="):
            self._refuse("two numbers or strings", "two conditions")
        return _Node(Kind.FLAG, f"{left.text} {sign} {right.text}")

    def _null_test(self, left: _Node, sign: str, right: _Node) -> _Node:
        tested = right if left.kind is None else left
        if sign not in ("==", "!=") or tested.name is None:
            self._refuse("a name alone, compared with null by == or !=", f"{self._words(tested)} {sign} null")
        return _Node(Kind.FLAG, f"n{tested.name}" if sign == "==" else f"!n{tested.name}")

    def _sum(self) -> _Node:
        node = self._product()
        while sign := self._takes("+", "-"):
            right = self._product()
            if sign == "+" and node.kind is Kind.TEXT:
                self._want(right, Kind.TEXT)
            else:
                self._want(node, Kind.NUMBER)
                self._want(right, Kind.NUMBER)
            node = _Node(node.kind, f"{node.text} {sign} {right.text}")
        return node

    def _product(self) -> _Node:
        node = self._unary()
        while sign := self._takes("*", "/", "%"):
            if sign == "%":
                self._refuse("one of + - * /", "%, which CEL has for whole numbers only")
            right = self._unary()
            self._want(node, Kind.NUMBER)
            self._want(right, Kind.NUMBER)
            text = f"{node.text} {sign} {right.text}"
            if sign == "/" and not (right.literal is not None and float(right.literal)):
                text = f"({right.text} != 0.0 ? {text} : none)"  # no such variable: no value
            node = _Node(Kind.NUMBER, text)
            if len(text) > _MAX_WRITTEN:
                self._refuse("fewer divisions within divisors", "too many")
        return node

    def _unary(self) -> _Node:
        signs = 0
        if self._peek() in ("!", "-") and self._kind_of_next() == "sign":
            sign = self._peek()
            while self._takes(sign):
                signs += 1
            node = self._member()
            self._want(node, Kind.FLAG if sign == "!" else Kind.NUMBER)
            return _Node(node.kind, f"{sign}({node.text})") if signs % 2 else _Node(node.kind, f"({node.text})")
        return self._member()

    def _member(self) -> _Node:
        node = self._primary()
        while self._kind_of_next() == "sign" and self._peek() in (".", "["):
            if self._peek() == "[" or self._peek(2) != "(":
                self._refuse("an operator", f"{self._peek()}{self._peek(1)}")
            self._next()
            node = self._called(node, self._next())
        return node

    def _called(self, of: _Node, method: str) -> _Node:
        if method not in _METHODS:
            self._refuse(f"one of the functions {', '.join(_METHODS)}", method)
        self._want(of, Kind.TEXT)
        (argument,) = self._arguments(method, 1)
        self._want(argument, Kind.TEXT)
        if method == "matches":
            if argument.literal is None:
                self._refuse("a pattern written as a string", self._words(argument))
            self._patterns.append(argument.literal)
        return _Node(Kind.FLAG, f"({of.text}).{method}({argument.text})")

    def _arguments(self, function: str, count: int) -> list[_Node]:
        self._expect("(")
        found: list[_Node] = []
        while not self._takes(")"):
            if found:
                self._expect(",")
            found.append(self._ternary())
        if len(found) != count:
            self._refuse(f"{count} argument of {function}", f"{len(found)}")
        return found

    def _primary(self) -> _Node:
        kind, word = self._kind_of_next(), self._next()
        if kind == "number":
            return self._number(word)
        if kind == "string":
            return _Node(Kind.TEXT, word, literal=word)
        if kind == "name":
            return self._named(word)
        if word == "(":
            node = self._ternary()
            self._expect(")")
            return node._replace(text=f"({node.text})", literal=None)
        if word == "[":
            return self._listed()
        return self._refuse("a name, a number, a string or a bracket", word or "the end of the expression")

    def _number(self, token: str) -> _Node:
        value = float(token)
        if value == math.inf:
            self._refuse("a finite number", token)
        return _Node(Kind.NUMBER, repr(value), literal=token)

    def _listed(self) -> _Node:
        members: list[_Node] = []
        while not self._takes("]"):
            if members:
                self._expect(",")
            members.append(self._ternary())
            self._want(members[-1], Kind.TEXT)
        return _Node(Kind.LIST, f"[{', '.join(each.text for each in members)}]")

    def _named(self, first: str) -> _Node:
        if first in ("true", "false"):
            return _Node(Kind.FLAG, first)
        if first == "null":
            return _Node(None, "null")
        if self._peek() == "(":
            return self._function(first)
        name = first
        while self._peek() == "." and self._tokens[self._at + 1][0] == "name" and self._peek(2) != "(":
            self._next()
            name += f".{self._next()}"
        found = self._lookup(name)
        if found is None:
            self._refuse("a name that is known here", name)
        if name not in self._names:
            self._names.append(name)
        place = self._names.index(name)
        return _Node(found, f"v{place}", name=place)

    def _function(self, name: str) -> _Node:
        if name not in ("has", "size"):
            self._refuse(f"one of the functions has, size, {', '.join(_METHODS)}", name)
        (argument,) = self._arguments(name, 1)
        if name == "has":
            if argument.name is None:
                self._refuse("has(name)", f"has({self._words(argument)})")
            return _Node(Kind.FLAG, f"!n{argument.name}")
        if argument.kind not in (Kind.TEXT, Kind.LIST):
            self._refuse("a string or a list in size(…)", self._words(argument))
        return _Node(Kind.NUMBER, f"double(size({argument.text}))")

    # Refusals.

    def _want(self, node: _Node, kind: Kind) -> None:
        if node.kind is not kind:
            self._refuse(kind.value, self._words(node))

    def _words(self, node: _Node) -> str:
        words = "null" if node.kind is None else node.kind.value
        return words if node.name is None else f"{self._names[node.name]}, {words}"

    def _refuse(self, expected: str, actual: str) -> NoReturn:
        raise InvalidDefinition([(self._path, expected, actual)])
