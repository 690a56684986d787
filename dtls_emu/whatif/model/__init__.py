"""One model of a network, whatever it was read from: a lab, templates, predicted resources or lists of resources.

What is not known stays unknown here: a fact is True, False or None.
"""
