"""What the side panel reads of a manager, as plain data; see `contract.SIDE_SAYS`."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..checkpoints.listing import Listed
from ..checks import shortened
from ..contract import SIDE_LIMITS
from ..folders import without_folders
from ..manager import Job
from .results import name_of
from .watching import in_words


def job_entry(job: Job) -> dict[str, Any]:
    """A job; see `contract.SIDE_JOB`."""
    error, request = job.error, job.request
    message = without_folders(job.message) if error is None else in_words(error)
    return {
        "id": job.id,
        "model": named(job.model),
        "prompt": None if request is None else cut(request.settings.prompts[0]),
        "state": job.state,
        "message": cut(message),
        "step": job.step,
        "steps": job.steps,
        "seconds": rounded(job.seconds),
        "eta": rounded(job.eta),
        "ahead": job.ahead,
    }


def model_entries(
    listed: Sequence[Listed],
    loaded: Collection[str],
    loading: Collection[str],
    failed: Mapping[str, str],
) -> list[dict[str, Any]]:
    """The listed models, and those that are only in memory; see `contract.SIDE_MODEL`.

    ``failed``: why models could not be loaded, by name.
    """
    entries = [
        {
            "name": one.name,
            "title": cut(one.title),
            "place": one.place,
            "what": cut(one.what),
            "bytes": one.bytes,
            "state": one.state,
            "why": cut(without_folders(one.why)),
        }
        for one in listed
    ]
    by_name = {entry["name"]: entry for entry in entries}
    by_path = {path: by_name[one.name] for one in listed for path in (one.name, str(one.path))}
    for names, state in ((loading, "loading"), (loaded, "loaded")):
        for name in names:
            entry = by_name.get(name) or by_path.get(os.path.abspath(os.path.expanduser(name)))
            if entry is None:
                entry = by_name[name] = {
                    "name": name,
                    "title": cut(named(name)),
                    "place": "memory",
                    "what": "",
                    "bytes": None,
                    "why": "",
                }
                entries.append(entry)
            entry["state"] = state
    for name, why in failed.items():
        entry = by_name.get(name)
        if entry is not None and entry["state"] == "found":
            entry["why"] = cut(why)
    return entries


def named(model: str | os.PathLike[str]) -> str:
    """The name of a model for people."""
    return name_of(os.fspath(model))


def cut(text: str) -> str:
    """The text, not longer than the contract says."""
    return shortened(text, SIDE_LIMITS["text"])


def rounded(seconds: float | None) -> float | None:
    """Seconds as they are shown, so that what has not changed is not sent again."""
    return None if seconds is None else round(seconds, 1)


def sendable(value: Any) -> Any:
    """The value without what a kernel cannot send: halves of surrogate pairs, infinities, NaN."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {sendable(key): sendable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [sendable(one) for one in value]
    return value
