#!/usr/bin/env python3
# py-consul registers, checks, finds, keeps pairs, locks, queries and waits.
# quick
# needs: pypi py-consul==1.8.0
"""Each case is a function that takes a client of py-consul; all of them are run, in order."""

import base64
import os
import threading
import time

import consul

NEVER = 30  # seconds until "eventually" gives up


def eventually(claim, ask):
    """Asks until the answer is truthy, and gives it."""
    deadline = time.monotonic() + NEVER
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not so within {NEVER} s: {claim}")


def passing(client, service):
    return [row["Service"]["ID"] for row in client.health.service(service, passing=True)[1]]


def life_of_a_service(client):
    check = consul.Check.ttl("1h")
    client.agent.service.register(
        "life", service_id="life-1", address="127.0.0.1", port=8080, tags=["v1"],
        meta={"color": "blue"}, check=check,
    )
    # A TTL check is critical until somebody says otherwise.
    eventually("a new check is critical", lambda: client.health.state("critical")[1])
    assert passing(client, "life") == []
    client.agent.check.ttl_pass("service:life-1", notes="well")
    eventually("it passes", lambda: passing(client, "life") == ["life-1"])
    client.agent.check.ttl_fail("service:life-1")
    eventually("it fails", lambda: passing(client, "life") == [])
    client.agent.check.ttl_warn("service:life-1")
    eventually("it warns", lambda: client.health.checks("life")[1][0]["Status"] == "warning")
    client.agent.check.ttl_pass("service:life-1")
    eventually("it recovers", lambda: passing(client, "life") == ["life-1"])

    rows = client.catalog.service("life", tag="v1")[1]
    assert rows[0]["ServicePort"] == 8080 and rows[0]["ServiceMeta"] == {"color": "blue"}, rows
    assert client.catalog.service("life", tag="v2")[1] == []
    assert client.catalog.services()[1]["life"] == ["v1"]
    assert "life-1" in client.agent.services()

    client.agent.service.deregister("life-1")
    eventually("it is gone", lambda: client.catalog.service("life")[1] == [])


def maintenance_takes_out_of_the_answer(client):
    client.agent.service.register("pausing", port=1)
    eventually("it is listed", lambda: passing(client, "pausing") == ["pausing"])
    client.agent.service.maintenance("pausing", True, reason="oil")
    eventually("it is out", lambda: passing(client, "pausing") == [])
    client.agent.service.maintenance("pausing", False)
    eventually("it is back", lambda: passing(client, "pausing") == ["pausing"])
    client.agent.service.deregister("pausing")


def a_waiting_query_answers_on_change(client):
    index, rows = client.health.service("awaited")
    assert rows == []
    seen = []
    waiting = threading.Thread(
        target=lambda: seen.append(client.health.service("awaited", index=index, wait="60s"))
    )
    started_at = time.monotonic()
    waiting.start()
    client.agent.service.register("awaited", port=2)
    waiting.join(NEVER)
    assert seen and seen[0][1][0]["Service"]["Service"] == "awaited", seen
    assert int(seen[0][0]) > int(index)
    assert time.monotonic() - started_at < NEVER
    client.agent.service.deregister("awaited")


def a_node_of_the_catalog(client):
    client.catalog.register(
        "elsewhere", "10.1.2.3",
        service={"Service": "remote", "ID": "remote-1", "Port": 99},
        check={"Name": "by hand", "Status": "passing", "ServiceID": "remote-1"},
    )
    assert "elsewhere" in [node["Node"] for node in client.catalog.nodes()[1]]
    assert list(client.catalog.node("elsewhere")[1]["Services"]) == ["remote-1"]
    assert [check["Name"] for check in client.health.node("elsewhere")[1]] == ["by hand"]
    client.catalog.deregister("elsewhere")
    assert client.catalog.node("elsewhere")[1] is None


def pairs(client):
    assert client.kv.get("shelf/none")[1] is None
    assert client.kv.put("shelf/a", "one", flags=42)
    index, pair = client.kv.get("shelf/a")
    assert pair["Value"] == b"one" and pair["Flags"] == 42 and int(index) >= pair["ModifyIndex"]
    assert client.kv.put("shelf/a", "two", cas=pair["ModifyIndex"])
    assert not client.kv.put("shelf/a", "three", cas=pair["ModifyIndex"])
    assert not client.kv.put("shelf/a", "new", cas=0)
    assert client.kv.put("shelf/b/c", bytes([0, 255, 10]))
    assert client.kv.get("shelf/b/c")[1]["Value"] == bytes([0, 255, 10])
    assert client.kv.get("shelf/", keys=True, separator="/")[1] == ["shelf/a", "shelf/b/"]
    assert [pair["Key"] for pair in client.kv.get("shelf/", recurse=True)[1]] == \
        ["shelf/a", "shelf/b/c"]
    assert client.kv.delete("shelf/a")
    assert client.kv.delete("shelf/", recurse=True)
    assert client.kv.get("shelf/", recurse=True)[1] is None


def a_transaction_is_whole_or_nothing(client):
    def wish(verb, key, **more):
        value = base64.b64encode(b"x").decode()
        return {"KV": {"Verb": verb, "Key": key, "Value": value, **more}}

    told = client.txn.put([wish("set", "deal/a"), wish("get", "deal/a")])
    assert len(told["Results"]) == 2 and not told["Errors"], told
    try:
        client.txn.put([wish("set", "deal/b"), wish("cas", "deal/a", Index=1)])
        raise AssertionError("a failed comparison refuses the whole")
    except consul.ConsulException as refused:
        assert "409" in str(refused), refused
    assert client.kv.get("deal/b")[1] is None
    client.kv.delete("deal/", recurse=True)


def a_session_holds_a_lock(client):
    session = client.session.create(name="holder", ttl=60, lock_delay=0)
    other = client.session.create(name="other", ttl=60, lock_delay=0)
    assert client.kv.put("door", "mine", acquire=session)
    assert not client.kv.put("door", "theirs", acquire=other)
    assert client.kv.get("door")[1]["Session"] == session
    assert client.session.renew(session)["Name"] == "holder"
    assert session in [row["ID"] for row in client.session.list()[1]]
    assert client.kv.put("door", "", release=session)
    assert client.kv.put("door", "theirs", acquire=other)
    client.session.destroy(other)
    assert "Session" not in client.kv.get("door")[1]
    assert client.session.info(other)[1] is None
    client.session.destroy(session)
    client.kv.delete("door")


def a_prepared_query_finds_what_passes(client):
    client.agent.service.register("asked", service_id="asked-1", port=3, check=consul.Check.ttl("1h"))
    created = client.query.create("asked", name="by-name", onlypassing=True)
    assert client.query.execute("by-name")["Nodes"] == []
    client.agent.check.ttl_pass("service:asked-1")
    eventually("the query finds it", lambda: client.query.execute("by-name")["Nodes"])
    assert client.query.get(created["ID"])[0]["Name"] == "by-name"
    assert client.query.delete(created["ID"])
    client.agent.service.deregister("asked-1")


def who_serves(client):
    me = client.agent.self()
    assert me["Config"]["Server"] is True and me["Config"]["Datacenter"] == "dc1", me["Config"]
    assert ":" in client.status.leader() and client.status.peers()
    assert [member["Name"] for member in client.agent.members()] == [me["Config"]["NodeName"]]
    assert client.catalog.datacenters() == ["dc1"]
    assert client.operator.raft_config()["Servers"][0]["Leader"] is True


def an_event_is_fired(client):
    fired = client.event.fire("bell", "ding")
    eventually("it is heard", lambda: fired["ID"] in [row["ID"] for row in client.event.list("bell")[1]])


def a_snapshot_brings_back_what_was_there(client):
    client.kv.put("kept", "before")
    archive = client.snapshot.save()
    client.kv.put("kept", "after")
    client.snapshot.restore(archive)
    eventually("the pair is back", lambda: client.kv.get("kept")[1]["Value"] == b"before")
    client.kv.delete("kept")


CASES = [
    who_serves, life_of_a_service, maintenance_takes_out_of_the_answer,
    a_waiting_query_answers_on_change, a_node_of_the_catalog, pairs,
    a_transaction_is_whole_or_nothing, a_session_holds_a_lock,
    a_prepared_query_finds_what_passes, an_event_is_fired, a_snapshot_brings_back_what_was_there,
]


def main():
    host, port = os.environ["MUSTER_HTTP"].rsplit(":", 1)
    client = consul.Consul(host=host, port=int(port))
    failed = 0
    for case in CASES:
        try:
            case(client)
            print(f"ok: {case.__name__}")
        except Exception as wrong:  # One broken endpoint hides no other.
            failed += 1
            print(f"FAILED: {case.__name__}: {type(wrong).__name__}: {wrong}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
