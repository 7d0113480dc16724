"""aiohttp_sse_client2_reader.py URL: prints what the package `aiohttp-sse-client2` makes of a stream."""

import asyncio
import json
import sys
from datetime import timedelta

from aiohttp import ClientError, ClientSession, ClientTimeout
from aiohttp_sse_client2.client import EventSource

url = sys.argv[1]


def say(**seen):
    print(json.dumps(seen), flush=True)


# docs: begin
async def listen():
    last, wait = None, timedelta(seconds=0.1)
    # Without a timeout of one's own aiohttp ends every stream after five minutes.
    async with ClientSession(timeout=ClientTimeout(total=None, sock_read=45)) as session:
        while True:
            headers = {"Last-Event-ID": last} if last else {}
            try:
                async with EventSource(
                    url,
                    session=session,
                    headers=headers,
                    reconnection_time=wait,
                    on_open=lambda: say(kind="open"),
                ) as stream:
                    async for event in stream:
                        last = event.last_event_id or last
                        say(kind="event", type=event.type or "message", id=event.last_event_id, data=event.data)
            except (ClientError, ConnectionError, asyncio.TimeoutError) as error:
                say(kind="error", text=repr(error))
            await asyncio.sleep(wait.total_seconds())


# docs: end
asyncio.run(listen())
