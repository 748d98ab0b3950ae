package http

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

// PartyStatus answers a monitor of a party (mien party --status): GET /healthz, /readyz and /metrics, without a key. Nothing of it is about people.
type PartyStatus struct {
	Index  int
	Status func() mpc.PartyStatus
}

// Serve answers until ctx ends, and then returns nil; otherwise it returns why accepting failed. It closes ln.
func (s PartyStatus) Serve(ctx context.Context, ln net.Listener) error {
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

func (s PartyStatus) handle(c *fasthttp.RequestCtx) {
	switch string(c.Path()) {
	case "/healthz":
		c.SetContentType("application/json")
		c.SetBodyString(`{"status":"ok"}` + "\n")
	case "/readyz":
		s.ready(c)
	case "/metrics":
		c.SetContentType(metricsType)
		c.SetBody(s.metrics())
	default:
		c.Error("there is /healthz, /readyz and /metrics\n", fasthttp.StatusNotFound)
	}
}

// ready says why the party can't take part in a decision now.
func (s PartyStatus) ready(c *fasthttp.RequestCtx) {
	is := s.Status()
	body := struct {
		statusBody
		Party    int `json:"party"`
		Gateways int `json:"gateways"` // that are connected
	}{statusBody{Status: "ok"}, s.Index, is.Gateways}
	switch {
	case is.Repairs:
		body.Reasons = append(body.Reasons, fmt.Sprintf("the store is being filled from the other two: where it goes on so, mien serve --repair-party %d", s.Index))
	case is.Gateways > 0 && is.Serves == 0:
		body.Reasons = append(body.Reasons, fmt.Sprintf("no gateway lets this party serve. The server's /readyz says why: lost is for mien serve --repair-party %d, differs for the logs, owed for a moment's patience", s.Index))
	}
	for i, linked := range is.Linked {
		if i != s.Index && !linked {
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

func (s PartyStatus) metrics() []byte {
	var b bytes.Buffer
	is := s.Status()
	head := func(name, kind, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	number := func(on bool) int {
		if on {
			return 1
		}
		return 0
	}
	head("mien_party_repairs", "gauge", "1 while the store is being filled from the other two parties.")
	fmt.Fprintf(&b, "mien_party_repairs{party=\"%d\"} %d\n", s.Index, number(is.Repairs))
	head("mien_party_linked", "gauge", "1 where there is a link with another party.")
	for i, linked := range is.Linked {
		if i != s.Index {
			fmt.Fprintf(&b, "mien_party_linked{party=\"%d\",peer=\"%d\"} %d\n", s.Index, i, number(linked))
		}
	}
	head("mien_party_gateways", "gauge", "Gateways that are connected.")
	fmt.Fprintf(&b, "mien_party_gateways{party=\"%d\"} %d\n", s.Index, is.Gateways)
	head("mien_party_serves", "gauge", "Gateways that let the party serve; fewer than are connected where it is lost, or owes something.")
	fmt.Fprintf(&b, "mien_party_serves{party=\"%d\"} %d\n", s.Index, is.Serves)
	head("mien_party_requests_total", "counter", "Requests of gateways, by what came of them.")
	for _, t := range is.Tallies {
		fmt.Fprintf(&b, "mien_party_requests_total{party=\"%d\",operation=%q,outcome=%q} %d\n", s.Index, t.Operation, t.Outcome, t.Requests)
	}
	head("mien_party_request_seconds_total", "counter", "Seconds that they took, altogether.")
	for _, t := range is.Tallies {
		fmt.Fprintf(&b, "mien_party_request_seconds_total{party=\"%d\",operation=%q,outcome=%q} %g\n", s.Index, t.Operation, t.Outcome, t.Took.Seconds())
	}
	return b.Bytes()
}
