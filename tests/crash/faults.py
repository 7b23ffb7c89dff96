"""What goes wrong: each fault kills something at a random moment of the stream and brings it back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.crash.receivers import Receiver
    from tests.crash.stores import Stores

_LAG_SECONDS = 1.2  # at most, that a replica is behind when its master dies


@dataclass
class Site:
    """What can be broken."""

    rng: random.Random
    stores: Stores
    receivers: list[Receiver]
    replicated: bool

    def wait_a_little(self) -> None:
        """Half of the restarts come at once."""
        if self.rng.random() < 0.5:
            time.sleep(self.rng.uniform(0, 1))


def kill_receiver(site: Site) -> str:
    number = site.rng.randrange(len(site.receivers))
    receiver = site.receivers[number]
    receiver.kill()
    site.wait_a_little()
    receiver.start()
    return f"receiver {number + 1} killed and started"


def kill_store(site: Site) -> str:
    site.stores.kill()
    site.wait_a_little()
    site.stores.restart()
    return "store killed and started on its files"


def kill_store_and_empty(site: Site) -> str:
    site.stores.kill()
    site.stores.empty()
    site.wait_a_little()
    site.stores.restart()
    return "store killed, its files deleted, started"


def tear_store(site: Site) -> str:
    lost = site.stores.kill_and_tear(site.rng)
    site.wait_a_little()
    site.stores.restart()
    return f"store killed, the last {lost} bytes of its log cut off, started"


def cut_power(site: Site) -> str:
    """Everything at once, and the store's last second with it."""
    lost = site.stores.kill_and_tear(site.rng)
    for receiver in site.receivers:
        receiver.kill()
    site.wait_a_little()
    # Receivers that start while the store is away must get along as well.
    starts: list[Callable[[], None]] = [site.stores.restart, *(receiver.start for receiver in site.receivers)]
    site.rng.shuffle(starts)
    for start in starts:
        start()
    return f"everything killed, the last {lost} bytes of the store's log cut off, all started"


def flush(site: Site) -> str:
    with site.stores.client() as client:
        client.flushall()
        if site.rng.random() < 0.2:  # again, while receivers are busy building the first loss again
            time.sleep(site.rng.uniform(0, 3))
            client.flushall()
            return "FLUSHALL, twice"
    return "FLUSHALL"


def fail_over(site: Site) -> str:
    site.stores.lag()
    behind = site.rng.uniform(0.1, _LAG_SECONDS)
    time.sleep(behind)
    site.stores.fail_over()
    site.stores.add_replica()
    return f"master killed with {behind:.1f} s of writes that its replica lacked, replica promoted"


FAULTS: dict[str, Callable[[Site], str]] = {
    "receiver": kill_receiver,
    "store": kill_store,
    "emptied": kill_store_and_empty,
    "torn": tear_store,
    "power": cut_power,
    "failover": fail_over,
    "flush": flush,
}
