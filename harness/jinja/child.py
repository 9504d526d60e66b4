"""The rendering child: Jinja2 in an immutable sandbox, one JSON line in, one per text out.

Run as a script by :mod:`harness.jinja.parent`, never imported by it, so it stands on the
standard library and Jinja2 alone. Templates are untrusted programs: a loop without end or a
string of a terabyte cannot be stopped inside the process that runs it, only from outside. Hence
a process of its own, started with a memory limit where the platform has one, killed by its parent
when a text takes too long, and by an alarm of its own a little later, should the parent be gone.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NoReturn

# A script's own folder leads sys.path: drop it before it can shadow another package's modules.
sys.path = [entry for entry in sys.path if not entry.replace("\\", "/").endswith("/harness/jinja")]

import jinja2  # noqa: E402
import jinja2.ext  # noqa: E402
import jinja2.meta  # noqa: E402
from jinja2 import nodes  # noqa: E402
from jinja2.parser import Parser  # noqa: E402
from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: E402


class Refused(jinja2.TemplateError):
    """A limit was passed, or the template itself called ``raise_exception``."""


class Generation(jinja2.ext.Extension):
    """``{% generation %}``: transformers marks the assistant's tokens with it; its body renders."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Scope:
        """The block's body in a scope of its own, as transformers' call block gives it."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja2's immutable sandbox with bounded repetition and powers."""

    # Also keeps the compiler from folding such constants while it reads the template.
    intercepted_binops = frozenset({"*", "**"})
    limit = 0

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse ``"a" * 10**10`` and ``9**9**9`` before they are computed."""
        if operator == "**" and isinstance(right, int | float) and abs(right) > 64:
            raise Refused("a power with an exponent above 64")
        for many, some in ((left, right), (right, left)):
            if (
                operator == "*"
                and isinstance(some, int)
                and isinstance(many, str | list | tuple)
                and len(many) * some > self.limit
            ):
                raise Refused(f"a repetition longer than {self.limit} items")
        return super().call_binop(context, operator, left, right)


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """``tojson`` as chat templates expect it: no HTML escapes, non-ASCII characters as they are."""
    if isinstance(indent, int) and indent > 16:
        raise Refused("tojson with an indent above 16")
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def raise_exception(message: object) -> NoReturn:
    """What chat templates call to refuse a conversation."""
    raise Refused(str(message))


def environment(mode: str, now: str, limit: int) -> Sandbox:
    """Lenient like transformers for ``chat`` templates, strict for our own (``text``)."""
    env = Sandbox(
        trim_blocks=True,
        # Our loader has dropped the last newline of the file; any other was meant.
        keep_trailing_newline=mode == "text",
        lstrip_blocks=True,
        undefined=jinja2.Undefined if mode == "chat" else jinja2.StrictUndefined,
        extensions=[Generation, "jinja2.ext.loopcontrols"],
    )
    env.limit = limit
    env.globals.pop("lipsum", None)
    if mode == "chat":
        moment = datetime.fromisoformat(now)
        env.filters["tojson"] = to_json
        env.globals["raise_exception"] = raise_exception
        env.globals["strftime_now"] = moment.strftime
    return env


_ADDRESS = re.compile(r"<[^<>\n]{1,200} at 0x[0-9a-f]{6,16}>")


def bounded(template: jinja2.Template, context: Mapping[str, Any], limit: int) -> str:
    """The rendered text; Refused when it grows past ``limit`` characters."""
    parts: list[str] = []
    length = 0
    for part in template.generate(context):
        length += len(part)
        if length > limit:
            raise Refused(f"more than {limit} characters")
        parts.append(part)
    text = "".join(parts)
    if found := _ADDRESS.search(text):
        # What Python shows of an object without a text of its own; it differs from run to run.
        given = json.dumps(context, ensure_ascii=False, default=str)
        if found[0] not in given.replace("\\n", "\n"):
            raise Refused("it prints an object's memory address, which differs between runs")
    return text


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """End this process when the block takes longer, where the platform can (not on Windows)."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


def answer(job: Mapping[str, Any]) -> None:
    """One line per context (or one with the undeclared names), or one line with the error."""
    patience = job["seconds"] + 2
    env = environment(job["mode"], job["now"], job["limit"])
    if job["task"] == "names":
        with alarm(patience):
            names = sorted(jinja2.meta.find_undeclared_variables(env.parse(job["source"])))
        say({"names": names})
        return
    with alarm(patience):
        template = env.from_string(job["source"])
    for context in job["contexts"]:
        try:
            with alarm(patience):
                text = bounded(template, context, job["limit"])
            say({"text": text})
        except (Exception, RecursionError, MemoryError) as error:
            say({"error": describe(error)})


def describe(error: BaseException) -> str:
    """One line: the template's own words when it refused, else the kind of error too."""
    words = " ".join(str(error).split())[:500]
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"line {error.lineno}: {words}"
    kind = "out of memory" if isinstance(error, MemoryError) else type(error).__name__
    return words if isinstance(error, Refused) else f"{kind}: {words}".removesuffix(": ")


def say(line: Mapping[str, Any]) -> None:
    """Write one JSON line and flush it."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Answer jobs until the parent closes our standard input."""
    for line in sys.stdin:
        try:
            answer(json.loads(line))
        except (Exception, RecursionError, MemoryError) as error:
            say({"error": describe(error)})


if __name__ == "__main__":
    main()
