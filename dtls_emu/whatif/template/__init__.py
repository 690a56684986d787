"""ARM templates without Azure: from a template and its parameters to the resources that it declares.

Sans-I/O: documents in, resources out. Nothing in a template is executed or fetched. What cannot be known is an
`Unknown` with its place, and so is whatever depends on it.
"""
