"""Where a suite lies: shipped by name, a file or a folder of yours, standard input, or the hub."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from harness.atomic import write_text
from harness.errors import FetchError, SuiteError
from harness.hashing import file_sha256, tagged_hash, text_sha256
from harness.intake import TEXT_BYTES, near, shown
from harness.resources import find_resource, made_folder, resource_dir

Source = str | Path | Mapping[str, str | None]

HUB: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ifeval": ("google/IFEval", ("ifeval_input_data.jsonl",)),
    "ifbench": (
        "allenai/IFBench_test",
        ("data/train-00000-of-00001.parquet", "IFBench_test.jsonl"),
    ),
}
"""Published suites: the hub's dataset repository, and the names its one file has had."""

PIN = "sha256"
"""Key of a suite's entry that says which file it must be: ``{suite: starter, sha256: ...}``."""


FORMS = (".jsonl", ".csv", ".txt", ".md", ".parquet")
"""How the files of a folder end that are read as its suite."""

FILES = 10_000
"""Most files of one folder."""


def suite_sha256(source: Source) -> str:
    """sha256 of the suite's file as it lies on disk (what ``sha256sum`` says).

    Of a folder: the tagged hash of its files' names and digests.
    """
    return _digest(locate(source)[1])


def _digest(place: Path) -> str:
    if not place.is_dir():
        return file_sha256(place)
    return tagged_hash("suite", [[file.name, file_sha256(file)] for file in files_of(place)])


def files_of(place: Path) -> list[Path]:
    """The files that a suite's place holds: itself, or what a folder has of :data:`FORMS`.

    A README, hidden files and folders inside are no part of it. Raises SuiteError.
    """
    if not place.is_dir():
        return [place]
    try:
        found = sorted(
            path
            for path in place.iterdir()
            if path.suffix.lower() in FORMS
            and not path.name.lower().startswith((".", "readme"))
            and path.is_file()
        )
    except OSError as error:
        raise SuiteError(f"{place}: the folder cannot be read: {error.strerror}") from error
    if not found:
        raise SuiteError(f"{place}: the folder holds no prompts; read are {', '.join(FORMS)}")
    if len(found) > FILES:
        raise SuiteError(f"{place}: {len(found)} files; at most {FILES} are read")
    return found


def refuse_another_file(source: Source, path: Path) -> None:
    """Raise when the suite is pinned and its file is not the pinned one."""
    pin = source.get(PIN) if isinstance(source, Mapping) else None
    if pin is None:
        return
    found = _digest(path)
    if found != pin.lower():
        raise SuiteError(
            f"suites: {path} has sha256 {found}, pinned is {pin:.64}: the suite has changed; "
            "restore the pinned file, or change the pin and say that scores are of another suite"
        )


def piped_suite(stream: TextIO) -> Path:
    """The suite that a pipe brings, kept in the cache under its digest to be read again.

    JSONL where the first character is ``{``, CSV where the first line has a column ``prompt``,
    else text. Raises SuiteError for nothing, for too much, and for what is not UTF-8.
    """
    try:
        text = stream.read(TEXT_BYTES + 1)
    except UnicodeDecodeError as error:
        raise SuiteError(f"standard input: not UTF-8 text (byte {error.start})") from error
    if len(text) > TEXT_BYTES:
        raise SuiteError(f"standard input: more than {TEXT_BYTES} characters; give a file")
    if not text.strip():
        raise SuiteError("standard input: no prompts came; pipe them in, or name a file")
    path = made_folder("suites") / f"stdin-{text_sha256(text)[:12]}{_form(text)}"
    write_text(path, text)
    return path


def _form(text: str) -> str:
    first = text.lstrip("\ufeff \t\r\n")
    if first.startswith("{"):
        return ".jsonl"
    header = next(csv.reader([first.partition("\n")[0]]), [])
    return ".csv" if "prompt" in header else ".txt"


def suite_name(source: Source) -> str:
    """The name a suite goes by in reports: ``starter``, ``ifeval``, a file's stem."""
    if isinstance(source, Mapping):
        plain = _unpinned(source)
        return suite_name(plain) if isinstance(plain, str) else _published(plain)[0]
    return Path(source).stem or Path(source).resolve().stem


def locate(source: Source) -> tuple[str, Path]:
    """A suite's name and its file or folder, fetched first when it is published, without a path."""
    if isinstance(source, Mapping):
        plain = _unpinned(source)
        if isinstance(plain, str):
            return locate(plain)
        name, given = _published(plain)
        if given is None:
            return name, _fetch(name)
        if find_resource("datasets", given, "") is None:
            raise SuiteError(f"suite {name}: there is no file {given:.200}")
        return name, Path(given)
    found = find_resource("datasets", str(source), ".jsonl")
    if found is not None:
        return found.stem, found
    if str(source) in HUB:
        return str(source), _fetch(str(source))
    if (folder := own_place(source)) is not None:
        return suite_name(source), folder
    names = sorted(path.stem for path in resource_dir("datasets").glob("*.jsonl"))
    shipped, hint = ", ".join(names), near(source, [*names, *HUB])
    raise SuiteError(
        f"there is no suite, file or folder {str(source)!r}; {hint}shipped: {shipped or 'none'}; "
        f"published: {', '.join(HUB)}"
    )


def own_place(source: str | Path) -> Path | None:
    """A user's own file, or a folder whose name is no shipped or published suite's; else None."""
    path = Path(source)
    try:
        if path.is_file():
            return path
        named = find_resource("datasets", str(source), ".jsonl") is not None or str(source) in HUB
        return path if path.is_dir() and not named else None
    except (OSError, ValueError):  # a name that no file system takes
        return None


def _unpinned(source: Mapping[str, str | None]) -> str | Mapping[str, str | None]:
    """A suite's entry without its pin: ``{suite: starter, sha256: ...}`` -> ``starter``."""
    rest = {key: value for key, value in source.items() if key != PIN}
    if list(rest) == ["suite"] and isinstance(rest["suite"], str):
        return rest["suite"]
    return rest


def _published(source: Mapping[str, str | None]) -> tuple[str, str | None]:
    if len(source) != 1 or next(iter(source)) not in HUB:
        known = " or ".join(f"{{{name}: path}}" for name in HUB)
        raise SuiteError(
            f"suites: a suite is a name, a path, {known}, or {{suite: name, sha256: digest}}; "
            f"found {shown(source)}"
        )
    return next(iter(source.items()))


def _fetch(name: str) -> Path:
    """The suite's file from the hub's cache, downloaded if need be."""
    import huggingface_hub
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
    )

    repository, filenames = HUB[name]
    cure = f"or give a local file: {{{name}: path}}"
    problem: Exception | None = None
    endpoint = os.environ.get("HF_ENDPOINT") or None
    for filename in filenames:  # what was fetched once stays what it is, whatever the hub has now
        with contextlib.suppress(LocalEntryNotFoundError):
            return Path(
                huggingface_hub.hf_hub_download(
                    repository, filename, repo_type="dataset", local_files_only=True
                )
            )
    for filename in filenames:
        try:
            if problem is None and not huggingface_hub.is_offline_mode():
                # Asked once and quickly: the download would try for half a minute to connect.
                with contextlib.suppress(HfHubHTTPError):  # it answered, whatever it said
                    huggingface_hub.HfApi(endpoint=endpoint).dataset_info(repository, timeout=10)
            return Path(
                huggingface_hub.hf_hub_download(
                    repository, filename, repo_type="dataset", endpoint=endpoint
                )
            )
        except LocalEntryNotFoundError as error:
            problem = error
        except EntryNotFoundError as error:
            problem = problem or error
        except Exception as error:  # every other way the hub, the network or the disk says no
            raise FetchError(f"suite {name}: cannot fetch {repository}: {error}; {cure}") from error
    raise FetchError(
        f"suite {name}: {repository} has none of {', '.join(filenames)} within reach; "
        f"check the network and HF_HUB_OFFLINE, {cure}"
    ) from problem
