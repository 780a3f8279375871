"""What all tests share."""

from hypothesis import settings

# No deadline: a busy machine is not a fault of the code. Derandomized: the gate
# judges a change by the same examples today and tomorrow.
settings.register_profile("book", deadline=None, derandomize=True)
settings.load_profile("book")
