import os

# verl chooses its platform once, when it is imported.
os.environ["VERL_PLATFORM"] = "cpu"
