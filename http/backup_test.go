package http

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mien/engine"
)

// TestBackup: an operator's key begins a backup and sees it end; other keys and requests that name a place are refused.
func TestBackup(t *testing.T) {
	c := engineConfig(t.TempDir(), testSpace)
	c.BackupDir = t.TempDir()
	h := newHarnessOn(t, openEngine(t, c), nil)
	h.staff()
	var status engine.BackupStatus
	h.want(200, call{method: "GET", path: "/v1/backup"}).into(t, &status)
	if status != (engine.BackupStatus{}) {
		t.Errorf("before the first: %+v", status)
	}
	h.want(202, call{method: "POST", path: "/v1/backup"}).into(t, &status)
	for deadline := time.Now().Add(20 * time.Second); status.Last == nil && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		h.want(200, call{method: "GET", path: "/v1/backup"}).into(t, &status)
	}
	if status.Last == nil || status.Running || status.Failure != "" || status.Last.Files == 0 {
		t.Fatalf("%+v", status)
	}
	key, err := engine.BackupKey(c.MasterKey)
	if err != nil {
		t.Fatal(err)
	}
	all, err := engine.BackupFolder{Dir: c.BackupDir, Key: key}.Verify(t.Context(), status.Last.ID, c.MasterKey, nil)
	if err != nil || len(all) != 1 || all[0].Err != nil {
		t.Errorf("%+v, %v", all, err)
	}

	_, tenants, err := h.engine.CreateKey(t.Context(), "default", engine.KeySpec{Role: engine.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "POST"} {
		h.refused(codeForbidden, call{method: method, path: "/v1/backup", token: tenants})
		h.refused(codeForbidden, call{method: method, path: "/v1/backup", token: h.token(engine.RoleEnroller)})
	}
	h.refused(codeBadJSON, call{method: "POST", path: "/v1/backup", body: []byte(`{"to":"/tmp"}`)})
	h.refused(codeBadRequest, call{method: "GET", path: "/v1/backup?to=/tmp"})
}

// TestBackupRefused: a server without a folder says so, and a folder that can't be used is named without its path.
func TestBackupRefused(t *testing.T) {
	h := newHarness(t, nil)
	h.refused(codeBackupUnconfigured, call{method: "POST", path: "/v1/backup"})
	h.refused(codeBackupUnconfigured, call{method: "GET", path: "/v1/backup"})

	c := engineConfig(t.TempDir(), testSpace)
	c.BackupDir = c.Dir // holds a store
	h = newHarnessOn(t, openEngine(t, c), nil)
	var status engine.BackupStatus
	h.want(202, call{method: "POST", path: "/v1/backup"})
	for deadline := time.Now().Add(20 * time.Second); status.Failure == "" && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		h.want(200, call{method: "GET", path: "/v1/backup"}).into(t, &status)
	}
	if status.Failure != "backup: the folder is neither empty nor a backup folder: name another" {
		t.Errorf("%+v", status)
	}
}

// TestDamageIsNamed: what the engine says of damage reaches the client as storage_damaged, by its sentence and never by its cause, which may
// name ids; and does not make the server unready.
func TestDamageIsNamed(t *testing.T) {
	h := newHarness(t, nil)
	for _, err := range []error{
		fmt.Errorf("%w: sealed person ada does not open", engine.ErrCorrupt),
		fmt.Errorf("read ada: %w", &engine.Error{Err: engine.ErrCorrupt, Detail: "restore the store from a backup"}),
	} {
		p := h.server.problemOf(err)
		if p.code != codeStorageDamaged || p.status() != 500 || strings.Contains(p.detail, "ada") || !strings.Contains(p.detail, "restore the store from a backup") {
			t.Errorf("%v is told as %s: %s", err, p.code, p.detail)
		}
	}
}
