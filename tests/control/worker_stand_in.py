"""A process in a worker's place, for tests of slot and fleet: says ready, echoes, obeys; or crashes, if told so."""

import os
import pickle
import socket
import struct
import sys

LENGTH = struct.Struct("!Q")


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[-1]))
    stream = channel.makefile("rb")

    def receive() -> tuple[object, ...]:
        (size,) = LENGTH.unpack(stream.read(LENGTH.size))
        message: tuple[object, ...] = pickle.loads(stream.read(size))
        return message

    def send(*message: object) -> None:
        data = pickle.dumps(message)
        channel.sendall(LENGTH.pack(len(data)) + data)

    (mode,) = receive()
    if mode == "crash":
        sys.exit(3)
    send("ready", os.getpid())
    while True:
        message = receive()
        if message[0] == "drain":
            send("drained", {"requests": 5})
            return
        if message[0] == "die":
            os.kill(os.getpid(), 9)
        send("echo", *message)


if __name__ == "__main__":
    main()
