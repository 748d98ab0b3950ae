package browsertest

import (
	"flag"
	"os"
	"testing"

	"mien/extract/extracttest"
)

// atEnd is what is done when all tests are over.
var atEnd []func()

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "3") // most of the time is people's: they wait for what the page asks
	code := m.Run()
	extracttest.Close()
	for _, f := range atEnd {
		f()
	}
	os.Exit(code)
}
