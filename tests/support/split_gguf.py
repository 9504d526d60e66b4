"""Split a GGUF file in two shards, as llama-gguf-split does."""

from __future__ import annotations

from pathlib import Path

import gguf


def split(source: Path, folder: Path) -> Path:
    """Write two shards of a model; returns the first."""
    folder.mkdir(parents=True)
    reader = gguf.GGUFReader(source)
    half = len(reader.tensors) // 2
    paths = []
    for number, tensors in enumerate((reader.tensors[:half], reader.tensors[half:])):
        path = folder / f"{source.stem}-{number + 1:05d}-of-00002.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        if number == 0:
            _copy(reader, writer)
        else:
            writer.kv_data[0].pop("general.architecture")
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in tensors:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        paths.append(path)
    return paths[0]


def _copy(reader: gguf.GGUFReader, writer: gguf.GGUFWriter) -> None:
    for name, entry in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        inner = entry.types[1] if len(entry.types) > 1 else None
        writer.add_key_value(name, entry.contents(), entry.types[0], inner)
