"""Several processes that serve one data folder: one owns it and commits, the workers speak S3 and read.

Workers share the port, each with a listening socket of its own, and hand mutations to the owner over a link.  What
they read they read themselves, from the segments and from memory that all processes map (`gateway.store.shared`).
"""
