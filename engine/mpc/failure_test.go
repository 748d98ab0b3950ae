package mpc

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestLostDisk: a party whose disk is lost serves nothing until it is repaired from the other two; then it has what it had.
func TestLostDisk(t *testing.T) {
	for party := range Parties {
		t.Run(fmt.Sprint(party), func(t *testing.T) {
			t.Parallel()
			rng, c := seeded(t), startWorld(t)
			all := people(rng, 70) // more than a batch
			var wg sync.WaitGroup
			for user, x := range all {
				wg.Go(func() {
					if _, err := c.gateway.Enrol(context.Background(), "t", user, Enrolment{Policy: 1, Template: x}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if _, err := c.gateway.Delete(t.Context(), "t", "user-1"); err != nil {
				t.Fatal(err)
			}
			delete(all, "user-1")
			c.consistent()
			full, _ := c.joined(c.gateway.dir.subject("t", "user-2"))
			wantErr(t, c.gateway.Repair(t.Context(), party), ErrExists)

			c.stopParty(party)
			c.disks[party] = vfs.NewCrashableMem()
			c.start(party)
			c.awaitState(party, PartyLost)
			_, err := c.gateway.Verify(t.Context(), "t", "user-2", 1, all["user-2"])
			wantErr(t, err, ErrPartyDown)
			if err := c.gateway.Repair(t.Context(), party); err != nil {
				t.Fatal(err)
			}
			c.consistent()
			again, _ := c.joined(c.gateway.dir.subject("t", "user-2"))
			if !slices.Equal(full, again) {
				t.Error("the repaired party's shares are of another template")
			}
			for user, x := range all {
				c.verify(user, near(rng, x, 0.8), true)
			}
			_, err = c.gateway.Verify(t.Context(), "t", "user-1", 1, all["user-2"])
			wantErr(t, err, ErrUnknown)
		})
	}
}

func (c *world) awaitState(party int, want PartyState) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("party %d is %s", party, want), func() bool { return c.gateway.Status()[party] == want })
}

// TestDeleteWithoutOne: two parties' receipts are enough, and the third carries the erasure out before it serves.
func TestDeleteWithoutOne(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	c.enrol("a", unit(rng, testDim))
	c.consistent()
	of := c.gateway.dir.subject("t", "a")
	c.stopParty(2)
	c.awaitState(2, PartyAway)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // the caller has no more time when two have
		c.eventually("two receipts", func() bool { return c.receipts() == 2 })
		cancel()
	}()
	gone, err := c.gateway.Delete(ctx, "t", "a")
	if err != nil || gone.Pending != 1 || len(gone.Receipts) != 2 {
		t.Fatalf("%+v, %v", gone, err)
	}
	again, err := c.gateway.Delete(t.Context(), "t", "a")
	if err != nil || again.Pending != 1 {
		t.Fatalf("%+v, %v", again, err)
	}
	c.start(2)
	c.ready()
	if h, _, err := c.parties[2].store.head(of); err != nil || h.state != stateDeleted {
		t.Fatalf("a party that serves has %+v, %v", h, err)
	}
	c.consistent()
	if e, _, err := c.gateway.dir.entry(of); err != nil || len(e.Receipts) != Parties {
		t.Fatalf("%+v, %v", e, err)
	}
}

// receipts is how many there are of what is not carried out everywhere.
func (c *world) receipts() (n int) {
	c.gateway.mu.Lock()
	defer c.gateway.mu.Unlock()
	for _, d := range c.gateway.mu.decided {
		for _, r := range d.receipts {
			if r != nil {
				n++
			}
		}
	}
	return n
}

// TestTombstone: a PREPARE from before an erasure, or one that comes again, enrols nobody.
func TestTombstone(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	c.enrol("a", unit(rng, testDim))
	of := c.gateway.dir.subject("t", "a")
	if _, err := c.gateway.Delete(t.Context(), "t", "a"); err != nil {
		t.Fatal(err)
	}
	for _, p := range c.parties {
		for gen, want := range map[uint32]error{1: ErrGeneration, 3: nil, 2: nil} {
			h := head{state: stateActive, party: byte(p.store.party), logScale: 12, dim: testDim, model: 1, gen: gen, tx: newTx(7)}
			if err := p.store.mayPrepare([]Subject{of}, []head{h}); !errors.Is(err, want) {
				t.Errorf("generation %d: %v, want %v", gen, err, want)
			}
			if gen == 1 {
				wantErr(t, p.store.prepare([]Subject{of}, []head{h}, []shares{{share: Split(make([]uint32, testDim))[0]}}, ID{}), ErrGeneration)
			}
		}
		if _, err := p.store.commit(doubt{of, newTx(7), 1}.batch(ID{})); err != nil { // of what was erased since
			t.Error(err)
		}
	}
	c.consistent()
}

// TestDoubtAskedOfPeers: a party that has voted and heard nothing more is told by a peer that the enrolment was committed, though the gateway
// is gone.
func TestDoubtAskedOfPeers(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	c.doubtAfter = 20 * time.Millisecond
	for i := range c.parties {
		c.start(i)
	}
	c.startGateway()
	c.ready()
	hit := c.crashAt(crashPoint{process: 1, step: "commit", rng: rng})
	ended := make(chan error, 1)
	g, x := c.gateway, unit(rng, testDim)
	go func() {
		_, err := g.Enrol(context.Background(), "t", "a", Enrolment{Policy: 1, Template: x})
		ended <- err
	}()
	<-hit
	of := g.dir.subject("t", "a")
	for _, i := range []int{0, 2} {
		for {
			if _, found, err := c.parties[i].store.head(of); err != nil || found {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	c.stopGateway()
	wantErr(t, <-ended, ErrUnfinished)
	c.start(1)
	c.gateway = g // its status is told if it never comes
	c.eventually("it asks", func() bool {
		h, _, err := c.parties[1].store.head(of)
		return err != nil || h.state == stateActive
	})
	c.startGateway()
	c.consistent()
	c.verify("a", x, true)
}

// TestStranger: who has not the pinned key of a role is neither party nor gateway.
func TestStranger(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	x := unit(rng, testDim)
	c.enrol("a", x)
	for _, role := range []Role{GatewayRole(7), GatewayRole(8), PartyRole(2), PartyRole(1)} {
		stranger := mustIdentity(t, role)
		_, err := Dial(t.Context(), c.ports[0].l.Addr().String(), stranger, PartyRole(0), c.pins)
		wantErr(t, err, ErrPeer)
	}
	// The next party has its pinned key, but is dialled: it has no business to connect.
	_, err := Dial(t.Context(), c.ports[0].l.Addr().String(), c.ids[1], PartyRole(0), c.pins)
	wantErr(t, err, ErrPeer)
	c.verify("a", x, true)
}

// TestSlowParty: a party that takes connections and says nothing is away after a while, and nobody waits longer. As a slow machine may
// lose a link for want of a second, nothing rests on one that holds.
func TestSlowParty(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	c.timeout = time.Second
	for i := range c.parties {
		c.start(i)
	}
	c.startGateway()
	x := unit(rng, testDim)
	c.eventually("enrolled", func() bool {
		_, err := c.gateway.Enrol(t.Context(), "t", "a", Enrolment{Policy: 1, Template: x})
		return err == nil || errors.Is(err, ErrExists)
	})
	verified := func() bool {
		match, err := c.gateway.Verify(t.Context(), "t", "a", 1, x)
		if err != nil {
			wantErr(t, err, ErrPartyDown)
		}
		return match
	}
	c.eventually("verified", verified)
	c.ports[2].freeze()
	c.awaitState(2, PartyAway)
	if verified() {
		t.Fatal("verified by two parties")
	}
	c.ports[2].thaw()
	c.eventually("verified again", verified)
}

// TestBudget: each party counts attempts, durably, and refuses when they are used up.
func TestBudget(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	var clock sync.Mutex
	now := time.UnixMilli(1_800_000_000_000)
	c.now = func() time.Time {
		clock.Lock()
		defer clock.Unlock()
		return now
	}
	for i := range c.policies {
		c.policies[i].Budgets.Record = []Limit{{6, time.Minute}, {9, time.Hour}} // of which identifications may use 2 and 3
	}
	for i := range c.parties {
		c.start(i)
	}
	c.startGateway()
	c.ready()
	x := unit(rng, testDim)
	c.enrol("a", x)
	c.enrol("b", x)
	spend := func(n int) {
		t.Helper()
		for range n {
			c.verify("a", x, true)
		}
		_, err := c.gateway.Verify(t.Context(), "t", "a", 1, x)
		b, ok := errors.AsType[*BudgetError](err)
		if !ok || !errors.Is(err, ErrBudget) || b.Retry <= 0 || b.Retry > time.Hour+3*time.Minute {
			t.Fatalf("%v, want a BudgetError", err)
		}
	}
	spend(4)
	c.verify("b", x, true)
	for i := range c.parties { // a restart gives nothing back
		c.stopParty(i)
		c.start(i)
	}
	c.consistent()
	spend(0)
	clock.Lock()
	now = now.Add(2 * time.Minute)
	clock.Unlock()
	spend(2) // 6 in the hour
	c.policies[0].Budgets.Record = nil
	for i := range 2 { // the last party's alone holds
		c.stopParty(i)
		c.policies[i].Budgets.Record = []Limit{{1000, time.Hour}}
		c.start(i)
	}
	c.consistent()
	spend(0)
	if err := c.parties[2].store.meters.unlock(c.gateway.dir.subject("t", "a")); err != nil {
		t.Fatal(err)
	}
	c.verify("a", x, true)
}

// TestLock: five rejects in a row lock a person, an accept forgets those before, and what comes meanwhile is not told.
func TestLock(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	var clock sync.Mutex
	now := time.UnixMilli(1_800_000_000_000)
	c.now = func() time.Time {
		clock.Lock()
		defer clock.Unlock()
		return now
	}
	for i := range c.policies {
		c.policies[i].Budgets.Record = []Limit{{1000, time.Hour}}
	}
	for i := range c.parties {
		c.start(i)
	}
	c.startGateway()
	c.ready()
	x := unit(rng, testDim)
	c.enrol("a", x)
	for range 4 {
		c.verify("a", near(rng, x, 0), false)
	}
	c.verify("a", x, true)
	for range 5 {
		c.verify("a", near(rng, x, 0), false)
	}
	locked := func(want time.Duration) {
		t.Helper()
		_, err := c.gateway.Verify(t.Context(), "t", "a", 1, x)
		if l, ok := errors.AsType[*LockedError](err); !ok || l.Retry > want || l.Retry < want-time.Second {
			t.Fatalf("%v, want a lock of %v", err, want)
		}
	}
	locked(15 * time.Minute)
	c.stopGateway()
	c.startGateway()
	c.consistent()
	locked(15 * time.Minute)
	clock.Lock()
	now = now.Add(15 * time.Minute)
	clock.Unlock()
	for range 5 {
		c.verify("a", near(rng, x, 0), false)
	}
	locked(30 * time.Minute)
	if err := c.gateway.Unlock("t", "a"); err != nil {
		t.Fatal(err)
	}
	c.verify("a", x, true)
	for range 4 {
		c.verify("a", near(rng, x, 0), false)
	}
	wrong := Question{"a", near(rng, x, 0)}
	_, err := c.gateway.VerifyAll(t.Context(), "t", 1, []Question{wrong, wrong}) // the fifth, and a sixth that the lock meets
	wantErr(t, err, ErrLocked)
	locked(15 * time.Minute)
}

// TestLockOutlivesErasure: who is erased and enrolled again is locked as before (N12).
func TestLockOutlivesErasure(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	x := unit(rng, testDim)
	for _, erase := range []func() error{
		func() error { _, err := c.gateway.Delete(t.Context(), "t", "a"); return err },
		func() error { _, err := c.gateway.DeleteTenant(t.Context(), "t"); return err },
	} {
		c.enrol("a", x)
		for range rejectsToLock {
			if match, err := c.gateway.Verify(t.Context(), "t", "a", 1, near(rng, x, 0)); match || err != nil {
				t.Fatal(match, err)
			}
		}
		if err := erase(); err != nil {
			t.Fatal(err)
		}
		c.enrol("a", x)
		_, err := c.gateway.Verify(t.Context(), "t", "a", 1, x)
		wantErr(t, err, ErrLocked)
		if err := c.gateway.Unlock("t", "a"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPolicyDiffers: a party that was given another threshold is shown as such, and what is decided by that policy is refused, nothing else. A gateway
// that asks nevertheless gets no answer (M8).
func TestPolicyDiffers(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	p := c.policies[1].Policies[1]
	p.Cosine = 0.1
	c.policies[1].Policies[1] = p
	for i := range c.parties {
		c.start(i)
	}
	c.startGateway()
	c.ready()
	x := unit(rng, testDim)
	enrol := func() error {
		_, err := c.gateway.Enrol(t.Context(), "t", "a", Enrolment{Policy: 1, Template: x})
		return err
	}
	differs, ok := errors.AsType[*DiffersError](enrol())
	if !ok || !slices.Equal(differs.Parties, []int{1}) {
		t.Fatalf("enrolled: %v", differs)
	}
	_, err := c.gateway.Verify(t.Context(), "t", "a", 1, x)
	wantErr(t, err, ErrUnknown)
	_, err = c.gateway.Sealing("t", "a", 1)
	wantErr(t, err, ErrDiffers)
	if _, err := c.gateway.Identify(t.Context(), "t", 2, x); err != nil { // that policy is the same everywhere
		t.Fatal(err)
	}
	if want := [Parties]PartyState{PartyReady, PartyDiffers, PartyReady}; c.gateway.Status() != want {
		t.Errorf("parties are %v, want %v", c.gateway.Status(), want)
	}
	r := c.gateway.remotes[1]
	r.mu.Lock()
	if want := "policies 1"; r.mu.differs.String() != want {
		t.Errorf("%q differs, want %q", r.mu.differs, want)
	}
	r.mu.differs = difference{}
	r.mu.Unlock()
	wantErr(t, enrol(), ErrContext)
	c.consistent()
}

// TestClusterDiffers: a party that was given another name of the cluster, or another timeout, is shown as such, and of another cluster it serves nothing;
// both ends say what is wrong. The store that it made does not open under the right name, and says why.
func TestClusterDiffers(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	var said [2]lines
	for i := range c.parties {
		config := c.partyConfig(i)
		if i == 2 {
			config.Cluster, config.Timeout, config.Logger = "tset", c.timeout/2, said[0].logger()
		}
		c.startAs(config)
	}
	config := c.gatewayConfig()
	config.Logger = said[1].logger()
	g, err := OpenGateway(config)
	if err != nil {
		t.Fatal(err)
	}
	c.gateway = g
	c.awaitState(2, PartyDiffers)
	_, err = c.gateway.Enrol(t.Context(), "t", "a", Enrolment{Policy: 1, Template: unit(rng, testDim)})
	wantErr(t, err, ErrDiffers)
	for i := range said {
		c.eventually("both ends say what differs", func() bool {
			return said[i].has("WARN", "the name of the cluster; the round timeout, 10s at the party and 20s at the gateway")
		})
	}
	c.stopParty(2)
	c.awaitState(2, PartyAway) // else it may be seen as it was
	c.refuses(c.partyConfig(2), ErrOther)
	c.disks[2] = vfs.NewCrashableMem()
	config2 := c.partyConfig(2)
	config2.Timeout = c.timeout / 2
	c.startAs(config2)
	c.ready()
	c.awaitState(2, PartyDiffers)
	c.enrol("a", unit(rng, testDim)) // a timeout stops nothing
}

// TestRefresh: a refresh changes every share and no template, and what is left of before fits nothing of after.
func TestRefresh(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	all := people(rng, 5)
	for user, x := range all {
		c.enrol(user, x)
	}
	c.consistent()
	of := c.gateway.dir.subject("t", "user-0")
	template, gallery := c.joined(of)
	var before [Parties]shares
	for i, p := range c.parties {
		_, before[i], _, _ = p.store.record(of)
	}
	made, err := c.gateway.Refreshed()
	if err != nil || made.IsZero() {
		t.Fatal(made, err)
	}
	c.eventually("a moment has passed", func() bool { return time.Now().UnixMilli() > made.UnixMilli() })
	if err := c.gateway.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at, err := c.gateway.Refreshed(); err != nil || !at.After(made) {
		t.Errorf("shares were made anew at %v, before at %v, %v", at, made, err)
	}
	c.consistent()
	again, short := c.joined(of)
	if !slices.Equal(template, again) || !slices.Equal(gallery, short) {
		t.Fatal("a refresh changed a template")
	}
	for i, p := range c.parties {
		_, after, _, err := p.store.record(of)
		if err != nil {
			t.Fatal(err)
		}
		// Two components of one time and one of another: what who stole from two parties at different times has.
		for j := range template {
			mixed := before[i].share.Own[j] + before[i].share.Next[j]
			mixed += c.missing(of, i, j)
			again[j] = mixed
		}
		if cos := cosine(template, again); math.Abs(cos) > 0.7 {
			t.Errorf("old and new shares together have a cosine of %v with the template", cos)
		}
		if slices.Equal(after.share.Own, before[i].share.Own) {
			t.Error("a share has not changed")
		}
	}
	for user, x := range all {
		c.verify(user, x, true)
	}
	users, err := c.gateway.Identify(t.Context(), "t", 2, all["user-4"])
	if err != nil || !slices.Equal(users, []string{"user-4"}) {
		t.Fatalf("%v, %v", users, err)
	}
}

// missing is the component that party i lacks, as it is now.
func (c *world) missing(of Subject, i, j int) uint32 {
	c.t.Helper()
	_, v, _, err := c.parties[(i+1)%Parties].store.record(of)
	if err != nil {
		c.t.Fatal(err)
	}
	return v.share.Next[j]
}

func cosine(a, b []uint32) float64 {
	dot, aa, bb := 0.0, 0.0, 0.0
	for j := range a {
		x, y := float64(int32(a[j])), float64(int32(b[j]))
		dot, aa, bb = dot+x*y, aa+x*x, bb+y*y
	}
	return dot / math.Sqrt(aa*bb)
}

// TestDisks looks at all that is on the four disks: no template, neither as numbers nor as bytes of shares together; and then that the
// folders of two parties, with their keys, are the template, which is the limit of the design.
func TestDisks(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	x := unit(rng, testDim)
	c.enrol("a", x)
	gone := unit(rng, testDim)
	c.enrol("gone", gone)
	lost := c.gateway.dir.subject("t", "gone")
	var key [Parties][]byte
	for i, p := range c.parties {
		key[i], _ = p.store.get(epochKey(prefixKey, 1, lost))
		if err := p.store.db.Flush(); err != nil { // so that it is in tables
			t.Fatal(err)
		}
	}
	if _, err := c.gateway.Delete(t.Context(), "t", "gone"); err != nil {
		t.Fatal(err)
	}
	c.consistent()
	for _, p := range c.parties {
		if err := p.store.shred(t.Context(), prefixKey, prefixPrepared); err != nil {
			t.Fatal(err)
		}
	}
	of := c.gateway.dir.subject("t", "a")
	full, short := c.joined(of)
	var control []byte // of something that is there
	for i, p := range c.parties {
		control, _ = p.store.get(subjectKey(prefixHead, of))
		if !contains(t, c.disks[i], control) {
			t.Error("the search does not find what is there: it proves nothing")
		}
		if len(key[i]) != wrappedBytes {
			t.Fatal("there was no key")
		}
		// Pebble deletes files in the background.
		c.eventually("the key of who was erased is gone", func() bool { return !contains(t, c.disks[i], key[i]) })
	}
	for name, needle := range needles(x, full, short) {
		for i, disk := range append(c.disks[:], c.gatewayFS) {
			if contains(t, disk, needle) {
				t.Errorf("disk %d has the template as %s", i, name)
			}
		}
	}
	for i, p := range c.parties {
		_, v, _, err := p.store.record(of)
		if err != nil {
			t.Fatal(err)
		}
		if contains(t, c.disks[i], v.bytes()[:64]) {
			t.Errorf("party %d has its share in the clear", i)
		}
	}
	c.stopGateway()
	for i := range c.parties {
		c.stopParty(i)
	}
	joined := make([]uint32, testDim)
	for _, i := range []int{0, 1} { // 0 has components 0 and 1, and 1 has 2
		s, err := openPartyStore(c.disks[i], "data", "test", i, newTestRoot(t, fmt.Sprint("party", i)), testLog(t))
		if err != nil {
			t.Fatal(err)
		}
		_, v, _, err := s.record(of)
		if err != nil {
			t.Fatal(err)
		}
		for j := range joined {
			joined[j] += v.share.Next[j]
			if i == 0 {
				joined[j] += v.share.Own[j]
			}
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(joined, full) {
		t.Error("two folders do not reconstruct the template: doc.go says that they do")
	}
}

// needles are the beginnings of a template in the forms that it had somewhere.
func needles(x []float32, full []uint32, short []uint16) map[string][]byte {
	const some = 6
	n := make(map[string][]byte)
	for j := range some {
		bits := math.Float32bits(x[j])
		n["float32"] = binary.LittleEndian.AppendUint32(n["float32"], bits)
		n["float32, big-endian"] = binary.BigEndian.AppendUint32(n["float32, big-endian"], bits)
		n["integers"] = binary.LittleEndian.AppendUint32(n["integers"], full[j])
		n["short integers"] = binary.LittleEndian.AppendUint16(n["short integers"], short[j])
		n["float64"] = binary.LittleEndian.AppendUint64(n["float64"], math.Float64bits(float64(x[j])))
	}
	return n
}

// contains searches all files of a disk.
func contains(t *testing.T, disk vfs.FS, needle []byte) (found bool) {
	t.Helper()
	var walk func(dir string)
	walk = func(dir string) {
		names, err := disk.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			path := disk.PathJoin(dir, name)
			if info, err := disk.Stat(path); err != nil || info.IsDir() {
				if err == nil {
					walk(path)
				}
				continue
			}
			b, err := readFile(disk, path, 1<<30)
			if err != nil {
				continue // it went meanwhile
			}
			found = found || bytes.Contains(b, needle)
		}
	}
	walk("")
	return found
}

// TestWrongKeys: a store does not open with another root key, for another party or in another cluster.
func TestWrongKeys(t *testing.T) {
	disk := vfs.NewMem()
	try := func(cluster string, party int, root RootKey, want error) {
		t.Helper()
		s, err := openPartyStore(disk, "data", cluster, party, root, testLog(t))
		if !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
		if err == nil {
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	root := newTestRoot(t, "a")
	try("c", 0, root, nil)
	try("c", 0, newTestRoot(t, "b"), ErrRootKey)
	try("c", 1, root, ErrOther)
	try("d", 0, root, ErrOther)
	try("c", 0, root, nil)
	key := make([]byte, DirectoryKeyBytes)
	rand.Read(key)
	d, err := openDirectory(disk, "gateway", "c", 1, key, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	_, err = openDirectory(disk, "gateway", "c", 2, key, testLog(t))
	wantErr(t, err, ErrOther)
	key[0]++
	_, err = openDirectory(disk, "gateway", "c", 1, key, testLog(t))
	wantErr(t, err, ErrRootKey)
}

// TestKeyFile: a party whose file kek is lost, or older than its store, does not start, nor one that has the file and no store; with the
// right file in its place it has what it had. Nothing that it finds is replaced.
func TestKeyFile(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	x := unit(rng, testDim)
	c.enrol("a", x)
	c.consistent()
	disk := c.disks[0]
	read := func() []byte {
		b, err := readFile(disk, "data/kek", maxKeyFile)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := read()
	if err := c.gateway.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := read()
	c.stopParty(0)
	put := func(b []byte) { // a write may change what it is given
		t.Helper()
		if err := replaceFile(disk, "data/kek", bytes.Clone(b)); err != nil {
			t.Fatal(err)
		}
	}
	if err := disk.Remove("data/kek"); err != nil {
		t.Fatal(err)
	}
	c.refuses(c.partyConfig(0), ErrKeyFile)
	put(first)
	c.refuses(c.partyConfig(0), ErrKeyFile)
	if !bytes.Equal(read(), first) {
		t.Error("a file that was not this store's has changed")
	}
	put(second)
	if err := disk.Rename("data/store", "data/elsewhere"); err != nil {
		t.Fatal(err)
	}
	c.refuses(c.partyConfig(0), ErrKeyFile)
	if err := disk.RemoveAll("data/store"); err != nil {
		t.Fatal(err)
	}
	if err := disk.Rename("data/elsewhere", "data/store"); err != nil {
		t.Fatal(err)
	}
	c.start(0)
	c.ready()
	c.verify("a", x, true)
	c.consistent()
}

// TestDiskFails: a party whose disk refuses a write stops, and says why; nothing that was not written is acknowledged.
func TestDiskFails(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	var broken atomic.Bool
	c.folders[1], c.files[1] = "data", errorfs.Wrap(c.disks[1], errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return errors.New("the disk is gone")
		}
		return nil
	}))
	for i := range c.parties {
		c.start(i)
	}
	c.startGateway()
	c.ready()
	x := unit(rng, testDim)
	c.enrol("a", x)
	c.consistent()
	r := c.parties[1]
	c.parties[1] = nil
	broken.Store(true)
	ended := make(chan error, 1)
	go func() {
		_, err := c.gateway.Enrol(context.Background(), "t", "b", Enrolment{Policy: 1, Template: x})
		ended <- err
	}()
	<-r.done
	wantErr(t, r.err, ErrStorage)
	select {
	case err := <-ended:
		if err == nil {
			t.Fatal("enrolled by a party that can't write")
		}
		ended <- err
	default:
	}
	c.disks[1], c.files[1] = c.disks[1].CrashClone(vfs.CrashCloneCfg{}), nil
	c.start(1)
	if err := <-ended; err == nil { // it was tried again with the party that came back
		c.verify("b", x, true)
	}
	c.consistent()
	c.verify("a", x, true)
}

// freeze has a party's connections, those that come too, carry nothing either way until thaw.
func (p *port) freeze() { p.frozen.set(true) }

func (p *port) thaw() { p.frozen.set(false) }

// frost holds up reads and writes.
type frost struct {
	mu   sync.Mutex
	thaw chan struct{} // nil: nothing is held up
}

func (f *frost) set(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.thaw != nil {
		close(f.thaw)
		f.thaw = nil
	}
	if on {
		f.thaw = make(chan struct{})
	}
}

func (f *frost) wait(closed <-chan struct{}) {
	f.mu.Lock()
	thaw := f.thaw
	f.mu.Unlock()
	if thaw == nil {
		return
	}
	select {
	case <-thaw:
	case <-closed:
	}
}

type frostConn struct {
	net.Conn
	f      *frost
	once   sync.Once
	closed chan struct{}
}

func (c *frostConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.f.wait(c.closed)
	return n, err
}

func (c *frostConn) Write(b []byte) (int, error) {
	c.f.wait(c.closed)
	return c.Conn.Write(b)
}

func (c *frostConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
