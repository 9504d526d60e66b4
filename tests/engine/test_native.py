from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import native
from harness.engine import open_tokenizer
from harness.errors import EngineError, ModelInvalid


def test_the_build_and_its_devices_are_known() -> None:
    build = native.build_info()
    assert native.PACKAGE_VERSION in build.package
    assert native.LLAMA_VERSION in build.llama_build
    assert build.backend
    kinds = {device.kind for device in native.devices()}
    assert "cpu" in kinds
    assert all(device.total_memory >= device.free_memory for device in native.devices())


def test_whoever_imports_the_bindings_afterwards_gets_all_of_them_on_the_same_library() -> None:
    low = native.load()
    import llama_cpp

    assert llama_cpp.llama_cpp is low
    assert llama_cpp.Llama is not None
    assert native._package_version() == llama_cpp.__version__ == native.PACKAGE_VERSION


def test_llama_cpps_own_reason_for_a_failure_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.gguf"
    path.write_text("hello", encoding="utf-8")
    with pytest.raises(ModelInvalid, match="invalid magic characters: 'hell'"):
        open_tokenizer(path)


def test_a_library_of_another_version_is_refused() -> None:
    library = SimpleNamespace(llama_version=lambda: b"9.9.9")
    with pytest.raises(EngineError, match=r"found .* with 9\.9\.9; run `make setup`"):
        native._require_pinned(library)


def test_structures_that_read_back_other_defaults_are_refused() -> None:
    low = native.load()
    wrong = low.llama_context_default_params()
    wrong.n_ctx = 513
    library = SimpleNamespace(
        llama_version=low.llama_version,
        llama_model_default_params=low.llama_model_default_params,
        llama_context_default_params=lambda: wrong,
    )
    with pytest.raises(EngineError, match="default n_ctx should read back as 512, found 513"):
        native._require_pinned(library)
