package browsertest

import (
	"os"
	"testing"

	"mien/extract/extracttest"
)

// atEnd is what is done when all tests are over.
var atEnd []func()

func TestMain(m *testing.M) {
	code := m.Run()
	extracttest.Close()
	for _, f := range atEnd {
		f()
	}
	os.Exit(code)
}
