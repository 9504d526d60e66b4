"""Chat templates render as transformers' ``apply_chat_template`` renders them.

The templates are those llama.cpp ships for its own tests, read out of the llama-cpp-python source
distribution: ``$LLAMA_CPP_SDIST`` (the .tar.gz), or fetched with ``pip download``. The reference
renderer is the ``reference`` extra. Whatever is missing skips the test with its reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from harness.jinja import RenderFailed, render_chat_template

pytestmark = pytest.mark.slow

VERSION = version("llama-cpp-python")
FOLDER = "vendor/llama.cpp/models/templates/"
FAMILIES = {
    "Llama 3.1": "meta-llama-Llama-3.1-8B-Instruct",
    "Llama 3.3": "meta-llama-Llama-3.3-70B-Instruct",
    "Gemma 2": "google-gemma-2-2b-it",
    "Gemma 4": "google-gemma-4-31B-it",
    "Qwen 2.5": "Qwen-Qwen2.5-7B-Instruct",
    "Qwen 3": "Qwen-Qwen3-0.6B",
    "QwQ": "Qwen-QwQ-32B",
    "Mistral Nemo": "mistralai-Mistral-Nemo-Instruct-2407",
    "Mistral Small": "Mistral-Small-3.2-24B-Instruct-2506",
    "Phi 3.5": "microsoft-Phi-3.5-mini-instruct",
    "SmolLM 3": "HuggingFaceTB-SmolLM3-3B",
    "DeepSeek R1 distilled": "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
    "DeepSeek V3.1": "deepseek-ai-DeepSeek-V3.1",
    "Granite 3.3": "ibm-granite-granite-3.3-2B-Instruct",
    "Granite 4": "ibm-granite-granite-4.0",
    "Command R7B": "CohereForAI-c4ai-command-r7b-12-2024-tool_use",
    "GLM 4.6": "GLM-4.6",
    "gpt-oss": "openai-gpt-oss-120b",
    "LFM 2": "LFM2-8B-A1B",
    "Kimi K2": "Kimi-K2-Instruct",
    "Apertus": "Apertus-8B-Instruct",
    "Seed-OSS": "ByteDance-Seed-OSS",
    "MiniCPM 5": "openbmb-MiniCPM5-1B",
    "Bielik": "Bielik-11B-v3.0-Instruct",
    "RWKV world": "llama-cpp-rwkv-world",
}
USER = {"role": "user", "content": "Qu'est-ce que c'est? <b>& \"naïve\" 漢字\n\nTwo lines."}
SAID = {"role": "assistant", "content": "An answer.\n- with a list"}
SYSTEM = {"role": "system", "content": "Be brief.\nNo commas."}
CONVERSATIONS = {
    "one question": [USER],
    "with a system text": [SYSTEM, USER],
    "several turns": [USER, SAID, {"role": "user", "content": "Go on"}],
    "system and several turns": [SYSTEM, USER, SAID, {"role": "user", "content": "Go on"}],
}


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Template sources by name, out of the source distribution."""
    given = os.environ.get("LLAMA_CPP_SDIST")
    archive = Path(given) if given else _download(tmp_path_factory.mktemp("sdist"))
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            if FOLDER in member.name and member.name.endswith(".jinja"):
                stream = tar.extractfile(member)
                assert stream is not None
                found[Path(member.name).stem] = stream.read().decode("utf-8")
    return found


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    wanted = ["--no-binary", ":all:", f"llama-cpp-python=={VERSION}"]
    done = subprocess.run([*command, str(folder), *wanted], capture_output=True, text=True)
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode or not archives:
        pytest.skip(
            f"the llama-cpp-python {VERSION} source distribution cannot be fetched "
            f"(set LLAMA_CPP_SDIST to its .tar.gz): {done.stderr[-200:]}"
        )
    return archives[0]


def reference(source: str, messages: list[dict[str, str]], prompt: bool) -> str | None:
    """What transformers renders, None when the template refuses the conversation."""
    utils = pytest.importorskip(
        "transformers.utils.chat_template_utils",
        reason="the reference renderer is not installed: pip install -e '.[reference]'",
    )
    try:
        rendered, _ = utils.render_jinja_template(
            [messages],
            chat_template=source,
            add_generation_prompt=prompt,
            bos_token="<s>",
            eos_token="</s>",
        )
    except Exception:  # jinja2's errors, or whatever a template runs into
        return None
    return str(rendered[0])


def ours(source: str, messages: list[dict[str, str]], prompt: bool) -> str | None:
    """What we render, told the day that the reference takes from the clock."""
    try:
        return render_chat_template(
            source,
            messages,
            bos_token="<s>",
            eos_token="</s>",
            add_generation_prompt=prompt,
            now=datetime.now().isoformat(),
        )
    except RenderFailed:
        return None


@pytest.mark.parametrize("family", FAMILIES)
def test_a_familys_template_renders_as_the_reference_renders_it(
    family: str, templates: dict[str, str]
) -> None:
    source = templates[FAMILIES[family]]
    rendered = 0
    for name, messages in CONVERSATIONS.items():
        for prompt in (True, False):
            expected = reference(source, messages, prompt)
            assert ours(source, messages, prompt) == expected, (name, prompt)
            rendered += expected is not None
    assert rendered >= 4  # a template that refuses everything would agree about nothing


def test_every_other_template_agrees_too(templates: dict[str, str]) -> None:
    others = sorted(set(templates) - set(FAMILIES.values()))
    differing = [
        (name, title)
        for name in others
        for title, messages in CONVERSATIONS.items()
        if ours(templates[name], messages, True) != reference(templates[name], messages, True)
    ]
    assert len(others) >= 12
    assert differing == []
