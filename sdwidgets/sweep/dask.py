"""`OnDask`: the points of a sweep on the workers of a Dask cluster.

Each worker has a small plugin (`on_worker`), which makes the model there, once. Groups of points
are handed out, to a worker each, as small plain data; a task is a point. At most `WINDOW` tasks of
a worker exist at a time, so that neither the scheduler nor this process holds more of a sweep than
what runs. Results come back as they are made.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .. import checks
from ..checks import shown
from ..errors import InputError
from .executor import Group, OnStep
from .handing_out import ANYTHING, PATIENCE, WINDOW, HandingOut, Rules
from .results import Making, Result

if TYPE_CHECKING:
    from distributed import Client

    from ..pipeline import LatentDiffusion


class OnDask:
    """An `Executor` that makes points on the workers of ``client``, a `distributed.Client`.

    Each worker makes the model once, from the name or path that points have, and one point at a
    time. Workers with the resource "GPU", if there are any, are the only ones that are used, and
    each point takes one GPU. Workers that join later are used, too.

    ``fingerprints``: those that models are expected to have, by (name, dtype), as
    `LatentDiffusion.fingerprint`; without them, the first worker's counts. ``window``: tasks of a
    worker at a time, 1 to 4. ``patience``: seconds to wait for a worker if there is none, 0 to
    86400. ``on_notice``: called with each of `notices` as it comes, from the thread of `run`.

    Raises InputError for a client that is asynchronous, closed or none at all. Warns if the cluster
    is reached over a network without encryption.
    """

    def __init__(
        self,
        client: Client,
        *,
        fingerprints: Mapping[tuple[str, str], str] | None = None,
        window: int = WINDOW,
        patience: float = PATIENCE,
        on_notice: Callable[[str], object] | None = None,
    ):
        self.client = _checked(client)
        checks.function("on_notice", on_notice)
        self.notices: list[str] = []
        """What a user should know, each once: workers that are not used, and why; other versions;
        a cluster that others can reach."""
        self._on_notice = on_notice
        self._rules = Rules(
            checks.whole("window", window, 1, 4),
            checks.real("patience", patience, 0, 86400),
            dict(fingerprints or {}),
            threading.Event(),
            self._notice,
        )
        self._rules.going.set()
        self._handing: HandingOut | None = None
        if risk := exposed(client):
            self._notice(risk)
            warnings.warn(risk, stacklevel=2)

    def expect(self, models: Mapping[str, LatentDiffusion]) -> None:
        """Have workers compare their models with those of this process, by name."""
        for name, model in models.items():
            dtype = str(model.dtype).removeprefix("torch.")
            self._rules.fingerprints[name, dtype] = model.fingerprint

    @property
    def workers(self) -> int:
        """The number of workers that make points now; 0 if nothing runs."""
        handing = self._handing
        return 0 if handing is None else len(handing.seats)

    def run(
        self, groups: Sequence[Group], making: Making, on_step: OnStep | None = None
    ) -> Iterator[Result]:
        """Yield the result of each point as it comes back; see `Executor.run`.

        Raises InputError, before anything is sent, for scores that cannot be; ``ClusterLost`` if
        the scheduler or the client is gone, or there has been no worker for ``patience`` seconds.
        """
        handing = HandingOut(self.client, groups, making, on_step, self._rules)
        self._handing = handing
        try:
            yield from handing.results()
        finally:
            self._handing = None
            handing.end()

    def pause(self) -> None:
        """Hand out nothing new until `resume`; points that workers have are finished."""
        self._rules.going.clear()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._rules.going.set()
        if (handing := self._handing) is not None:
            handing.wake()

    def cancel(self) -> None:
        """Stop all points that run, each within a step, and hand out no others."""
        if (handing := self._handing) is not None:
            handing.cancelled.set()
            handing.wake()

    def close(self) -> None:
        """Cancel. The client stays as it is: it is not ours."""
        self.cancel()

    def _notice(self, text: str) -> None:
        if text not in self.notices:
            self.notices.append(text)
            if self._on_notice is not None:
                self._on_notice(text)


def _checked(client: object) -> Client:
    """A client that can be used from here. Raises InputError."""
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "Sweeps on a cluster need the package distributed.\npip install 'sdwidgets[dask]'",
            parameter="client",
        ) from error
    if not isinstance(client, Client):
        raise InputError(
            f"client must be a distributed.Client, got {shown(client)}.\n"
            "client = distributed.Client(address)",
            parameter="client",
        )
    if client.asynchronous:
        raise InputError(
            "client is asynchronous, and a sweep waits for it.\n"
            "Make one without asynchronous=True.",
            parameter="client",
        )
    if client.status != "running":
        raise InputError(
            f"client is {client.status}.\nConnect another: distributed.Client(address)",
            parameter="client",
        )
    return client


def exposed(client: Client) -> str:
    """A warning if others can reach the cluster of a client; "" if it is safe from them.

    Whoever reaches a scheduler or worker of Dask can run any code there, and what a client
    unpickles runs here. Dask asks for no password; only TLS keeps others out.
    """
    scheduler: Any = client.scheduler  # None while it is not connected
    addresses = [str(scheduler.address)]
    with suppress(*ANYTHING):
        addresses.append(str(_information(client)["address"]))
    for address in addresses:
        parts = urlsplit(address)
        if parts.scheme in ("inproc", "tls", "wss", "ucxs"):
            continue
        if not _is_loopback(parts.hostname or ""):
            return (
                f"The cluster at {address} can be reached over the network, without encryption.\n"
                "Whoever reaches it can run code on all of its machines, and on this one.\n"
                "Use it behind a firewall or a tunnel, or with TLS (distributed.Security)."
            )
    return ""


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _information(client: Client) -> Mapping[str, Any]:
    """What a scheduler says about itself, without its workers where it can leave them out."""
    try:
        return client.scheduler_info(n_workers=0)
    except TypeError:  # before distributed 2025
        return client.scheduler_info()
