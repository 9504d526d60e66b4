"""A same-family pair on real weights: Gemma 3 270M, and an adapter that follows instructions.

Development only (the extra `gemma`). Neither the weights nor the adapter are in the repository:
Gemma's terms travel with derivatives.
"""
