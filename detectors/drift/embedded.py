"""Activity by meaning instead of by words: static embeddings, offline.

Words of one sense lie near each other in such a model, so that *harbour* is nearer to *port*
than to *invoice*. A static model (Tulkens and van Dongen, Model2Vec, 2024) is a table of words'
vectors, of which a text's is the mean, a hard baseline to beat (Arora, Liang and Ma, A Simple but
Tough-to-Beat Baseline for Sentence Embeddings, ICLR 2017): no network and no graphics card. It is
a folder on this host and is never downloaded.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from model2vec import StaticModel
    from numpy.typing import NDArray

    _Vector = NDArray[np.float32]

__all__ = ["Meaning", "static_model"]

_FILES = ("config.json", "model.safetensors", "tokenizer.json")
_READ = 600
"""Bytes of a call's arguments or of an objective that are read, as by `Activity`."""
_MEMORY = 0.9
"""Weight of what the activity was before a call: as for `Activity`."""
_OBJECTIVE = 2.0
_ANCHOR_CALLS = 10


@lru_cache(maxsize=2)
def static_model(folder: Path) -> StaticModel:
    """The model in `folder`, read once a process. Raises `ValueError` where there is none."""
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        # Of a name that is no folder, the package would ask a model hub.
        raise ValueError(f"{str(folder)!r} is no folder of a static model: no {missing[0]} in it")
    try:
        from model2vec import StaticModel
    except ImportError as error:
        raise ValueError(
            f"it needs the package model2vec: install lucid-supervisor[embeddings] ({error})"
        ) from error
    try:
        return StaticModel.from_pretrained(folder, force_download=False)
    except Exception as error:
        raise ValueError(f"the model in {str(folder)!r} cannot be read: {error}") from error


class Meaning:
    """One agent's work on one objective, as `Activity` has it, in vectors of a model."""

    def __init__(self, objective: str, model: StaticModel) -> None:
        self._model = model
        self._calls = 0
        self._anchor = _OBJECTIVE * self._vector(objective)
        self._recent = 0 * self._anchor

    def add(self, arguments: bytes) -> float | None:
        """Take a call's arguments; the distance of the activity from the anchor, 0 to 1.

        None while the anchor is being learnt, and where nothing stands in the arguments
        that the model knows.
        """
        vector = self._vector(arguments[:_READ].decode(errors="ignore"))
        if not vector.any():
            return None
        self._calls += 1
        self._recent = _MEMORY * self._recent + (1 - _MEMORY) * vector
        if self._calls <= _ANCHOR_CALLS:
            self._anchor = self._anchor + vector
            return None
        return _distance(self._anchor, self._recent)

    def _vector(self, text: str) -> _Vector:
        """Of length 1; 0 where the model knows no word."""
        vector: _Vector = self._model.encode([text[:_READ]], use_multiprocessing=False)[0]
        length = float(vector @ vector) ** 0.5
        return vector / length if length else vector


def _distance(one: _Vector, other: _Vector) -> float:
    lengths = float(one @ one) ** 0.5 * float(other @ other) ** 0.5
    return min(1.0, max(0.0, 1.0 - float(one @ other) / lengths)) if lengths else 1.0
