package main

import (
	"path/filepath"
	"strings"
	"testing"

	"mien/extract/pack"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"two lines\n\tÄ 顔 👩‍💻":     "two lines\n\tÄ 顔 👩‍💻",
		"\x1b[2Jcleared\r\a\b\x7f": "[2Jcleared",
		"csi \u009b2J":             "csi 2J",
		"byte \x9b2J":              "byte �2J",
		"right \u202eto left":      "right to left",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// A manifest's texts must not steer the terminal that they are printed on.
func TestPacksPrintNoEscapes(t *testing.T) {
	env := append(setUp(t), "MIEN_PACKS="+filepath.Join(t.TempDir(), "models"))
	from := spelledOut(t, func(m *pack.Manifest) { m.Licence, m.Use = "free\x1b]0;title\a", "all\u009b2J" })
	added, stderr, code := mien(t, env, "packs", "add", from)
	if code != 0 {
		t.Fatal(stderr)
	}
	listed, _, _ := mien(t, env, "packs", "list")
	if !strings.Contains(listed, "free]0;title\nall2J") {
		t.Errorf("the list lacks the licence:\n%q", listed)
	}
	broken := spelledOut(t, func(m *pack.Manifest) { m.Files["nose\x1b[2J"] = pack.File{File: "eye_fr.onnx"} })
	_, refused, _ := mien(t, env, "packs", "add", broken)
	for _, text := range []string{added, listed, refused} {
		if strings.ContainsAny(text, "\x1b\a\u009b") {
			t.Errorf("it has control characters: %q", text)
		}
	}
}
