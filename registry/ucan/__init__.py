"""UCANs and the messages that carry them: who says what to a storage node, and whether it may be believed.

Pure: bytes in, values out; the time is passed in.  Bytes from outside raise only `registry.ucan.errors.UcanError`.
Specs: https://github.com/ucan-wg/spec/tree/v0.9.1 and https://github.com/storacha/specs.
"""
