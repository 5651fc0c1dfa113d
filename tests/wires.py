"""What the views of a run send to their pages."""

from __future__ import annotations

import json
from typing import Any

Wire = list[tuple[Any, dict[str, Any], list[Any]]]
"""Messages to the page: the widget, the content and the buffers of each."""


def meta(frame: bytes) -> dict[str, Any]:
    """Return the header of a step's bytes."""
    return json.loads(frame[4 : 4 + int.from_bytes(frame[:4], "little")])


def steps_sent(wire: Wire, widget: Any) -> list[tuple[str, bytes]]:
    """Return the traits with a step, and its bytes, that the widget has sent so far."""
    found = []
    for sender, content, buffers in wire:
        if sender is widget:
            paths = content.get("buffer_paths", [])
            named = [(path[0], bytes(one)) for path, one in zip(paths, buffers, strict=True)]
            found += [(n, one) for n, one in named if n.startswith(("frame", "more")) and one]
    return found
