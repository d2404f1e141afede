"""The algorithms in plain NumPy: the specification that csrc/core implements for speed.

mirror (coordinate maps), state (one run and its basis), gram (scaled Gram matrix), dopri5 and
radau5 (one step each), flow (step control and stopping rules), limit (t to infinity).
"""
