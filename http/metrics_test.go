package http

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"mien/engine"
)

// metricLine is a sample as Prometheus reads it.
var metricLine = regexp.MustCompile(`^mien_[a-z0-9_]+\{tenant="[^"]+"(,gallery="[^"]+")?(,[a-z]+="[^"]+")?\} [0-9.e+-]+$`)

// TestMetrics: what a gallery's status says is in the metrics too, of the key's tenant only.
func TestMetrics(t *testing.T) {
	c := engineConfig(t.TempDir(), testSpace)
	c.RecallSample = 1
	h := newHarnessOn(t, openEngine(t, c), nil)
	h.staff()
	h.want(201, call{method: "PUT", path: "/v1/galleries/graph", body: []byte(`{"index":"hnsw"}`)})
	g := h.checkedGallery("staff")
	if r := g.IndexStatus.Recall["scan"]; g.IndexStatus.Serving != "scan" || r.Due != r.Checked || r.Missed != 0 || r.MissRateUpper95 >= 1 {
		t.Errorf("%+v", g.IndexStatus)
	}
	a := h.want(200, call{method: "GET", path: "/metrics", token: h.token(engine.RoleAuditor)})
	if ct := a.header.Get("Content-Type"); ct != metricsType {
		t.Errorf("Content-Type %q", ct)
	}
	text := string(a.body)
	for _, want := range []string{
		"# TYPE mien_recall_missed_hits_total counter\n",
		`mien_recall_missed_hits_total{tenant="default",gallery="staff",index="scan"} 0` + "\n",
		`mien_index_serving{tenant="default",gallery="graph",index="scan"} 1` + "\n",
		`mien_graph_linked_templates{tenant="default",gallery="graph"} 0` + "\n",
		`mien_graph_searches_total{tenant="default",gallery="graph",by="scan"} 0` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	described := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			described, _, _ = strings.Cut(rest, " ")
		} else if !strings.HasPrefix(line, "# HELP ") && (!metricLine.MatchString(line) || !strings.HasPrefix(line, described+"{")) {
			t.Errorf("%q below the type of %s", line, described)
		}
	}
	var theirs createdKey
	h.want(201, call{method: "POST", path: "/v1/keys", body: []byte(`{"role":"admin","tenant":"acme"}`)}).into(t, &theirs)
	if a := h.want(200, call{method: "GET", path: "/metrics", token: theirs.Token}); strings.Contains(string(a.body), "default") {
		t.Errorf("another tenant's: %s", a.body)
	}
	h.refused(codeForbidden, call{method: "GET", path: "/metrics?tenant=default", token: theirs.Token})
	h.want(200, call{method: "GET", path: "/metrics?tenant=acme"})
	if a := h.want(200, call{method: "HEAD", path: "/metrics"}); a.header.Get("Content-Type") != metricsType {
		t.Errorf("%v", a.header)
	}
}

// checkedGallery searches a gallery until a search was checked.
func (h *harness) checkedGallery(name string) (g engine.Gallery) {
	h.t.Helper()
	for range 5000 {
		h.want(200, call{method: "POST", path: "/v1/galleries/" + name + "/identify", body: probeJSON(vector(1, 16), `,"top_k":1`)})
		h.want(200, call{method: "GET", path: "/v1/galleries/" + name}).into(h.t, &g)
		if len(g.IndexStatus.Recall) > 0 {
			return g
		}
		time.Sleep(time.Millisecond)
	}
	h.t.Fatalf("no search is checked: %+v", g.IndexStatus)
	return g
}
