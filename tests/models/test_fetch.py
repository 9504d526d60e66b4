"""Fetching, through the command and the real client, from a hub that misbehaves on demand."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.models import families, resolve_family
from tests.support.hub import TOKEN, Hub
from tests.support.raw_gguf import gguf, of_level, u32

SMALL = of_level("Q4_K_M")
# The client writes to disk in pieces of 10 MB: two of them, so that something is there to keep.
LARGE = of_level("Q8_0", extra=24 << 20)
CUT = 15 << 20
OTHER = of_level("Q4_K_M", extra=256)
EIGHT = of_level("Q8_0")
NAME = "owner/pair-GGUF"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Place:
    """A hub with one repository, and a folder for the caches of the commands run against it."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        self.commit = hub.add_repo(
            NAME, {"pair-Q8_0.gguf": LARGE, "pair-Q4_K_M.gguf": SMALL, "README.md": b"card"}
        )

    def harness(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "harness", *arguments],
            env=self.hub.env(self.folder, **env),
            cwd=self.folder,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )

    def fails(self, *arguments: str, **env: str) -> str:
        """The one line a failing command prints."""
        done = self.harness(*arguments, **env)
        assert done.returncode == 2, done.stdout + done.stderr
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("harness: ")
        return lines[0]

    def works(self, *arguments: str, **env: str) -> str:
        done = self.harness(*arguments, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def blobs(self) -> dict[str, int]:
        """What lies in the cache: blob name -> size."""
        folders = (self.folder / "hf" / "hub").glob("models--*/blobs/*")
        return {path.name: path.stat().st_size for path in folders}

    @property
    def part(self) -> str:
        return f"{digest(LARGE)}.harness.incomplete"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Hub() as hub:
        yield Place(hub, tmp_path)


@pytest.mark.slow
def test_a_level_is_fetched_once_verified_and_then_used_offline(place: Place) -> None:
    out = place.works("fetch", f"{NAME}:q8_0")
    assert digest(LARGE) in out
    assert f"snapshots/{place.commit}/pair-Q8_0.gguf" in Path(out.split()[-1]).as_posix()
    assert place.blobs() == {digest(LARGE): len(LARGE)}
    place.works("fetch", f"{NAME}:Q8_0")
    assert len(place.hub.downloads("Q8_0")) == 1
    place.hub.requests.clear()
    assert digest(LARGE) in place.works("fetch", f"{NAME}:Q8_0", HF_HUB_OFFLINE="1")
    assert place.hub.requests == []


@pytest.mark.slow
def test_levels_and_shards_come_in_one_call(place: Place) -> None:
    first = of_level("Q4_K_M", entries=[u32("split.no", 0), u32("split.count", 2)])
    second = gguf([u32("split.no", 1), u32("split.count", 2)], tensors=[], data=0)
    place.hub.add_repo(
        "owner/big-GGUF",
        {
            "Q4_K_M/big-Q4_K_M-00001-of-00002.gguf": first,
            "Q4_K_M/big-Q4_K_M-00002-of-00002.gguf": second,
        },
    )
    out = place.works("fetch", NAME, "owner/big-GGUF:Q4_K_M", "--levels", "Q8_0,Q4_K_M")
    assert len(out.splitlines()) == 3
    assert set(place.blobs()) == {digest(data) for data in (LARGE, SMALL, first, second)}


@pytest.mark.slow
def test_a_file_that_is_not_of_the_level_in_its_name_is_refused(place: Place) -> None:
    place.hub.add_repo(
        "owner/false",
        {
            "a-Q8_0.gguf": of_level("F32"),
            "a-Q4_K_M.gguf": of_level("Q4_K_M", holds="F32"),
            "a-UD-Q4_K_XL.gguf": of_level("Q8_0"),
        },
    )
    line = place.fails("fetch", "owner/false:Q8_0")
    assert "asked for as Q8_0, but its header says F32 and its tensors are F32 100.0 %" in line
    line = place.fails("fetch", "owner/false:Q4_K_M")
    assert "its header says Q4_K_M and its tensors are F32 100.0 %" in line
    done = place.harness("fetch", "owner/false:UD-Q4_K_XL")
    assert done.returncode == 0
    assert "publisher's own name for a mix of tensors: Q8_0 100.0 %" in done.stderr


@pytest.mark.slow
def test_an_unknown_or_ambiguous_level_lists_the_candidates(place: Place) -> None:
    assert "Q2_K was asked for, there are pair-Q4_K_M.gguf, pair-Q8_0.gguf" in place.fails(
        "fetch", f"{NAME}:Q2_K"
    )
    place.hub.add_repo(NAME, {"a-Q8_0.gguf": SMALL, "b-Q8_0.gguf": OTHER})
    assert "fits 2 files: a-Q8_0.gguf, b-Q8_0.gguf; name one" in place.fails(
        "fetch", f"{NAME}:Q8_0"
    )
    assert digest(OTHER) in place.works("fetch", f"{NAME}:b-Q8_0.gguf")
    assert place.hub.downloads("a-Q8_0") == []


@pytest.mark.slow
def test_unknown_repositories_revisions_and_files_are_named(place: Place) -> None:
    assert "no repository owner/nothing on the hub" in place.fails("fetch", "owner/nothing:Q8_0")
    assert "has no such revision" in place.fails("fetch", f"{NAME}@v9:Q8_0")
    assert "no file x.gguf at main; it has pair-Q4_K_M.gguf" in place.fails(
        "fetch", f"{NAME}:x.gguf"
    )
    assert "no owner/repo:QUANT" in place.fails("fetch", "nothing")


@pytest.mark.slow
def test_a_connection_cut_mid_file_is_resumed_by_range(place: Place) -> None:
    place.hub.fault("Q8_0", cut=CUT)
    place.works("fetch", f"{NAME}:Q8_0")
    ranges = [seen.range for seen in place.hub.downloads("Q8_0")]
    assert len(ranges) == 2
    assert ranges[0] is None
    assert ranges[1] is not None
    assert int(ranges[1].removeprefix("bytes=").rstrip("-")) > 0
    assert place.blobs() == {digest(LARGE): len(LARGE)}


@pytest.mark.slow
def test_a_failed_download_keeps_its_good_part_and_the_next_run_goes_on_there(place: Place) -> None:
    place.hub.fault("Q8_0", cut=CUT)
    place.hub.fault("Q8_0", status=404, times=-1)
    line = place.fails("fetch", f"{NAME}:Q8_0")
    kept = place.blobs()[place.part]
    assert 0 < kept <= CUT
    assert f"{kept} of {len(LARGE)} bytes are kept" in line
    place.hub.faults.clear()
    place.works("fetch", f"{NAME}:Q8_0")
    assert place.hub.downloads("Q8_0")[-1].range == f"bytes={kept}-"
    assert place.blobs() == {digest(LARGE): len(LARGE)}


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.slow
def test_a_busy_hub_is_asked_again(place: Place, status: int) -> None:
    place.hub.fault("revision/main", where="api", status=status, headers={"Retry-After": "0"})
    place.hub.fault("Q4_K_M", status=status, headers={"Retry-After": "0"})
    assert digest(SMALL) in place.works("fetch", f"{NAME}:Q4_K_M")


@pytest.mark.slow
def test_a_hub_that_stays_busy_is_told_in_one_line(place: Place) -> None:
    place.hub.fault("revision/main", where="api", times=-1, status=429)
    assert "too many requests (429); wait" in place.fails("fetch", f"{NAME}:Q4_K_M")
    place.hub.faults.clear()
    place.hub.fault("revision/main", where="api", times=-1, status=502)
    assert "the hub answered 502; try again later" in place.fails("fetch", f"{NAME}:Q4_K_M")
    assert place.blobs() == {}


@pytest.mark.slow
def test_a_hub_that_went_away_leaves_the_cached_copy_and_says_so(place: Place) -> None:
    place.works("fetch", f"{NAME}:Q4_K_M")
    place.hub.fault("revision/main", where="api", times=-1, status=503)
    done = place.harness("fetch", f"{NAME}:Q4_K_M")
    assert done.returncode == 0
    assert digest(SMALL) in done.stdout
    assert "using the cached copy" in done.stderr


@pytest.mark.slow
def test_no_hub_at_all_is_told_in_one_line(place: Place) -> None:
    line = place.fails("fetch", f"{NAME}:Q4_K_M", HF_ENDPOINT="http://127.0.0.1:9")
    assert "the hub cannot be reached" in line
    line = place.fails("fetch", f"{NAME}:Q4_K_M", HF_HUB_OFFLINE="1")
    assert "not in the cache and HF_HUB_OFFLINE is set" in line


def test_a_file_of_the_wrong_length_is_refused(place: Place) -> None:
    place.hub.fault("Q4_K_M", times=-1, short=100)
    line = place.fails("fetch", f"{NAME}:Q4_K_M")
    assert "pair-Q4_K_M.gguf: the hub sent another length than it lists" in line
    assert digest(SMALL) not in place.blobs()


def test_changed_bytes_of_the_right_length_are_refused_with_both_digests(place: Place) -> None:
    damaged = SMALL[:-1] + b"\x77"
    place.hub.fault("Q4_K_M", data=damaged)
    line = place.fails("fetch", f"{NAME}:Q4_K_M")
    assert digest(damaged) in line
    assert digest(SMALL) in line
    assert place.blobs() == {}


def test_a_file_that_is_no_gguf_is_refused_by_name(place: Place) -> None:
    page = b"<html>" + bytes(5000)
    place.hub.add_repo(NAME, {"pair-Q8_0.gguf": page})
    assert "pair-Q8_0.gguf is no GGUF file: it begins with b'<htm'" in place.fails(
        "fetch", f"{NAME}:Q8_0"
    )
    assert place.blobs() == {}


def test_a_gguf_that_is_broken_on_the_hub_is_refused_by_name(place: Place) -> None:
    place.hub.add_repo(NAME, {"pair-Q8_0.gguf": LARGE[:2000]})
    assert "pair-Q8_0.gguf is no usable GGUF file" in place.fails("fetch", f"{NAME}:Q8_0")


@pytest.mark.slow
def test_a_pin_that_the_hub_no_longer_has_downloads_nothing(place: Place) -> None:
    line = place.fails("fetch", f"{NAME}:Q4_K_M", "--sha256", digest(OTHER))
    assert digest(OTHER) in line
    assert digest(SMALL) in line
    assert place.hub.downloads("") == []
    assert digest(SMALL) in place.works("fetch", f"{NAME}:Q4_K_M", "--sha256", digest(SMALL))


@pytest.mark.slow
def test_a_file_that_changed_upstream_is_never_taken_silently(place: Place) -> None:
    place.works("fetch", f"{NAME}:Q4_K_M")
    place.hub.add_repo(NAME, {"pair-Q4_K_M.gguf": OTHER})
    line = place.fails("fetch", f"{NAME}:Q4_K_M")
    assert "changed upstream" in line
    assert digest(SMALL) in line
    assert digest(OTHER) in line
    old = f"{NAME}@{place.commit}:pair-Q4_K_M.gguf"
    assert digest(SMALL) in place.works("fetch", old)
    assert digest(OTHER) in place.works("fetch", f"{NAME}:Q4_K_M", "--update")
    assert digest(OTHER) in place.works("fetch", f"{NAME}:Q4_K_M")


@pytest.mark.slow
def test_a_cached_file_that_rotted_is_noticed(place: Place) -> None:
    place.works("fetch", f"{NAME}:Q4_K_M")
    (blob,) = (place.folder / "hf" / "hub").glob(f"models--*/blobs/{digest(SMALL)}")
    blob.write_bytes(SMALL[:-1] + b"\x77")
    line = place.fails("fetch", f"{NAME}:Q4_K_M", HF_HUB_OFFLINE="1")
    assert "is damaged in the cache" in line
    assert digest(SMALL) in place.works("fetch", f"{NAME}:Q4_K_M")


@pytest.mark.parametrize(
    "status",
    [200, 301, *(pytest.param(status, marks=pytest.mark.slow) for status in (204, 206))],
)
def test_a_listing_that_is_no_json_is_one_line(place: Place, status: int) -> None:
    headers = {"Location": "/nowhere"} if status == 301 else {}
    place.hub.fault("revision/main", where="api", status=status, times=-1, headers=headers)
    line = place.fails("fetch", f"{NAME}:Q4_K_M")
    assert NAME in line
    assert "Traceback" not in line


def test_a_redirect_loop_is_one_line(place: Place) -> None:
    place.hub.fault(
        "/api/",
        where="api",
        status=307,
        times=-1,
        headers={"Location": place.hub.url + "/api/models/" + NAME + "/revision/main"},
    )
    line = place.fails("fetch", f"{NAME}:Q4_K_M")
    assert NAME in line


@pytest.mark.parametrize("asked", ["²", "999999", "-5", "Wed, 21 Oct 2015 07:28:00 GMT"])
@pytest.mark.slow
def test_a_strange_wish_to_wait_is_neither_obeyed_nor_a_traceback(place: Place, asked: str) -> None:
    place.hub.fault(
        "revision/main", where="api", status=429, times=-1, headers={"Retry-After": asked}
    )
    begin = time.monotonic()
    line = place.fails("fetch", f"{NAME}:Q4_K_M")
    assert "too many requests (429)" in line
    assert ("asks to wait 999999 seconds" in line) == (asked == "999999")
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize(
    "name", ["/etc/x-Q2_K.gguf", "..\\x-Q2_K.gguf", "../x-Q2_K.gguf", "c:x-Q2_K.gguf"]
)
@pytest.mark.slow
def test_a_name_that_leads_out_of_the_cache_does_not_exist(place: Place, name: str) -> None:
    place.hub.add_repo("owner/evil", {name: SMALL, "good-Q4_K_M.gguf": SMALL})
    assert "Q2_K was asked for, there are good-Q4_K_M.gguf" in place.fails(
        "fetch", "owner/evil:Q2_K"
    )
    place.works("fetch", "owner/evil:Q4_K_M")


@pytest.mark.slow
def test_a_gated_repository_says_what_to_do_and_opens_with_a_token(place: Place) -> None:
    place.hub.add_repo("owner/gated", {"g-Q8_0.gguf": EIGHT}, gated=True)
    for token in ({}, {"HF_TOKEN": "hf_of_someone_who_did_not_accept"}):
        line = place.fails("fetch", "owner/gated:Q8_0", **token)
        assert "is gated" in line
        assert "accept its terms at https://huggingface.co/owner/gated" in line
        assert "HF_TOKEN" in line
    assert place.blobs() == {}
    place.works("fetch", "owner/gated:Q8_0", HF_TOKEN=TOKEN)
    served = place.hub.downloads("g-Q8_0")
    assert served
    assert not any(seen.authorized for seen in served), "the token went to the CDN"


@pytest.mark.slow
def test_a_private_repository_looks_like_one_that_is_not_there(place: Place) -> None:
    place.hub.add_repo("owner/private", {"p-Q8_0.gguf": EIGHT}, private=True)
    assert "set HF_TOKEN if it is private" in place.fails("fetch", "owner/private:Q8_0")
    place.works("fetch", "owner/private:Q8_0", HF_TOKEN=TOKEN)


def test_a_full_disk_is_noticed_before_the_first_byte(place: Place) -> None:
    place.hub.claimed["pair-Q8_0.gguf"] = 10**17
    line = place.fails("fetch", f"{NAME}:Q8_0")
    assert "100000000.1 GB are needed" in line
    assert "GB free" in line
    assert place.hub.downloads("") == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_kill_9_during_a_download_leaves_nothing_that_a_later_run_trusts(place: Place) -> None:
    place.hub.fault("Q8_0", slow=0.05)
    with subprocess.Popen(
        [sys.executable, "-m", "harness", "fetch", f"{NAME}:Q8_0"],
        env=place.hub.env(place.folder),
        cwd=place.folder,
        stderr=subprocess.DEVNULL,
    ) as process:
        for _ in range(400):
            if place.hub.downloads("Q8_0"):
                break
            time.sleep(0.05)
        time.sleep(2.5)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert set(place.blobs()) <= {place.part}
    line = place.fails("fetch", f"{NAME}:Q8_0", HF_HUB_OFFLINE="1")
    assert "not in the cache" in line
    assert digest(LARGE) in place.works("fetch", f"{NAME}:Q8_0")
    assert place.blobs() == {digest(LARGE): len(LARGE)}


@pytest.mark.slow
def test_a_part_that_went_bad_is_not_completed_into_a_trusted_file(place: Place) -> None:
    place.hub.fault("Q8_0", cut=CUT)
    place.hub.fault("Q8_0", status=404, times=-1)
    place.fails("fetch", f"{NAME}:Q8_0")
    (part,) = (place.folder / "hf" / "hub").glob(f"models--*/blobs/{place.part}")
    with part.open("rb+") as stream:
        stream.seek(5 << 20)
        stream.write(b"\x00garbage")
    place.hub.faults.clear()
    assert "nothing was kept; fetch it again" in place.fails("fetch", f"{NAME}:Q8_0")
    assert digest(LARGE) in place.works("fetch", f"{NAME}:Q8_0")


def test_inspect_takes_a_name_on_the_hub(place: Place) -> None:
    out = place.works("inspect", f"{NAME}:Q4_K_M", "--json")
    assert f'"source": "{NAME}@{place.commit}:pair-Q4_K_M.gguf"' in out


@pytest.mark.slow
def test_a_family_is_fetched_stage_by_stage_at_each_level(place: Place) -> None:
    for stage, spec in resolve_family("smollm2-135m").items():
        repo = spec.partition("@")[0]
        level = {"Q8_0": LARGE, "Q4_K_M": SMALL}
        files = {f"{stage}.{name}.gguf": data for name, data in level.items()}
        place.hub.add_repo(repo, files)
    out = place.works("fetch", "smollm2-135m", "--levels", "Q8_0,Q4_K_M")
    names = [Path(line.split()[-1]).name for line in out.splitlines()]
    assert names == [
        "base.Q8_0.gguf",
        "base.Q4_K_M.gguf",
        "instruct.Q8_0.gguf",
        "instruct.Q4_K_M.gguf",
    ]


@pytest.mark.slow
def test_the_registry_is_verified_online_and_what_is_missing_is_named(place: Place) -> None:
    every = [
        (name, stage, *spec.split("@"))
        for name in families()
        for stage, spec in resolve_family(name).items()
    ]
    for _, _, repo, revision in every:
        commit = place.hub.add_repo(repo, {"x-Q8_0.gguf": SMALL})
        place.hub.repos["model", repo].branches[revision] = commit
    out = place.works("fetch", "--verify-families")
    assert out.count("1 GGUF files at") == len(every)
    assert out.splitlines()[-1] == "all there"
    name, stage, repo, _ = every[0]
    del place.hub.repos["model", repo]
    done = place.harness("fetch", "--verify-families")
    assert done.returncode == 2
    assert f"{name}/{stage}: no repository {repo} on the hub" in done.stdout
    assert "1 of the registry's stages could not be verified" in done.stdout
