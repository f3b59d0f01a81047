"""What `make demo` checkpoints: three threads that count, and a child that adds up the numbers it gets by a pipe.

Writes a line with its whole state to the file given, twenty times a second.
"""
import os
import sys
import threading
import time

WORKERS = 3


def child(numbers):
    """Adds up what comes through the pipe; says so when the pipe closes."""
    total = 0
    for line in os.fdopen(numbers):
        total += int(line)
    sys.exit(total % 251)


def main():
    log = open(sys.argv[1], "w", buffering=1)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write_end)
        child(read_end)
    os.close(read_end)
    counts = [0] * WORKERS
    lock = threading.Lock()

    def work(number):
        while True:
            with lock:
                counts[number] += 1
            time.sleep(0.01)

    for number in range(WORKERS):
        threading.Thread(target=work, args=(number,), daemon=True).start()
    for step in range(1, 1 << 40):
        os.write(write_end, b"%d\n" % step)
        with lock:
            log.write(f"step {step}: pid {os.getpid()}, child {pid}, threads counted {counts}\n")
        time.sleep(0.05)


main()
