"""What the pages are made of: their files, and the policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template


def part(name: str) -> str:
    """A style sheet, a script or a template beside this module."""
    return (files("harness.reporting.html") / name).read_text(encoding="utf-8")


@lru_cache(maxsize=4)
def template(name: str) -> Template:
    """A page's template; what is put into it is escaped."""
    from jinja2 import Environment, FunctionLoader

    environment = Environment(
        loader=FunctionLoader(part), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)


def policy(style: str, script: str) -> str:
    """A content security policy that allows this style sheet, this script and nothing else."""
    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_sha256(style)}'; script-src '{_sha256(script)}'"
    )


def _sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()
