package authface_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"mien/http/authface"
	"mien/http/capture"
	"mien/http/dialect/dialecttest"
)

var update = flag.Bool("update", false, "write doc.go's table anew")

// TestTable: doc.go has the table of outcomes, which -update writes, and the routes.
func TestTable(t *testing.T) {
	d := authface.New(capture.New(capture.Config{}))
	dialecttest.Documented(t, d, "of result \"status\".\n//\n", "\n//\n// A refusal's body", *update)
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range d.Routes {
		if line := fmt.Sprintf("//\t%s %-31s", r.Method, r.Pattern); !strings.Contains(string(doc), line) || !strings.Contains(string(doc), " "+r.Op+" ") {
			t.Errorf("doc.go does not have %s %s, %s", r.Method, r.Pattern, r.Op)
		}
	}
}
