"""A Python program with threads, a child and a pipe. Ends on SIGTERM with PASS, if nothing was lost."""

import hashlib
import os
import queue
import signal
import sys
import threading
import time

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())


def child(writer):
    """Sends numbers until the parent closes its end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    number = 0
    with os.fdopen(writer, "w", buffering=1) as file:
        while True:
            file.write(f"{number}\n")
            number += 1
            time.sleep(0.001)


def worker(results, index):
    """Hashes its own hash over and over, and hands rounds over a queue."""
    digest, rounds = str(index).encode(), 0
    while not stop.is_set():
        digest = hashlib.sha256(digest).digest()
        rounds += 1
        if rounds % 1000 == 0:
            time.sleep(0.001)
    results.put((index, rounds, digest))


def main():
    """Exit status 0 and PASS."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        child(writer)
        os._exit(0)
    os.close(writer)
    results = queue.Queue()
    threads = [threading.Thread(target=worker, args=(results, i)) for i in range(4)]
    for thread in threads:
        thread.start()
    print("READY", flush=True)
    expected = 0
    with os.fdopen(reader) as file:
        while not stop.is_set():
            line = file.readline()
            if int(line) != expected:
                print(f"FAIL: the child says {line.strip()} instead of {expected}", flush=True)
                sys.exit(1)
            expected += 1
    for thread in threads:
        thread.join()
    os.waitpid(pid, 0)
    for _ in threads:
        index, rounds, found = results.get()
        digest = str(index).encode()
        for _ in range(rounds):
            digest = hashlib.sha256(digest).digest()
        if digest != found:
            print(f"FAIL: thread {index} has lost its way in {rounds} rounds", flush=True)
            sys.exit(1)
    print("PASS", flush=True)


main()
