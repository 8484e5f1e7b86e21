#!/usr/bin/env python3
"""A TCP proxy that counts what crosses it, and can be a long, thin network link.

    link.py LISTEN_PORT TARGET_PORT [--rtt MS] [--mbit N] [--log FILE]

Forwards 127.0.0.1:LISTEN_PORT to 127.0.0.1:TARGET_PORT. With --rtt, every byte arrives half an RTT late in each direction, and a new connection
costs one RTT before its first byte. With --mbit, all connections together share that rate in each direction.

It reads the heads of the HTTP/1.1 requests that pass. It prints "ready" once it listens. On SIGTERM or SIGINT it writes one JSON object to FILE, or prints it:

    {"connections": C, "up_bytes": U, "down_bytes": D, "turns": T, "requests": [{"line": "GET /v2/ HTTP/1.1", "range": "bytes=0-9", "turn": 2}]}

`turns` counts the round trips that followed one another. A connection or a request is one turn later than the latest turn of which the client had
seen something when it began: the first connection is turn 1, the first request turn 2, and two requests sent at the same time share a turn. So T round
trips is what this client needs on a link that moves bytes in no time. It counts one thing too much where a client's next request, sent after an answer,
did not depend on it.
"""
import argparse
import asyncio
import json
import os
import signal
import time

CHUNK = 16 * 1024  # bytes moved at a time on a link with a rate
QUICK = 256 * 1024  # and on one without


class Turns:
    """Which round trips have to follow one another."""

    def __init__(self):
        self.seen = 0  # the latest turn of which the client has seen an answer
        self.last = 0  # the latest turn of all
        self.requests = []

    def next(self, at_least=0):
        turn = max(self.seen, at_least) + 1
        self.last = max(self.last, turn)
        return turn

    def answered(self, turn):
        self.seen = max(self.seen, turn)


class Requests:
    """The requests of one connection, found in its bytes as they pass."""

    def __init__(self, turns):
        self.turns, self.connected = turns, turns.next()
        self.head, self.body = b"", 0  # an unfinished head, and bytes of body still to pass
        self.waiting = None

    def pass_up(self, data):
        while data:
            if self.body:
                skipped = min(self.body, len(data))
                self.body, data = self.body - skipped, data[skipped:]
                continue
            head, end, rest = (self.head + data).partition(b"\r\n\r\n")
            if not end:
                # No head is as long; what is no HTTP is not kept.
                self.head = head[-(1 << 16) :]
                return
            self.head, data = b"", rest
            self.begin(head.decode("latin-1").split("\r\n"))

    def begin(self, lines):
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.waiting = self.turns.next(at_least=self.connected)
        self.turns.requests.append({"line": lines[0], "range": fields.get("range"), "turn": self.waiting})
        length = fields.get("content-length", "0")
        self.body = int(length) if length.isdigit() else 0

    def pass_down(self):
        """The client is about to see bytes from the server."""
        if self.waiting is not None:
            self.turns.answered(self.waiting)
            self.waiting = None


class Pipe:
    """One direction of the link: a shared rate limit."""

    def __init__(self, mbit):
        self.rate = mbit * 1e6 / 8 if mbit else None
        self.free_at = 0.0
        self.bytes = 0

    def departure(self, size, not_before):
        """The time at which the last of `size` bytes has left the sender."""
        begin = max(time.monotonic(), not_before)
        self.bytes += size
        if self.rate is None:
            return begin
        self.free_at = max(self.free_at, begin) + size / self.rate
        return self.free_at


async def pump(reader, writer, pipe, delay, coming, going, not_before=0.0):
    """Carries one direction of one connection until its sender is done or its reader is gone.

    `coming` is told of data when it is read, `going` when it is about to be written.
    """
    # At most ~one bandwidth-delay product (or 1 MiB) is in flight, as a TCP window would have it.
    window = max(1 << 20, int((pipe.rate or 0) * delay * 2))
    in_flight = asyncio.Queue(maxsize=max(4, window // CHUNK))

    async def depart():
        while data := await reader.read(CHUNK if pipe.rate else QUICK):
            coming(data)
            await in_flight.put((pipe.departure(len(data), not_before) + delay, data))
            backlog = pipe.free_at - time.monotonic()
            if backlog > delay + 0.05:
                await asyncio.sleep(backlog - delay)
        await in_flight.put(None)

    async def arrive():
        while item := await in_flight.get():
            due, data = item
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            going()
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    ends = [asyncio.create_task(depart()), asyncio.create_task(arrive())]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("listen", type=int)
    args.add_argument("target", type=int)
    args.add_argument("--rtt", type=float, default=0.0, help="round-trip time in ms (default 0)")
    args.add_argument("--mbit", type=float, default=0.0, help="rate in Mbit/s each way (default: no limit)")
    args.add_argument("--log", help="write the closing figures here")
    args = args.parse_args()
    up, down, turns = Pipe(args.mbit), Pipe(args.mbit), Turns()
    half = args.rtt / 2000.0
    connections = 0

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        requests, open_at = Requests(turns), time.monotonic() + 2 * half
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", args.target, limit=QUICK)
        except OSError:
            writer.close()
            return
        client_to_server = asyncio.create_task(pump(reader, upstream_writer, up, half, requests.pass_up, lambda: None, open_at))
        try:
            # A client that stops sending still gets its whole answer.
            await pump(upstream_reader, writer, down, half, lambda _: None, requests.pass_down)
        finally:
            client_to_server.cancel()
            for end in (writer, upstream_writer):
                end.close()

    server = await asyncio.start_server(serve, "127.0.0.1", args.listen, limit=QUICK)
    stop = asyncio.Event()
    for s in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(s, stop.set)
    async with server:
        print("ready", flush=True)
        await stop.wait()
    figures = {"connections": connections, "up_bytes": up.bytes, "down_bytes": down.bytes, "turns": turns.last, "requests": turns.requests}
    if args.log:
        with open(args.log, "w", encoding="utf-8") as log:
            json.dump(figures, log)
    else:
        print(json.dumps(figures), flush=True)
    os._exit(0)  # whatever is still in flight is dropped, as a cut cable would


if __name__ == "__main__":
    asyncio.run(main())
