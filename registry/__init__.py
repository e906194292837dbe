"""Who may ask and where things stand: bucket heads, credentials, multipart uploads and the space key.

Everything that changes and is not a block lives here, in one SQL database beside one key file.  Blocks never do.
"""
