"""httpx_sse_reader.py URL: prints what the package `httpx-sse` makes of a stream."""

import json
import sys
import time

import httpx
from httpx_sse import connect_sse

url = sys.argv[1]


def say(**seen):
    print(json.dumps(seen), flush=True)


# docs: begin
last, retry = None, 1000
# The heartbeat comes every 15 s: silence for longer is a dead connection.
with httpx.Client(timeout=httpx.Timeout(5, read=45)) as client:
    while True:
        headers = {"Last-Event-ID": last} if last else {}
        try:
            with connect_sse(client, "GET", url, headers=headers) as source:
                source.response.raise_for_status()
                say(kind="open")
                for event in source.iter_sse():
                    last, retry = event.id or last, event.retry or retry
                    say(kind="event", type=event.event, id=event.id, data=event.data)
            say(kind="closed")
        except httpx.HTTPError as error:
            say(kind="error", text=repr(error))
        time.sleep(retry / 1000)
# docs: end
