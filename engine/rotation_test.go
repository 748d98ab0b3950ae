package engine

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// waitRotated waits until a tenant's key has one version.
func waitRotated(t testing.TB, e *Engine, tenant string) KeyStatus {
	t.Helper()
	for range 3000 {
		s, err := e.KeyStatus(t.Context(), tenant)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Versions) == 1 && !s.Running {
			return s
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatal("the rotation does not end")
	return KeyStatus{}
}

func mustRotate(t testing.TB, e *Engine, tenant string) {
	t.Helper()
	if _, err := e.RotateTenantKey(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
}

// opensBy counts the values of the store that a version of a tenant's key opens, or any key that it opens.
func opensBy(t testing.TB, e *Engine, tenant string, old *sealer) (n int) {
	t.Helper()
	ring := newKeyring([]*sealer{old}, 0)
	for _, g := range e.allGalleries() {
		if g.tenant != tenant {
			continue
		}
		as := &gallery{tenant: tenant, record: g.record, seal: &tenantKeys{g.seal.sealer, ring}}
		err := e.store.each([]byte{0}, []byte{0xff}, func(k, v []byte) (bool, error) {
			if k[0] == prefixPerson && len(k) > 9 {
				if wrapped, _, err := splitPerson(v); err == nil && wrapped != nil {
					if _, err := as.unwrap(string(k[9:]), wrapped); err == nil {
						n++
					}
				}
			}
			if k[0] == prefixTenant {
				if _, err := ring.open(nil, dataKeyPlace(tenant), v); err == nil {
					n++
				}
			}
			return true, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func TestRotation(t *testing.T) {
	mem := vfs.NewMem()
	c := testConfig(mem)
	e := open(t, c)
	twoOfEach(t, e)
	beginMove(t, e)
	waitPhotos(t, e, "t", "g")
	before := map[string]Person{}
	for _, id := range []string{"a", "b"} {
		p, err := e.Person(t.Context(), "t", "g", id)
		must(err)
		before[id] = p
	}
	old, other := e.mu.sealers["t"].ring.current(), e.mu.sealers["u"].ring.current()
	if n := opensBy(t, e, "t", old); n == 0 {
		t.Fatal("the old key opens nothing before: the test does not test")
	}
	mustRotate(t, e, "t")
	if s := waitRotated(t, e, "t"); s.Version != 2 || !slices.Equal(s.Versions, []uint32{2}) {
		t.Errorf("%+v", s)
	}
	if n := opensBy(t, e, "t", old); n != 0 {
		t.Errorf("%d values open with the old key", n)
	}
	if n := opensBy(t, e, "u", other); n == 0 {
		t.Error("another tenant's key was rotated too")
	}
	keys, _, err := e.keys.read("t")
	if err != nil || len(keys) != 1 || keys[0].version != 2 {
		t.Errorf("the key store has %+v, %v", keys, err)
	}
	for id, want := range before {
		if got, err := e.Person(t.Context(), "t", "g", id); err != nil || got.Version != want.Version || !got.Updated.Equal(want.Updated) {
			t.Errorf("%+v, %v; before %+v", got, err, want)
		}
	}
	mustCheck(t, e)
	e = reopen(t, e, c)
	mustCheck(t, e)
	for range 3 {
		mustRotate(t, e, "t")
		waitRotated(t, e, "t")
	}
	mustCheck(t, reopen(t, e, c))
	_, err = e.RotateTenantKey(t.Context(), "nobody")
	wantErr(t, err, ErrClosed)
}

// TestRotationModernises: after a rotation everybody has a key of their own, and the golden store holds what it held.
func TestRotationModernises(t *testing.T) {
	mem := vfs.NewMem()
	if ok, err := vfs.Clone(vfs.Default, mem, goldenDir(photoFormat), "data"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	e := open(t, testConfig(mem))
	waitAllPhotos(t, e)
	for tenant := range e.allTenants() {
		mustRotate(t, e, tenant)
		waitRotated(t, e, tenant)
	}
	modern := 0
	for prefix := byte(prefixPerson); prefix <= prefixPhoto; prefix++ {
		err := e.store.each([]byte{prefix}, []byte{prefix + 1}, func(k, v []byte) (bool, error) {
			if modern++; !isModern(v) {
				t.Errorf("%x is not modern", k)
			}
			return true, nil
		})
		must(err)
	}
	want, err := os.ReadFile(goldenDir(photoFormat) + "/want.txt")
	must(err)
	e = reopen(t, e, testConfig(mem))
	waitAllPhotos(t, e)
	got := dump(t, e, goldenTokens(goldenDir(photoFormat)+"/want.txt"))
	got = regexp.MustCompile("(?m)^audit .*\n").ReplaceAllString(got, "") // of the rotation
	if got != string(want) || modern == 0 {
		t.Errorf("%d rows; the store holds\n%s", modern, got)
	}
	mustCheck(t, e)
}

// TestRotationCrash: whenever a crash comes, everything is there at the next start, which ends the rotation.
func TestRotationCrash(t *testing.T) {
	mem := vfs.NewCrashableMem()
	fs := &stepFS{FS: mem, mem: mem}
	e := open(t, testConfig(fs))
	twoOfEach(t, e)
	old := e.mu.sealers["t"].ring.current()
	images := fs.during(func() {
		mustRotate(t, e, "t")
		waitRotated(t, e, "t")
	})
	if len(images) < 15 {
		t.Fatalf("%d steps", len(images))
	}
	unfinished := 0
	for i, image := range images {
		e, err := Open(testConfig(image))
		if err != nil {
			t.Fatalf("step %d of %d: %v", i, len(images), err)
		}
		s, err := e.KeyStatus(t.Context(), "t")
		must(err)
		if len(s.Versions) > 1 || s.Running {
			unfinished++
		}
		if s = waitRotated(t, e, "t"); s.Version == 2 && opensBy(t, e, "t", old) != 0 {
			t.Errorf("step %d: the old key opens something", i)
		}
		mustCheck(t, e)
		must(e.Close())
	}
	if unfinished == 0 {
		t.Error("no crash came in the middle")
	}
}

// TestRotationMeetsWrites: people come, change and go while keys are rotated.
func TestRotationMeetsWrites(t *testing.T) {
	rng := newRand(t)
	c := testConfig(vfs.NewMem())
	c.keyGrace, c.keyTick = time.Minute, time.Millisecond
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	for i := range 1200 { // more than a batch
		_, _, err := e.PutPerson(t.Context(), "t", "g", fmt.Sprint("still-", i), PersonSpec{Templates: []Template{randomUnit(rng, spaceA)}})
		must(err)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				id := fmt.Sprintf("%d-%d", w, i%20)
				_, _, err := e.PutPerson(t.Context(), "t", "g", id, PersonSpec{Templates: []Template{template(1, 2, 3, 4)}})
				if err == nil {
					_, err = e.Person(t.Context(), "t", "g", id)
				}
				if err == nil {
					_, _, err = e.People(t.Context(), "t", "g", 50, "")
				}
				if err == nil && i%3 == 0 {
					err = e.DeletePerson(t.Context(), "t", "g", id, WriteOptions{})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 4 {
		mustRotate(t, e, "t")
		waitRotated(t, e, "t")
	}
	close(done)
	wg.Wait()
	mustCheck(t, e)
	mustCheck(t, reopen(t, e, c))
}

func TestRotationIsCancelled(t *testing.T) {
	c := testConfig(vfs.NewMem())
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	for i := range 3 * rewrapPeople / 2 {
		_, _, err := e.PutPerson(t.Context(), "t", "g", fmt.Sprint(i), PersonSpec{Templates: []Template{template(1, 0, 0, 0)}})
		must(err)
	}
	wantErr(t, e.CancelRotation(t.Context(), "t"), ErrNotRotating)
	wantErr(t, e.CancelRotation(t.Context(), "nobody"), ErrTenantNotFound)
	for try := 0; ; try++ { // until it is met in the middle
		mustRotate(t, e, "t")
		err := e.CancelRotation(t.Context(), "t")
		for err == nil && e.keyStatus("t", e.mu.sealers["t"]).Running {
			time.Sleep(time.Millisecond)
		}
		if len(e.mu.sealers["t"].ring.living()) == 2 {
			break
		}
		if try == 50 {
			t.Fatal("no rotation was cancelled")
		}
		waitRotated(t, e, "t")
	}
	version := e.mu.sealers["t"].ring.current().version
	mustCheck(t, e)
	mustRotate(t, e, "t") // goes on, and makes no third version
	if s := waitRotated(t, e, "t"); s.Version != version {
		t.Errorf("%+v, want version %d", s, version)
	}
	mustCheck(t, reopen(t, e, c))
}

// TestRotationByTheClock: a key that is old enough is rotated, and a destroyed version leaves memory after a while.
func TestRotationByTheClock(t *testing.T) {
	c := testConfig(vfs.NewMem())
	var clock sync.Mutex
	now := time.Unix(1000, 0)
	c.Now = func() time.Time { clock.Lock(); defer clock.Unlock(); return now }
	c.RotateEvery, c.keyGrace, c.keyTick = time.Hour, time.Millisecond, time.Millisecond
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	time.Sleep(20 * time.Millisecond)
	if s, err := e.KeyStatus(t.Context(), "t"); err != nil || s.Version != 1 || !s.Next.Equal(now.Add(time.Hour)) {
		t.Fatalf("%+v, %v", s, err)
	}
	clock.Lock()
	now = now.Add(time.Hour)
	clock.Unlock()
	for range 3000 {
		if s, err := e.KeyStatus(t.Context(), "t"); err == nil && s.Version == 2 && len(*e.mu.sealers["t"].ring.versions.Load()) == 1 {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatal("nothing was rotated, or the old version stays in memory")
}

// TestBackupOpensNoMore: a copy of the store of before an erasure opens with the key store of before the rotation that follows, and
// not with that of after it, whatever the root key.
func TestBackupOpensNoMore(t *testing.T) {
	mem := vfs.NewMem()
	c := testConfig(mem)
	e := open(t, c)
	twoOfEach(t, e)
	e = reopen(t, e, c)
	g := galleryOf(t, e, "t", "g")
	rows := rowsOf(t, e, g, "a") // the backup
	receipt, err := e.ErasePerson(t.Context(), "t", "g", "a", WriteOptions{})
	must(err)
	if id, err := g.keyID("a", rows[string(personKey(g.record.Number, "a"))][1:1+subjectWrapped]); err != nil || id != receipt.Keys[0].ID {
		t.Errorf("the receipt names key %+v, the backup has %q: %v", receipt.Keys, id, err)
	}
	mustRotate(t, e, "t")
	waitRotated(t, e, "t")
	e = reopen(t, e, c)
	g = galleryOf(t, e, "t", "g")
	if _, err := g.openPerson("a", rows[string(personKey(g.record.Number, "a"))]); err == nil {
		t.Error("the backup opens")
	}
	for key, row := range rows {
		if key[0] == prefixTemplate {
			if _, err := g.seal.open(nil, g.templatePlace("a", 1), row); err == nil {
				t.Error("a template opens with the data key")
			}
			if bytes.Contains(row, appendVector(nil, []float32{1, 0})) {
				t.Error("a template is in the clear")
			}
		}
	}
}
