package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

var (
	testKey  = bytes.Repeat([]byte{3}, KeyBytes)
	otherKey = bytes.Repeat([]byte{4}, KeyBytes)
)

// content is the files of a data folder, by path.
type content map[string][]byte

func randomContent(seed uint64) content {
	r := rand.NewChaCha8([32]byte{byte(seed)})
	c, sizes := content{}, map[string]int{"store/000004.sst": 3000, "store/000005.sst": 2*chunkBytes + 5, "store/000006.sst": chunkBytes,
		"store/MANIFEST-000001": 100, "store/000007.log": 70_000, "store/empty": 0, "keys/a/b": 32}
	for _, path := range slices.Sorted(maps.Keys(sizes)) {
		c[path] = make([]byte, sizes[path])
		r.Read(c[path])
	}
	return c
}

func mustWriteFile(t testing.TB, fs vfs.FS, path string, data []byte) {
	t.Helper()
	if err := fs.MkdirAll(fs.PathDir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	h, err := fs.Create(path, writeCat)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Write(bytes.Clone(data))
	if err := errors.Join(err, h.Sync(), h.Close()); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, fs vfs.FS, path string) []byte {
	t.Helper()
	h, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	data, err := io.ReadAll(h)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sources are files of a data folder on a file system of their own.
func sources(t testing.TB, c content) (vfs.FS, []Source) {
	t.Helper()
	fs, all := vfs.NewMem(), []Source{}
	for _, path := range slices.Sorted(maps.Keys(c)) {
		mustWriteFile(t, fs, "src/"+path, c[path])
		all = append(all, Source{path, "src/" + path})
	}
	return fs, all
}

// add makes a backup of c.
func add(t testing.TB, fs vfs.FS, c content) (Info, error) {
	t.Helper()
	src, all := sources(t, c)
	return addFrom(t, fs, src, all)
}

func addFrom(t testing.TB, fs, src vfs.FS, all []Source) (i Info, err error) {
	t.Helper()
	f, err := Create(fs, "backups", testKey)
	if err != nil {
		return i, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Write(t.Context(), Spec{Time: time.Unix(1_800_000_000, 0), Sequence: 7, Store: 3, Sources: all, FS: src})
}

func mustAdd(t testing.TB, fs vfs.FS, c content) Info {
	t.Helper()
	i, err := add(t, fs, c)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func mustOpen(t testing.TB, fs vfs.FS) *Folder {
	t.Helper()
	f, err := Open(fs, "backups", testKey)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// extract restores a backup to memory.
func extract(f *Folder, id string) (content, error) {
	b, err := f.Backup(id)
	if err != nil {
		return nil, err
	}
	to, c := vfs.NewMem(), content{}
	if err := b.Extract(context.Background(), to, "to", nil); err != nil {
		return nil, err
	}
	for _, file := range b.List {
		h, err := to.Open("to/" + file.Path)
		if err != nil {
			return nil, err
		}
		if c[file.Path], err = io.ReadAll(h); err != nil {
			return nil, err
		}
		h.Close()
	}
	return c, nil
}

func equal(a, b content) bool { return maps.EqualFunc(a, b, bytes.Equal) }

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// TestIncremental: what is backed up comes back; a second backup writes what is new and nothing else.
func TestIncremental(t *testing.T) {
	fs, c := vfs.NewMem(), randomContent(1)
	src, all := sources(t, c)
	first, err := addFrom(t, fs, src, all)
	if err != nil || first.Files != len(c) || first.NewFiles != len(c) || first.ID != "000001-20270115T080000Z" {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := addFrom(t, fs, src, all)
	if err != nil || again.NewFiles != 0 || again.NewBytes != 0 || again.Bytes != first.Bytes {
		t.Fatalf("%+v, %v: want nothing new", again, err)
	}
	changed := maps.Clone(c)
	delete(changed, "store/000004.sst")
	changed["store/000008.sst"] = []byte("new table")
	changed["store/000007.log"] = []byte("longer log")
	changed["store/000009.sst"] = c["store/000004.sst"] // known content under another name
	third := mustAdd(t, fs, changed)
	if third.NewFiles != 2 || third.NewBytes != int64(len("new table")+len("longer log")) {
		t.Errorf("%+v: want two new files", third)
	}
	f := mustOpen(t, fs)
	for id, want := range map[string]content{first.ID: c, again.ID: c, third.ID: changed, "": changed} {
		if got, err := extract(f, id); err != nil || !equal(got, want) {
			t.Errorf("%s: %v", id, err)
		}
	}
	list, err := f.List()
	if err != nil || len(list) != 3 || list[1].Info != again || list[2].Err != nil {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestSameNameOtherContent: a table of another history under a name and of a size that were there is not taken for it.
func TestSameNameOtherContent(t *testing.T) {
	fs, c := vfs.NewMem(), randomContent(1)
	mustAdd(t, fs, c)
	other := maps.Clone(c)
	other["store/000004.sst"] = bytes.Repeat([]byte{9}, 3000)
	if i := mustAdd(t, fs, other); i.NewFiles != 1 {
		t.Errorf("%+v", i)
	}
	if got, err := extract(mustOpen(t, fs), ""); err != nil || !equal(got, other) {
		t.Error(err)
	}
}

// TestNothingInClear: neither a content nor a path can be read in the folder.
func TestNothingInClear(t *testing.T) {
	fs := vfs.NewMem()
	mustAdd(t, fs, content{"store/secret-path": []byte("person ada lovelace"), "store/000004.sst": []byte("person ada lovelace")})
	for _, path := range allFiles(t, fs, "backups") {
		for _, text := range []string{"ada", "secret-path", "000004"} {
			if bytes.Contains(readFile(t, fs, path), []byte(text)) {
				t.Errorf("%s holds %q", path, text)
			}
		}
	}
}

func allFiles(t testing.TB, fs vfs.FS, dir string) (all []string) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		if info, err := fs.Stat(path); err != nil {
			t.Fatal(err)
		} else if info.IsDir() {
			all = append(all, allFiles(t, fs, path)...)
		} else {
			all = append(all, path)
		}
	}
	slices.Sort(all)
	return all
}

// damagedFolder is a folder of two backups in memory that may be harmed.
func damagedFolder(t testing.TB) (fs *vfs.MemFS, c content, ids []string) {
	fs, c = vfs.NewMem(), randomContent(1)
	a := mustAdd(t, fs, c)
	more := maps.Clone(c)
	more["store/000004.sst"] = []byte("short")
	b := mustAdd(t, fs, more)
	return fs, c, []string{a.ID, b.ID}
}

// mustBeFound: a backup that was harmed is named damaged by Verify, and never restored.
func mustBeFound(t *testing.T, fs vfs.FS, id, what string) {
	t.Helper()
	f, err := Open(fs, "backups", testKey)
	if err != nil {
		wantErr(t, err, ErrDamaged)
		return
	}
	b, err := f.Backup(id)
	if err == nil {
		err = b.Verify(t.Context(), nil, nil)
	}
	if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNoBackup) {
		t.Errorf("%s: Verify says %v", what, err)
	}
	if _, err := extract(f, id); err == nil {
		t.Errorf("%s: it was restored", what)
	}
}

// TestFlippedBytes: a byte that is flipped anywhere in what a backup needs is found.
func TestFlippedBytes(t *testing.T) {
	fs, _, ids := damagedFolder(t)
	f := mustOpen(t, fs)
	b, err := f.Backup(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	needed := []string{f.manifestPath(ids[0]), "backups/" + markerName}
	for _, file := range b.List {
		needed = append(needed, f.filePath(file.Name))
	}
	for _, path := range needed {
		whole := readFile(t, fs, path)
		for at, step := 0, 7; at < len(whole); at += step {
			if at >= headerBytes+chunkOverhead {
				step = max(7, len(whole)/6)
			}
			harmed := bytes.Clone(whole)
			harmed[at] ^= 1 << (at % 8)
			mustWriteFile(t, fs, path, harmed)
			f2, err := Open(fs, "backups", testKey)
			if path == "backups/"+markerName {
				if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
					t.Errorf("marker, byte %d: %v", at, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			b, err := f2.Backup(ids[0])
			if err == nil {
				err = b.Verify(t.Context(), nil, nil)
			}
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, byte %d of %d: %v", path, at, len(whole), err)
			}
		}
		mustWriteFile(t, fs, path, whole)
	}
	if got, err := extract(mustOpen(t, fs), ids[0]); err != nil || len(got) == 0 {
		t.Errorf("whole again: %v", err)
	}
}

// TestDamage: files that are cut, swapped, reordered, gone or another backup's are told, and never restored.
func TestDamage(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, fs *vfs.MemFS, f *Folder, b *Backup, other string){
		"cut": func(t *testing.T, fs *vfs.MemFS, f *Folder, b *Backup, _ string) {
			path := f.filePath(find(b, "store/000005.sst").Name)
			data := readFile(t, fs, path)
			mustWriteFile(t, fs, path, data[:len(data)-1])
		},
		"cut at a chunk": func(t *testing.T, fs *vfs.MemFS, f *Folder, b *Backup, _ string) {
			path := f.filePath(find(b, "store/000005.sst").Name)
			mustWriteFile(t, fs, path, readFile(t, fs, path)[:headerBytes+2*(chunkBytes+chunkOverhead)])
		},
		"empty": func(t *testing.T, fs *vfs.MemFS, f *Folder, b *Backup, _ string) {
			mustWriteFile(t, fs, f.filePath(find(b, "store/000005.sst").Name), nil)
		},
		"longer": func(t *testing.T, fs *vfs.MemFS, f *Folder, b *Backup, _ string) {
			path := f.filePath(find(b, "store/000004.sst").Name)
			mustWriteFile(t, fs, path, append(readFile(t, fs, path), 0))
		},
		"swapped chunks": func(t *testing.T, fs *vfs.MemFS, f *Folder, b *Backup, _ string) {
			path := f.filePath(find(b, "store/000005.sst").Name)
			d, n := readFile(t, fs, path), chunkBytes+chunkOverhead
			mustWriteFile(t, fs, path, slices.Concat(d[:headerBytes], d[headerBytes+n:headerBytes+2*n], d[headerBytes:headerBytes+n], d[headerBytes+2*n:]))
		},
		"chunk of another file": func(t *testing.T, fs *vfs.MemFS, f *Folder, b *Backup, _ string) {
			path, n := f.filePath(find(b, "store/000005.sst").Name), chunkBytes+chunkOverhead
			d, from := readFile(t, fs, path), readFile(t, fs, f.filePath(find(b, "store/000006.sst").Name))
			mustWriteFile(t, fs, path, slices.Concat(d[:headerBytes], from[headerBytes:headerBytes+n], d[headerBytes+n:]))
		},
		"swapped files": func(t *testing.T, fs *vfs.MemFS, f *Folder, b *Backup, _ string) {
			one, two := f.filePath(find(b, "store/000005.sst").Name), f.filePath(find(b, "store/000006.sst").Name)
			a, c := readFile(t, fs, one), readFile(t, fs, two)
			mustWriteFile(t, fs, one, c)
			mustWriteFile(t, fs, two, a)
		},
		"missing": func(t *testing.T, fs *vfs.MemFS, f *Folder, b *Backup, _ string) {
			if err := fs.Remove(f.filePath(find(b, "store/empty").Name)); err != nil {
				t.Fatal(err)
			}
		},
		"another backup's manifest": func(t *testing.T, fs *vfs.MemFS, f *Folder, b *Backup, other string) {
			mustWriteFile(t, fs, f.manifestPath(b.ID), readFile(t, fs, f.manifestPath(other)))
		},
		"a file as a manifest": func(t *testing.T, fs *vfs.MemFS, f *Folder, b *Backup, _ string) {
			mustWriteFile(t, fs, f.manifestPath(b.ID), readFile(t, fs, f.filePath(b.List[0].Name)))
		},
		"no manifest": func(t *testing.T, fs *vfs.MemFS, f *Folder, b *Backup, _ string) {
			if err := fs.Remove(f.manifestPath(b.ID)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs, _, ids := damagedFolder(t)
			f := mustOpen(t, fs)
			b, err := f.Backup(ids[0])
			if err != nil {
				t.Fatal(err)
			}
			harm(t, fs, f, b, ids[1])
			mustBeFound(t, fs, ids[0], name)
		})
	}
}

func find(b *Backup, path string) File {
	for _, f := range b.List {
		if f.Path == path {
			return f
		}
	}
	panic("no " + path)
}

// TestMended: what is damaged and removed, or has lost its end, comes back with the next backup.
func TestMended(t *testing.T) {
	fs, c, ids := damagedFolder(t)
	f := mustOpen(t, fs)
	b, err := f.Backup(ids[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove(f.filePath(find(b, "store/000006.sst").Name)); err != nil {
		t.Fatal(err)
	}
	mustWriteFile(t, fs, f.filePath(find(b, "store/000005.sst").Name), []byte("cut"))
	mustBeFound(t, fs, ids[0], "both")
	if i := mustAdd(t, fs, c); i.NewFiles != 2 {
		t.Errorf("%+v", i)
	}
	for _, id := range append(ids, "") {
		if b, err = f.Backup(id); err == nil {
			err = b.Verify(t.Context(), nil, nil)
		}
		if err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// TestWrongKey: another key opens nothing, is told apart from damage, and can't add to a folder.
func TestWrongKey(t *testing.T) {
	fs, _, ids := damagedFolder(t)
	f, err := Open(fs, "backups", otherKey)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.List()
	wantErr(t, err, ErrKey)
	_, err = f.Backup(ids[0])
	if wantErr(t, err, ErrKey); errors.Is(err, ErrDamaged) {
		t.Error("a wrong key is no damage")
	}
	_, err = Create(fs, "backups", otherKey)
	wantErr(t, err, ErrKey)
	again, err := Create(fs, "backups", testKey) // the lock was given up
	if err != nil {
		t.Fatal(err)
	}
	_, err = Create(fs, "backups", testKey)
	wantErr(t, err, ErrInUse)
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestOtherFolders: a folder of something else is left alone, one of a newer version refused.
func TestOtherFolders(t *testing.T) {
	fs := vfs.NewMem()
	mustWriteFile(t, fs, "backups/letters", []byte("x"))
	_, err := Create(fs, "backups", testKey)
	wantErr(t, err, ErrNotEmpty)
	_, err = Open(fs, "backups", testKey)
	wantErr(t, err, ErrNoFolder)
	mustWriteFile(t, fs, "backups/"+markerName, []byte("mien backup folder, format 2\n"))
	_, err = Create(fs, "backups", testKey)
	wantErr(t, err, ErrFormat)
	if got := allFiles(t, fs, "backups"); len(got) != 2 {
		t.Errorf("the folder holds %v", got)
	}
}

// TestManifestPaths: a manifest that names a place outside of the folder, or one twice, is refused.
func TestManifestPaths(t *testing.T) {
	for _, path := range []string{"../x", "/etc/x", "a/../../x", "", ".", "a//b", `a\b`, "a\x00b"} {
		fs := vfs.NewMem()
		src := vfs.NewMem()
		mustWriteFile(t, src, "x", []byte("x"))
		if _, err := addFrom(t, fs, src, []Source{{path, "x"}}); err != nil {
			t.Fatal(err)
		}
		_, err := mustOpen(t, fs).Backup("")
		wantErr(t, err, ErrDamaged)
	}
}

// TestPrune keeps the newest backups and what they need, and removes nothing it can't be sure of.
func TestPrune(t *testing.T) {
	fs, last := vfs.NewMem(), content{}
	for i := range 5 {
		last = randomContent(1)
		last["store/000007.log"] = fmt.Appendf(nil, "log %d", i)
		mustAdd(t, fs, last)
	}
	f, err := Create(fs, "backups", testKey)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = f.Prune(0)
	if err == nil {
		t.Error("none would be kept")
	}
	p, err := f.Prune(2)
	if err != nil || len(p.Backups) != 3 || p.Files != 3 {
		t.Errorf("%+v, %v", p, err)
	}
	if got, err := extract(f, ""); err != nil || !equal(got, last) {
		t.Error(err)
	}
	if p, err = f.Prune(2); err != nil || len(p.Backups) != 0 || p.Files != 0 {
		t.Errorf("again: %+v, %v", p, err)
	}
	ids, _ := f.ids()
	mustWriteFile(t, fs, f.manifestPath(ids[0]), []byte("damaged"))
	before := len(allFiles(t, fs, "backups"))
	_, err = f.Prune(2)
	if wantErr(t, err, ErrDamaged); len(allFiles(t, fs, "backups")) != before {
		t.Error("something was removed")
	}
	if p, err = f.Prune(1); err != nil || len(p.Backups) != 1 {
		t.Errorf("a damaged one that goes: %+v, %v", p, err)
	}
	if i := mustAddTo(t, f, last); numberOf(i.ID) != 6 {
		t.Errorf("the next backup is %s", i.ID)
	}
}

func mustAddTo(t testing.TB, f *Folder, c content) Info {
	t.Helper()
	src, all := sources(t, c)
	i, err := f.Write(t.Context(), Spec{Time: time.Unix(1_800_000_000, 0), Sources: all, FS: src})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// stopAt fails every operation that changes the disk from the n-th on: the process has been killed.
type stopAt struct{ left atomic.Int64 }

func (s *stopAt) String() string { return "stop" }

func (s *stopAt) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsRead || s.left.Add(-1) >= 0 {
		return nil
	}
	return syscall.EIO
}

// TestStopped ends backup, and prune, at every operation that changes the disk, with and without what was not synced: what was there stays
// whole, the new backup is whole or absent, and going on afterwards works.
func TestStopped(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	small := content{"store/000004.sst": []byte("table"), "store/000007.log": []byte("log"), "store/CURRENT": []byte("x")}
	next := maps.Clone(small)
	next["store/000005.sst"], next["store/000007.log"] = []byte("another"), nil
	for name, work := range map[string]func(fs vfs.FS) error{
		"backup": func(fs vfs.FS) error { _, err := add(t, fs, next); return err },
		"prune": func(fs vfs.FS) error {
			f, err := Create(fs, "backups", testKey)
			if err != nil {
				return err
			}
			_, err = f.Prune(1)
			return errors.Join(err, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			stopped := 0
			for n := int64(0); ; n++ {
				mem := vfs.NewCrashableMem()
				mustAdd(t, mem, small)
				newest := mustAdd(t, mem, next)
				if err := syncAll(mem); err != nil {
					t.Fatal(err)
				}
				s := &stopAt{}
				s.left.Store(n)
				err := work(errorfs.Wrap(mem, s))
				if s.left.Load() >= 0 {
					if err != nil {
						t.Fatal(err)
					}
					break
				}
				stopped++
				for _, percent := range []int{0, 50, 100} {
					afterStop(t, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}), newest.ID, next)
				}
			}
			if stopped < 6 {
				t.Errorf("only %d operations", stopped)
			}
		})
	}
}

func syncAll(fs vfs.FS) error {
	return errors.Join(syncDir(fs, "backups"), syncDir(fs, "backups/files"), syncDir(fs, "backups/backups"), syncDir(fs, ""))
}

func afterStop(t *testing.T, image vfs.FS, newest string, want content) {
	t.Helper()
	f := mustOpen(t, image)
	list, err := f.List()
	if err != nil || len(list) == 0 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, l := range list {
		if l.Err != nil {
			t.Errorf("%s: %v", l.ID, l.Err)
		} else if _, err := extract(f, l.ID); err != nil {
			t.Errorf("%s: %v", l.ID, err)
		}
	}
	if got, err := extract(f, newest); err != nil || !equal(got, want) {
		t.Errorf("%s: %v", newest, err)
	}
	more := maps.Clone(want)
	more["store/000011.sst"] = []byte("later")
	i := mustAdd(t, image, more)
	if got, err := extract(f, i.ID); err != nil || !equal(got, more) {
		t.Errorf("after going on: %v", err)
	}
	w, err := Create(image, "backups", testKey)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Prune(1)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	for _, path := range allFiles(t, image, "backups") {
		if strings.HasSuffix(path, tmpSuffix) {
			t.Errorf("%s is left", path)
		}
	}
	if got, err := image.List("backups/files"); err != nil || len(got) != len(unique(more)) {
		t.Errorf("%d files are left: %v", len(got), err)
	}
}

func unique(c content) map[string]bool {
	u := map[string]bool{}
	for _, b := range c {
		u[string(b)] = true
	}
	return u
}

// TestFull: a disk without room is refused before it is full, and one that fills up leaves no half backup.
func TestFull(t *testing.T) {
	mem := vfs.NewMem()
	mustAdd(t, mem, randomContent(1))
	disk := &smallDisk{FS: mem, free: 1 << 20}
	f, err := Create(disk, "backups", testKey)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	src, all := sources(t, randomContent(2))
	_, err = f.Write(t.Context(), Spec{Time: time.Unix(1, 0), Sources: all, FS: src, Reserve: 1 << 20})
	wantErr(t, err, ErrFull)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = f.Write(ctx, Spec{Time: time.Unix(1, 0), Sources: all, FS: src})
	wantErr(t, err, context.Canceled)
	if list, err := f.List(); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

type smallDisk struct {
	vfs.FS
	free uint64
}

func (s *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: s.free}, nil
}

// FuzzOpener: whatever bytes a sealed file is, reading it is an error or what was written, and no panic.
func FuzzOpener(f *testing.F) {
	keys, err := newKeyring(testKey)
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{"", "abc", strings.Repeat("x", 5000)} {
		var b bytes.Buffer
		s, err := keys.newSealer(&b, kindFile, "n")
		if err != nil {
			f.Fatal(err)
		}
		_, err = io.WriteString(s, text)
		if err := errors.Join(err, s.Close()); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes(), 0, byte(0))
		f.Add(b.Bytes(), b.Len()-1, byte(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, at int, flip byte) {
		if at >= 0 && at < len(b) {
			b[at] ^= flip
		}
		o, err := keys.newOpener(bytes.NewReader(b), int64(len(b)), kindFile, "n")
		if err != nil {
			return
		}
		if o.size > int64(len(b)) {
			t.Fatalf("%d bytes hold %d", len(b), o.size)
		}
		got, err := io.ReadAll(o.reader())
		if err == nil && strings.Trim(string(got), "x") != "" && string(got) != "abc" {
			t.Fatalf("it reads %q", got)
		}
	})
}

// TestSizes: sizes around a chunk come back, and sealedSize and plainSize are each other's inverse.
func TestSizes(t *testing.T) {
	keys, err := newKeyring(testKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1, chunkBytes - 1, chunkBytes, chunkBytes + 1, 2 * chunkBytes, 2*chunkBytes + 1} {
		text := bytes.Repeat([]byte{1, 2, 3}, size/3+1)[:size]
		var b bytes.Buffer
		s, err := keys.newSealer(&b, kindFile, "n")
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Write(text)
		if err := errors.Join(err, s.Close()); err != nil || int64(b.Len()) != sealedSize(int64(size)) {
			t.Fatal(b.Len(), err)
		}
		if n, ok := plainSize(int64(b.Len())); !ok || n != int64(size) {
			t.Errorf("%d: plainSize says %d, %v", size, n, ok)
		}
		o, err := keys.newOpener(bytes.NewReader(b.Bytes()), int64(b.Len()), kindFile, "n")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(o.reader())
		if err = errors.Join(err, o.check()); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d: %v", size, err)
		}
		_, err = keys.newOpener(bytes.NewReader(b.Bytes()), int64(b.Len()), kindManifest, "n")
		if err != nil {
			t.Fatal(err)
		}
		for _, place := range [][2]string{{kindManifest, "n"}, {kindFile, "m"}} {
			o, err := keys.newOpener(bytes.NewReader(b.Bytes()), int64(b.Len()), place[0], place[1])
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.ReadAll(o.reader())
			wantErr(t, errors.Join(err, o.check()), ErrDamaged)
		}
	}
	for _, n := range []int64{0, headerBytes, headerBytes + chunkOverhead - 1, headerBytes + chunkBytes + 2*chunkOverhead} {
		if size, ok := plainSize(n); ok {
			t.Errorf("plainSize(%d) is %d", n, size)
		}
	}
}
