"""The answer: what becomes of each pair of endpoints, what breaks, what has to be done, and what is worth doing first.

Pairs are counted in groups of what is alike, so that thousands of networks take seconds.
"""
