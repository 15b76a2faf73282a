#!/usr/bin/env python3
"""Records conversations with a real Eureka server: rewrites the replies (`<`) of the files named."""

import gzip
import http.client
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
JAR = os.environ.get("EUREKA_SERVER_JAR", HERE / "server/target/server-1.jar")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start():
    port = free_port()
    server = subprocess.Popen(
        ["java", "-Xmx400m", "-jar", JAR], env={**os.environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        try:
            if ask(port, "GET", "/eureka/apps", {}, "")[0] == 200:
                return server, port
        except OSError:
            time.sleep(0.5)
    server.kill()
    raise SystemExit("the server does not start")


def ask(port, method, target, headers, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    data = body.encode()
    if headers.get("content-encoding") == "gzip":
        data = gzip.compress(data)
    connection.request(method, target, body=data or None, headers=headers)
    reply = connection.getresponse()
    kind, data = reply.headers.get_content_type(), reply.read()
    if reply.headers.get("content-encoding") == "gzip":
        kind, data = f"{kind} gzip", gzip.decompress(data)
    return reply.status, kind, data.decode()


def plain(body, target):
    body = re.sub(r"\b1(?!7000)\d{12}\b", "TIME", body)
    if "/delta" in target:
        body = re.sub(r'(versions__delta(?:":"|>))\d+', r"\1N", body)
    return body


def reply_lines(port, request):
    method, target = request[0].split(" ", 1)
    headers, body = {}, ""
    for at, line in enumerate(request[1:]):
        if re.match(r"[a-z-]+: ", line):
            name, value = line.split(": ", 1)
            headers[name] = value
        else:
            body = "\n".join(request[1 + at:])
            break
    status, kind, text = ask(port, method, target, headers, body)
    if '"timestamp":"20' in text or text.startswith("<html"):
        text = ""
    # The caches of the original lag behind its registry.
    time.sleep(0.3)
    lines = [f"< {status} {kind}" if text else f"< {status}"]
    return lines + [f"< {line}" for line in plain(text, target).splitlines()]


def record(path):
    server, port = start()
    try:
        lines = [line for line in path.read_text().splitlines() if not line.startswith("<")]
        out, request = [], []
        for line in [*lines, ""]:
            if request and not line.startswith(">"):
                out += reply_lines(port, request)
                request = []
            if line.startswith("> "):
                request.append(line[2:])
            out.append(line)
        path.write_text("\n".join(out).rstrip("\n") + "\n")
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        record(pathlib.Path(name))
        print(f"recorded {name}")
