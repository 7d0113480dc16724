// byhand URL: prints what Go's standard library and a few lines of parsing make of a stream.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func say(seen map[string]any) {
	line, err := json.Marshal(seen)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

// docs: begin

// reader is one client's place in the stream.
type reader struct {
	last  string
	retry time.Duration
}

// read takes one response apart until it ends.
func (r *reader) read(body io.Reader) error {
	lines := bufio.NewReader(body)
	kind, id, data := "", r.last, []string{}
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			r.last = id
			if len(data) > 0 {
				if kind == "" {
					kind = "message"
				}
				say(map[string]any{"kind": "event", "type": kind, "id": id, "data": strings.Join(data, "\n")})
			}
			kind, data = "", nil
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "data":
			data = append(data, value)
		case "event":
			kind = value
		case "id":
			id = value
		case "retry":
			if ms, err := strconv.Atoi(value); err == nil {
				r.retry = time.Duration(ms) * time.Millisecond
			}
		}
	}
}

func (r *reader) connect(url string) error {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "text/event-stream")
	if r.last != "" {
		request.Header.Set("Last-Event-ID", r.last)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", response.Status)
	}
	say(map[string]any{"kind": "open"})
	return r.read(response.Body)
}

func main() {
	r := reader{retry: time.Second}
	for {
		err := r.connect(os.Args[1])
		say(map[string]any{"kind": "error", "text": err.Error()})
		time.Sleep(r.retry)
	}
}

// docs: end
