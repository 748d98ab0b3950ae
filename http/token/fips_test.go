package token

import (
	"crypto/fips140"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The tests of this package, again in a process where Go's cryptography refuses what FIPS 140-3 doesn't approve.
func TestFIPSOnly(t *testing.T) {
	const mode = "fips140=only"
	if strings.Contains(os.Getenv("GODEBUG"), mode) {
		if !fips140.Enabled() || !fips140.Enforced() {
			t.Fatal("FIPS 140-3 mode is not on")
		}
		if nonceOfOnesOwn() == nil {
			t.Error("AES-GCM with nonces of one's own is allowed: the mode refuses nothing")
		}
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.v", "-test.run", "^Test")
	cmd.Env = append(os.Environ(), "GODEBUG="+mode)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, test := range []string{"TestFIPSOnly", "TestVectors", "TestReferenceOpensOurs", "TestEveryBitCounts"} {
		if !strings.Contains(string(out), "--- PASS: "+test+" ") {
			t.Errorf("%s did not pass under %s", test, mode)
		}
	}
}
