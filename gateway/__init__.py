"""The edges of ms3t: everything that meets a socket, a disk, a clock or a person.

``gateway`` is the top of the three packages. It imports ``registry`` and ``mst``; neither imports
it. Protocol rules are kept apart from input and output: the modules of :mod:`gateway.s3` that judge
a request take bytes and a time as arguments, so that they are tested without a server.
"""
