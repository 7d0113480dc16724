// gosse URL: prints what the module github.com/tmaxmax/go-sse makes of a stream.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/tmaxmax/go-sse"
)

func say(seen map[string]any) {
	line, err := json.Marshal(seen)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func main() {
	// docs: begin
	client := sse.Client{
		OnRetry: func(err error, _ time.Duration) {
			say(map[string]any{"kind": "error", "text": err.Error()})
		},
	}
	request, err := http.NewRequest(http.MethodGet, os.Args[1], nil)
	if err != nil {
		panic(err)
	}
	connection := client.NewConnection(request)
	// The default takes events up to 64 KiB altogether; Sluice's limit is 64 KiB of data.
	connection.Buffer(nil, 256*1024)
	connection.SubscribeToAll(func(event sse.Event) {
		kind := event.Type
		if kind == "" {
			kind = "message"
		}
		say(map[string]any{"kind": "event", "type": kind, "id": event.LastEventID, "data": event.Data})
	})
	err = connection.Connect()
	// docs: end
	say(map[string]any{"kind": "closed", "text": err.Error()})
}
