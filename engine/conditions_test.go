package engine

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// TestConditions: a write under a condition that does not hold changes nothing, and one that holds happens.
func TestConditions(t *testing.T) {
	e := openMem(t)
	ctx := t.Context()
	mustGallery(t, e, "t", "g")
	put := func(id string, c Condition) (Person, error) {
		p, _, err := e.PutPerson(ctx, "t", "g", id, PersonSpec{Templates: []Template{template(1, 0, 0, 0)}, WriteOptions: WriteOptions{If: c}})
		return p, err
	}
	for _, c := range []Condition{{Versions: []uint64{1}}, {Versions: []uint64{}}, {There: true}} {
		_, err := put("ann", c)
		wantErr(t, err, ErrVersion)
	}
	_, err := e.Person(ctx, "t", "g", "ann")
	wantErr(t, err, ErrPersonNotFound)
	first, err := put("ann", Condition{Absent: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = put("ann", Condition{Absent: true})
	wantErr(t, err, ErrVersion)
	old := WriteOptions{If: Condition{Versions: []uint64{first.Version}}}
	patched, err := e.PatchPerson(ctx, "t", "g", "ann", PersonPatch{Metadata: new(json.RawMessage(`{"n":1}`)), WriteOptions: old})
	if err != nil || patched.Version <= first.Version {
		t.Fatalf("%+v after %+v: %v", patched, first, err)
	}
	for what, write := range map[string]func() error{
		"put": func() error { _, err := put("ann", old.If); return err },
		"patch": func() error {
			_, err := e.PatchPerson(ctx, "t", "g", "ann", PersonPatch{WriteOptions: old})
			return err
		},
		"delete": func() error { return e.DeletePerson(ctx, "t", "g", "ann", old) },
		"add": func() error {
			_, err := e.AddTemplate(ctx, "t", "g", "ann", TemplateSpec{Templates: []Template{template(0, 1, 0, 0)}, WriteOptions: old})
			return err
		},
	} {
		if err := write(); !errors.Is(err, ErrVersion) {
			t.Errorf("%s under an old version: %v", what, err)
		}
	}
	if now, err := e.Person(ctx, "t", "g", "ann"); err != nil || now.Version != patched.Version || len(now.Templates) != 1 || string(now.Metadata) != `{"n":1}` {
		t.Errorf("%+v after refusals, want %+v: %v", now, patched, err)
	}
	wantErr(t, e.DeletePerson(ctx, "t", "g", "bob", old), ErrPersonNotFound) // whatever the condition is
	if err := e.DeletePerson(ctx, "t", "g", "ann", WriteOptions{If: Condition{Versions: []uint64{first.Version, patched.Version}}}); err != nil {
		t.Error(err)
	}
	mustCheck(t, e)
}

// TestVersionsLoseNoUpdate: clients that read, change and write back under the version they read lose no change.
func TestVersionsLoseNoUpdate(t *testing.T) {
	e := openMem(t)
	mustGallery(t, e, "t", "g")
	if _, _, err := e.PutPerson(t.Context(), "t", "g", "ann", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}, Metadata: json.RawMessage(`{"n":0}`)}); err != nil {
		t.Fatal(err)
	}
	const clients, each = 8, 20
	var refused atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				n, err := countUp(t.Context(), e)
				refused.Add(n)
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	var got struct{ N int }
	p, err := e.Person(t.Context(), "t", "g", "ann")
	if err != nil || json.Unmarshal(p.Metadata, &got) != nil || got.N != clients*each {
		t.Errorf("%s after %d increments: %v", p.Metadata, clients*each, err)
	}
	t.Logf("%d writes were made for an old version", refused.Load())
}

// countUp adds one to ann's metadata, and says how often it was refused before.
func countUp(ctx context.Context, e *Engine) (refused int64, err error) {
	for {
		p, err := e.Person(ctx, "t", "g", "ann")
		if err != nil {
			return refused, err
		}
		var m struct {
			N int `json:"n"`
		}
		if err := json.Unmarshal(p.Metadata, &m); err != nil {
			return refused, err
		}
		m.N++
		b, err := json.Marshal(m)
		if err != nil {
			return refused, err
		}
		_, err = e.PatchPerson(ctx, "t", "g", "ann", PersonPatch{Metadata: new(json.RawMessage(b)), WriteOptions: WriteOptions{If: Condition{Versions: []uint64{p.Version}}}})
		if !errors.Is(err, ErrVersion) {
			return refused, err
		}
		refused++
	}
}
