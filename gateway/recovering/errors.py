"""Why a data folder cannot be recovered; nothing has been made that a server would take for one.

::

    NotRecovered
    ├── FolderInTheWay      the folder is not new
    ├── NothingThere        the node has nothing of the space that could be used
    └── SpaceDamaged        a bucket that the node should have cannot be read there
"""

from __future__ import annotations

from gateway.store.errors import StoreError


class NotRecovered(StoreError):
    """Base of everything that recovering raises on purpose; the message says what to do."""


class FolderInTheWay(NotRecovered):
    """There is something in the folder that recovering would have to replace."""


class NothingThere(NotRecovered):
    """The node has no manifest of the space, or none with all that it needs."""


class SpaceDamaged(NotRecovered):
    """A signed manifest names a bucket's commit or root, and the node does not give it."""
