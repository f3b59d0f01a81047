"""Repeats each line that comes from a socket to a terminal, a file, a FIFO, a pipe and to memory, all open since its start."""

import os
import socket
import sys

numbers = [int(word) for word in sys.argv[1:]]
caller = socket.socket(fileno=numbers[0])
while line := caller.recv(1000):
    for fd in numbers[1:-1]:
        os.write(fd, line)
    os.pwrite(numbers[-1], line, 0)
    caller.sendall(b"ok\n")
