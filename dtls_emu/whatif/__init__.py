"""Read a network that somebody really has, and say what encryption would do to it before anybody turns it on.

Templates, exports and lists become one model; the policy decides its pairs; reports show what comes of it.
"""
