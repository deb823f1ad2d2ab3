#!/usr/bin/env python3
"""A TCP proxy on the loopback that holds every byte back for a while: a server that is far away.

    delay_proxy.py PORT MILLISECONDS    the server's port, the time of a round trip; says "listening on PORT"

It reads once per tick whatever has arrived, so that small messages cost little however many they are.
"""
import collections
import selectors
import socket
import sys
import time

HOST = "127.0.0.1"
TICK_SECONDS = 0.001
READ_BYTES = 1 << 20
# More than a path of this length would hold; what is beyond waits in the sender's socket.
QUEUE_BYTES = 64 << 20


class Way:
    """One direction of a connection: what was read, and when it may be written."""

    def __init__(self, reader, writer, delay):
        self.reader = reader
        self._writer = writer
        self._delay = delay
        self._queue = collections.deque()
        self._queued_bytes = 0
        self._ended = False
        self.over = False

    def reads(self):
        return not self._ended and self._queued_bytes < QUEUE_BYTES

    def due(self):
        return self._queue[0][0] if self._queue else None

    def read(self, now):
        try:
            data = self.reader.recv(READ_BYTES)
        except BlockingIOError:
            return
        self._ended = not data
        self._queue.append((now + self._delay, memoryview(data)))
        self._queued_bytes += len(data)

    def write(self, now):
        while self._queue and self._queue[0][0] <= now:
            due, data = self._queue.popleft()
            if not data:
                self._writer.shutdown(socket.SHUT_WR)
                self.over = True
                return
            try:
                sent = self._writer.send(data)
            except BlockingIOError:
                sent = 0
            self._queued_bytes -= sent
            if sent < len(data):
                self._queue.appendleft((due, data[sent:]))
                return


class Link:
    """A client and its connection to the server."""

    def __init__(self, client, server, delay):
        self.ways = [Way(client, server, delay), Way(server, client, delay)]
        self.sockets = [client, server]
        for end in self.sockets:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def over(self):
        return all(way.over for way in self.ways)

    def close(self):
        for end in self.sockets:
            end.close()


class Proxy:
    def __init__(self, port, delay):
        self._port = port
        self._delay = delay
        self._links = []
        self._selector = selectors.SelectSelector()  # Waits for parts of a millisecond, too.
        self._listener = socket.create_server((HOST, 0))
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.port = self._listener.getsockname()[1]

    def serve(self):
        while True:
            ready = {key.fileobj for key, _ in self._selector.select(self._patience())}
            if self._listener in ready:
                self._accept()
            now = time.monotonic()
            for link in list(self._links):
                self._move(link, ready, now)
            if ready:
                patience = self._patience()
                time.sleep(TICK_SECONDS if patience is None else min(TICK_SECONDS, patience))

    def _patience(self):
        """Until something may be written; for ever where nothing waits."""
        dues = [way.due() for link in self._links for way in link.ways if way.due() is not None]
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _accept(self):
        client, _ = self._listener.accept()
        link = Link(client, socket.create_connection((HOST, self._port)), self._delay)
        self._links.append(link)
        for end in link.sockets:
            self._selector.register(end, selectors.EVENT_READ)

    def _move(self, link, ready, now):
        try:
            for way in link.ways:
                if way.reader in ready and way.reads():
                    way.read(now)
                way.write(now)
                self._listen(way)
        except OSError:
            self._drop(link)
            return
        if link.over():
            self._drop(link)

    def _listen(self, way):
        registered = way.reader in self._selector.get_map()
        if way.reads() and not registered:
            self._selector.register(way.reader, selectors.EVENT_READ)
        elif not way.reads() and registered:
            self._selector.unregister(way.reader)

    def _drop(self, link):
        for end in link.sockets:
            if end in self._selector.get_map():
                self._selector.unregister(end)
        link.close()
        self._links.remove(link)


def main(arguments):
    port, milliseconds = int(arguments[0]), float(arguments[1])
    proxy = Proxy(port, milliseconds / 2000)
    print(f"listening on {proxy.port}", flush=True)
    try:
        proxy.serve()
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
