"""What `ms3t doctor` looks at: one function per check, each of which only looks and never mends.

``folder`` checks the data folder and its keys, ``machine`` the clock, the port and the libraries, ``code`` the codecs
and the installation, ``heads`` that every bucket can be read from its signed head.
"""
