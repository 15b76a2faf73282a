#!/usr/bin/env python3
# py-eureka-client registers, renews, sees others come and go by deltas, is overruled and leaves.
# quick
# needs: pypi py-eureka-client==0.13.2
"""Two clients of one server, at its two doors. EUREKA_URL aims both at a real Eureka server."""

import asyncio
import json
import os
import time
import urllib.error
import urllib.request

from py_eureka_client import eureka_client

HTTP = os.environ.get("MUSTER_HTTP", "")
URL = os.environ.get("EUREKA_URL", f"http://{HTTP}/eureka/")
OWN_PORT = os.environ.get("EUREKA_URL", f"http://{os.environ.get('MUSTER_EUREKA')}/eureka/")
NEVER = 150  # seconds until "eventually" gives up: a real Eureka server is slow to expire


async def eventually(claim, ask):
    """Asks until the answer is truthy, and gives it."""
    deadline = time.monotonic() + NEVER
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            print(f"ok: {claim}")
            return answer
        await asyncio.sleep(0.1)
    raise AssertionError(f"not so within {NEVER} s: {claim}")


def client(app, port, url=URL, every=3600, ttl=3600):
    """A client that renews, and discovers, each `every` seconds. Its thread does not end with it."""
    return eureka_client.EurekaClient(
        eureka_server=url, app_name=app, instance_port=port, instance_ip="127.0.0.1",
        instance_host="localhost", renewal_interval_in_secs=every, duration_in_secs=ttl,
        metadata={"zone": "a"},
    )


def seen(watcher, app):
    """Words of the instances that a client knows of, by its own whole and deltas."""
    known = watcher._EurekaClient__applications
    found = known and known.get_application(app.upper())
    return [instance.status for instance in found.instances] if found else []


def consul(path):
    with urllib.request.urlopen(f"http://{HTTP}{path}") as reply:
        return json.load(reply)


def passing(service):
    """What Consul's API hands out; where there is no such API, what is not asked there."""
    if not HTTP:
        return None
    return [row["Service"]["Port"] for row in consul(f"/v1/health/service/{service}?passing")]


async def both_tongues(service, ports):
    if HTTP:
        await eventually(f"Consul's API hands out {ports} of {service}",
                         lambda: passing(service) == ports)


async def main():
    watcher = client("watcher", 9001, every=1, ttl=60)
    await watcher.start()
    await eventually("it sees itself", lambda: seen(watcher, "watcher") == ["UP"])

    other = client("other", 9002, OWN_PORT)
    await other.start()
    await eventually("it sees another come", lambda: seen(watcher, "other") == ["UP"])
    await both_tongues("other", [9002])

    await other.status_update("OUT_OF_SERVICE")
    await eventually("it sees an override", lambda: seen(watcher, "other") == ["OUT_OF_SERVICE"])
    await both_tongues("other", [])
    await other.send_heartbeat()
    await other.register()
    assert seen(watcher, "other") == ["OUT_OF_SERVICE"], "an override outlives registrations"
    await other.delete_status_override()
    await other.register()
    await eventually("it sees the override end", lambda: seen(watcher, "other") == ["UP"])
    await both_tongues("other", [9002])

    answer = await watcher.walk_nodes("other", "/", walker=lambda url: url)
    assert answer.rstrip("/").endswith(":9002"), answer

    await other.stop()
    await eventually("it sees another leave", lambda: not seen(watcher, "other"))
    await both_tongues("other", [])

    if HTTP:
        await foreign(watcher)
    await silence(watcher)
    await watcher.stop()


async def foreign(watcher):
    """What an agent vouches for is seen, and its checks are words."""
    put("/v1/agent/service/register", {
        "Name": "native", "Port": 9003, "Address": "127.0.0.1",
        "Check": {"CheckID": "native-check", "TTL": "1h", "Status": "passing"}})
    await eventually("it sees a service of Consul's API", lambda: seen(watcher, "native") == ["UP"])
    put("/v1/agent/check/fail/native-check")
    await eventually("it sees a check fail", lambda: seen(watcher, "native") == ["DOWN"])
    put("/v1/agent/service/deregister/native")
    await eventually("it sees it go", lambda: not seen(watcher, "native"))


def put(path, body=None):
    data = json.dumps(body).encode() if body is not None else b""
    request = urllib.request.Request(f"http://{HTTP}{path}", data=data, method="PUT")
    urllib.request.urlopen(request).close()


async def silence(watcher):
    """Who registers and falls silent is gone."""
    silent = client("silent", 9004, ttl=4)
    await silent.start()
    await eventually("it sees who does not renew", lambda: seen(watcher, "silent") == ["UP"])
    await eventually("it sees it expire", lambda: not seen(watcher, "silent"))


asyncio.run(main())
print("done")
os._exit(0)  # The client's thread of renewals never ends.
