package authface_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"

	"mien/http/authface"
	"mien/http/capture"
)

var update = flag.Bool("update", false, "write doc.go's table anew")

// TestTable: doc.go has the table of outcomes, which -update writes, and the routes.
func TestTable(t *testing.T) {
	d := authface.New(capture.New(capture.Config{}))
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 1, 2, ' ', 0)
	for _, o := range d.Outcomes {
		op := strings.TrimPrefix(o.Op, "authface.")
		if op == "" {
			op = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", op, o, o.Cause)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "//\t" + strings.ReplaceAll(strings.TrimSpace(table.String()), "\n", "\n//\t")
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	const begins, ends = "of result \"status\".\n//\n", "\n//\n// A refusal's body"
	if *update {
		before, rest, _ := strings.Cut(string(doc), begins)
		_, after, _ := strings.Cut(rest, ends)
		doc = []byte(before + begins + want + ends + after)
		if err := os.WriteFile("doc.go", doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(string(doc), begins+want+ends) {
		t.Errorf("doc.go has not this table (-update writes it):\n%s", want)
	}
	for _, r := range d.Routes {
		if line := fmt.Sprintf("//\t%s %-31s", r.Method, r.Pattern); !strings.Contains(string(doc), line) || !strings.Contains(string(doc), " "+r.Op+" ") {
			t.Errorf("doc.go does not have %s %s, %s", r.Method, r.Pattern, r.Op)
		}
	}
}
