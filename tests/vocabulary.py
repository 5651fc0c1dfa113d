"""A small CLIP vocabulary: every byte, with and without an end of word, and some merges."""

from __future__ import annotations

import json
from pathlib import Path

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
