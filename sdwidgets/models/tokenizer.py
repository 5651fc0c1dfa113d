"""CLIP's tokenizer: text -> byte-level byte pairs, lower case, ``</w>`` at a word's end.

Sources: "Learning Transferable Visual Models From Natural Language Supervision" (Radford et al.,
arXiv 2103.00020, section 2.4); byte pairs of "Neural Machine Translation of Rare Words with Subword
Units" (Sennrich et al., arXiv 1508.07909, section 3.2). The ``tokenizers`` library does the work.
The files are those that transformers writes. CLIP's own merges are part of this package, since
files of single models have no vocabulary.
"""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Encoding, Regex, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from ..errors import CheckpointError, CheckpointNotFound
from ..strict_json import parse_object

END_OF_WORD = "</w>"
LARGEST = 16 * 2**20  # bytes of a tokenizer's file; CLIP's have 1 to 4 million
MOST = 400_000  # values in it; CLIP's have up to 200,000

_CLIP = Path(__file__).resolve().parents[1] / "weights" / "clip" / "merges.txt.gz"

# The special tokens, and CLIP's names for them.
SPECIAL = {
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "unk_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
}
# A word: a contraction, letters, a single digit, or anything else but spaces.
_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


class Tokenizer:
    """Text to the ids of CLIP's tokens.

    ``merges`` are the pairs in the order in which they were learnt. ``added`` are the tokens that
    are found before the text is split into words, by id. ``bos``, ``eos`` and ``pad`` are ids.
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        *,
        special: Mapping[str, str | AddedToken] | None = None,
        added: Iterable[AddedToken] = (),
    ):
        """``special`` names the tokens of `SPECIAL` that differ from CLIP's. Tokens of ``special``
        and ``added`` that are not in ``vocab`` get the next ids. Raises ValueError for merges of
        tokens that are not in ``vocab``."""
        roles = {**SPECIAL, **(special or {})}
        if not all(roles.values()):
            raise ValueError("a special token is empty")
        tokens = {
            role: token
            if isinstance(token, AddedToken)
            else AddedToken(token, special=True, normalized=False)
            for role, token in roles.items()
        }
        try:
            model = models.BPE(
                vocab=dict(vocab),
                merges=list(merges),
                unk_token=tokens["unk_token"].content,
                continuing_subword_prefix="",
                end_of_word_suffix=END_OF_WORD,
            )
        except Exception as error:  # the library raises Exception itself
            raise ValueError(str(error)) from None
        backend = Backend(model)
        backend.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        found = {token.content: token for token in added}
        named = {token.content: token for token in tokens.values()}
        for token in {**found, **named, **found}.values():  # ids follow in this order
            add = backend.add_special_tokens if token.special else backend.add_tokens
            add([token])
        self._backend = backend
        self.merges = tuple(merges)
        ids = backend.get_vocab()
        self.bos = ids[tokens["bos_token"].content]
        self.eos = ids[tokens["eos_token"].content]
        self.pad = ids[tokens["pad_token"].content]
        self.comma = ids.get("," + END_OF_WORD)  # None: there is no comma alone
        self.unknown: int | None = None  # it has a token for each byte

    @property
    def vocab(self) -> dict[str, int]:
        """The id of each token, including added tokens."""
        return self._backend.get_vocab()

    def disorder(self) -> tuple[str, str] | None:
        """Return the first two tokens whose ids are not in the order in which they were learnt.

        Every trainer of byte pairs counts up. With other ids, the vocabulary is that of another
        tokenizer with the same tokens. None if all are in order.
        """
        ids, last = self.vocab, ""
        for token in dict.fromkeys(first + second for first, second in self.merges):
            if last and ids[token] < ids[last]:
                return last, token
            last = token
        return None

    @property
    def added(self) -> dict[int, AddedToken]:
        return self._backend.get_added_tokens_decoder()

    def __len__(self) -> int:
        """The number of ids: the largest id plus 1."""
        return max(self.vocab.values(), default=-1) + 1

    def controls(self, text: str) -> tuple[str, ...]:
        """The special tokens, such as "<|endoftext|>", that ``text`` spells out.

        As in CLIP, they are not read as text: they start, end or pad it.
        """
        special = (token.content for token in self.added.values() if token.special)
        return tuple(content for content in special if content in text)

    def content(self, number: int) -> str:
        """The text of a token; "" if there is none with that id."""
        return self._backend.id_to_token(number) or ""

    def encode(self, text: str) -> Encoding:
        """Return the ids, the tokens and their offsets in ``text``, without start and end."""
        return self._backend.encode(text, add_special_tokens=False)

    def readable(self, tokens: Sequence[str]) -> tuple[str, ...]:
        """Return byte-level tokens as text, with each character at the token of its last byte."""
        table = _bytes_of_characters()
        decoder = codecs.getincrementaldecoder("utf-8")("replace")

        def readable(token: str) -> str:
            try:
                return decoder.decode(bytes(table[c] for c in token.removesuffix(END_OF_WORD)))
            except KeyError:  # a token added to the vocabulary stands for its own characters
                return token

        return tuple(map(readable, tokens))


def clip_tokenizer() -> Tokenizer:
    """Return the tokenizer of all published CLIP models, with 49,408 tokens.

    Its merges are those of CLIP's code (https://github.com/openai/CLIP), which tell its vocabulary.
    """
    with gzip.open(_CLIP, "rt", encoding="utf-8", newline="\n") as file:
        merges = _merges(file.read().split("\n"))
    return Tokenizer(_vocabulary_of(merges), merges)


def _vocabulary_of(merges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return the ids as CLIP counts them: bytes, bytes that end a word, merges, start and end.

    Printable Latin-1 bytes come first and stand for themselves; U+0100 onwards stand for the rest.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [*map(chr, printable), *(chr(0x100 + n) for n in range(256 - len(printable)))]
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters)]
    tokens += [first + second for first, second in merges]
    tokens += [SPECIAL["bos_token"], SPECIAL["eos_token"]]
    return {token: number for number, token in enumerate(tokens)}


@cache
def _bytes_of_characters() -> dict[str, int]:
    """Return the byte for which each character of a byte-level vocabulary stands.

    Printable Latin-1 characters stand for themselves, the other bytes for U+0100 onwards in order
    ("Language Models are Unsupervised Multitask Learners", Radford et al. 2019, section 2.2).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Return the CLIP tokenizer in ``folder``: ``tokenizer.json``, or ``vocab.json`` and
    ``merges.txt``.

    If they exist, ``tokenizer_config.json``, ``special_tokens_map.json`` and ``added_tokens.json``
    name tokens as for transformers. Raises CheckpointNotFound if files are missing, and
    CheckpointError if they do not make a CLIP tokenizer.
    """
    folder = Path(folder)
    try:
        if (folder / "tokenizer.json").is_file():
            vocab, merges, added = _of_one_file(folder / "tokenizer.json")
        else:
            for name in ("vocab.json", "merges.txt"):
                if not (folder / name).is_file():
                    raise CheckpointNotFound(f"No tokenizer in {folder}: {name} is missing.")
            vocab = _vocabulary(_json(folder / "vocab.json"))
            merges, added = _merges(_text(folder / "merges.txt").split("\n")), {}
        special, more = _named_tokens(folder)
        added |= more
        tokenizer = Tokenizer(
            vocab, merges, special=special, added=[added[number] for number in sorted(added)]
        )
        for number, token in added.items():
            if tokenizer.vocab.get(token.content) != number:
                raise ValueError(f"the added token {token.content[:40]!r} cannot have id {number}")
    except CheckpointNotFound:
        raise
    except (ValueError, OverflowError, OSError) as error:
        raise CheckpointError(
            f"No CLIP tokenizer could be read from {folder}: {str(error)[:200]}.\n"
            "Download the model again."
        ) from None
    return tokenizer


Parts = tuple[dict[str, int], list[tuple[str, str]], dict[int, AddedToken]]


def _of_one_file(path: Path) -> Parts:
    """Return vocabulary, merges and added tokens of a tokenizer.json. The rest of it is ignored:
    texts are split into words in CLIP's way, as in transformers."""
    data = _json(path)
    model = data.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise ValueError(f"{path.name} holds no byte pairs")
    if model.get("end_of_word_suffix") != END_OF_WORD:
        raise ValueError(f"{path.name} does not end words with {END_OF_WORD}, as CLIP's do")
    tokens = data.get("added_tokens") or []
    if not isinstance(tokens, list):
        raise ValueError("added_tokens is not a list")
    added = {}
    for token in tokens:
        parsed = _added_token(token)
        added[_id(token.get("id"))] = parsed
    return _vocabulary(model.get("vocab")), _merges(model.get("merges")), added


def _named_tokens(folder: Path) -> tuple[dict[str, str | AddedToken], dict[int, AddedToken]]:
    """Return the tokens that start, end and pad a text, and the added tokens by id.

    Newer folders have both in tokenizer_config.json, older folders in two files beside it.
    """
    config = _json_if_there(folder / "tokenizer_config.json")
    listed = config.get("added_tokens_decoder")
    if listed is not None:
        if not isinstance(listed, dict):
            raise ValueError("added_tokens_decoder is not an object")
        return _special(config), {_id(key): _added_token(token) for key, token in listed.items()}
    special = _special(config) | _special(_json_if_there(folder / "special_tokens_map.json"))
    names = {each if isinstance(each, str) else each.content for each in special.values()}
    names |= set(SPECIAL.values())
    added = {
        _id(number): AddedToken(content, special=content in names, normalized=content not in names)
        for content, number in _json_if_there(folder / "added_tokens.json").items()
    }
    return special, added


def _special(data: Mapping[str, Any]) -> dict[str, str | AddedToken]:
    named: dict[str, str | AddedToken] = {}
    for role in SPECIAL:
        token = data.get(role)
        if token is not None:
            is_text = isinstance(token, str)
            named[role] = token if is_text else _added_token(_object(token) | {"special": True})
    return named


def _added_token(data: Any) -> AddedToken:
    data = _object(data)
    content = data.get("content")
    if not isinstance(content, str) or not content:
        raise ValueError("an added token is not a text")
    flags = {}
    for name in ("single_word", "lstrip", "rstrip", "normalized", "special"):
        value = data.get(name)
        if value is not None:
            if type(value) is not bool:
                raise ValueError(f"{name} of the token {content[:40]!r} is not true or false")
            flags[name] = value
    return AddedToken(content, **flags)


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError("a token is neither a text nor an object")
    return data


def _id(value: Any) -> int:
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if type(number) is not int or not 0 <= number < 2**31:
        raise ValueError(f"{str(value)[:40]!r} is not a token's id")
    return number


def _vocabulary(data: Any) -> dict[str, int]:
    if not isinstance(data, dict) or not data:
        raise ValueError("the vocabulary is not an object of ids")
    if len({_id(number) for number in data.values()}) != len(data):
        raise ValueError("two tokens of the vocabulary have the same id")
    return data


def _merges(lines: Any) -> list[tuple[str, str]]:
    if not isinstance(lines, list):
        raise ValueError("the merges are not a list")
    merges = []
    for number, line in enumerate(lines, 1):
        if isinstance(line, str):
            line = line.removesuffix("\r")
            if not line or (number == 1 and line.startswith("#version")):
                continue
            line = line.split(" ")
        match line:
            case [str(first), str(second)]:
                merges.append((first, second))
            case _:
                raise ValueError(f"merge {number} is not a pair of tokens")
    return merges


def _json_if_there(path: Path) -> dict[str, Any]:
    return _json(path) if path.is_file() else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        return parse_object(_text(path), subject="its JSON is ", most=MOST)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def _text(path: Path) -> str:
    with open(path, "rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"{path.name} has more than {LARGEST:,} bytes")
    return data.decode("utf-8")
