package youverse_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"mien/http/youverse"
)

// TestTable: doc.go has the table of outcomes, row by row, and the routes.
func TestTable(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, o := range youverse.New().Outcomes {
		op := strings.TrimPrefix(o.Op, "youverse.")
		if op == "" {
			op = "(any)"
		}
		want = append(want, fmt.Sprintf("//\t%-20s %-28s %s", op, o, o.Cause))
	}
	_, got, _ := strings.Cut(string(doc), "try again.\n//\n")
	got, _, _ = strings.Cut(got, "\n//\n")
	if lines := strings.Split(got, "\n"); !slices.Equal(lines, want) {
		t.Errorf("doc.go's table is\n%s\nand should be\n%s", got, strings.Join(want, "\n"))
	}
	for _, r := range youverse.New().Routes {
		if !strings.Contains(string(doc), fmt.Sprintf("//\t%-6s %s ", r.Method, r.Pattern)) {
			t.Errorf("doc.go does not have %s %s", r.Method, r.Pattern)
		}
	}
}
