package auther_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"

	"mien/http/auther"
)

// TestOutcomesAreDocumented: doc.go has the table of outcomes; -update writes it.
func TestOutcomesAreDocumented(t *testing.T) {
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 1, 2, ' ', 0)
	for _, o := range auther.New().Outcomes {
		op := o.Op
		if op == "" {
			op = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", op, o, o.Cause)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "//	" + strings.ReplaceAll(strings.TrimSpace(table.String()), "\n", "\n//	")
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		before, rest, _ := strings.Cut(string(doc), "// Those without an operation are of any.\n//\n")
		_, after, _ := strings.Cut(rest, "\n//\n// # Thresholds")
		doc = []byte(before + "// Those without an operation are of any.\n//\n" + want + "\n//\n// # Thresholds" + after)
		if err := os.WriteFile("doc.go", doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(string(doc), "\n//\n"+want+"\n//\n") {
		t.Errorf("doc.go has not this table (-update writes it):\n%s", want)
	}
}
