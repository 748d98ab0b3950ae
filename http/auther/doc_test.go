package auther_test

import (
	"testing"

	"mien/http/auther"
	"mien/http/dialect/dialecttest"
)

// TestOutcomesAreDocumented: doc.go has the table of outcomes; -update writes it.
func TestOutcomesAreDocumented(t *testing.T) {
	dialecttest.Documented(t, auther.New(), "// Those without an operation are of any.\n//\n", "\n//\n// # Thresholds", *update)
}
