"""Every fuzz target by name."""

from tests.fuzz.documents import DOCUMENTS
from tests.fuzz.formats import FORMATS
from tests.fuzz.signatures import SIGNATURES
from tests.fuzz.ucan import UCAN
from tests.fuzz.wire import WIRE

TARGETS = WIRE | DOCUMENTS | SIGNATURES | FORMATS | UCAN
