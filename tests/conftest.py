"""Settings of every test."""

from hypothesis import settings

# No test asserts time: on a busy machine hypothesis' deadline of 200 ms is one.
settings.register_profile("thorough", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=20)
# `make test-slow` asks for `--hypothesis-profile thorough`, and runs every property with it.
settings.load_profile("fast")
