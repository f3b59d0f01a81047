"""An asyncio service: TCP clients, a subprocess over pipes, signal handlers, timers. Ends on SIGTERM with PASS."""

import asyncio
import signal
import sys


async def serve(reader, writer):
    """Echoes lines with their number."""
    number = 0
    while line := await reader.readline():
        writer.write(f"{number} ".encode() + line)
        await writer.drain()
        number += 1
    writer.close()


async def main():
    """Prints READY and the port."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    child = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    ticks = 0
    print("READY", server.sockets[0].getsockname()[1], flush=True)
    while not stop.is_set():
        child.stdin.write(f"{ticks}\n".encode())
        line = await child.stdout.readline()
        if int(line) != ticks:
            print(f"FAIL: cat answers {line} to {ticks}", flush=True)
            sys.exit(1)
        ticks += 1
        await asyncio.sleep(0.005)
    child.stdin.close()
    await child.wait()
    print("PASS", flush=True)


asyncio.run(main())
