"""Holds what only a plugin can save: a device, and a connection to a server outside. Repeats what the server says."""

import os
import socket
import sys

device = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.connect(sys.argv[1])
while line := server.recv(1000):
    rdev = os.fstat(device).st_rdev
    server.sendall(b"%d:%d %s" % (os.major(rdev), os.minor(rdev), line))
