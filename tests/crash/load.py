"""Mixed load on a real server, by clients who note what they ask for and what was answered.

Each client has keys of its own, so that it knows what every read must show.  What was asked for and not answered may
happen at any time until the server's last process has ended: until then its key is left alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from threading import Condition, Event, Thread
from xml.etree import ElementTree

from tests.crash.workload import Journal, State, content_for, new_state, state_of
from tests.rawclient import Reply
from tests.servers import Server

PLAIN, VERSIONED = "plain", "versioned"
BUCKETS = (PLAIN, VERSIONED)
CLIENTS = 6
KEYS_OF_A_CLIENT = 8
SIZES = (0, 30, 1_500, 30_000, 70_000, 300_000, (1 << 20) + 5)
"""In the log, in a bulk segment, of several leaves."""
PART_BYTES_MIN = 5 << 20
LOOKS_AT_ONCE = 4
ANSWERS_SECONDS_MAX = 60.0


class Unanswered(Exception):
    """Nobody knows what became of a request."""


def set_up(server: Server) -> None:
    """Make the buckets."""
    for bucket in BUCKETS:
        assert server.request("PUT", f"/{bucket}").status == 200
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    assert server.request("PUT", f"/{VERSIONED}?versioning=", body=enabled).status == 200


@dataclass
class Load:
    """Clients at work.

    Attributes:
        journal: what they asked for and what was answered.
        wrong: what a read showed that it must not.
        reads: how many reads were right.
    """

    server: Server
    journal: Journal = field(default_factory=Journal)
    wrong: list[str] = field(default_factory=list)
    reads: int = 0
    _answers: int = 0
    _lock: Condition = field(default_factory=Condition)
    _stop: Event = field(default_factory=Event)
    _numbers: Iterator[int] = field(default_factory=count)
    _threads: list[Thread] = field(default_factory=list)

    def start(self, dice: random.Random) -> None:
        """Let all clients begin."""
        self._stop.clear()
        for number in range(CLIENTS):
            client = _Client(self, number, random.Random(dice.getrandbits(30)))
            self._threads.append(Thread(target=self._work, args=[client]))
            self._threads[-1].start()

    def stop(self) -> None:
        """Return when all of them have had their last answer, or know that there will be none."""
        self._stop.set()
        while self._threads:
            self._threads.pop().join()

    def wait(self, answers: int) -> None:
        """Return after so many more answers, or when something is wrong."""
        with self._lock:
            enough = self._answers + answers
            assert self._lock.wait_for(lambda: self.wrong or self._answers >= enough, ANSWERS_SECONDS_MAX)

    def put_last(self, dice: random.Random) -> None:
        """One more write and a look at it, when nobody else is at work: no later write may hide what is wrong."""
        place, state = f"{PLAIN}/last", new_state(dice, 30)
        with suppress(Unanswered):
            self.change(place, state, lambda: self.ask("PUT", f"/{place}", content_for(state)))
            self.get(place)

    def get(self, place: str) -> None:
        """Read an object that nobody is writing."""
        reply = self.ask("GET", f"/{place}")
        self.compare(place, state_of(reply.body) if reply.status == 200 else None, self.state(place))

    def compare(self, what: str, seen: object, settled: object) -> None:
        """Note what a read showed."""
        if seen != settled:
            self.note_wrong(f"{what}: {seen} was read, {settled} had been answered")
        with self._lock:
            self.reads += 1

    def _work(self, client: _Client) -> None:
        while not self._stop.is_set():
            try:
                client.step()
            except Unanswered:
                self._stop.wait(0.02)  # somebody was killed
            except Exception as error:
                self.note_wrong(repr(error))

    def note_wrong(self, problem: str) -> None:
        with self._lock:
            self.wrong.append(problem)
            self._lock.notify_all()

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Reply:
        """Send a request.

        Raises:
            Unanswered: there was no answer, or one that promises nothing.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        wire = self.server.wire_form(method, target, self.server.signed(method, target, named, body), body)
        try:
            reply = self.server.exchange(wire, method)
        except (OSError, HTTPException) as error:
            raise Unanswered from error
        if reply is None or reply.status >= 500:
            raise Unanswered
        with self._lock:
            self._answers += 1
            self._lock.notify_all()
        return reply

    def change(self, place: str, state: State, send: Callable[[], Reply]) -> None:
        """Send a request after which ``place`` is in ``state``, and note what comes of it.

        Raises:
            Unanswered: see `ask`.
        """
        number = next(self._numbers)
        with self._lock:
            self.journal.hear(["begin", number, place, state])
        reply = send()
        assert reply.status in (200, 204) and reply.code is None, (place, reply)
        with self._lock:
            self.journal.hear(["done", number])

    def in_the_air(self) -> set[str]:
        """The places of requests without an answer."""
        with self._lock:
            return {place for place, _ in self.journal.pending.values()}

    def state(self, place: str) -> State:
        with self._lock:
            return self.journal.settled.get(place)


@dataclass
class _Client:
    """One client, which does one thing after the other."""

    load: Load
    number: int
    dice: random.Random

    def step(self) -> None:
        """Do anything."""
        bucket = self.dice.choice(BUCKETS)
        in_the_air = self.load.in_the_air()
        places = [f"{bucket}/{self.number}/{n}" for n in range(KEYS_OF_A_CLIENT)]
        places = [place for place in places if place not in in_the_air]
        if places:
            act = self.dice.choices((self.put, self.delete, self.copy, self.upload, self.get), (8, 3, 3, 2, 8))[0]
            act(self.dice.choice(places), places)
            if self.dice.random() < 0.1:
                self.list(bucket, places)

    def put(self, place: str, _: list[str]) -> None:
        state = new_state(self.dice, self.dice.choice(SIZES))
        body = content_for(state)
        if self.load.state(place) is None:
            self.load.change(place, state, lambda: self.load.ask("PUT", f"/{place}", body, If_None_Match="*"))
            return
        if self.dice.random() < 0.2:
            refused = self.load.ask("PUT", f"/{place}", body, If_None_Match="*")
            assert refused.status == 412, (place, refused)
        self.load.change(place, state, lambda: self.load.ask("PUT", f"/{place}", body))

    def delete(self, place: str, _: list[str]) -> None:
        self.load.change(place, None, lambda: self.load.ask("DELETE", f"/{place}"))

    def copy(self, place: str, places: list[str]) -> None:
        source = self.dice.choice(places)
        state = self.load.state(source)
        if state is not None and source != place:
            self.load.change(place, state, lambda: self.load.ask("PUT", f"/{place}", x_amz_copy_source=source))

    def upload(self, place: str, _: list[str]) -> None:
        state = new_state(self.dice, PART_BYTES_MIN + 1 if self.dice.random() < 0.1 else self.dice.choice(SIZES))
        content = content_for(state)
        upload = self.load.ask("POST", f"/{place}?uploads=").element("UploadId")
        rows = ""
        for number, at in enumerate(range(0, len(content) or 1, PART_BYTES_MIN), 1):
            part = content[at : at + PART_BYTES_MIN]
            sent = self.load.ask("PUT", f"/{place}?partNumber={number}&uploadId={upload}", part)
            assert sent.status == 200, (place, sent)
            rows += f"<Part><PartNumber>{number}</PartNumber><ETag>{sent.headers['etag']}</ETag></Part>"
        complete = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
        self.load.change(place, state, lambda: self.load.ask("POST", f"/{place}?uploadId={upload}", complete))

    def get(self, place: str, _: list[str]) -> None:
        self.load.get(place)

    def list(self, bucket: str, places: list[str]) -> None:
        listed = self.load.ask("GET", f"/{bucket}?list-type=2&prefix={self.number}%2F")
        seen = {place for key in keys_of(listed) if (place := f"{bucket}/{key}") in places}
        self.load.compare(bucket, seen, {place for place in places if self.load.state(place) is not None})


def keys_of(listing: Reply) -> list[str]:
    """The keys in an answer to ListObjectsV2 that is whole."""
    assert listing.status == 200, listing
    assert listing.element("IsTruncated") == "false"
    return [key.text or "" for key in ElementTree.fromstring(listing.body).findall("{*}Contents/{*}Key")]


def look(server: Server) -> dict[str, State]:
    """Everything that is there, every object read whole."""

    def read(place: str) -> tuple[str, State]:
        reply = server.request("GET", f"/{place}")
        return place, state_of(reply.body) if reply.status == 200 else f"status {reply.status}"

    listings = {bucket: server.request("GET", f"/{bucket}?list-type=2") for bucket in BUCKETS}
    places = [f"{bucket}/{key}" for bucket, listing in listings.items() for key in keys_of(listing)]
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        return dict(pool.map(read, places))
