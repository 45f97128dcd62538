"""Settings of all tests."""

from hypothesis import settings

# A test that takes long on a busy machine is not a failure; speed is measured in benchmarks/.
settings.register_profile("lapo", deadline=None)
settings.load_profile("lapo")
