"""The people of a site: when they first come, how likely they are to return, when they are gone, and with what."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from data.catalogue import Bools, Catalogue, Floats, Ints, SiteTable, cumulative

# Share of people, chance to come on an average day, chance a day to leave for good.
CLASSES = ((0.60, 0.22, 0.030), (0.28, 0.60, 0.008), (0.12, 0.92, 0.002))
NEW_A_DAY = 0.03  # of all people, so that each period has its newcomers
TEST_SHARE = 0.006


@dataclass(frozen=True)
class Population:
    """One row a person. Days count from the first generated day; a device is one of two, as person × 2 + 0 or 1."""

    first_id: int  # number of the first person, among the people of all sites
    first_day: Ints
    last_day: Ints
    return_chance: Floats
    agent: Ints  # [person, device]
    place: Ints
    address: Ints  # low 16 bits of the IP
    second_device_share: Floats  # of sessions; 0 for most people
    has_account: Bools
    is_test: Bools

    def __len__(self) -> int:
        return len(self.first_day)


def build(table: SiteTable, catalogue: Catalogue, *, size: int, days: int, first_id: int, seed: int) -> Population:
    """Draw `size` people of one site, a share of whom arrive during the period."""
    rng = np.random.default_rng([seed, table.index, 1 << 20])
    chances, stay = np.empty(size), np.empty(size, dtype=np.int64)
    group = np.searchsorted(cumulative([share for share, _, _ in CLASSES]), rng.random(size), side="right")
    luck = rng.random(size)
    for number, (_, chance, leave) in enumerate(CLASSES):
        chosen = group == number
        chances[chosen] = chance
        stay[chosen] = _geometric(leave)[(luck[chosen] * 4096).astype(np.int64)]
    new = rng.random(size) < min(0.6, NEW_A_DAY * days)
    first_day = np.where(new, (rng.random(size) * days).astype(np.int64), -1)
    is_test = rng.random(size) < TEST_SHARE
    is_test[0] = True  # each site has at least one
    first_day[0], chances[0], stay[0] = -1, 0.5, days
    two = rng.random(size) < 0.15
    return Population(
        first_id=first_id,
        first_day=first_day,
        last_day=first_day + stay,
        return_chance=chances,
        agent=np.searchsorted(catalogue.agent_shares, rng.random((size, 2)), side="right"),
        place=table.first_place + np.searchsorted(table.places, rng.random(size), side="right"),
        address=(rng.random(size) * 65536).astype(np.int64),
        second_device_share=np.where(two, 0.4, 0.0),
        has_account=(rng.random(size) < 0.5) | is_test,
        is_test=is_test,
    )


def _geometric(leave: float) -> Ints:
    """Quantiles of the number of days until someone leaves who leaves with chance `leave` a day."""
    size = 4096
    return np.array([int(math.log(1 - (i + 0.5) / size) / math.log(1 - leave)) for i in range(size)])
