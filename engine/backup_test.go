package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"mien/engine/backup"
)

// backupConfig is testConfig with a backup folder on the same file system.
func backupConfig(fs vfs.FS) Config {
	c := testConfig(fs)
	c.BackupDir, c.Program = "backups", "test"
	return c
}

func mustBackUp(t testing.TB, e *Engine) Backup {
	t.Helper()
	b, err := backUpNow(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func backUpNow(e *Engine) (Backup, error) {
	if err := e.StartBackup(context.Background()); err != nil {
		return Backup{}, err
	}
	return e.WaitBackup(context.Background())
}

func testBackupKey(t testing.TB) []byte {
	t.Helper()
	key, err := BackupKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func testFolder(t testing.TB, fs vfs.FS) BackupFolder {
	t.Helper()
	return BackupFolder{Dir: "backups", Key: testBackupKey(t), FS: fs}
}

// restored restores a backup to a new folder and opens it.
func restored(t testing.TB, fs vfs.FS, id, dir string) *Engine {
	t.Helper()
	if _, err := Restore(t.Context(), RestoreSpec{From: "backups", ID: id, Key: testBackupKey(t), Dir: dir, FS: fs}); err != nil {
		t.Fatal(err)
	}
	c := testConfig(fs)
	c.Dir = dir
	e := open(t, c)
	waitAllPhotos(t, e)
	mustCheck(t, e)
	return e
}

// mustVerify verifies a backup without restoring it, its records too.
func mustVerify(t testing.TB, fs vfs.FS, id string) {
	t.Helper()
	all, err := testFolder(t, fs).Verify(t.Context(), id, testKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		if b.Err != nil {
			t.Errorf("%s: %v", b.ID, b.Err)
		}
	}
}

// TestBackup: a store with every kind of record comes back as it was, and what is written later is in the next backup.
func TestBackup(t *testing.T) {
	mem := vfs.NewMem()
	e := open(t, backupConfig(mem))
	tokens := writePhotos(t, e, "flushed")
	must(e.store.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false)) // so that none comes between two backups
	first := mustBackUp(t, e)
	want := dumpStored(t, e, tokens)
	if first.Sequence != e.store.seq || first.Store < photoFormat || first.Program != "test" || first.NewBytes != first.Bytes {
		t.Errorf("%+v, the last write is %d", first, e.store.seq)
	}
	again := mustBackUp(t, e)
	if again.NewFiles > 4 || again.NewBytes > 1<<16 { // the log, the manifest, and what of them names others
		t.Errorf("nothing has changed, and the backup has %+v", again)
	}
	tokens = append(tokens, writePhotos(t, e, "logged")...)
	third := mustBackUp(t, e)
	if third.Sequence != e.store.seq || third.NewFiles >= third.Files {
		t.Errorf("%+v, the last write is %d", third, e.store.seq)
	}
	mustVerify(t, mem, "")
	if got := dumpStored(t, restored(t, mem, first.ID, "one"), tokens[:len(tokens)/2]); got != want {
		t.Errorf("restored:\n%s\nwant\n%s", got, want)
	}
	want = dumpStored(t, e, tokens)
	r := restored(t, mem, "", "two")
	if got := dumpStored(t, r, tokens); got != want {
		t.Errorf("restored:\n%s\nwant\n%s", got, want)
	}
	writeGolden(t, r, "after")
	mustCheck(t, r)
	if s, err := e.BackupStatus(t.Context()); err != nil || s.Running || s.Last.ID != third.ID || s.Failure != "" {
		t.Errorf("%+v, %v", s, err)
	}
}

// dumpStored is dump without what only the running engine knows.
func dumpStored(t *testing.T, e *Engine, tokens []string) string {
	t.Helper()
	return lastUsed.ReplaceAllString(dump(t, e, tokens), "")
}

var lastUsed = regexp.MustCompile(`,"last_used":"[^"]*"`)

// TestBackupUnderWriters: backups that are made while clients write have every write that was acknowledged before they
// began, none that began after they ended, and nothing half.
func TestBackupUnderWriters(t *testing.T) {
	rng := newRand(t)
	mem := vfs.NewMem()
	e := open(t, backupConfig(mem))
	ledgers, stop := make([]*ledger, 3), new(atomic.Bool)
	var wg sync.WaitGroup
	for i := range ledgers {
		name := fmt.Sprintf("g%d", i)
		mustGallery(t, e, "t", name)
		ledgers[i] = &ledger{acked: map[string]uint64{}, space: spaceA}
		own := rand.New(rand.NewPCG(rng.Uint64(), 3))
		wg.Go(func() {
			if err := ledgers[i].run(e, name, own, stop); err != nil {
				t.Error(err)
			}
		})
	}
	for round := range scaled(4) {
		time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
		before := snapshots(ledgers)
		b := mustBackUp(t, e)
		after := snapshots(ledgers)
		mustVerify(t, mem, b.ID)
		r := restored(t, mem, b.ID, fmt.Sprint("restored-", round))
		if r.store.seq != b.Sequence {
			t.Errorf("the restored store's last write is %d, the backup says %d", r.store.seq, b.Sequence)
		}
		for i := range before {
			before[i].verify(t, r, fmt.Sprintf("g%d", i), after[i])
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	wg.Wait()
	mustCheck(t, e)
}

// TestBackupOneAtATime: a second backup is refused while one runs, and Close ends the one that does.
func TestBackupOneAtATime(t *testing.T) {
	slow := &slowFolder{FS: vfs.NewMem(), release: make(chan struct{})}
	e := open(t, backupConfig(slow))
	mustGallery(t, e, "t", "g")
	if err := e.StartBackup(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantErr(t, e.StartBackup(t.Context()), ErrBackupRunning)
	if s, err := e.BackupStatus(t.Context()); err != nil || !s.Running {
		t.Errorf("%+v, %v", s, err)
	}
	if _, _, err := e.PutPerson(t.Context(), "t", "g", "p", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}}); err != nil {
		t.Errorf("a write beside a backup: %v", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- e.Close() }()
	for e.stopped.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	close(slow.release)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	wantErr(t, e.StartBackup(t.Context()), ErrClosed)
	if _, err := e.WaitBackup(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("the backup ended with %v", err)
	}
	if list, err := testFolder(t, slow).List(); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// slowFolder holds what is written to the folder files up until it is released.
type slowFolder struct {
	vfs.FS
	release chan struct{}
}

func (s *slowFolder) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(name, "backups/files") {
		<-s.release
	}
	return s.FS.Create(name, c)
}

// TestBackupRefusals: no folder, another's folder, another key, a full disk: each is named, and the store goes on.
func TestBackupRefusals(t *testing.T) {
	e := openMem(t)
	wantErr(t, e.StartBackup(t.Context()), ErrNoBackupDir)
	_, err := e.BackupStatus(t.Context())
	wantErr(t, err, ErrNoBackupDir)

	mem := vfs.NewMem()
	e = open(t, backupConfig(mem))
	mustGallery(t, e, "t", "g")
	mustBackUp(t, e)
	c := backupConfig(mem)
	c.BackupKey = bytes.Repeat([]byte{1}, backup.KeyBytes)
	e = reopen(t, e, c)
	_, err = backUpNow(e)
	wantErr(t, err, backup.ErrKey)
	if s, err := e.BackupStatus(t.Context()); err != nil || s.Failure != backup.ErrKey.Error() || s.Last != nil {
		t.Errorf("%+v, %v", s, err)
	}
	c.BackupDir = "data"
	e = reopen(t, e, c)
	_, err = backUpNow(e)
	wantErr(t, err, backup.ErrNotEmpty)
	mustGallery(t, e, "t", "h")

	c.BackupKey = c.BackupKey[1:]
	_, err = Open(c)
	wantErr(t, err, ErrConfig)
}

// TestBackupFailsAlone: a disk that fails under the backup, its staging included, fails the backup and never the store, and leaves
// nothing staged.
func TestBackupFailsAlone(t *testing.T) {
	failed := 0
	for n := int64(0); n < 200; n += 1 + n/8 {
		mem, fail := vfs.NewMem(), &failAfter{match: func(op errorfs.Op) bool {
			return strings.Contains(op.Path, stagingName) || strings.HasPrefix(op.Path, "backups")
		}}
		fail.countdown.Store(1 << 40)
		e := open(t, backupConfig(errorfs.Wrap(mem, fail)))
		mustGallery(t, e, "t", "g")
		fail.countdown.Store(n)
		_, err := backUpNow(e)
		ended := fail.countdown.Load() >= 0
		fail.countdown.Store(1 << 40)
		if !ended {
			failed++
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("failed at %d: %v", n, err)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		if err := e.Ready(); err != nil {
			t.Errorf("failed at %d: the store says %v", n, err)
		}
		if _, _, err := e.PutPerson(t.Context(), "t", "g", "p", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}}); err != nil {
			t.Errorf("failed at %d: %v", n, err)
		}
		b := mustBackUp(t, e)
		mustVerify(t, mem, b.ID)
		if _, err := mem.Stat("data/" + stagingName); err == nil {
			t.Error("something is left staged")
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if ended {
			break
		}
	}
	if failed < 10 {
		t.Errorf("it failed %d times", failed)
	}
}

// TestBackupOnFailedDisk: a store that has stopped writing refuses to be backed up, and Close returns.
func TestBackupOnFailedDisk(t *testing.T) {
	fail := &failAfter{match: isWAL}
	fail.countdown.Store(1 << 40)
	e := open(t, backupConfig(errorfs.Wrap(vfs.NewMem(), fail)))
	mustGallery(t, e, "t", "g")
	fail.countdown.Store(0)
	if !flushUntilHalted(e) {
		t.Fatal("the disk did not fail")
	}
	wantErr(t, e.StartBackup(t.Context()), ErrStorageFailed)
	wantErr(t, e.Close(), ErrStorageFailed)
}

// TestStagingRemoved: what a process that ended in the middle of a backup left is removed by Open.
func TestStagingRemoved(t *testing.T) {
	mem := vfs.NewMem()
	e := open(t, backupConfig(mem))
	mustGallery(t, e, "t", "g")
	if _, err := e.checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	reopen(t, e, testConfig(mem))
	if _, err := mem.Stat("data/" + stagingName); err == nil {
		t.Error("it is still there")
	}
}

// TestBackupOfKeys: the folder of wrapped keys beside the store goes with it.
func TestBackupOfKeys(t *testing.T) {
	mem := vfs.NewMem()
	e := open(t, backupConfig(mem))
	mustGallery(t, e, "t", "g")
	if err := mem.MkdirAll("data/keys", 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := mem.Create("data/keys/extra.keys", "test")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write([]byte("wrapped"))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	b := mustBackUp(t, e)
	restored(t, mem, b.ID, "to")
	f, err = mem.Open("to/keys/extra.keys")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); err != nil || string(text) != "wrapped" {
		t.Errorf("%q, %v", text, err)
	}
}

// TestBackupWithoutKeys: a backup without the key store opens with one that is kept apart, and what is erased by destroying keys goes from
// backups of before with it.
func TestBackupWithoutKeys(t *testing.T) {
	mem := vfs.NewMem()
	c := backupConfig(mem)
	c.BackupWithoutKeys = true
	e := open(t, c)
	twoOfEach(t, e)
	first := mustBackUp(t, e)
	keep := func(name string) {
		t.Helper()
		if ok, err := vfs.Clone(mem, mem, "data/keys", name); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	keep("before")
	_, err := e.EraseTenant(t.Context(), "u")
	must(err)
	_, err = e.ErasePerson(t.Context(), "t", "g", "a", WriteOptions{})
	must(err)
	keep("erased")
	mustRotate(t, e, "t")
	waitRotated(t, e, "t")
	second := mustBackUp(t, e)
	if !first.WithoutKeys || !second.WithoutKeys || second.NewFiles == 0 {
		t.Errorf("%+v, %+v", first, second)
	}
	restore := func(id, to, keys string) error {
		_, err := Restore(t.Context(), RestoreSpec{From: "backups", ID: id, Key: testBackupKey(t), Dir: to, FS: mem, KeyDir: keys})
		return err
	}
	wantErr(t, restore(first.ID, "none", ""), ErrNoKeys)
	wantErr(t, restore(first.ID, "none", "nowhere"), ErrNoKeys)
	if _, err := mem.Stat("none"); err == nil {
		t.Error("a folder was made")
	}
	people := func(to, keys string) (all string) {
		t.Helper()
		c := testConfig(mem)
		c.Dir, c.KeyDir = to, keys
		e := open(t, c)
		defer e.Close()
		mustCheck(t, e)
		for _, tenant := range []string{"t", "u"} {
			galleries, err := e.Galleries(t.Context(), tenant)
			must(err)
			for _, g := range galleries {
				list, _, err := e.People(t.Context(), tenant, g.Name, 10, "")
				must(err)
				for _, p := range list {
					all += tenant + g.Name + p.ID + " "
				}
			}
		}
		return all
	}
	for _, test := range []struct{ id, keys, want string }{
		{first.ID, "before", "tga tgb tha thb uga ugb uha uhb "},
		{first.ID, "erased", "tga tgb tha thb "}, // the person goes with the rotation
		{second.ID, "data/keys", "tgb tha thb "},
	} {
		to := "to-" + test.id + test.keys[:1]
		must(restore(test.id, to, test.keys))
		if got := people(to, test.keys); got != test.want {
			t.Errorf("%s with the keys %s has %q, want %q", test.id, test.keys, got, test.want)
		}
	}
	must(restore(first.ID, "late", "data/keys"))
	late := testConfig(mem)
	late.Dir, late.KeyDir = "late", "data/keys"
	_, err = Open(late)
	wantErr(t, err, ErrKeyStore)

	must(mem.MkdirAll("beside", 0o700)) // the default place of a key store
	if ok, err := vfs.Clone(mem, mem, "data/keys", "beside/keys"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	must(restore(second.ID, "beside", ""))
	if got := people("beside", ""); got != "tgb tha thb " {
		t.Error(got)
	}
	folder := testFolder(t, mem)
	for _, test := range []struct {
		keys string
		key  []byte
		want error
	}{{"", nil, nil}, {"", testKey, ErrNoKeys}, {"before", testKey, nil}, {"data/keys", testKey, ErrKeyStore}} {
		folder.KeyDir = test.keys
		all, err := folder.Verify(t.Context(), first.ID, test.key, nil)
		if err != nil || len(all) != 1 || !errors.Is(all[0].Err, test.want) {
			t.Errorf("keys %q: %+v, %v; want %v", test.keys, all, err, test.want)
		}
	}
}

// backedUp is a folder with one backup of a small store.
func backedUp(t testing.TB, fs vfs.FS) (b Backup, want string) {
	t.Helper()
	e := open(t, backupConfig(fs))
	mustGallery(t, e, "t", "g")
	for i := range 5 {
		if _, _, err := e.PutPerson(t.Context(), "t", "g", fmt.Sprint("p", i), PersonSpec{Templates: []Template{template(1, float32(i), 0, 0)}}); err != nil {
			t.Fatal(err)
		}
	}
	b = mustBackUp(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return b, "p3"
}

// TestRestoreRefusals: a damaged backup, another key, a folder that holds something: refused, and the folder is as it was.
func TestRestoreRefusals(t *testing.T) {
	mem := vfs.NewMem()
	b, _ := backedUp(t, mem)
	spec := RestoreSpec{From: "backups", Key: testBackupKey(t), Dir: "to", FS: mem}
	refused := func(what string, s RestoreSpec, want error) {
		t.Helper()
		before, _ := mem.List("to")
		if _, err := Restore(t.Context(), s); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		after, _ := mem.List("to")
		slices.Sort(before)
		slices.Sort(after)
		if !slices.Equal(before, after) {
			t.Errorf("%s: the folder holds %v, and held %v", what, after, before)
		}
	}
	s := spec
	s.ID = "000009-20270115T080000Z"
	refused("no such backup", s, backup.ErrNoBackup)
	s = spec
	s.Key = bytes.Repeat([]byte{1}, 32)
	refused("another key", s, backup.ErrKey)
	s = spec
	s.From = "data"
	refused("no backup folder", s, backup.ErrNoFolder)
	s = spec
	s.Dir = "data"
	refused("a data folder", s, ErrNotEmpty)

	names, err := mem.List("backups/files")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := "backups/files/" + name
		copied := path + ".whole"
		if err := vfs.Copy(mem, path, copied); err != nil {
			t.Fatal(err)
		}
		flipByte(t, mem, path, -5)
		refused("a flipped byte", spec, backup.ErrDamaged)
		all, err := testFolder(t, mem).Verify(t.Context(), b.ID, testKey, nil)
		if err != nil || !errors.Is(all[0].Err, backup.ErrDamaged) || !strings.Contains(all[0].Err.Error(), name) {
			t.Errorf("Verify says %+v, %v", all, err)
		}
		if err := mem.Rename(copied, path); err != nil {
			t.Fatal(err)
		}
	}
	mustVerify(t, mem, b.ID)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Restore(cancelled, spec); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	restored(t, mem, "", "to")
	refused("restored already", spec, ErrNotEmpty)
}

// flipByte flips a byte of a file, counted from its end if at < 0.
func flipByte(t testing.TB, fs vfs.FS, path string, at int64) {
	t.Helper()
	info, err := fs.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += info.Size()
	}
	f, err := fs.OpenReadWrite(path, "test")
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	if err == nil {
		b[0] ^= 0x10
		_, err = f.WriteAt(b[:], at)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestRestoreStopped ends a restore at every operation that changes the disk, with and without what was not synced: the folder is then no
// data folder, or a whole one; and restoring again works.
func TestRestoreStopped(t *testing.T) {
	rng, stopped := rand.New(rand.NewPCG(1, 2)), 0
	mem := vfs.NewCrashableMem()
	_, person := backedUp(t, mem)
	for _, dir := range []string{"", "backups"} {
		if err := syncDir(mem, dir); err != nil {
			t.Fatal(err)
		}
	}
	for n := int64(0); ; n++ {
		image, fail := mem.CrashClone(vfs.CrashCloneCfg{}), &failAfter{match: func(op errorfs.Op) bool { return strings.HasPrefix(op.Path, "to") }}
		fail.countdown.Store(n)
		spec := RestoreSpec{From: "backups", Key: testBackupKey(t), Dir: "to", FS: errorfs.Wrap(image, fail)}
		_, err := Restore(t.Context(), spec)
		if fail.countdown.Load() >= 0 {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		stopped++
		for _, percent := range []int{0, 50, 100} {
			after := image.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
			c := testConfig(after)
			c.Dir = "to"
			if !hasStore(after, "to") {
				if _, err := after.Stat("to/" + restoringName); err == nil {
					_, err := Open(c)
					wantErr(t, err, ErrHalfRestored)
				}
				spec.FS = after
				if _, err := Restore(t.Context(), spec); err != nil {
					t.Fatalf("stopped at %d: %v", n, err)
				}
			}
			e := open(t, c)
			mustCheck(t, e)
			if d, err := e.Verify(t.Context(), "t", "g", person, template(1, 3, 0, 0), Policy{}); err != nil || !d.Match {
				t.Errorf("stopped at %d: %+v, %v", n, d, err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if stopped < 20 {
		t.Errorf("only %d operations", stopped)
	}
}

func hasStore(fs vfs.FS, dir string) bool {
	names, err := fs.List(dir + "/store")
	return err == nil && len(names) > 0
}

// TestBackupOnDisk: on a real disk, with an index in files, under the same promises; a restored store makes its indexes anew.
func TestBackupOnDisk(t *testing.T) {
	c := diskConfig(t)
	c.BackupDir = t.TempDir()
	e, all := openMany(t, c)
	must(e.store.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false)) // so that none comes between the two
	first := mustBackUp(t, e)
	again := mustBackUp(t, e)
	if again.NewBytes*2 > first.NewBytes {
		t.Errorf("nothing has changed, and %d bytes of %d were written again", again.NewBytes, first.NewBytes)
	}
	folder := BackupFolder{Dir: c.BackupDir, Key: testBackupKey(t)}
	checks, err := folder.Verify(t.Context(), "", testKey, nil)
	for _, b := range checks {
		err = errors.Join(err, b.Err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if p, err := folder.Prune(1); err != nil || len(p.Backups) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	c.Dir = t.TempDir() + "/new"
	if _, err := Restore(t.Context(), RestoreSpec{From: c.BackupDir, Key: testBackupKey(t), Dir: c.Dir}); err != nil {
		t.Fatal(err)
	}
	e = open(t, c)
	mustCheck(t, e)
	for i := range all {
		d, err := e.Verify(context.Background(), "t", "g", fmt.Sprint(i), all[i], Policy{})
		if err != nil || d.Cosine != 1 {
			t.Fatalf("verify %d: %+v, %v", i, d, err)
		}
	}
	findAll(t, e, all)
}

// TestBackupFormat: a backup folder that an earlier version of this program wrote verifies, and what is restored of it holds what it
// held. As with stores (TestFormats), `-rewrite` writes the text anew, and the folder only if it was removed.
func TestBackupFormat(t *testing.T) {
	dir, rewrite := filepath.Join("testdata", "backup-1"), flag.Lookup("rewrite").Value.String() == "true"
	want := filepath.Join(dir, "want.txt")
	tokens := goldenTokens(want)
	if _, err := os.Stat(filepath.Join(dir, "backups")); rewrite && err != nil {
		tokens = makeGoldenBackup(t, dir)
	}
	slices.Sort(tokens)
	tokens = slices.Compact(tokens) // each backup's dump has them
	mem := vfs.NewMem()
	if ok, err := vfs.Clone(vfs.Default, mem, filepath.Join(dir, "backups"), "backups"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	mustVerify(t, mem, "")
	list, err := testFolder(t, mem).List()
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, b := range list {
		text, err := json.Marshal(b.Backup)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "backup %s\n%s", text, dump(t, restored(t, mem, b.ID, "restored-"+b.ID), tokens))
	}
	if rewrite {
		if err := os.WriteFile(want, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(want); err != nil || got.String() != string(text) || len(tokens) == 0 {
		t.Errorf("the golden backups hold\n%s\nwant\n%s\n%v", got.String(), text, err)
	}
}

// makeGoldenBackup makes a folder of two backups, the second of which shares tables with the first.
func makeGoldenBackup(t *testing.T, dir string) (tokens []string) {
	mem, second := vfs.NewMem(), int64(1_800_000_000)
	c := backupConfig(mem)
	c.Now = func() time.Time { second++; return time.Unix(second, 0) }
	e := open(t, c)
	tokens = writeGolden(t, e, "flushed")
	mustBackUp(t, e)
	writeGolden(t, e, "logged")
	mustBackUp(t, e)
	if ok, err := vfs.Clone(mem, vfs.Default, "backups", filepath.Join(dir, "backups")); err != nil || !ok {
		t.Fatal(ok, err)
	}
	return tokens
}
