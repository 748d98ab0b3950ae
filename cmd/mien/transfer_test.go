package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mien/engine"
	"mien/engine/transfer"
)

// cuttingProxy passes connections on to a server and breaks them when so many bytes have gone up, or come down.
type cuttingProxy struct {
	listener net.Listener
	up, down atomic.Int64
	wg       sync.WaitGroup
}

const uncut = 1 << 50

func newCuttingProxy(t *testing.T, server string) *cuttingProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &cuttingProxy{listener: l}
	p.up.Store(uncut)
	p.down.Store(uncut)
	p.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.pass(client, strings.TrimPrefix(server, "http://")) })
		}
	})
	t.Cleanup(func() { l.Close(); p.wg.Wait() })
	return p
}

func (p *cuttingProxy) url() string { return "http://" + p.listener.Addr().String() }

func (p *cuttingProxy) pass(client net.Conn, server string) {
	defer client.Close()
	to, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer to.Close()
	var both sync.WaitGroup
	both.Go(func() { copyUpTo(to, client, &p.up); to.Close(); client.Close() })
	both.Go(func() { copyUpTo(client, to, &p.down); to.Close(); client.Close() })
	both.Wait()
}

func copyUpTo(to io.Writer, from io.Reader, left *atomic.Int64) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil || left.Add(int64(-n)) < 0 {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// peopleOf reads a file, sealed if there is a key.
func peopleOf(t *testing.T, file string, key []byte) (people []engine.PortablePerson) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var content io.Reader = f
	if key != nil {
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if content, err = transfer.OpenSealed(f, info.Size(), key); err != nil {
			t.Fatal(err)
		}
	}
	r, err := transfer.NewReader(content, transfer.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for p, err := range r.People() {
		if err != nil {
			t.Fatal(err)
		}
		p.Templates = append([]engine.PortableTemplate(nil), p.Templates...)
		for i := range p.Templates {
			p.Templates[i].Vector = append([]float32(nil), p.Templates[i].Vector...)
		}
		people = append(people, p)
	}
	return people
}

// portablePeople writes a file of n people of a space, with what version 2 says of them.
func portablePeople(t *testing.T, file string, h transfer.Header, n int) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := transfer.NewWriter(f, transfer.Binary, h)
	if err != nil {
		t.Fatal(err)
	}
	rng, at := rand.New(rand.NewPCG(5, 6)), time.UnixMilli(1700000000000).UTC()
	for i := range n {
		v := make([]float32, h.Dim)
		for j := range v {
			v[j] = float32(rng.NormFloat64())
		}
		p := engine.PortablePerson{ID: fmt.Sprintf("p%05d", i), Created: at, Updated: at, Status: []engine.Status{engine.StatusActive, engine.StatusSuspended}[i%2],
			Templates: []engine.PortableTemplate{{Number: 4, Created: at, Source: "image", Quality: new(71.25), By: "0011223344556677", Vector: v}}}
		if i%3 == 0 {
			p.Retention = engine.Retention{Expires: at.AddDate(100, 0, 0), Consent: &engine.Consent{Purpose: "doors", Basis: "consent", Given: at}}
			p.History = []engine.PortableTemplate{{Number: 2, Created: at, Source: "image", Replaced: at}}
		}
		if err := w.Write(&p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestExportImportOfServer: through the program and a connection that is cut in the middle, to a server and back, sealed too.
func TestExportImportOfServer(t *testing.T) {
	const n = 1200 // 2.5 MB
	dir := t.TempDir()
	s := start(t, filepath.Join(dir, "data"))
	var g engine.Gallery
	for _, name := range []string{"from", "to"} {
		s.want(201, "PUT", "/v1/galleries/"+name, map[string]any{"history": 4}, &g)
	}
	proxy := newCuttingProxy(t, s.url)
	key := filepath.Join(dir, "key")
	secret := []byte("0123456789abcdef0123456789abcdef")
	if err := os.WriteFile(key, []byte(hex.EncodeToString(secret)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (stdout, stderr string, code int) {
		t.Helper()
		return mien(t, append(setUp(t), "MIEN_SERVER="+proxy.url(), "MIEN_KEY="+s.token), append([]string{"--json"}, args...)...)
	}
	file := filepath.Join(dir, "staff.people")
	portablePeople(t, file, transfer.Header{Space: g.Space, Dim: g.Dim}, n)
	took := func(stdout string) (d imported) {
		t.Helper()
		if err := json.Unmarshal([]byte(stdout), &d); err != nil || d.People != n || d.Failed+d.Skipped > 0 {
			t.Fatalf("%s: %v", stdout, err)
		}
		return d
	}

	// The connection ends in the third part: two are done, and the same command goes on with the third.
	proxy.up.Store(1_300_000)
	stdout, stderr, code := run("import", "-g", "from", "--part-bytes", "500000", file)
	if code != 1 || !strings.Contains(stderr, "--resume goes on") {
		t.Fatalf("cut off: exit %d, %s%s", code, stdout, stderr)
	}
	var note importNote
	data, err := os.ReadFile(file + ".progress")
	if err != nil || json.Unmarshal(data, &note) != nil || note.Offset == 0 || note.Done.People == 0 || note.Done.People >= n {
		t.Fatalf("the note: %s, %v", data, err)
	}
	proxy.up.Store(uncut)
	if stdout, stderr, code = run("import", "-g", "from", "--part-bytes", "500000", "--resume", file); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if d := took(stdout); d.Created < note.Done.People {
		t.Errorf("%+v after %+v", d, note.Done)
	}

	// An export that is cut off leaves no file; another is what was imported.
	whole := filepath.Join(dir, "whole.people")
	proxy.down.Store(800_000)
	if _, stderr, code := run("export", "-g", "from", whole); code != 1 {
		t.Errorf("a cut export: exit %d: %s", code, stderr)
	}
	if _, err := os.Stat(whole); err == nil {
		t.Error("a cut export leaves a file")
	}
	proxy.down.Store(uncut)
	if _, stderr, code := run("export", "-g", "from", whole); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	sent := peopleOf(t, file, nil)
	for i := range sent { // of norm 1 in the store
		sent[i].Templates[0].Vector = nil
	}
	compare := func(name string, got []engine.PortablePerson) {
		t.Helper()
		for i := range got {
			got[i].Templates[0].Vector = nil
		}
		if !reflect.DeepEqual(got, sent) {
			t.Errorf("%s: %d people are not those of the file: %+v, %+v", name, len(got), got[0], sent[0])
		}
	}
	compare("exported", peopleOf(t, whole, nil))

	// Sealed: only with its key, and resumed in the middle as another.
	sealedFile := filepath.Join(dir, "sealed.people")
	if _, stderr, code := run("export", "-g", "from", "--seal", key, sealedFile); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	compare("sealed", peopleOf(t, sealedFile, secret))
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte(strings.Repeat("0", 64)), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{"it is sealed": {sealedFile}, "another key": {"--seal", other, sealedFile}, "not sealed": {"--seal", key, whole}} {
		if _, stderr, code := run(append([]string{"import", "-g", "to"}, args...)...); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d: %s", want, code, stderr)
		}
	}
	proxy.up.Store(1_300_000)
	if _, stderr, code = run("import", "-g", "to", "--part-bytes", "500000", "--seal", key, sealedFile); code != 1 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	proxy.up.Store(uncut)
	if stdout, stderr, code = run("import", "-g", "to", "--part-bytes", "500000", "--seal", key, "--resume", sealedFile); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	took(stdout)
	again := filepath.Join(dir, "again.ndjson")
	if _, stderr, code := run("export", "-g", "to", again); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	compare("exported again", peopleOf(t, again, nil))
}
