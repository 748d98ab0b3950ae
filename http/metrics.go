package http

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"mien/engine"
	"mien/engine/mpc"
)

// metricsType is the media type of Prometheus's text format.
const metricsType = "text/plain; version=0.0.4; charset=utf-8"

// metric is a family of samples, which sample writes for one gallery.
type metric struct {
	name, kind, help string
	sample           func(w *samples, s *engine.IndexStatus)
}

// samples writes the lines of one metric and gallery.
type samples struct {
	b                     *bytes.Buffer
	name, tenant, gallery string // names have no character that the format would have escaped
}

func (w *samples) write(label, value string, v any) {
	fmt.Fprintf(w.b, "%s{tenant=%q,gallery=%q", w.name, w.tenant, w.gallery)
	if label != "" {
		fmt.Fprintf(w.b, ",%s=%q", label, value)
	}
	fmt.Fprintf(w.b, "} %v\n", v)
}

// metricsOfIndexes are in the order of the answer. They say nothing of people.
var metricsOfIndexes = []metric{
	{"mien_index_serving", "gauge", "1 for the index that answers searches now.",
		func(w *samples, s *engine.IndexStatus) { w.write("index", s.Serving, 1) }},
	{"mien_recall_checked_searches_total", "counter", "Searches answered again, exactly, in the background.",
		ofRecall(func(r engine.Recall) any { return r.Checked })},
	{"mien_recall_due_hits_total", "counter", "Hits of the exact answers of checked searches.",
		ofRecall(func(r engine.Recall) any { return r.Due })},
	{"mien_recall_missed_hits_total", "counter", "Hits that were due and missed.",
		ofRecall(func(r engine.Recall) any { return r.Missed })},
	{"mien_recall_best_missed_searches_total", "counter", "Checked searches whose best hit was missed.",
		ofRecall(func(r engine.Recall) any { return r.BestMissed })},
	{"mien_recall_miss_rate_upper_95", "gauge", "Upper 95 % bound on the rate of missed hits; 1 while none was due.",
		ofRecall(func(r engine.Recall) any { return r.MissRateUpper95 })},
	{"mien_graph_linked_templates", "gauge", "Templates in the graph.",
		ofGraph(func(w *samples, g *engine.GraphStatus) { w.write("", "", g.Linked) })},
	{"mien_graph_waiting_templates", "gauge", "Templates to be linked into the graph.",
		ofGraph(func(w *samples, g *engine.GraphStatus) { w.write("", "", g.Waiting) })},
	{"mien_graph_rescued_templates_total", "counter", "Templates that lost every way to them, and were linked again.",
		ofGraph(func(w *samples, g *engine.GraphStatus) { w.write("", "", g.Rescued) })},
	{"mien_graph_searches_total", "counter", "Searches of galleries with a graph, by what answered them.",
		ofGraph(func(w *samples, g *engine.GraphStatus) {
			w.write("by", "graph", g.ByGraph)
			w.write("by", "scan", g.ByScan)
		})},
}

func ofRecall(value func(engine.Recall) any) func(*samples, *engine.IndexStatus) {
	return func(w *samples, s *engine.IndexStatus) {
		for _, serving := range slices.Sorted(maps.Keys(s.Recall)) {
			w.write("index", serving, value(s.Recall[serving]))
		}
	}
}

func ofGraph(write func(*samples, *engine.GraphStatus)) func(*samples, *engine.IndexStatus) {
	return func(w *samples, s *engine.IndexStatus) {
		if s.Graph != nil {
			write(w, s.Graph)
		}
	}
}

// metrics answers about one tenant, as listKeys does: names of galleries are that tenant's own.
func (s *Server) metrics(r *request) (reply, error) {
	tenant, err := r.tenantQuery()
	if err != nil {
		return reply{}, err
	}
	galleries, err := s.galleriesWithStatus(r, tenant)
	if err != nil {
		return reply{}, err
	}
	var b bytes.Buffer
	for _, m := range metricsOfIndexes {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
		for _, g := range galleries {
			m.sample(&samples{&b, m.name, tenant, g.Name}, g.IndexStatus)
		}
	}
	const lost = "mien_audit_lost_records_total"
	fmt.Fprintf(&b, "# HELP %s Records of decisions and refusals that the disk did not take.\n# TYPE %s counter\n%s{tenant=%q} %d\n",
		lost, lost, lost, tenant, s.engine.AuditLost(tenant))
	s.metricsOfParties(&b, tenant)
	return reply{status: 200, raw: b.Bytes(), contentType: metricsType}, nil
}

// metricsOfParties are of the three parties, the same for all tenants; none where there are no parties.
func (s *Server) metricsOfParties(b *bytes.Buffer, tenant string) {
	if s.cfg.Decentralised == nil {
		return
	}
	const state = "mien_decentralised_party"
	fmt.Fprintf(b, "# HELP %s 1 for the state that each party of decentralised matching is in.\n# TYPE %s gauge\n", state, state)
	for i, is := range s.parties() {
		for _, p := range []mpc.PartyState{mpc.PartyAway, mpc.PartyOwed, mpc.PartyLost, mpc.PartyDiffers, mpc.PartyReady} {
			n := 0
			if p == is {
				n = 1
			}
			fmt.Fprintf(b, "%s{tenant=%q,party=\"%d\",state=%q} %d\n", state, tenant, i, p, n)
		}
	}
	const pending = "mien_decentralised_erasures_pending"
	fmt.Fprintf(b, "# HELP %s Erasures that are decided and that a party has not carried out yet.\n# TYPE %s gauge\n%s{tenant=%q} %d\n",
		pending, pending, pending, tenant, s.cfg.Decentralised.Gateway.ErasuresPending())
	if last, err := s.cfg.Decentralised.Gateway.Refreshed(); err == nil { // else it is closed, or its disk is told of elsewhere
		const refreshed = "mien_decentralised_refreshed_timestamp_seconds"
		fmt.Fprintf(b, "# HELP %s When the parties' shares were made anew last; 0 after a repair until they are.\n# TYPE %s gauge\n%s{tenant=%q} %d\n",
			refreshed, refreshed, refreshed, tenant, last.Unix())
	}
	for _, c := range []struct {
		name, help string
		count      uint64
	}{
		{"mien_decentralised_canary_checks_total", "Times that the parties were asked about people whom nobody is.", s.canaries.checked.Load()},
		{"mien_decentralised_canary_failures_total", "Times that they answered wrongly then: one is faulty, or cheats.", s.canaries.failed.Load()},
	} {
		fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s counter\n%s{tenant=%q} %d\n", c.name, c.help, c.name, c.name, tenant, c.count)
	}
}

// galleriesWithStatus leaves out those that have no index, and those that the key is not for.
func (s *Server) galleriesWithStatus(r *request, tenant string) (list []engine.Gallery, err error) {
	all, err := s.engine.Galleries(r.ctx, tenant)
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		if !r.key.MayUse(g.Name) {
			continue
		}
		g, err := s.engine.Gallery(r.ctx, tenant, g.Name)
		if errors.Is(err, engine.ErrGalleryNotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		if g.IndexStatus != nil {
			list = append(list, g)
		}
	}
	return list, nil
}
