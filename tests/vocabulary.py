"""A small CLIP vocabulary: every byte, with and without an end of word, and some merges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel

MERGES = ["c a", "ca t</w>", "d o", "do g</w>", "a n</w>", "t h", "th e</w>"]


def write_vocabulary(folder: Path) -> int:
    """Write vocab.json and merges.txt into ``folder``; return the number of tokens."""
    letters = sorted(ByteLevel.alphabet())  # a character for each of the 256 bytes
    words = [*letters, *(letter + "</w>" for letter in letters)]
    words += [merge.replace(" ", "") for merge in MERGES]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")
    return len(words)


def write_one_file(folder: Path, **changes: Any) -> None:
    """Replace the two files by a tokenizer.json; ``changes`` are made to its model."""
    vocab = json.loads((folder / "vocab.json").read_text())
    merges = (folder / "merges.txt").read_text().splitlines()[1:]
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    model = {"type": "BPE", "vocab": vocab, "merges": merges, "end_of_word_suffix": "</w>"}
    content = {"added_tokens": [], "model": model | changes}
    (folder / "tokenizer.json").write_text(json.dumps(content))
