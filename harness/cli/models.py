"""Commands that turn a name into a file: fetch, inspect, quantize, imatrix, doctor."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from harness.cli.app import app
from harness.cli.options import JSON, print_json
from harness.errors import ConfigError, DigestMismatch, ModelError
from harness.sanitize import for_terminal

if TYPE_CHECKING:
    from harness.models.doctor import Finding
    from harness.models.hub import Wanted
    from harness.records import ModelFile

_SPEC = "A file, a folder with --level, family/stage:QUANT, or owner/repo:QUANT."


def _note(text: str) -> None:
    """Say on stderr what a reader of the output should know, if there is anything."""
    if text:
        typer.echo(for_terminal(f"note: {text}"), err=True)


def _say(text: str = "") -> None:
    """Print untrusted text so that it cannot act on the terminal."""
    typer.echo(for_terminal(text))


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


@app.command(
    epilog="Examples: harness fetch smollm2-135m --levels Q8_0,Q4_K_M; "
    "harness fetch owner/repo-GGUF:Q4_K_M; harness fetch owner/repo@COMMIT:file.gguf"
)
def fetch(
    names: list[str] = typer.Argument(
        None, metavar="NAME...", help="A family, family/stage, or owner/repo[@revision]:QUANT|FILE."
    ),
    levels: str = typer.Option(
        "", "--levels", help="Levels, comma-separated, where NAME has none (families: Q8_0)."
    ),
    sha256: str = typer.Option(None, "--sha256", help="The digest the one file must have."),
    update: bool = typer.Option(
        False, "--update", help="Take a file that changed upstream since it was fetched."
    ),
    listing: bool = typer.Option(False, "--list", help="List the families and their stages."),
    verify_families: bool = typer.Option(
        False, "--verify-families", help="Ask the hub whether every repository listed is there."
    ),
) -> None:
    """Download models, verify them against the hub's record, and keep them in its cache.

    An interrupted download goes on where it stopped. HF_TOKEN opens gated repositories,
    HF_HUB_OFFLINE=1 forbids the network, HF_HOME moves the cache.
    """
    if listing:
        _list_families()
        return
    if verify_families:
        raise typer.Exit(_verify_families())
    if not names:
        raise ConfigError("fetch what? Name a family (harness fetch --list) or owner/repo:QUANT")
    from harness.models import inspect_model, require_level
    from harness.models.hub import fetch_all

    wanted = [item for name in names for item in _wanted(name, _items(levels), sha256, update)]
    if sha256 and len(wanted) > 1:
        raise ConfigError(f"--sha256 pins one file, {len(wanted)} are asked for; name one")
    for item, path in zip(wanted, fetch_all(wanted, progress=sys.stderr.isatty()), strict=True):
        model = inspect_model(path)
        if asked := item.remote.level(item.level):
            _note(require_level(model, asked))
        if sha256 and model.sha256 != sha256.lower():
            raise DigestMismatch(
                f"{path.name} is pinned to sha256 {sha256.lower()}, it has {model.sha256}"
            )
        _say(f"{model.level:<8} {model.size / 1e6:9.1f} MB  sha256 {model.sha256}  {model.path}")


def _wanted(name: str, levels: list[str], sha256: str | None, update: bool) -> list[Wanted]:
    """What one NAME asks for: every stage of a family at every level, or one place on the hub."""
    from harness.models import families, resolve_family
    from harness.models.hub import Wanted
    from harness.models.spec import parse_remote

    specs = [name]
    if name in families():
        specs = list(resolve_family(name).values())
        levels = levels or ["Q8_0"]
    found = []
    for spec in specs:
        remote = parse_remote(spec)
        for level in levels if levels and not remote.what else [None]:
            found.append(Wanted(remote, level, sha256, update))
    return found


def _list_families() -> None:
    from harness.models import families

    for name, entry in families().items():
        _say(f"{name}: {entry.get('about', '')}")
        for stage, where in entry["stages"].items():
            _say(
                f"  {stage:<10} {where['repo']}@{where['revision']}  verified: {where['verified']}"
            )


def _verify_families() -> int:
    """Ask for every repository of the registry; returns the exit code."""
    from harness.models import families
    from harness.models.hub import listing_of
    from harness.models.spec import Remote

    failed = 0
    for name, entry in families().items():
        for stage, where in entry["stages"].items():
            try:
                listing = listing_of(Remote(where["repo"], where["revision"]))
            except ModelError as error:
                failed += 1
                _say(f"{name}/{stage}: {error}")
                continue
            files = [file for file in listing.files if file.lower().endswith(".gguf")]
            failed += not files
            _say(f"{name}/{stage}: {len(files)} GGUF files at {where['repo']}@{listing.commit}")
    _say(f"{failed} of the registry's stages could not be verified" if failed else "all there")
    return 2 if failed else 0


@app.command(epilog="Example: harness inspect model-Q4_K_M.gguf --json")
def inspect(
    file: str = typer.Argument(help=_SPEC),
    level: str = typer.Option(None, "--level", help="The level, when FILE does not name one."),
    sha256: bool = typer.Option(False, "--sha256", help="Print the sha256 and nothing else."),
    as_json: bool = typer.Option(False, "--json", help="Print everything as JSON."),
    against: str = typer.Option(
        None, "--against", help="The tuned model of the pair: say what differs and what it spoils."
    ),
) -> None:
    """Show what a GGUF file is: size, levels, tokenizer, template, and what is odd about it."""
    from harness.models import (
        asked_level,
        compare_pair,
        inspect_model,
        require_level,
        resolve_model,
    )

    model = inspect_model(resolve_model(file, level=level, base_dir=Path()))
    if asked := level or asked_level(file):
        _note(require_level(model, asked))
    if sha256:
        _say(f"{model.sha256}  {model.path}")
        return
    other = None
    if against:
        other = inspect_model(resolve_model(against, level=level, base_dir=Path()))
    differences = compare_pair(model, other) if other else ()
    if as_json:
        record: dict[str, Any] = asdict(model) | {"path": str(model.path)}
        if other:
            record["differences"] = [asdict(difference) for difference in differences]
        typer.echo(json.dumps(record, indent=2, ensure_ascii=True, sort_keys=True))
        return
    for label, value in _facts(model):
        _say(f"{label:<18} {value}")
    for difference in differences:
        _say(f"{'fatal difference' if difference.fatal else 'difference':<18} {difference}")
    if other and not differences:
        _say(f"{'pair':<18} same architecture, shape, tokenizer, level and quantizer settings")


def _facts(model: ModelFile) -> list[tuple[str, str]]:
    """The lines of ``harness inspect``, label and value."""
    from harness.models.levels import misnamed

    meta = model.metadata
    template = model.chat_template
    odd = [*meta["inspect.odd"], *meta["inspect.template"], *misnamed(model)]
    if meta["inspect.named_templates"]:
        odd.append(f"further templates: {', '.join(meta['inspect.named_templates'])}")
    shards = meta["inspect.shards"]
    origin = [
        str(meta[key])
        for key in (
            "general.source.url",
            "general.repo_url",
            "general.url",
            "general.base_model.0.repo_url",
        )
        if key in meta
    ]
    licence = meta.get("general.license.name") or meta.get("general.license") or "not given"
    lines = [
        ("file", str(model.path) + (f" and {len(shards) - 1} more shards" if shards[1:] else "")),
        ("sha256", model.sha256),
        ("size", f"{model.size / 1e6:.1f} MB"),
        ("name", str(meta.get("general.name", "not given"))),
        ("architecture", model.architecture),
        ("parameters", f"{model.parameters / 1e6:.1f} M in {meta['inspect.tensors']} tensors"),
        ("context length", f"{model.context_length} tokens"),
        ("level", model.level + _imatrix(meta)),
        ("bits per weight", f"{model.bits_per_weight:.2f}"),
        ("tensor types", _shares(model)),
        ("fallback types", _fallback(meta)),
        (
            "tokenizer",
            f"{meta['inspect.tokenizer']['model']}/{meta['inspect.tokenizer']['pre']}, "
            f"{meta['inspect.tokens']} tokens, digest {model.tokenizer_digest[:16]}",
        ),
        ("special tokens", ", ".join(f"{k.upper()} {v}" for k, v in model.special.items())),
        ("chat template", f"{len(template)} characters" if template else "none"),
        ("licence", str(licence)),
        ("origin", origin[0] if origin else "not given"),
    ]
    return lines + [("odd", sentence) for sentence in odd]


def _imatrix(meta: Any) -> str:
    dataset = meta.get("quantize.imatrix.dataset")
    used = meta.get("quantize.imatrix.file") or dataset
    return f", importance matrix over {dataset or 'unknown data'}" if used else ""


def _shares(model: ModelFile) -> str:
    return ", ".join(
        f"{name} {100 * count / model.parameters:.1f} %"
        for name, count in model.tensor_types.items()
    )


def _fallback(meta: Any) -> str:
    share = meta["inspect.fallback_share"]
    if not share:
        return "none"
    return f"{100 * share:.1f} % of the weights, in {', '.join(meta['inspect.fallback_types'])}"


@app.command(epilog="Example: harness quantize model-F16.gguf --levels Q8_0,Q4_K_M -o levels/")
def quantize(
    file: str = typer.Argument(help="The F16, BF16 or F32 GGUF file to make levels of."),
    levels: str = typer.Option(
        "Q8_0,Q6_K,Q5_K_M,Q4_K_M,Q3_K_M,Q2_K", "--levels", help="Levels, comma-separated."
    ),
    imatrix: Path = typer.Option(
        None, "--imatrix", help="Importance matrix (llama.cpp's GGUF or .dat format)."
    ),
    out: Path = typer.Option(
        None, "-o", "--out", help="Folder for the files (default: the cache)."
    ),
    requantize: bool = typer.Option(
        False, "--requantize", help="Permit a source that is quantized already."
    ),
) -> None:
    """Make quantization levels of a model with llama.cpp's own quantizer."""
    from harness.models import inspect_model, resolve_model
    from harness.models import quantize as make

    wanted = _items(levels)
    if not wanted:
        raise ConfigError("--levels names no level; for example --levels Q8_0,Q4_K_M")
    source = resolve_model(file, base_dir=Path())
    if out:
        out.mkdir(parents=True, exist_ok=True)
    for level in wanted:
        fresh: list[str] = []
        path = make(
            source,
            level,
            imatrix=imatrix,
            out=out,
            requantize=requantize,
            on_start=partial(fresh.append, "made"),
        )
        made = inspect_model(path)
        state = fresh[0] if fresh else "already made"
        _say(
            f"{made.level:<8} {made.size / 1e6:9.1f} MB  {made.bits_per_weight:5.2f} bits/weight  "
            f"{state}  {path}"
        )


@app.command(epilog="Example: harness imatrix model-F16.gguf --suite starter -o model.imatrix.gguf")
def imatrix(
    model: str = typer.Argument(help="The model, best in F16: a file or a name for the hub."),
    suite: str = typer.Option(..., "--suite", help="Suite (name or file) whose prompts are read."),
    out: Path = typer.Option(..., "-o", "--out", help="The GGUF file to write."),
    limit: int = typer.Option(None, "-n", "--limit", min=1, help="Read only the first N prompts."),
) -> None:
    """Compute an importance matrix over a suite's prompts, for `harness quantize --imatrix`.

    It holds the mean squared input of every weight column, as llama.cpp's llama-imatrix computes
    it. Runs on the CPU. Do not measure on the suite it was computed over: take another one.
    """
    from harness.checks import validate
    from harness.datasets import load_suite, suite_name
    from harness.models import resolve_model
    from harness.models.imatrix.compute import compute_imatrix

    samples = load_suite(suite, validate=validate, limit=limit)
    texts = ["\n\n".join(message.content for message in sample.messages) for sample in samples]
    path = compute_imatrix(
        resolve_model(model, base_dir=Path()), texts, out, dataset=suite_name(suite)
    )
    _say(f"{path}: importance matrix over {len(texts)} prompts of {suite_name(suite)}")


@app.command()
def doctor(
    as_json: bool = JSON,
) -> None:
    """Check Python, llama.cpp, devices, disk and the hub, and say what to do about each.

    Exit code 2 when something is missing without which nothing runs.
    """
    from harness.models.doctor import examine

    findings = examine()
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print_findings(findings)
    if any(finding.state == "FAIL" for finding in findings):
        raise typer.Exit(2)


def _print_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        _say(f"{finding.state:<5} {finding.what:<16} {finding.found}")
        if finding.advice:
            _say(f"{'':<22} -> {finding.advice}")
