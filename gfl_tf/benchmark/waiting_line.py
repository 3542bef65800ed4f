"""How many requests a second a server holds."""

import collections.abc

import numpy as np

ARRIVALS = 20_000
PERCENT = 99.0


def latencies(seconds: collections.abc.Sequence[float], rate: float) -> np.ndarray:
    """Seconds from each request to its answer, where requests come by chance and are answered one after the other.

    Args:
        seconds: that answers took without waiting; each request draws one of them.
        rate: requests a second, a Poisson process's.

    Returns float64 [`ARRIVALS`].
    """
    rng = np.random.default_rng(0)
    arrived = np.cumsum(rng.exponential(1 / rate, ARRIVALS))
    service = rng.choice(np.asarray(seconds, np.float64), ARRIVALS)
    # An answer ends a service time after its request came or the answer before it ended, whichever is later:
    # end_i = max over j <= i of (arrived_j + service_j + ... + service_i).
    done = np.cumsum(service)
    ended = done + np.maximum.accumulate(arrived - (done - service))
    return ended - arrived


def highest_rate(seconds: collections.abc.Sequence[float], most: float) -> float:
    """Requests a second at which 99 of 100 are answered within `most` seconds; 0 where one alone takes longer.

    MLPerf's rule for servers ("server" of MLPerf Inference: Poisson arrivals, a bound on the 99th percentile), computed
    from measured answers instead of waited for.
    """
    if np.percentile(seconds, PERCENT) > most:
        return 0.0
    low, high = 0.0, 1 / float(np.mean(seconds))  # above it the queue has no end
    for _ in range(20):
        middle = (low + high) / 2
        holds = np.percentile(latencies(seconds, middle), PERCENT) <= most
        low, high = (middle, high) if holds else (low, middle)
    return low
