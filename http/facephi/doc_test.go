package facephi_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"mien/http/facephi"
)

// The table of doc.go and that of the program say the same, in the same order.
func TestDocumentHasTheTable(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for line := range strings.Lines(string(doc)) {
		f := strings.Fields(strings.TrimPrefix(line, "//"))
		if len(f) > 5 && (f[0] == "authenticateUser" || f[0] == "(any)") {
			documented = append(documented, strings.Join(f, " "))
		}
	}
	var table []string
	for _, o := range facephi.New().Outcomes {
		op := o.Op
		if op == "" {
			op = "(any)"
		}
		table = append(table, fmt.Sprintf("%s %d %s %s", op, o.Status, o.Code, o.Cause))
	}
	if got, want := strings.Join(documented, "\n"), strings.Join(table, "\n"); got != want {
		t.Errorf("doc.go:\n%s\ntable:\n%s", got, want)
	}
}
