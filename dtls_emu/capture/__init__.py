"""What a run leaves to be looked at: captures and traces.

Sans-I/O: bytes and events go in, bytes and lines of text come out.
"""
