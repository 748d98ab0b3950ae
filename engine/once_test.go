package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// onceOfKey is a request of API key k of tenant t.
func onceOfKey(name, content string) OnceRequest {
	return OnceRequest{Tenant: "t", Key: "k", Name: name, Content: sha256.Sum256([]byte(content))}
}

// once makes a request, and returns what it is answered by, as the JSON of result and created, and whether that was kept of an earlier one.
func once(ctx context.Context, e *Engine, r OnceRequest, call func(context.Context) error) (answer string, again bool, err error) {
	for {
		o, kept, err := e.BeginOnce(ctx, r)
		if err != nil || kept != nil {
			return string(kept), kept != nil, err
		}
		err = call(o.Context(ctx, func(result any, created bool) ([]byte, error) {
			b, err := json.Marshal([]any{result, created})
			answer = string(b)
			return b, err
		}))
		o.End()
		if !errors.Is(err, ErrOnceDone) {
			return answer, false, err
		}
	}
}

// mustOnce makes a request twice: the second is answered as the first was, without a call. It returns the answer.
func mustOnce(t testing.TB, e *Engine, name string, call func(context.Context) error) string {
	t.Helper()
	first, again, err := once(t.Context(), e, onceOfKey(name, name), call)
	if err != nil || again || first == "" {
		t.Fatalf("%s: %q, again %v, %v", name, first, again, err)
	}
	mustCheck(t, e)
	wantAgain(t, e, name, first)
	return first
}

// wantAgain: the request was done, and is answered so.
func wantAgain(t testing.TB, e *Engine, name, want string) {
	t.Helper()
	got, again, err := once(t.Context(), e, onceOfKey(name, name), func(context.Context) error {
		t.Errorf("%s is done again", name)
		return errors.New("again")
	})
	if err != nil || !again || got != want {
		t.Errorf("%s: %s, %v, %v; want %s", name, got, again, err, want)
	}
}

// wantGone: the request was done, and its answer is gone.
func wantGone(t testing.TB, e *Engine, name string) {
	t.Helper()
	_, _, err := once(t.Context(), e, onceOfKey(name, name), func(context.Context) error {
		t.Errorf("%s is done again", name)
		return nil
	})
	wantErr(t, err, ErrOnceGone)
}

func putting(e *Engine, id string, templates ...Template) func(context.Context) error {
	return func(ctx context.Context) error {
		_, _, err := e.PutPerson(ctx, "t", "g", id, PersonSpec{Templates: templates, Metadata: json.RawMessage(`{"of":"` + id + `"}`)})
		return err
	}
}

func adding(e *Engine, id string, v Template) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := e.AddTemplate(ctx, "t", "g", id, TemplateSpec{Templates: []Template{v}})
		return err
	}
}

// TestOnceOfEveryWrite: each write that takes a request keeps its answer, in the same write, across a restart; a repeat changes nothing.
func TestOnceOfEveryWrite(t *testing.T) {
	mem := vfs.NewMem()
	e := open(t, testConfig(mem))
	var key Key
	var job Job
	answers := map[string]string{}
	for _, c := range []struct {
		name string
		call func(context.Context) error
	}{
		{"create", func(ctx context.Context) error {
			_, _, err := e.CreateGallery(ctx, "t", "g", GallerySpec{})
			return err
		}},
		{"create as it is", func(ctx context.Context) error {
			_, _, err := e.CreateGallery(ctx, "t", "g", GallerySpec{})
			return err
		}},
		{"update", func(ctx context.Context) error {
			_, err := e.UpdateGallery(ctx, "t", "g", GalleryChange{Policy: &Policy{FMR: new(1e-5)}})
			return err
		}},
		{"update to the same", func(ctx context.Context) error {
			_, err := e.UpdateGallery(ctx, "t", "g", GalleryChange{Policy: &Policy{FMR: new(1e-5)}})
			return err
		}},
		{"put", putting(e, "ann", template(1, 0, 0, 0))},
		{"replace", putting(e, "ann", template(1, 1, 0, 0))},
		{"add", adding(e, "ann", template(0, 1, 0, 0))},
		{"patch", func(ctx context.Context) error {
			_, err := e.PatchPerson(ctx, "t", "g", "ann", PersonPatch{Status: StatusSuspended})
			return err
		}},
		{"put bob", putting(e, "bob", template(1, 0, 0, 0))},
		{"erase", func(ctx context.Context) error {
			_, err := e.ErasePerson(ctx, "t", "g", "bob", WriteOptions{})
			return err
		}},
		{"put bob again", putting(e, "bob", template(1, 0, 0, 0))},
		{"delete", func(ctx context.Context) error { return e.DeletePerson(ctx, "t", "g", "bob", WriteOptions{}) }},
		{"dedupe", func(ctx context.Context) (err error) {
			job, _, err = e.StartDedupe(ctx, "t", "g", DedupeSpec{})
			return err
		}},
		{"delete the job", func(ctx context.Context) error { return e.DeleteJob(ctx, "t", job.ID) }},
		{"create a key", func(ctx context.Context) (err error) {
			key, _, err = e.CreateKey(ctx, "t", KeySpec{Role: RoleMatcher})
			return err
		}},
		{"rotate it", func(ctx context.Context) error {
			_, _, err := e.RotateKey(ctx, "t", key.ID, Rotation{})
			return err
		}},
		{"revoke it", func(ctx context.Context) error { return e.RevokeKey(ctx, "t", key.ID) }},
		{"revoke it as it is", func(ctx context.Context) error { return e.RevokeKey(ctx, "t", key.ID) }},
		{"begin a move", func(ctx context.Context) error {
			_, err := e.StartMove(context.WithoutCancel(t.Context()), "t", "g", MoveSpec{Space: spaceB.ID, Policy: Policy{FMR: new(1e-5)}})
			if err != nil {
				return err
			}
			return e.CancelMove(ctx, "t", "g")
		}},
		{"make another", func(ctx context.Context) error {
			_, _, err := e.CreateGallery(ctx, "t", "h", GallerySpec{})
			return err
		}},
		{"delete it", func(ctx context.Context) error { return e.DeleteGallery(ctx, "t", "h") }},
	} {
		if e.galleryCount() == 0 { // requests are of a key, so its tenant is there
			if _, _, err := e.CreateKey(t.Context(), "t", KeySpec{Role: RoleAdmin}); err != nil {
				t.Fatal(err)
			}
		}
		if err := quietJobs(e); err != nil {
			t.Fatal(err)
		}
		answers[c.name] = mustOnce(t, e, c.name, c.call)
	}
	wantStoredFormat(t, e, onceFormat)
	e = reopen(t, e, testConfig(mem))
	mustCheck(t, e)
	for name, answer := range answers {
		if name == "put bob" || name == "put bob again" {
			wantGone(t, e, name) // with bob
			continue
		}
		wantAgain(t, e, name, answer)
	}
}

// TestOnceRefusals: of two requests with one name only equal ones are one; what fails is not kept; nor is what the caller keeps not.
func TestOnceRefusals(t *testing.T) {
	e := openMem(t)
	mustGallery(t, e, "t", "g")
	mustGallery(t, e, "u", "g")
	ann := mustOnce(t, e, "ann", putting(e, "ann", template(1, 0, 0, 0)))
	_, _, err := once(t.Context(), e, onceOfKey("ann", "another"), putting(e, "bob", template(1, 0, 0, 0)))
	wantErr(t, err, ErrOnceMismatch)
	for _, other := range []OnceRequest{
		{Tenant: "t", Key: "other", Name: "ann", Content: onceOfKey("", "ann").Content},
		{Tenant: "u", Key: "k", Name: "ann", Content: onceOfKey("", "ann").Content},
		{Tenant: "t", Key: "k a", Name: "nn", Content: onceOfKey("", "ann").Content},
	} {
		if _, again, err := once(t.Context(), e, other, putting(e, "bob", template(1, 0, 0, 0))); again || err != nil {
			t.Errorf("%+v is answered as another's: %v", other, err)
		}
	}
	for range 2 {
		_, _, err = once(t.Context(), e, onceOfKey("fails", ""), adding(e, "nobody", template(1, 0, 0, 0)))
		wantErr(t, err, ErrPersonNotFound)
	}
	for range 2 { // the answer nil: a refusal of the caller's
		o, kept, err := e.BeginOnce(t.Context(), onceOfKey("refused", ""))
		if err != nil || kept != nil {
			t.Fatal(kept, err)
		}
		_, _, err = e.CreateGallery(o.Context(t.Context(), func(any, bool) ([]byte, error) { return nil, nil }), "t", "g", GallerySpec{})
		o.End()
		wantErr(t, err, nil)
	}
	o, _, err := e.BeginOnce(t.Context(), onceOfKey("runs", ""))
	wantErr(t, err, nil)
	_, _, err = e.BeginOnce(t.Context(), onceOfKey("runs", ""))
	wantErr(t, err, ErrOnceRunning)
	o.End()
	o, _, err = e.BeginOnce(t.Context(), onceOfKey("runs", ""))
	wantErr(t, err, nil)
	o.End()
	for _, name := range []string{"", string(make([]byte, MaxOnceName+1))} {
		if _, _, err = e.BeginOnce(t.Context(), onceOfKey(name, "")); err == nil {
			t.Errorf("a name of %d bytes is taken", len(name))
		}
	}
	wantAgain(t, e, "ann", ann)
	if _, err := e.EraseTenant(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	_, _, err = e.BeginOnce(t.Context(), onceOfKey("ann", "ann"))
	wantErr(t, err, ErrTenantNotFound)
	mustCheck(t, e)
}

// TestOnceGone: answers to writes of a person go with the person, by whatever way; with the gallery and its switch to another space; and all
// with the version of the tenant's key. What was done stays known.
func TestOnceGone(t *testing.T) {
	var clock atomic.Int64
	c := testConfig(vfs.NewMem())
	c.Now = func() time.Time { return time.UnixMilli(1e12 + clock.Load()) }
	c.keyGrace, c.keyTick, c.sweepEvery = time.Millisecond, time.Millisecond, time.Hour
	e := open(t, c)
	begin := func(name string, id string) {
		t.Helper()
		mustOnce(t, e, name, putting(e, id, template(1, 0, 0, 0)))
		mustOnce(t, e, name+" add", adding(e, id, template(0, 1, 0, 0)))
	}
	gone := func(name string) {
		t.Helper()
		mustCheck(t, e)
		wantGone(t, e, name)
		wantGone(t, e, name+" add")
	}
	mustGallery(t, e, "t", "g")
	begin("deleted", "ann")
	wantErr(t, e.DeletePerson(t.Context(), "t", "g", "ann", WriteOptions{}), nil)
	gone("deleted")
	begin("enrolled again", "ann")
	gone("deleted")
	begin("erased", "bob")
	_, proof, err := e.ErasePersonProved(t.Context(), "t", "g", "bob", WriteOptions{})
	if err != nil || !proof.Passed {
		t.Errorf("the erasure is not proved: %+v, %v", proof, err)
	}
	gone("erased")

	begin("due", "cleo")
	_, err = e.PatchPerson(t.Context(), "t", "g", "cleo", PersonPatch{Expires: new(c.Now().Add(time.Minute))})
	wantErr(t, err, nil)
	clock.Add(2 * time.Minute.Milliseconds())
	gone("due") // though nobody has erased her
	begin("put who was due", "cleo")
	gone("due")
	_, err = e.PatchPerson(t.Context(), "t", "g", "cleo", PersonPatch{Expires: new(c.Now().Add(time.Minute))})
	wantErr(t, err, nil)
	clock.Add(2 * time.Minute.Milliseconds())
	g, err := e.gallery("t", "g")
	wantErr(t, err, nil)
	wantErr(t, e.eraseDue(g, c.Now().UnixMilli()), nil)
	gone("put who was due")

	begin("moved", "dan")
	_, err = e.StartMove(t.Context(), "t", "g", MoveSpec{Space: spaceB.ID})
	wantErr(t, err, nil)
	_, err = e.FinishMove(t.Context(), "t", "g", spaceB.ID, true)
	wantErr(t, err, nil)
	gone("moved")

	wantErr(t, e.DeleteGallery(t.Context(), "t", "g"), nil)
	mustGallery(t, e, "t", "g")
	begin("deleted with the gallery", "eve")
	wantErr(t, e.DeleteGallery(t.Context(), "t", "g"), nil)
	gone("deleted with the gallery")
	mustGallery(t, e, "t", "g")
	gone("deleted with the gallery")

	begin("rotated", "fay")
	for range 2 {
		_, err = e.RotateTenantKey(t.Context(), "t")
		wantErr(t, err, nil)
		waitRotated(t, e, "t")
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if keys, err := e.tenantKeys("t"); err == nil && keys.ring.first() > firstKey {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("the old version stays in memory")
		}
	}
	gone("rotated")
	if g, err = e.gallery("t", "g"); err != nil || len(recordOf(t, e, g, "fay").templates) != 2 {
		t.Error("a request was done again", err)
	}
}

// TestOnceForgets: a request is known for a day, and then one of its name is another; a tenant that has too many has its oldest go, but none
// that is younger than ten minutes.
func TestOnceForgets(t *testing.T) {
	var clock atomic.Int64
	c := testConfig(vfs.NewMem())
	c.Now = func() time.Time { return time.UnixMilli(1e12 + clock.Load()) }
	c.maxOnce, c.sweepEvery, c.Audit = 3, time.Hour, AuditWrites
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	pass := func(d time.Duration) { clock.Add(d.Milliseconds()) }
	names := map[string]string{}
	for _, id := range []string{"ann", "bob", "cleo"} {
		names[id] = mustOnce(t, e, id, putting(e, id, template(1, 0, 0, 0)))
		pass(time.Minute)
	}
	put := func() error {
		_, _, err := once(t.Context(), e, onceOfKey("dan", "dan"), putting(e, "dan", template(1, 0, 0, 0)))
		return err
	}
	pass(6 * time.Minute)
	err := put()
	wantErr(t, err, ErrOnceFull)
	if full, ok := errors.AsType[*OnceFullError](err); !ok || full.Retry != time.Minute || Detail(err) == "" {
		t.Errorf("%#v", err)
	}
	_, err = e.Person(t.Context(), "t", "g", "dan")
	wantErr(t, err, ErrPersonNotFound)
	if err := putting(e, "dan", template(1, 0, 0, 0))(t.Context()); err != nil { // without a name
		t.Error(err)
	}
	pass(time.Minute)
	wantErr(t, put(), nil) // ann's goes
	mustCheck(t, e)
	wantAgain(t, e, "bob", names["bob"])
	_, again, err := once(t.Context(), e, onceOfKey("ann", "ann"), func(context.Context) error { return errStale })
	if again || err != errStale {
		t.Errorf("ann's request is still known: %v", err)
	}
	pass(onceLife - 9*time.Minute) // bob's is a day old; cleo's not yet
	if _, again, err = once(t.Context(), e, onceOfKey("bob", "another"), putting(e, "bob", template(1, 0, 0, 0))); again || err != nil {
		t.Errorf("bob's request is known after a day: %v", err)
	}
	mustCheck(t, e)
	wantAgain(t, e, "cleo", names["cleo"])
	pass(onceLife)
	e = reopen(t, e, c)
	e.sweepOnce(e.store.now().UnixMilli())
	if n := e.store.once.count("t"); n.n != 0 {
		t.Errorf("%+v after two days", n)
	}
	mustCheck(t, e)
}

// TestOnceSweeps: many records go, some in a write, and those that are young stay.
func TestOnceSweeps(t *testing.T) {
	var clock atomic.Int64
	c := testConfig(vfs.NewMem())
	c.Now = func() time.Time { return time.UnixMilli(1e12 + clock.Load()) }
	c.sweepEvery, c.Audit = time.Hour, AuditWrites
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	wantErr(t, putting(e, "ann", template(1, 0, 0, 0))(t.Context()), nil)
	patch := func(ctx context.Context) error {
		_, err := e.PatchPerson(ctx, "t", "g", "ann", PersonPatch{Status: StatusActive})
		return err
	}
	for i := range maxOnceSweep + 10 {
		if _, _, err := once(t.Context(), e, onceOfKey(fmt.Sprint(i), ""), patch); err != nil {
			t.Fatal(err)
		}
	}
	clock.Add(onceLife.Milliseconds() - 1)
	young := mustOnce(t, e, "young", patch)
	e.sweepOnce(e.store.now().UnixMilli())
	if n := e.store.once.count("t"); n.n != maxOnceSweep+11 {
		t.Errorf("%+v before a day is over", n)
	}
	clock.Add(1)
	e.sweepOnce(e.store.now().UnixMilli())
	if n := e.store.once.count("t"); n.n != 1 || n.oldest != e.store.now().UnixMilli()-1 {
		t.Errorf("%+v after a day", n)
	}
	mustCheck(t, e)
	wantAgain(t, e, "young", young)
}

// TestOnceSealed: names, answers and the tokens in them are in no file in the clear, and an answer opens only for who has the name and the
// request.
func TestOnceSealed(t *testing.T) {
	dir := t.TempDir()
	e := open(t, Config{Dir: dir, MasterKey: testKey, Spaces: []Space{spaceA}, MinFreeBytes: -1})
	mustGallery(t, e, "t", "g")
	mustOnce(t, e, "the-name-of-it", putting(e, "ann-the-first", template(1, 0, 0, 0)))
	var token string
	answer := mustOnce(t, e, "make-a-key", func(ctx context.Context) (err error) {
		_, token, err = e.CreateKey(ctx, "t", KeySpec{Role: RoleMatcher})
		return err
	})
	if !bytes.Contains([]byte(answer), []byte(token)) {
		t.Fatal("the token is not told again")
	}
	if _, err := e.Authenticate(token); err != nil {
		t.Error(err)
	}
	keys, err := e.tenantKeys("t")
	wantErr(t, err, nil)
	right := newOnce(e, keys, onceOfKey("make-a-key", "make-a-key"))
	r, err := e.store.onceRecord("t", keys, right.id)
	wantErr(t, err, nil)
	for _, wrong := range []OnceRequest{onceOfKey("make-a-kez", "make-a-key"), onceOfKey("make-a-key", "make-a-kez")} {
		o := newOnce(e, keys, wrong)
		o.id = right.id // else it would not be in its place
		_, err := o.open(r.Answer)
		wantErr(t, err, ErrCorrupt)
	}
	for _, bad := range [][]byte{nil, r.Answer[:40], r.Answer[:len(r.Answer)-1]} {
		_, err := right.open(bad)
		wantErr(t, err, ErrCorrupt)
	}
	for _, step := range []func() error{e.store.db.Flush, e.Close} {
		wantErr(t, step(), nil)
		if n := countOnDisk(t, dir, []byte("the-name-of-it"), []byte("make-a-key"), []byte(token[len(tokenPrefix):]), []byte(`{"of":`)); n != 0 {
			t.Errorf("%d secrets on disk", n)
		}
		if countOnDisk(t, dir, []byte("ann-the-first")) == 0 {
			t.Error("the person's id is not found on disk")
		}
	}
}

// TestOnceAtOnce: of many requests that are one, sent at once, one is done, and all others are told that it is being done or by what it was
// answered; so too while fsyncs hang and clients go.
func TestOnceAtOnce(t *testing.T) {
	fs := newSlowSync(vfs.NewCrashableMem())
	e := open(t, testConfig(fs))
	mustGallery(t, e, "t", "g")
	wantErr(t, putting(e, "ann", template(1, 0, 0, 0))(t.Context()), nil)
	for i := range 20 {
		var wg sync.WaitGroup
		var done atomic.Int64
		answers := make([]string, 8)
		hold := i%4 == 0
		if hold {
			fs.hold()
		}
		for j := range answers {
			wg.Go(func() {
				for ctx := t.Context(); answers[j] == ""; {
					brief, cancel := context.WithTimeout(ctx, time.Millisecond)
					if !hold || j > 0 {
						brief = ctx
					}
					answer, _, err := once(brief, e, onceOfKey(fmt.Sprint(i), ""), func(ctx context.Context) error {
						done.Add(1)
						_, err := e.AddTemplate(ctx, "t", "g", "ann", TemplateSpec{Templates: []Template{template(0, 1, 0, float32(i))}})
						return err
					})
					cancel()
					switch {
					case err == nil:
						answers[j] = answer
					case errors.Is(err, ErrOnceRunning):
						time.Sleep(time.Millisecond)
					case !errors.Is(err, context.DeadlineExceeded):
						t.Error(err)
						return
					}
				}
			})
		}
		if hold {
			time.Sleep(5 * time.Millisecond)
			fs.release()
		}
		wg.Wait()
		for _, a := range answers {
			if a != answers[0] || a == "" {
				t.Errorf("round %d: %q", i, answers)
			}
		}
		p, err := e.Person(t.Context(), "t", "g", "ann")
		if err != nil || len(p.Templates) != 2 {
			t.Fatalf("round %d, %d tries: %d templates, want 2: %v", i, done.Load(), len(p.Templates), err)
		}
		wantErr(t, putting(e, "ann", template(1, 0, 0, 0))(t.Context()), nil)
	}
	mustCheck(t, e)
}

// TestOnceCrash: a client that adds templates tries each request again after a crash. It is done once, whether its write was lost, was there
// without an answer, or was acknowledged; and if it was acknowledged it is answered as it was.
func TestOnceCrash(t *testing.T) {
	rng := newRand(t)
	for range scaled(3) {
		onceCrash(t, rng)
	}
}

// onceLedger is what a client knows of the requests that it made in turn.
type onceLedger struct {
	sync.Mutex
	answers []string // of those that were answered; the next one may be under way
}

func (l *onceLedger) snapshot() []string {
	l.Lock()
	defer l.Unlock()
	return append([]string(nil), l.answers...)
}

func onceCrash(t *testing.T, rng *rand.Rand) {
	const clients, templates = 4, MaxTemplates - 1
	mem := vfs.NewCrashableMem()
	e := open(t, testConfig(mem))
	mustGallery(t, e, "t", "g")
	ledgers := make([]onceLedger, clients)
	// The n-th request of a client adds a template to person n/templates, or enrols them.
	request := func(e *Engine, client, n int) (OnceRequest, func(context.Context) error) {
		id := fmt.Sprintf("%d-%d", client, n/templates)
		name := fmt.Sprintf("%s %d", id, n)
		if n%templates == 0 {
			return onceOfKey(name, name), putting(e, id, template(1, 0, 0, 0))
		}
		return onceOfKey(name, name), adding(e, id, template(0, 1, 0, float32(n)))
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for c := range ledgers {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				r, call := request(e, c, n)
				answer, again, err := once(t.Context(), e, r, call)
				if err != nil || again {
					t.Error(again, err)
					return
				}
				ledgers[c].Lock()
				ledgers[c].answers = append(ledgers[c].answers, answer)
				ledgers[c].Unlock()
			}
		})
	}
	for range 5 {
		time.Sleep(time.Duration(rng.IntN(15)) * time.Millisecond)
		before := make([][]string, clients)
		for c := range ledgers {
			before[c] = ledgers[c].snapshot()
		}
		image := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(3) * 50, RNG: rng})
		onceAfter(t, image, before, request)
	}
	stop.Store(true)
	wg.Wait()
	mustCheck(t, e)
}

// onceAfter has the clients try their latest requests again, and one more, in an image of a crash.
func onceAfter(t *testing.T, image *vfs.MemFS, before [][]string, request func(*Engine, int, int) (OnceRequest, func(context.Context) error)) {
	t.Helper()
	const templates = MaxTemplates - 1
	e, err := Open(testConfig(image))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	mustCheck(t, e)
	for c, answers := range before {
		for n := max(0, len(answers)-2*templates); n <= len(answers); n++ {
			r, call := request(e, c, n)
			answer, again, err := once(t.Context(), e, r, call)
			if err != nil || n < len(answers) && (!again || answer != answers[n]) {
				t.Errorf("request %d of client %d, of %d that were answered, is answered %s, %v: %v", n, c, len(answers), answer, again, err)
			}
			id := fmt.Sprintf("%d-%d", c, n/templates)
			p, err := e.Person(t.Context(), "t", "g", id)
			if err != nil || n >= len(answers)-1 && len(p.Templates) < n%templates+1 || len(p.Templates) > templates {
				t.Errorf("%s has %d templates after request %d: %v", id, len(p.Templates), n, err)
			}
			for i, x := range p.Templates { // numbers go on from 1, so a request that was done twice would show
				if x.ID != fmt.Sprint(i+1) {
					t.Errorf("%s: template %d has the id %s", id, i, x.ID)
				}
			}
		}
	}
	mustCheck(t, e)
}
