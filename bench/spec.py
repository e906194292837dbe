"""What a generator process is told, and what it answers: plain values that pass as JSON."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """One run. `first_index` and `keys` say which keys (see `key_name`) are written or read."""

    port: int
    access_key: str
    secret_key: str
    region: str
    bucket: str
    operation: str
    """put, get, head, list, fill (exactly `keys` PUTs) or plain (unsigned GET of /)."""
    size_bytes: int
    concurrency: int
    duration_s: float
    warmup_s: float
    prefix: str
    first_index: int
    keys: int
    max_bytes: int
    """Upper bound of the body bytes that this run sends or receives inside the clock."""
    signed_payload: bool
    server_pid: int


@dataclass(slots=True)
class LoadResult:
    """What one run measured; rates and latencies cover the measured phase only."""

    operations: int = 0
    seconds: float = 0.0
    body_bytes: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    errors: int = 0
    first_error: str = ""
    server_cpu_s: float = 0.0
    client_cpu_s: float = 0.0
    other_cpu_s: float = 0.0
    """What neither the server nor this generator used: other programs, the kernel's own threads."""
    server_peak_rss_bytes: int = 0
    next_index: int = 0
    """The first key index that this run has not used: the next writing run starts there."""
