"""The S3 front: what arrives on the wire, judged and translated, and what goes back.

Half of this package is sans-IO: no module named below opens a socket, reads a clock or knows an
event loop, and none raises anything but :class:`gateway.s3.errors.S3Error` on bad input.

A request passes them in this order:

=================  =================================================================================
``headers``        the raw header list becomes one mapping, with duplicates refused
``target``         the raw request target becomes bucket, key and query, decoded once
``sigv4``          who signed it, and what was promised about the body
``unsupported``    what would silently not happen is refused
``chunked``        the aws-chunked framing is taken off a body (only of a verified request)
``claims``         what the client claims the body hashes to, and the proof (``checksums``)
``preconditions``  If-Match and its relatives, on reads, writes and copy sources
``ranges``         Range
``metadata``       headers that are stored with an object, and given back
``xml``            request documents
=================  =================================================================================

``errors`` holds the one exception and its XML, ``xmltext`` what a response needs to write text into
XML, ``httpdate`` the two date forms S3 speaks.
"""
