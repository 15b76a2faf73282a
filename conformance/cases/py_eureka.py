#!/usr/bin/env python3
# py-eureka-client registers, renews, sees others come and go by deltas, is overruled and leaves.
# quick
# servers: 1 and 3
# needs: debian curl curl
# needs: pypi py-eureka-client==0.13.2
"""Two clients of one server, at its two doors, or of three, whose leader is killed between them.
EUREKA_URL aims them at a real Eureka server."""

import asyncio
import json
import os
import subprocess
import time
import urllib.error
import urllib.request

from py_eureka_client import eureka_client, http_client

HTTP = os.environ.get("MUSTER_HTTP", "")
URL = os.environ.get("EUREKA_URL", f"http://{HTTP}/eureka/")
OWN_PORT = os.environ.get("EUREKA_URL", f"http://{os.environ.get('MUSTER_EUREKA')}/eureka/")
SERVERS = [f"http://{server}/eureka/" for server in os.environ.get("MUSTER_SERVERS", "").split()]
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


async def holds(claim, seconds, ask):
    """Asks for so long, and wants a truthy answer each time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert ask(), f"no longer so: {claim}"
        await asyncio.sleep(0.1)
    print(f"ok: {claim}")


async def started(app, port, url=URL, every=3600, ttl=3600):
    """A client that renews, and discovers, each `every` seconds. Its thread does not end with it."""
    new = eureka_client.EurekaClient(
        eureka_server=url, app_name=app, instance_port=port, instance_ip="127.0.0.1",
        instance_host="localhost", renewal_interval_in_secs=every, duration_in_secs=ttl,
        metadata={"zone": "a"},
    )
    await new.start()
    # What a busy machine did not let it do in time it would try again with its next renewal.
    while not new._EurekaClient__alive:
        await new.register()
    return new


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


async def leaves(watcher, app, client):
    """Stops a client that renews. Its thread would go on, and what it heard late may register it
    again: then it is stopped again."""
    async def nothing():
        pass

    client.send_heartbeat = nothing
    deadline = time.monotonic() + NEVER
    await client.stop()
    while seen(watcher, app):
        assert time.monotonic() < deadline, f"{app} is still seen after {NEVER} s"
        await asyncio.sleep(0.1)
        await client.stop()  # Does nothing where it has not registered again.
    print(f"ok: it sees {app} leave")


async def both_tongues(service, ports):
    if HTTP:
        await eventually(f"Consul's API hands out {ports} of {service}",
                         lambda: passing(service) == ports)


async def life():
    watcher = await started("watcher", 9001, every=1, ttl=60)
    await eventually("it sees itself", lambda: seen(watcher, "watcher") == ["UP"])

    other = await started("other", 9002, OWN_PORT)
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
    await missed(watcher)
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
    await started("silent", 9004, ttl=4)
    await eventually("it sees who does not renew", lambda: seen(watcher, "silent") == ["UP"])
    await eventually("it sees it expire", lambda: not seen(watcher, "silent"))


async def missed(watcher):
    """It learns of a new application by the hash code of a delta and the whole that it then fetches.
    If that fails, the next delta tells it no news, but under another number."""
    fetch = eureka_client.get_applications
    failed = []

    async def fail_once(*arguments):
        eureka_client.get_applications = fetch
        failed.append(arguments)
        raise http_client.URLError("the whole did not come in time")

    eureka_client.get_applications = fail_once
    late = await started("late", 9005)
    await eventually("it fails to fetch the whole", lambda: failed)
    await eventually("it sees who came meanwhile", lambda: seen(watcher, "late") == ["UP"])
    await late.stop()


async def bereaved():
    """The leader of three servers is killed: its clients go on, and see others come and go."""
    lease = 10
    there, back = ",".join(SERVERS), ",".join(reversed(SERVERS))
    watcher = await started("watcher", 9001, there, every=1, ttl=lease)
    other = await started("other", 9002, back, every=1, ttl=lease)
    await eventually("it sees another come", lambda: seen(watcher, "other") == ["UP"])
    subprocess.run(["bash", f"{os.environ['CASES']}/kill-leader.bash"], check=True)
    newcomer = await started("newcomer", 9003, back, every=1, ttl=lease)
    await eventually("it sees one come that came without the leader",
                     lambda: seen(watcher, "newcomer") == ["UP"])
    await holds("none is lost that renews", 2 * lease,
                lambda: [seen(watcher, app) for app in ("watcher", "other", "newcomer")]
                == [["UP"]] * 3)
    await other.status_update("OUT_OF_SERVICE")
    await eventually("it sees an override", lambda: seen(watcher, "other") == ["OUT_OF_SERVICE"])
    await leaves(watcher, "newcomer", newcomer)
    await started("silent", 9004, there, ttl=lease)
    await eventually("it sees who does not renew", lambda: seen(watcher, "silent") == ["UP"])
    await eventually("it sees it expire", lambda: not seen(watcher, "silent"))


asyncio.run(bereaved() if len(SERVERS) > 1 else life())
print("done")
os._exit(0)  # The client's thread of renewals never ends.
