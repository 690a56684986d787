"""Files: read ones that somebody else names, write the product's own, write results where a user wants them.

Nothing half written is left, nothing is waited for, nothing is read or written through what others put in the way.
"""
