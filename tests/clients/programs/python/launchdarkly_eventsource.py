"""launchdarkly_eventsource.py URL: prints what the package `launchdarkly-eventsource` makes of a stream."""

import json
import sys

from ld_eventsource import SSEClient
from ld_eventsource.actions import Event, Fault, Start
from ld_eventsource.config import ErrorStrategy, RetryDelayStrategy

url = sys.argv[1]


def say(**seen):
    print(json.dumps(seen), flush=True)


# docs: begin
client = SSEClient(
    url,
    initial_retry_delay=0.2,
    retry_delay_strategy=RetryDelayStrategy.default(max_delay=2),
    error_strategy=ErrorStrategy.always_continue(),
)
for action in client.all:
    if isinstance(action, Event):
        say(kind="event", type=action.event, id=action.last_event_id, data=action.data)
    elif isinstance(action, Start):
        say(kind="open")
    elif isinstance(action, Fault):
        say(kind="error", text=str(action.error))
# docs: end
