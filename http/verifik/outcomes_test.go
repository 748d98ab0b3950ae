package verifik

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of doc.go")

// outcomeTable is the table of outcomes as doc.go has it.
func outcomeTable() string {
	var b strings.Builder
	for _, o := range outcomes {
		fmt.Fprintf(&b, "//\t%-17s  %d  %-30s  %s\n", cmp.Or(o.Op, "any"), o.Status, cmp.Or(o.Code, "-"), o.Cause)
	}
	return b.String()
}

// doc.go has the table of outcomes, all of it and no more.
func TestDocHasTheOutcomes(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "but where it is said below.\n//\n")
	table, after, ok2 := strings.Cut(rest, "//\n// # Choices")
	if !ok || !ok2 {
		t.Fatal("doc.go has no table")
	}
	if table == outcomeTable() {
		return
	}
	if *update {
		if err := os.WriteFile("doc.go", []byte(before+"but where it is said below.\n//\n"+outcomeTable()+"//\n// # Choices"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("doc.go has\n%s\noutcomes are\n%s\n(-update writes them)", table, outcomeTable())
}
