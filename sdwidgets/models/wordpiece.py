"""BERT's tokenizer: text -> pieces of words, lower case and without accents.

Source: "BERT" (Devlin et al., arXiv 1810.04805, section 3): the vocabulary, which is part of this
package, is that of the published uncased models. Words are split into the longest pieces there are,
from the left. The ``tokenizers`` library does the work.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import AddedToken, Encoding, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

_BERT = Path(__file__).resolve().parents[1] / "weights" / "bert" / "vocab.txt.gz"

UNKNOWN = "[UNK]"
SPECIAL = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]")
INSIDE = "##"
"""What a piece inside a word begins with."""
LONGEST = 100  # characters of a word; a longer word is unknown


class WordPiece:
    """Text to the ids of BERT's tokens, by a vocabulary of pieces.

    Raises ValueError for a vocabulary without one of the `SPECIAL` tokens.
    """

    def __init__(self, vocab: Mapping[str, int]):
        if missing := [token for token in SPECIAL if token not in vocab]:
            raise ValueError(f"the vocabulary has no {missing[0]}")
        model = models.WordPiece(
            vocab=dict(vocab), unk_token=UNKNOWN, max_input_chars_per_word=LONGEST
        )
        backend = Backend(model)
        backend.normalizer = normalizers.BertNormalizer(lowercase=True)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
        backend.add_special_tokens(special)
        self._backend = backend
        self.comma = vocab.get(",")  # None: there is no comma
        self.unknown = vocab[UNKNOWN]

    @property
    def vocab(self) -> dict[str, int]:
        """The id of each token."""
        return self._backend.get_vocab()

    def __len__(self) -> int:
        """The number of ids: the largest id plus 1."""
        return max(self.vocab.values()) + 1

    def controls(self, text: str) -> tuple[str, ...]:
        """The special tokens, such as "[SEP]", that ``text`` spells out, and that are not read as
        text."""
        return tuple(token for token in SPECIAL if token in text)

    def content(self, number: int) -> str:
        """The text of a token; "" if there is none with that id."""
        return self._backend.id_to_token(number) or ""

    def encode(self, text: str) -> Encoding:
        """Return the ids, the tokens and their offsets in ``text``, without start and end."""
        return self._backend.encode(text, add_special_tokens=False)

    def readable(self, tokens: Sequence[str]) -> tuple[str, ...]:
        """Return tokens as text; a word of unknown characters is `UNKNOWN`."""
        return tuple(token.removeprefix(INSIDE) for token in tokens)


def bert_tokenizer() -> WordPiece:
    """Return the tokenizer of BERT's uncased models, with 30,522 tokens."""
    with gzip.open(_BERT, "rt", encoding="utf-8", newline="\n") as file:
        tokens = file.read().split("\n")[:-1]
    return WordPiece({token: number for number, token in enumerate(tokens)})
