"""What can be configured: every key, its type, its bounds and its default.  ``config.example.yaml`` explains them."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from mst.limits import CHUNK_BYTES, KIB, MIB, TREE_BITS_MAX
from registry.credentials import Credential, check_display_name, configured

GIB: Final = 1024 * MIB
TIB: Final = 1024 * GIB
PORT_MAX: Final = 65_535
WORKERS_MAX: Final = 64
WORKERS_AUTO_MAX: Final = 8
"""How many processes answer requests, at most, and at most unless more are asked for."""

_UNIT_BYTES: Final = {"": 1, "B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}
_SIZE: Final = re.compile(r"(\d{1,15}) ?([A-Za-z]*)", re.ASCII)
_HOST_PORT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})", re.ASCII)
_REGION: Final = re.compile(r"[a-z0-9-]{1,63}", re.ASCII)
_DOMAIN: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.(?!-)[a-z0-9-]{1,63})*", re.ASCII)
_DOMAIN_CHARS_MAX: Final = 253
_ACCESS_KEY: Final = re.compile(r"[A-Za-z0-9._-]{3,128}", re.ASCII)
_SECRET_KEY: Final = re.compile(r"[!-~]{8,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the server accepts connections.

    Args:
        host: an address or a name of this machine, an IPv6 address without brackets.
        port: 0 to 65535; 0 takes a free one.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``127.0.0.1:9000``, ``localhost:9000`` or ``[::1]:9000``.

        Raises:
            ValueError: it has another form.
        """
        found = _HOST_PORT.fullmatch(text)
        if found is None:
            raise ValueError("must be HOST:PORT, such as 127.0.0.1:9000 or [::1]:9000")
        six, host, port = found.groups()
        if six is not None:
            IPv6Address(six)
        if int(port) > PORT_MAX:
            raise ValueError(f"the port must be 0 to {PORT_MAX}")
        return cls(six or host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _listen(value: object) -> object:
    return value if isinstance(value, Listen) else Listen.parse(value if isinstance(value, str) else "")


def _size(value: object) -> int:
    """A number of bytes from ``65536``, ``"64KiB"`` or ``"64 KiB"``."""
    if type(value) is int:
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[2] not in _UNIT_BYTES:
        raise ValueError("must be a number of bytes, or one with a unit B, KiB, MiB, GiB or TiB, such as 64MiB")
    return int(found[1]) * _UNIT_BYTES[found[2]]


def _number(value: object) -> object:
    # YAML's yes and on are true, which Python takes for 1.
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _switch(value: object) -> object:
    if isinstance(value, bool) or value in ("true", "false"):
        return value
    raise ValueError("must be true or false")


def _folder(value: object) -> object:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError("must be the path of a folder")
    return Path(value).expanduser()


def _file(value: object) -> object:
    """A path; the empty text is none."""
    if isinstance(value, str) and "\0" not in value:
        return Path(value).expanduser() if value else None
    if value is None or isinstance(value, Path):
        return value
    raise ValueError("must be the path of a file")


def _region(value: object) -> str:
    if not isinstance(value, str) or not _REGION.fullmatch(value):
        raise ValueError("must be 1 to 63 small letters, digits and dashes, such as us-east-1")
    return value


def _domain(value: object) -> str:
    name = value.lower() if isinstance(value, str) else ""
    if len(name) > _DOMAIN_CHARS_MAX or not _DOMAIN.fullmatch(name):
        raise ValueError("must be a domain name such as s3.example.com, without scheme and port")
    return name


def _domains(value: object) -> object:
    """A list, or for variables and flags its items with commas between."""
    if isinstance(value, str):
        return tuple(item.strip() for item in value.split(",") if item.strip())
    return value


def _access_key(value: object) -> str:
    if not isinstance(value, str) or not _ACCESS_KEY.fullmatch(value):
        raise ValueError("must be 3 to 128 letters, digits, dots, dashes and underscores, in quotes if it is a number")
    return value


def _secret_key(value: object) -> str:
    if not isinstance(value, str) or not _SECRET_KEY.fullmatch(value):
        raise ValueError("must be 8 to 128 visible characters of ASCII, in quotes if it is a number")
    return value


def _display_name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return check_display_name(value)


def _url(value: object) -> str:
    """The URL of a service; the empty text is none."""
    if value == "":
        return ""
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be the URL of a service, such as https://node.example.com")
    if parts.username is not None:
        raise ValueError("must have no user and no password")
    return str(value)


def _did(value: object) -> str:
    """A did:key; the empty text is none."""
    if value == "":
        return ""
    from registry.ucan.did import DID
    from registry.ucan.errors import UcanError

    try:
        if isinstance(value, str) and DID.parse(value).is_key:
            return value
    except UcanError as error:
        raise ValueError(f"must be a did:key: {error}") from None
    raise ValueError("must be a did:key, which the node says of itself")


def _proof(value: object) -> str:
    """A delegation as text; the empty text is none."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    if value == "":
        return ""
    from registry.ucan import archive
    from registry.ucan.errors import UcanError

    try:
        archive.from_text(value)
    except UcanError as error:
        raise ValueError(f"must be what `ms3t node grant` prints, whole: {error}") from None
    return value


def _size_or_none(value: object) -> object:
    return None if value in (None, "") else _size(value)


Size: TypeAlias = Annotated[int, BeforeValidator(_size)]
Count: TypeAlias = Annotated[int, BeforeValidator(_number)]
Seconds: TypeAlias = Annotated[float, BeforeValidator(_number)]
Switch: TypeAlias = Annotated[bool, BeforeValidator(_switch)]
Domain: TypeAlias = Annotated[str, BeforeValidator(_domain)]


class Section(BaseModel):
    """A group of keys that cannot change while the server runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def _workers(value: object) -> object:
    if value == "auto":
        return value
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if type(number) is int and 1 <= number <= WORKERS_MAX:
        return number
    raise ValueError(f"must be auto, or a number of processes from 1 to {WORKERS_MAX}")


class CredentialSection(Section):
    """One access key, and whom it stands for; the access key names its user unless ``display_name`` does."""

    access_key: Annotated[str, BeforeValidator(_access_key)]
    secret_key: Annotated[str, BeforeValidator(_secret_key)] = Field(repr=False)
    display_name: Annotated[str, BeforeValidator(_display_name)] | None = None

    @property
    def credential(self) -> Credential:
        """It as requests are verified with."""
        return configured(self.access_key, self.secret_key, self.display_name or self.access_key)


class S3Section(Section):
    """What clients of the S3 interface see."""

    region: Annotated[str, BeforeValidator(_region)] = "us-east-1"
    domains: Annotated[tuple[Domain, ...], BeforeValidator(_domains)] = ()


class TlsFiles(NamedTuple):
    """Where the certificate and its private key are."""

    cert: Path
    key: Path


class TlsSection(Section):
    """What the connections of clients are encrypted with."""

    cert: Annotated[Path | None, BeforeValidator(_file)] = None
    key: Annotated[Path | None, BeforeValidator(_file)] = None

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise ValueError("tls.cert and tls.key belong together: set both, or neither")
        return self

    @property
    def files(self) -> TlsFiles | None:
        """The certificate and its key; None for plain HTTP."""
        return None if self.cert is None or self.key is None else TlsFiles(self.cert, self.key)


class TreeSection(Section):
    """The shape of new buckets' trees."""

    bits: Count = Field(default=4, ge=1, le=TREE_BITS_MAX)
    salt: Literal["none", "random"] = "none"


class StoreSection(Section):
    """How blocks lie on the disk."""

    segment_bytes: Size = Field(default=1 * GIB, ge=1 * MIB, le=1 * TIB)
    inline_body_bytes: Size = Field(default=128 * KIB, ge=0, le=CHUNK_BYTES)
    reserve_free_bytes: Size = Field(default=64 * MIB, ge=0, le=1 * TIB)


class CacheSection(Section):
    """What is kept in memory, and what is kept here of all that the storage node has."""

    node_bytes: Size = Field(default=64 * MIB, ge=1 * MIB, le=1 * TIB)
    max_bytes: Annotated[Annotated[int, Field(ge=0, le=1024 * TIB)] | None, BeforeValidator(_size_or_none)] = None
    trim_seconds: Seconds = Field(default=10, ge=0.01, le=3600)


class RemoteSection(Section):
    """The storage node that everything is shipped to."""

    url: Annotated[str, BeforeValidator(_url)] = ""
    did: Annotated[str, BeforeValidator(_did)] = ""
    proof: Annotated[str, BeforeValidator(_proof)] = Field(default="", repr=False)
    indexer_url: Annotated[str, BeforeValidator(_url)] = ""
    indexer_did: Annotated[str, BeforeValidator(_did)] = ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len({bool(value) for value in (self.url, self.did, self.proof)}) > 1:
            raise ValueError("remote.url, remote.did and remote.proof belong together: set all, or none")
        if bool(self.indexer_url) != bool(self.indexer_did) or (self.indexer_url and not self.url):
            raise ValueError("remote.indexer_url and remote.indexer_did belong together, and to a remote.url")
        return self

    @property
    def is_set(self) -> bool:
        """Whether there is one."""
        return bool(self.url)


class ShipSection(Section):
    """When is shipped."""

    interval_seconds: Seconds = Field(default=30, ge=0, le=86_400)
    bytes: Size = Field(default=64 * MIB, ge=1, le=1 * TIB)
    timeout_seconds: Seconds = Field(default=30, gt=0, le=3600)


class LimitsSection(Section):
    """What a client may ask for."""

    request_header_bytes: Size = Field(default=32 * KIB, ge=8 * KIB, le=1 * MIB)
    body_idle_seconds: Seconds = Field(default=60, gt=0, le=3600)
    connections_max: Count = Field(default=1024, ge=1, le=65_536)
    shutdown_seconds: Seconds = Field(default=30, ge=0, le=3600)


class LogSection(Section):
    """What is written about what happens."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
    access: Switch = True


class Config(Section):
    """Everything that can be configured, with its defaults."""

    data_dir: Annotated[Path, BeforeValidator(_folder)] = Path("ms3t-data")
    listen: Annotated[Listen, BeforeValidator(_listen)] = Listen("127.0.0.1", 9000)
    workers: Annotated[Literal["auto"] | int, BeforeValidator(_workers)] = "auto"
    tls: TlsSection = TlsSection()
    credentials: tuple[CredentialSection, ...] = ()
    s3: S3Section = S3Section()
    tree: TreeSection = TreeSection()
    store: StoreSection = StoreSection()
    remote: RemoteSection = RemoteSection()
    ack: Literal["local", "remote"] = "local"
    ship: ShipSection = ShipSection()
    cache: CacheSection = CacheSection()
    limits: LimitsSection = LimitsSection()
    log: LogSection = LogSection()

    @field_validator("ack")
    @classmethod
    def _ack_needs_a_remote(cls, ack: str, info: ValidationInfo) -> str:
        remote = info.data.get("remote")
        if ack == "remote" and remote is not None and not remote.is_set:
            raise ValueError("there is no remote: set remote.url, remote.did and remote.proof")
        return ack

    @field_validator("cache")
    @classmethod
    def _a_limit_needs_a_remote(cls, cache: CacheSection, info: ValidationInfo) -> CacheSection:
        remote = info.data.get("remote")
        if cache.max_bytes is not None and remote is not None and not remote.is_set:
            raise ValueError("there is no remote that has what is not kept here: set remote.url, or no cache.max_bytes")
        return cache

    @property
    def worker_count(self) -> int:
        """How many processes answer requests; 1 means that the one process does everything."""
        if self.workers != "auto":
            return self.workers
        # Elsewhere the kernel does not spread connections over the sockets that share a port.
        return min(len(os.sched_getaffinity(0)), WORKERS_AUTO_MAX) if sys.platform == "linux" else 1
