package engine

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var otherKey = bytes.Repeat([]byte{8}, MasterKeyBytes)

func rootOf(key []byte) RootKey {
	k, err := NewRootKey(key)
	must(err)
	return k
}

// opensWith opens a store with a master key, checks it and closes it.
func opensWith(fs vfs.FS, key []byte) error {
	c := testConfig(fs)
	c.MasterKey = key
	e, err := Open(c)
	if err != nil {
		return err
	}
	return errors.Join(check(e), e.Close())
}

func TestRotateRootKey(t *testing.T) {
	mem := vfs.NewMem()
	e := open(t, testConfig(mem))
	twoOfEach(t, e)
	_, token, err := e.CreateKey(t.Context(), "u", KeySpec{Role: RoleAdmin, Operator: true})
	must(err)
	_, err = e.EraseTenant(t.Context(), "t") // whose file has no keys
	must(err)
	r, err := e.ErasePerson(t.Context(), "u", "g", "a", WriteOptions{})
	must(err)
	rotation := RootRotation{Dir: "data", FS: mem, Old: rootOf(testKey), New: rootOf(otherKey)}
	_, err = RotateRootKey(t.Context(), rotation)
	wantErr(t, err, ErrInUse)
	must(e.Close())
	old := wraps(t, mem)
	_, err = RotateRootKey(t.Context(), RootRotation{Dir: "data", FS: mem, Old: rootOf(otherKey), New: rootOf(bytes.Repeat([]byte{9}, MasterKeyBytes))})
	wantErr(t, err, ErrMasterKey)
	_, err = RotateRootKey(t.Context(), RootRotation{Dir: "data", FS: mem, Old: rootOf(testKey), New: rootOf(testKey)})
	wantErr(t, err, ErrConfig)
	_, err = RotateRootKey(t.Context(), RootRotation{Dir: "other", FS: mem, Old: rootOf(testKey), New: rootOf(otherKey)})
	wantErr(t, err, ErrConfig)
	must(opensWith(mem, testKey))

	switched := false
	rotation.Switch = func() error {
		switched = true
		return errors.Join(opensWith(unlocked(t, mem), testKey), opensWith(unlocked(t, mem), otherKey)) // both
	}
	files, err := RotateRootKey(t.Context(), rotation)
	if err != nil || files != 3 || !switched {
		t.Fatalf("%d files, %v", files, err)
	}
	wantErr(t, opensWith(mem, testKey), ErrMasterKey)
	for _, w := range wraps(t, mem) {
		if slices.ContainsFunc(old, func(o []byte) bool { return bytes.Equal(o, w) }) {
			t.Error("a key is wrapped by the old root key still")
		}
	}
	rotation.Switch = nil
	if files, err = RotateRootKey(t.Context(), rotation); err != nil || files != 3 { // again: nothing changes
		t.Errorf("%d, %v", files, err)
	}
	c := testConfig(mem)
	c.MasterKey = otherKey
	e = open(t, c)
	must(e.RecordRootRotation(t.Context()))
	log := auditLog(t, e, "u")
	if line := string(log[len(log)-1].Record); !strings.Contains(line, `"op":"root.rotate"`) {
		t.Errorf("the last record is %s", line)
	}
	if _, err := e.Authenticate(token); err != nil {
		t.Error(err)
	}
	if _, err := e.VerifyReceipt(r.JWS); err != nil {
		t.Error(err)
	}
	mustRotate(t, e, "u")
	waitRotated(t, e, "u")
	mustCheck(t, e)
}

// wraps are all wrapped keys of a key store.
func wraps(t *testing.T, disk vfs.FS) (all [][]byte) {
	t.Helper()
	k := &keyStore{fs: disk, dir: "data/keys"}
	owners, err := k.tenants()
	must(err)
	for _, owner := range append(owners, "") {
		keys, _, err := k.read(owner)
		must(err)
		for _, s := range keys {
			all = append(all, s.wrapped)
			if s.next != nil {
				t.Error("a key is wrapped twice")
			}
		}
	}
	return all
}

// unlocked is a copy of a file system, whose files nobody holds.
func unlocked(t *testing.T, from vfs.FS) vfs.FS {
	t.Helper()
	to := vfs.NewMem()
	if ok, err := vfs.Clone(from, to, "data", "data"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	return to
}

// TestRootRotationCrash: whenever a crash comes, the old root key opens the store until the switch and the new one after it, and
// doing it again ends it.
func TestRootRotationCrash(t *testing.T) {
	mem := vfs.NewCrashableMem()
	fs := &stepFS{FS: mem, mem: mem}
	e := open(t, testConfig(fs))
	twoOfEach(t, e)
	must(e.Close())
	at := -1
	rotation := RootRotation{Dir: "data", FS: fs, Old: rootOf(testKey), New: rootOf(otherKey), Switch: func() error { at = len(fs.images); return nil }}
	images := fs.during(func() {
		_, err := RotateRootKey(t.Context(), rotation)
		must(err)
	})
	if at < 9 || len(images)-at < 9 {
		t.Fatalf("%d steps, the switch after %d", len(images), at)
	}
	both := 0
	for i, image := range images {
		first, second := testKey, otherKey
		if i >= at {
			first, second = second, first
		}
		again := unlocked(t, image)
		if err := opensWith(unlocked(t, image), first); err != nil {
			t.Errorf("step %d of %d, the switch after %d: %v", i, len(images), at, err)
		}
		if opensWith(unlocked(t, image), second) == nil {
			both++
		}
		if i >= at { // the next start ends it
			must(opensWith(image, otherKey))
			wantErr(t, opensWith(image, testKey), ErrMasterKey)
			wraps(t, image)
		}
		_, err := RotateRootKey(context.Background(), RootRotation{Dir: "data", FS: again, Old: rootOf(testKey), New: rootOf(otherKey)})
		if err != nil {
			t.Fatalf("step %d: again: %v", i, err)
		}
		wraps(t, again)
		must(opensWith(again, otherKey))
		wantErr(t, opensWith(again, testKey), ErrMasterKey)
	}
	if both == 0 || both == len(images) {
		t.Errorf("both keys open %d of %d", both, len(images))
	}
}

// TestRootRotationIsLeft: what was begun with a new key that got lost is no harm; another key takes its place, and keys that were
// made meanwhile have it too.
func TestRootRotationIsLeft(t *testing.T) {
	mem := vfs.NewMem()
	e := open(t, testConfig(mem))
	twoOfEach(t, e)
	must(e.Close())
	stop := errors.New("stop")
	_, err := RotateRootKey(t.Context(), RootRotation{Dir: "data", FS: mem, Old: rootOf(testKey), New: rootOf(bytes.Repeat([]byte{9}, MasterKeyBytes)), Switch: func() error { return stop }})
	wantErr(t, err, stop)
	e = open(t, testConfig(mem))
	mustRotate(t, e, "t")
	waitRotated(t, e, "t")
	mustGallery(t, e, "new", "g")
	must(e.Close())
	_, err = RotateRootKey(t.Context(), RootRotation{Dir: "data", FS: mem, Old: rootOf(testKey), New: rootOf(otherKey)})
	must(err)
	wraps(t, mem)
	must(opensWith(mem, otherKey))
}

// TestOperatorsKnowOfErasedTenants: the end of a tenant is in the log of whose key did it, or else of the operators.
func TestOperatorsKnowOfErasedTenants(t *testing.T) {
	e := openMem(t)
	for _, tenant := range []string{"a", "b", "c", "d"} {
		mustGallery(t, e, tenant, "g")
		_, _, err := e.CreateKey(t.Context(), tenant, KeySpec{Role: RoleAdmin, Operator: tenant < "c"})
		must(err)
	}
	told := func(tenant string) (n int) {
		for _, line := range auditLog(t, e, tenant) {
			n += strings.Count(string(line.Record), `"op":"tenant.erase"`)
		}
		return n
	}
	_, err := e.EraseTenant(WithActor(t.Context(), Actor{Program: "mien erase"}), "d")
	must(err)
	if told("a") != 1 || told("b") != 1 || told("c") != 0 {
		t.Errorf("%d, %d, %d", told("a"), told("b"), told("c"))
	}
	_, err = e.EraseTenant(t.Context(), "a")
	must(err)
	if told("b") != 2 || told("c") != 0 {
		t.Errorf("%d, %d", told("b"), told("c"))
	}
	mustCheck(t, e)
}
