package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"mien/engine/mpc"
)

// statusTimeout bounds each part of a request about a party's status, and the end of serving them.
const statusTimeout = 5 * time.Second

// partyStatus answers a monitor of a party: GET /healthz, /readyz and /metrics. Nothing of it is about people.
type partyStatus struct {
	index  int
	status func() mpc.PartyStatus
}

// serve answers until ctx ends.
func (s partyStatus) serve(ctx context.Context, ln net.Listener) error {
	server := &fasthttp.Server{Handler: s.handle, GetOnly: true, Concurrency: 64, MaxRequestBodySize: 1, ReadTimeout: statusTimeout, WriteTimeout: statusTimeout,
		IdleTimeout: time.Minute, NoDefaultServerHeader: true, SecureErrorLogMessage: true, CloseOnShutdown: true}
	stop := context.AfterFunc(ctx, func() {
		within, cancel := context.WithTimeout(context.Background(), statusTimeout)
		defer cancel()
		_ = server.ShutdownWithContext(within)
	})
	defer stop()
	return server.Serve(ln)
}

func (s partyStatus) handle(c *fasthttp.RequestCtx) {
	switch string(c.Path()) {
	case "/healthz":
		c.SetContentType("application/json")
		c.SetBodyString(`{"status":"ok"}` + "\n")
	case "/readyz":
		s.ready(c)
	case "/metrics":
		c.SetContentType("text/plain; version=0.0.4; charset=utf-8")
		c.SetBody(s.metrics())
	default:
		c.Error("there is /healthz, /readyz and /metrics\n", fasthttp.StatusNotFound)
	}
}

// ready says why the party can't take part in a decision now.
func (s partyStatus) ready(c *fasthttp.RequestCtx) {
	is := s.status()
	body := struct {
		Status   string   `json:"status"`
		Reasons  []string `json:"reasons,omitempty"`
		Party    int      `json:"party"`
		Gateways int      `json:"gateways"` // that are connected
	}{"ok", nil, s.index, is.Gateways}
	switch {
	case is.Repairs:
		body.Reasons = append(body.Reasons, fmt.Sprintf("the store is being filled from the other two: where it goes on so, mien serve --repair-party %d", s.index))
	case is.Gateways > 0 && is.Serves == 0:
		body.Reasons = append(body.Reasons, fmt.Sprintf("no gateway lets this party serve. The server's /readyz says why: lost is for mien serve --repair-party %d, differs for the logs, owed for a moment's patience", s.index))
	}
	for i, linked := range is.Linked {
		if i != s.index && !linked {
			body.Reasons = append(body.Reasons, fmt.Sprintf("there is no link with party %d: the log of who dials says why", i))
		}
	}
	if body.Reasons != nil {
		body.Status = "unavailable"
		c.SetStatusCode(fasthttp.StatusServiceUnavailable)
	}
	c.SetContentType("application/json")
	if err := json.NewEncoder(c).Encode(body); err != nil {
		panic("BUG: a status does not marshal: " + err.Error())
	}
}

func (s partyStatus) metrics() []byte {
	var b bytes.Buffer
	is := s.status()
	head := func(name, kind, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	number := func(on bool) int {
		if on {
			return 1
		}
		return 0
	}
	head("mien_party_repairs", "gauge", "1 while the store is being filled from the other two parties.")
	fmt.Fprintf(&b, "mien_party_repairs{party=\"%d\"} %d\n", s.index, number(is.Repairs))
	head("mien_party_linked", "gauge", "1 where there is a link with another party.")
	for i, linked := range is.Linked {
		if i != s.index {
			fmt.Fprintf(&b, "mien_party_linked{party=\"%d\",peer=\"%d\"} %d\n", s.index, i, number(linked))
		}
	}
	head("mien_party_gateways", "gauge", "Gateways that are connected.")
	fmt.Fprintf(&b, "mien_party_gateways{party=\"%d\"} %d\n", s.index, is.Gateways)
	head("mien_party_serves", "gauge", "Gateways that let the party serve; fewer than are connected where it is lost, or owes something.")
	fmt.Fprintf(&b, "mien_party_serves{party=\"%d\"} %d\n", s.index, is.Serves)
	head("mien_party_requests_total", "counter", "Requests of gateways, by what came of them.")
	for _, t := range is.Tallies {
		fmt.Fprintf(&b, "mien_party_requests_total{party=\"%d\",operation=%q,outcome=%q} %d\n", s.index, t.Operation, t.Outcome, t.Requests)
	}
	head("mien_party_request_seconds_total", "counter", "Seconds that they took, altogether.")
	for _, t := range is.Tallies {
		fmt.Fprintf(&b, "mien_party_request_seconds_total{party=\"%d\",operation=%q,outcome=%q} %g\n", s.index, t.Operation, t.Outcome, t.Took.Seconds())
	}
	return b.Bytes()
}
