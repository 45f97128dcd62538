"""What holds for all tests."""

from hypothesis import settings

# An example that takes long on a busy machine is no fault.
settings.register_profile("lapo", deadline=None)
settings.load_profile("lapo")
