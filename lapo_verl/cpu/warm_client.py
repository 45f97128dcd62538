"""The command of a warm Python: hands itself over to ``warm_python.py`` and waits for the process that runs it there.

Run as ``python -IS warm_client.py <socket> <arguments of a Python>``, so it imports the standard library only.
"""

import contextlib
import json
import os
import signal
import socket
import sys
from typing import TextIO


def main() -> None:
    address, *arguments = sys.argv[1:]
    try:
        status = run(address, arguments)
    except ConnectionError as error:
        sys.exit(f"The warm Python of {address} has ended: {error}.{last_words(address)}")
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to put back
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def run(address: str, arguments: list[str]) -> int:
    """The exit status of the process that runs them; negative for the signal that ended it."""
    files = open_files()
    server = socket.socket(socket.AF_UNIX)
    server.connect(address)
    job = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd(), "files": files}
    message = json.dumps(job).encode()
    socket.send_fds(server, [len(message).to_bytes(8, "big")], files)
    server.sendall(message)
    answers = server.makefile()
    process = read_number(answers)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(process, number))
    return read_number(answers)


def read_number(answers: TextIO) -> int:
    answer = answers.readline()
    if not answer:
        raise ConnectionError("no answer")
    return int(answer)


def open_files() -> list[int]:
    """The numbers of this process's open files."""
    found = []
    for number in map(int, os.listdir("/proc/self/fd")):
        # The listing itself was one of them.
        with contextlib.suppress(OSError):
            os.fstat(number)
            found.append(number)
    return found


def last_words(address: str) -> str:
    """What the server printed last: why a module cannot be imported, for instance."""
    with contextlib.suppress(OSError), open(os.path.join(os.path.dirname(address), "log"), errors="replace") as log:
        return " It printed:\n" + "".join(log.readlines()[-20:])
    return ""


if __name__ == "__main__":
    main()
