"""What the fork server imports before it forks the first worker; see ``pool``."""

from lapo_verl.verify import worker

worker.prepare()
