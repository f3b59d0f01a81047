"""Runs a command (criu restore --restore-sibling) as its child, reports its exit status through a descriptor, and then
stays as the parent of what the command left to it. Ends with the status of the first such child."""

import os
import subprocess
import sys


def main():
    """keeper.py FD COMMAND..."""
    channel, command = int(sys.argv[1]), sys.argv[2:]
    status = subprocess.run(command, check=False).returncode
    os.write(channel, f"{status}\n".encode())
    os.close(channel)
    if status:
        return 1
    try:
        _, result = os.wait()
    except ChildProcessError:
        return 2
    return os.waitstatus_to_exitcode(result) & 0xFF


sys.exit(main())
