package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"mien/extract/pack"
)

const (
	platform = "linux/amd64"
	libText  = "the library"
	libPath  = "lib/linux-amd64/libonnxruntime.so"
)

// fixture is a set-up of small packages in folders of the test, its tarballs not yet anywhere.
type fixture struct {
	*setup
	out     *bytes.Buffer
	library []byte // the tarballs
	models  []byte
	driving []byte
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{out: new(bytes.Buffer)}
	member := onnxRuntime.libraries[platform].member
	f.library = tarball(t, map[string]string{member: libText, "package/LICENSE": "library licence", "package/x": "x"})
	models, members := smallPack()
	f.models = tarball(t, members)
	models.Packages[0].SHA256 = sumBytes(f.models)
	f.setup = &setup{
		build: filepath.Join(t.TempDir(), "build"), platform: platform, cache: cache{dir: filepath.Join(t.TempDir(), "cache")},
		runtime: runtimePackage{
			download:  download{spec: "runtime@1.0.0", sha256: sumBytes(f.library)},
			licences:  []string{"package/LICENSE"},
			libraries: map[string]library{platform: {member: member, name: "libonnxruntime.so", sha256: sumBytes([]byte(libText))}},
		},
		models: []*pack.Definition{models}, out: f.out,
	}
	f.driving = tarball(t, map[string]string{"package/index.js": "drive", "package/lib/deep/a.js": "a", "outside": "not installed"})
	f.driver = treePackage{download{spec: "driver@1.0.0", sha256: sumBytes(f.driving)}, "driver", treeOf(t, "index.js", "drive", "lib/deep/a.js", "a")}
	t.Setenv("PATH", t.TempDir()) // no npm, unless a test puts one there
	return f
}

func tarball(t *testing.T, members map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, text := range members {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))})
		if _, werr := w.Write([]byte(text)); err != nil || werr != nil {
			t.Fatal(err, werr)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// smallPack defines a pack of texts in place of models, taken over unedited.
func smallPack() (*pack.Definition, map[string]string) {
	d := pack.Default()
	d.Packages[0].Spec, d.Manifest.SourcePackage, d.Edits = "models@1.0.0", "models@1.0.0", nil
	members := make(map[string]string)
	small := func(f pack.File) pack.File {
		members[f.Source] = "this is " + f.Source
		f.SHA256 = sumBytes([]byte(members[f.Source]))
		f.SourceSHA256 = f.SHA256
		return f
	}
	for role, f := range d.Manifest.Files {
		d.Manifest.Files[role] = small(f)
	}
	*d.Manifest.LicenceFile = small(*d.Manifest.LicenceFile)
	d.Manifest.Space = d.Manifest.SpaceID()
	return d, members
}

// cached puts the tarballs where an earlier set-up would have.
func (f *fixture) cached(t *testing.T) *fixture {
	t.Helper()
	for _, b := range [][]byte{f.library, f.models, f.driving} {
		write(t, f.cache.path(sumBytes(b)), b)
	}
	return f
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// npm puts a program of that name on PATH that runs the shell script.
func npm(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

// complete checks that everything is installed, and nothing else is.
func (f *fixture) complete(t *testing.T) {
	t.Helper()
	if b, err := os.ReadFile(filepath.Join(f.build, libPath)); err != nil || string(b) != libText {
		t.Errorf("library: %q, %v", b, err)
	}
	if _, err := f.setup.models[0].Check(f.packDir(f.setup.models[0])); err != nil {
		t.Error(err)
	}
	f.tidy(t)
}

// tidy checks that no temporary is left, and that what is named a library or a pack is one.
func (f *fixture) tidy(t *testing.T) {
	t.Helper()
	for _, root := range []string{f.build, f.cache.dir} {
		filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasPrefix(filepath.Base(path), pack.TempPrefix) {
				t.Errorf("left behind: %s", path)
			}
			return nil
		})
	}
	if info, err := os.Stat(f.build); err == nil && !info.IsDir() {
		return
	}
	if err := checkFile(filepath.Join(f.build, libPath), sumBytes([]byte(libText))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := pack.Load(f.packDir(f.setup.models[0])); err != nil && !errors.Is(err, pack.ErrMissing) {
		t.Error(err)
	}
	entries, _ := os.ReadDir(filepath.Join(f.cache.dir, "sha256"))
	for _, e := range entries {
		if err := f.cache.check(e.Name()); err != nil && !errors.Is(err, errSum) {
			t.Error(err)
		}
	}
}

// fails runs the set-up and wants a one-line error with the given parts, and nothing half-installed.
func (f *fixture) fails(t *testing.T, parts ...string) {
	t.Helper()
	err := f.run(t.Context())
	if err == nil {
		t.Fatalf("no error; it said:\n%s", f.out)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is more than a line", err)
	}
	f.tidy(t)
}

func TestSetupFromCacheNeedsNoNpm(t *testing.T) {
	f := newFixture(t).cached(t)
	if err := f.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.complete(t)
	if b, err := os.ReadFile(filepath.Join(f.libDir(), "LICENSE")); err != nil || string(b) != "library licence" {
		t.Errorf("licence of the library: %q, %v", b, err)
	}
}

func TestSecondSetupOnlyLooks(t *testing.T) {
	f := newFixture(t).cached(t)
	if err := f.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := listing(t, f.build)
	if err := os.RemoveAll(f.cache.dir); err != nil {
		t.Fatal(err)
	}
	f.out.Reset()
	if err := f.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := listing(t, f.build); after != before {
		t.Errorf("it changed\n%s\nto\n%s", before, after)
	}
	if strings.Count(f.out.String(), "\n") != 1 {
		t.Errorf("it said:\n%s", f.out)
	}
}

// listing shows every path with its time and size.
func listing(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		fmt.Fprintln(&b, path, info.ModTime().UnixNano(), info.Size())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSetupMendsDamage(t *testing.T) {
	for _, name := range []string{libPath, "models/default/eye_fr.onnx", "models/default/manifest.json"} {
		f := newFixture(t).cached(t)
		if err := f.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(f.build, name), []byte("rot"))
		f.out.Reset()
		if err := f.run(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(f.out.String(), filepath.Base(name)) {
			t.Errorf("%s was mended without a word:\n%s", name, f.out)
		}
		f.complete(t)
	}
}

func TestSetupDeletesWhatAKilledOneLeft(t *testing.T) {
	f := newFixture(t).cached(t)
	write(t, filepath.Join(f.libDir(), pack.TempPrefix+"1", "libonnxruntime.so"), []byte("half"))
	write(t, filepath.Join(f.build, "models", pack.TempPrefix+"2", "manifest.json"), []byte("half"))
	if err := f.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.complete(t)
}

func TestSetupsAtOnce(t *testing.T) {
	f := newFixture(t).cached(t)
	errs := make([]error, 6)
	outs := make([]bytes.Buffer, len(errs))
	var wg sync.WaitGroup
	for i := range errs {
		s := *f.setup
		s.out = &outs[i]
		wg.Go(func() { errs[i] = s.run(t.Context()) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	f.complete(t)
	ready := 0
	for i := range outs {
		ready += strings.Count(outs[i].String(), " is ready")
	}
	if ready != 2 {
		t.Errorf("library and models were installed %d times, want 2", ready)
	}
}

func TestLockWaitsUntilStopped(t *testing.T) {
	f := newFixture(t).cached(t)
	if err := f.folders(); err != nil {
		t.Fatal(err)
	}
	unlock, err := f.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if err := f.run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	unlock()
	if err := f.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.complete(t)
}

func TestSourcesAreFetchedToo(t *testing.T) {
	f := newFixture(t).cached(t)
	if err := f.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.sources = true
	if err := os.RemoveAll(f.cache.dir); err != nil {
		t.Fatal(err)
	}
	f.fails(t, "npm is needed", "models@1.0.0")
	if err := f.cached(t).run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// treeOf is the sum of a folder with the named files.
func treeOf(t *testing.T, nameText ...string) string {
	t.Helper()
	files := make(fstest.MapFS)
	for i := 0; i < len(nameText); i += 2 {
		files[nameText[i]] = &fstest.MapFile{Data: []byte(nameText[i+1])}
	}
	sum, err := treeSum(files)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// The package is installed only where it is asked for, and mended when a file of it is changed, gone or too many.
func TestBrowserDriver(t *testing.T) {
	f := newFixture(t).cached(t)
	dir := filepath.Join(f.build, "driver")
	if err := f.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nobody asked for it: %v", err)
	}
	f.browser = true
	for _, harm := range []func(){
		func() {},
		func() { write(t, filepath.Join(dir, "index.js"), []byte("rot")) },
		func() { os.Remove(filepath.Join(dir, "lib", "deep", "a.js")) },
		func() { write(t, filepath.Join(dir, "lib", "b.js"), []byte("more")) },
	} {
		harm()
		if err := f.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if sum, err := treeSum(os.DirFS(dir)); err != nil || sum != f.driver.tree {
			t.Errorf("installed as %s, %v; want %s", sum, err, f.driver.tree)
		}
		f.complete(t)
	}
}

func TestBrowserDriverIsNotWhatWasPinned(t *testing.T) {
	f := newFixture(t).cached(t)
	f.browser, f.driver.tree = true, treeOf(t, "index.js", "drive")
	f.fails(t, "wrong sha256 for the files of driver@1.0.0", f.driver.tree)
	if _, err := os.Stat(filepath.Join(f.build, "driver")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was installed: %v", err)
	}
}

// Names that lead out of the folder are refused.
func TestUnpackStaysInside(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "in")
	write(t, filepath.Join(dir, "../a.tgz"), tarball(t, map[string]string{"package/../../out": "x"}))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unpack(filepath.Join(dir, "../a.tgz"), dir); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("error %v, want one that says the name escapes", err)
	}
}

// What two packs are made from is fetched once.
func TestPackagesAreListedOnce(t *testing.T) {
	s := &setup{models: append(pack.Definitions(), pack.Default())}
	if got := s.packages(); len(got) != 2 || got[0] != pack.Default().Packages[0] {
		t.Errorf("packages are %v", got)
	}
}

func TestNpmMissing(t *testing.T) {
	newFixture(t).fails(t, "npm is needed to download runtime@1.0.0", "not on PATH", "install")
}

func TestDownloadFails(t *testing.T) {
	npm(t, `echo "npm error code E404" >&2; echo "npm error 404 Not Found - GET somewhere/runtime" >&2
		echo "npm error A complete log of this run can be found in: x" >&2; exit 1`)
	path := os.Getenv("PATH")
	f := newFixture(t)
	t.Setenv("PATH", path)
	f.fails(t, "download of runtime@1.0.0 failed", "404 Not Found - GET somewhere/runtime")
}

func TestDownloadLeavesNothing(t *testing.T) {
	f := newFixture(t)
	npm(t, "exit 0")
	f.fails(t, "0 tarballs")
}

func TestDownloadIsNotWhatWasPinned(t *testing.T) {
	f := newFixture(t)
	npm(t, "echo tampered > runtime-1.0.0.tgz")
	f.fails(t, "wrong sha256 for runtime@1.0.0", "want "+f.runtime.sha256, "got "+sumBytes([]byte("tampered\n")))
	if entries, _ := os.ReadDir(filepath.Join(f.cache.dir, "sha256")); len(entries) > 0 {
		t.Errorf("kept in the cache: %v", entries)
	}
}

func TestDownloadIsStopped(t *testing.T) {
	f := newFixture(t)
	npm(t, "echo half > runtime-1.0.0.tgz; exec sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := f.run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it went on for %v", took)
	}
	f.tidy(t)
}

func TestDamagedCacheEntryIsFetchedAgain(t *testing.T) {
	f := newFixture(t).cached(t)
	write(t, f.cache.path(f.runtime.sha256), []byte("rot"))
	f.fails(t, "npm is needed to download runtime@1.0.0")
	if !strings.Contains(f.out.String(), "wrong sha256 for "+f.cache.path(f.runtime.sha256)) {
		t.Errorf("it said:\n%s", f.out)
	}
}

func TestTarballWithoutTheLibrary(t *testing.T) {
	f := newFixture(t).cached(t)
	lib := f.runtime.libraries[platform]
	lib.member = "package/bin/elsewhere"
	f.runtime.libraries[platform] = lib
	f.fails(t, "runtime@1.0.0 has no package/bin/elsewhere")
}

func TestLibraryIsNotWhatWasPinned(t *testing.T) {
	f := newFixture(t).cached(t)
	lib := f.runtime.libraries[platform]
	lib.sha256 = sumBytes(nil)
	f.runtime.libraries[platform] = lib
	f.fails(t, "wrong sha256 for runtime@1.0.0 "+lib.member, sumBytes([]byte(libText)))
}

// A file where a folder should be stops root as well, which permissions would not.
func TestFoldersThatCannotBeWritten(t *testing.T) {
	f := newFixture(t)
	write(t, f.cache.dir, nil)
	f.fails(t, "cache folder", "not a directory", "MIEN_CACHE")
	f = newFixture(t)
	f.cache.dir = ""
	f.fails(t, "MIEN_CACHE")
	f = newFixture(t).cached(t)
	write(t, f.build, nil)
	f.fails(t, "cannot write build folder "+f.build, "not a directory")
}

func TestReadOnlyFolders(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	f := newFixture(t)
	readOnly(t, f.cache.dir)
	f.fails(t, "cache folder", "permission denied", "MIEN_CACHE")
	f = newFixture(t).cached(t)
	readOnly(t, f.build)
	f.fails(t, "cannot write build folder", "permission denied")
}

func readOnly(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o555); err != nil {
		t.Fatal(err)
	}
}

func TestCommandLine(t *testing.T) {
	t.Setenv("MIEN_CACHE", t.TempDir())
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--platform", "plan9/mips"}, 1, `no ONNX Runtime for "plan9/mips" in onnxruntime-node@1.30.0, only for darwin/arm64, linux/amd64, linux/arm64`},
		{[]string{"--speed"}, 2, "speed"},
		{[]string{"now"}, 2, `unexpected argument "now"`},
		{[]string{"--help"}, 0, "-platform"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), c.args, &out); code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%v: exit code %d, %q", c.args, code, out.String())
		}
		if c.code > 0 && strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%v: not one line: %q", c.args, out.String())
		}
	}
}

func TestCacheDirOverride(t *testing.T) {
	t.Setenv("MIEN_CACHE", "/somewhere")
	if got := cacheDir(); got != "/somewhere" {
		t.Error(got)
	}
	t.Setenv("MIEN_CACHE", "")
	t.Setenv("HOME", "/home/someone")
	if got := cacheDir(); filepath.Base(got) != "mien" {
		t.Error(got)
	}
}

// Every kind of line is from npm 9 or 11.
func TestNpmSays(t *testing.T) {
	failed := errors.New("exit status 1")
	for _, c := range []struct{ stderr, want string }{
		{"npm error code ETARGET\nnpm error notarget No matching version found for x@0.0.9.\nnpm error notarget In most cases you\nnpm error A complete log of this run can be found in: y\n",
			"notarget No matching version found for x@0.0.9."},
		{"npm warn Unknown user config \"nodedir\".\nnpm error code ECONNREFUSED\nnpm error syscall connect\nnpm error errno ECONNREFUSED\nnpm error FetchError: request to z failed, reason: connect ECONNREFUSED\nnpm error     at ClientRequest\n",
			"FetchError: request to z failed, reason: connect ECONNREFUSED"},
		{"npm ERR! code E401\nnpm ERR! Incorrect or missing password.\nnpm ERR! A complete log of this run\n", "Incorrect or missing password."},
		{"/usr/bin/env: 'node': No such file or directory\n", "/usr/bin/env: 'node': No such file or directory"},
		{"", "exit status 1"},
		{"npm error code E1\n\n", "exit status 1"},
	} {
		if got := npmSays([]byte(c.stderr), failed); got != c.want {
			t.Errorf("%q: %q, want %q", c.stderr, got, c.want)
		}
	}
}

func TestProgressOnATerminal(t *testing.T) {
	f := newFixture(t)
	f.terminal = true
	done := f.progress("downloading x")
	time.Sleep(150 * time.Millisecond)
	done()
	if !strings.Contains(f.out.String(), "downloading x") {
		t.Errorf("%q", f.out)
	}
}
