"""A connection to a Dask scheduler: how it is made, how long it is waited for, and what is said where it ends."""

import asyncio
import contextlib
import logging
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

import ntkspec
from ntkspec import checks

# How often in a row a connection is made again before a call gives up.
MOST_LOSSES = 5
# Seconds between two looks at the workers, and at tasks that are taken as they are done.
LOOK_EVERY, POLL_EVERY = 2.0, 0.02
# Seconds in which tasks are collected to be sent together; Dask's 10 ms are most of an answer on a fast network.
SEND_EVERY = 0.001
# Seconds in which a client says goodbye.
CLOSE_WITHIN = 2.0
_ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx)://[\w.:\[\]-]+:([0-9]{1,5})", re.ASCII)


@dataclass(frozen=True)
class Patience:
    """How long a cluster is waited for, and how often a task is tried.

    Parameters
    ----------
    connect : float, default 10
        Seconds a scheduler may take to answer, above 0.
    without_workers : float, default 60
        Seconds a cluster may be without any worker.
    reconnect : float, default 60
        Seconds in which a lost scheduler must be there again, after which the workers compute again what lay on them.
        For so long it is waited for as many workers as before; then those that are there take over. 0 ends the call
        when the scheduler is lost.
    retries : int, default 0
        How often a task that raised an exception is run again.

    Raises
    ------
    ValueError
        For negative or infinite numbers, and ``connect=0``.

    Notes
    -----
    How many workers one task may kill before the call ends is a setting of the scheduler,
    ``distributed.scheduler.allowed-failures`` (Dask's default: 3).

    Examples
    --------
    >>> import ntkspec as ns
    >>> ns.cluster.Patience(reconnect=600).without_workers
    60.0
    """

    connect: float = 10.0
    without_workers: float = 60.0
    reconnect: float = 60.0
    retries: int = 0

    def __post_init__(self) -> None:
        for name in ("connect", "without_workers", "reconnect"):
            checks.not_negative(getattr(self, name), name, "a finite number of seconds is needed")
        if self.connect == 0:
            raise ValueError("connect=0, but a scheduler takes some time to answer; take 10")
        checks.whole_number(self.retries, "retries", 0)


class Connection:
    """A client of the scheduler at an address, and a new one each time it was lost.

    Raises ValueError for what is no address, where no scheduler answers, where it has no workers or one with another
    version of the package, or where Dask is not installed.
    """

    def __init__(self, address: str, patience: Patience):
        self.address, self.patience, self.losses = address, patience, 0
        self._take(_greeting_workers(address, patience))

    def _take(self, client: Any) -> None:
        self.client, self._link, self.count = client, client.scheduler_comm, len(client.nthreads())

    def close(self) -> None:
        """Give up what is held there."""
        closed(self.client)

    @property
    def lost(self) -> bool:
        """Whether the scheduler was lost, which then drops what this client held."""
        return self.client.status != "running" or self.client.scheduler_comm is not self._link

    def wait(self, futures: Sequence[Any]) -> None:
        """Until all are done. Raises ValueError where no worker has been there for the seconds of ``patience``."""
        from distributed import wait

        seen = time.monotonic()
        while True:
            try:
                with self.client.as_current():
                    wait(futures, timeout=LOOK_EVERY)
                return
            except TimeoutError:
                seen = self._last_seen(seen)

    def gathered(self, futures: Sequence[Any]) -> list:
        """What they find. Raises as :meth:`wait`, also where the last worker goes with a result on the way here."""
        found = asyncio.run_coroutine_threadsafe(
            self.client.gather(list(futures), asynchronous=True), self.client.loop.asyncio_loop
        )
        seen = time.monotonic()
        try:
            while True:
                try:
                    return found.result(LOOK_EVERY)
                except TimeoutError:
                    if found.done():  # a task raised it
                        raise
                    seen = self._last_seen(seen)
        finally:
            found.cancel()

    def completed(self, futures: Iterable[Any]) -> Iterator[Any]:
        """Each when it is done. Raises as :meth:`wait`."""
        from distributed import as_completed

        with self.client.as_current():
            left, seen = as_completed(futures), time.monotonic()
        looked = seen
        while not left.is_empty():
            batch = left.next_batch(block=False)
            yield from batch
            if not batch:
                time.sleep(POLL_EVERY)
            if time.monotonic() - looked > LOOK_EVERY:
                seen, looked = self._last_seen(seen), time.monotonic()

    def _last_seen(self, before: float) -> float:
        """When a worker was there. Raises ValueError where that is too long ago, OSError without a scheduler."""
        now = time.monotonic()
        if self.lost:
            raise OSError("the connection is closed")
        if self.client.nthreads():
            return now
        if now - before > self.patience.without_workers:
            seconds = f"{self.patience.without_workers:g} s"
            raise ValueError(f"the scheduler {self.address} has had no worker for {seconds}; start some")
        return before

    def recover(self, error: Exception, left: str) -> None:
        """After an error: connect again where the scheduler was lost; ``left`` says what there is otherwise.

        Raises ValueError, in one line, where it is not there in time, for a task that kills its workers, and for one
        that the scheduler cannot read. Raises any other error as it is.
        """
        from distributed import KilledWorker
        from distributed.client import ClosedClientError

        if isinstance(error, KilledWorker):
            raise ValueError(f"a task killed several workers, is their memory too small? {left}: {error}") from None
        if not isinstance(error, CancelledError | OSError | ClosedClientError):
            raise error
        if not self.lost:
            if not isinstance(error, CancelledError):
                raise error
            raise ValueError(
                f"the scheduler {self.address} dropped a task, as where it cannot import a module that the function "
                f"of the task needs; install that there: {error}"
            ) from None
        self.losses += 1
        if self.losses > MOST_LOSSES:
            raise ValueError(f"the scheduler {self.address} was lost {self.losses} times in a row; {left}") from None
        try:
            self._take(self._found_again())
        except (ValueError, OSError) as reason:
            raise ValueError(f"the scheduler {self.address} was lost; {left}: {reason}") from None
        warnings.warn(
            f"the scheduler {self.address} was lost and is back; what lay on its workers is computed again",
            RuntimeWarning,
            stacklevel=3,
        )

    def _found_again(self) -> Any:
        """A new client. Raises ValueError where there is none within the seconds of ``reconnect``."""
        self.close()
        deadline = time.monotonic() + self.patience.reconnect
        while True:
            late = time.monotonic() > deadline
            try:
                client = _greeting_workers(self.address, self.patience)
            except (ValueError, OSError):
                if late:
                    raise
            else:
                if late or len(client.nthreads()) >= self.count:
                    return client
                closed(client)
            time.sleep(0.5)


@contextlib.contextmanager
def client_of(address: str, patience: Patience) -> Iterator[Any]:
    """A client of the scheduler at an address, closed at the end. Raises as :class:`Connection`."""
    client = _greeting_workers(address, patience)
    try:
        yield client
    finally:
        closed(client)


def _greeting_workers(address: str, patience: Patience) -> Any:
    """A client whose workers have this version of the package."""
    client = connected(address, patience)
    for line in other_versions(client).values():
        closed(client)
        raise ValueError(line)
    return client


def connected(address: str, patience: Patience) -> Any:
    """A client of the scheduler at an address that has workers, of whatever version.

    Raises ValueError for what is no address, where no scheduler answers or it has no workers, or where Dask is not
    installed.
    """
    checked_address(address)
    try:
        from distributed import Client
        from distributed.utils import LoopRunner
    except ImportError:
        raise ValueError(
            f"the scheduler {address} needs Dask's distributed; python -m pip install 'ntkspec[distributed]'"
        ) from None
    for name in ("distributed.client", "distributed.batched"):
        logging.getLogger(name).addFilter(_not_told_here)
    try:
        LoopRunner().run_sync(_greeted, address, patience.connect)
        client = Client(address, timeout=patience.connect, set_as_default=False)
    except TimeoutError:
        raise ValueError(f"no Dask scheduler answers at {address} within {patience.connect:g} s") from None
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"no Dask scheduler answers at {address}: {error}") from None
    client.scheduler_comm.interval = SEND_EVERY  # type: ignore[union-attr]
    client._timeout = 0  # where the link breaks, Dask would connect again by itself, without what was held
    if not client.nthreads():
        closed(client)
        raise ValueError(f"no worker is connected to the scheduler {address}; start some: dask worker {address}")
    return client


def closed(client: Any) -> None:
    """A client that gives up what it held, also where nobody is there any more."""
    with contextlib.suppress(Exception):
        client.close(timeout=CLOSE_WITHIN)


def checked_address(address: str) -> str:
    """An address of a scheduler; ValueError for what is none."""
    match = _ADDRESS.fullmatch(address)
    if not match or not 1 <= int(match[2]) < 2**16:
        raise ValueError(f"scheduler={checks.shown(address)}, but an address such as tcp://10.0.0.1:8786 is needed")
    return address


async def _greeted(address: str, seconds: float) -> None:
    """Dask's own greeting, which a Client waits for without end where a port accepts and says nothing."""
    from distributed.comm import connect
    from distributed.security import Security

    greeting = connect(address, timeout=seconds, **Security().get_connection_args("client"))
    try:
        comm = await asyncio.wait_for(greeting, seconds)
    except (OSError, TypeError):  # no connection, or no certificate for an encrypted one
        raise
    except Exception:  # whatever Dask makes of another program's words
        raise ValueError("what answers is another program") from None
    await comm.close()


def _not_told_here(record: logging.LogRecord) -> bool:
    """Whether it is no log of a lost connection, which :meth:`Connection.recover` tells of."""
    return not record.getMessage().startswith(("Failed to reconnect to scheduler", "Batched Comm Closed"))


def told_by_each(client: Any, function: Callable, *given: Any) -> dict[str, Any]:
    """What the function gives on each worker, or the exception that it raises; nothing of one that ends meanwhile."""
    from distributed.comm import CommClosedError

    found = client.run(function, *given, on_error="return")
    return {name: found[name] for name in sorted(found) if not isinstance(found[name], CommClosedError)}


def other_versions(client: Any) -> dict[str, str]:
    """Of each worker with another version of the package or of Python a line about it."""
    here, told = version(), {}
    for name, there in told_by_each(client, version).items():
        if isinstance(there, Exception):
            told[name] = f"worker {name} cannot run {here}, which is here: {there}; install it there"
        elif there != here:
            told[name] = f"worker {name} has {there}, but {here} is here; install one version on all machines"
    return told


def version() -> str:
    """Of the package, and of Python."""
    return f"ntkspec {ntkspec.__version__} on Python {'.'.join(map(str, sys.version_info[:2]))}"
