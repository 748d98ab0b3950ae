package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"mien/engine"
)

// masterKeyFlags say where the key that seals the store is.
type masterKeyFlags struct {
	MasterKey        string `name:"master-key" help:"File with the master key, 64 hex digits (default: DIR/master.key)." env:"MIEN_MASTER_KEY_FILE" type:"path" placeholder:"FILE"`
	MasterKeyText    string `name:"master-key-text" hidden:"" env:"MIEN_MASTER_KEY"`
	MasterKeyCommand string `name:"master-key-command" help:"Command of a shell that prints the master key, 64 hex digits, as a client of a key service does." env:"MIEN_MASTER_KEY_COMMAND" placeholder:"COMMAND"`
	KeyDir           string `name:"key-dir" help:"Folder of the tenants' wrapped keys, the key store (default: DIR/keys)." env:"MIEN_KEY_DIR" type:"path" placeholder:"DIR"`
}

// dataDir is an opened data folder's paths and key.
type dataDir struct {
	path string
	keys masterKeyFlags
}

func (d dataDir) store() string    { return filepath.Join(d.path, "store") }
func (d dataDir) adminKey() string { return filepath.Join(d.path, "admin.key") }

func (d dataDir) masterKeyFile() string {
	if d.keys.MasterKey != "" {
		return d.keys.MasterKey
	}
	return filepath.Join(d.path, "master.key")
}

// hasStore says whether a store was made in the folder.
func (d dataDir) hasStore() bool {
	files, err := os.ReadDir(d.store())
	return err == nil && len(files) > 0
}

// create makes the folder, readable by its owner alone, and a master key unless one is given or a store is there
// that some key has sealed already. An administrator's key without its store means that the store was lost or is
// not mounted: to begin anew there would hide it.
func (d dataDir) create() error {
	if engine.HalfRestored(d.path) {
		return fmt.Errorf("data folder %s: %w", d.path, engine.ErrHalfRestored)
	}
	if err := os.MkdirAll(d.store(), 0o700); err != nil {
		return fmt.Errorf("data folder %s can't be made: %w", d.path, reason(err))
	}
	if d.hasStore() {
		return nil
	}
	if _, err := os.Stat(d.adminKey()); err == nil {
		return fmt.Errorf("data folder %s has an admin.key and no store: put the store back (is its disk mounted?), or remove admin.key to begin anew", d.path)
	}
	if d.keys.MasterKey != "" || d.keys.MasterKeyText != "" || d.keys.MasterKeyCommand != "" {
		return nil
	}
	err := writeSecret(d.masterKeyFile(), newMasterKey())
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data folder %s can't be written: %w", d.path, reason(err))
	}
	return nil
}

// newMasterKey is 64 random hex digits.
func newMasterKey() string {
	key := make([]byte, engine.MasterKeyBytes)
	defer clear(key)
	rand.Read(key) // never fails (crypto/rand)
	return hex.EncodeToString(key)
}

// masterKey reads the key.
func (d dataDir) masterKey() ([]byte, error) {
	if d.keys.MasterKey != "" && d.keys.MasterKeyText != "" {
		return nil, errors.New("the master key is given twice, as a file (--master-key) and in MIEN_MASTER_KEY: leave one out")
	}
	text, from := d.keys.MasterKeyText, "MIEN_MASTER_KEY"
	if d.keys.MasterKeyCommand != "" {
		if d.keys.MasterKey != "" || text != "" {
			return nil, errors.New("the master key is given twice, by --master-key-command and otherwise: leave one out")
		}
		from = "what --master-key-command prints"
		out, err := commandOutput(d.keys.MasterKeyCommand)
		if err != nil {
			return nil, fmt.Errorf("--master-key-command: %w", err)
		}
		defer clear(out)
		text = string(out)
	} else if text == "" {
		from = d.masterKeyFile()
		data, err := os.ReadFile(from)
		if err != nil {
			return nil, fmt.Errorf("master key %s can't be read: %w; without it the store can't be opened: put it back from your copy, or name it with --master-key (for a new folder make one: openssl rand -hex 32)", from, reason(err))
		}
		text = string(data)
	}
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != engine.MasterKeyBytes {
		return nil, fmt.Errorf("the master key in %s is not %d hex digits", from, 2*engine.MasterKeyBytes)
	}
	return key, nil
}

// keyCommandTimeout bounds a command that prints the master key.
const keyCommandTimeout = 30 * time.Second

// commandOutput is what a command of the shell prints; what it complains of goes to stderr.
func commandOutput(command string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), keyCommandTimeout)
	defer cancel()
	run := exec.CommandContext(ctx, "sh", "-c", command)
	run.Stderr = os.Stderr
	return run.Output()
}

// open opens the store. The caller adds what it wants to c.
func (d dataDir) open(c engine.Config) (*engine.Engine, error) {
	key, err := d.masterKey()
	if err != nil {
		return nil, err
	}
	defer clear(key)
	c.Dir, c.MasterKey, c.KeyDir = d.path, key, d.keys.KeyDir
	e, err := engine.Open(c)
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", d.path, err)
	}
	return e, nil
}

// firstKey makes the administrator's key if the default tenant has none yet.
func (d dataDir) firstKey(ctx context.Context, e *engine.Engine) error {
	keys, err := e.Keys(ctx, "default")
	if err != nil || len(keys) > 0 {
		return err
	}
	_, token, err := e.CreateKey(ctx, "default", engine.KeySpec{Role: engine.RoleAdmin, Operator: true, Label: "made at the first start"})
	if err != nil {
		return err
	}
	if err := writeSecret(d.adminKey(), token); err != nil {
		return fmt.Errorf("write the admin key: %w (%s)", err, d.anotherKey())
	}
	return nil
}

// anotherKey says how to come by an administrator's key when there is no file of it.
func (d dataDir) anotherKey() string {
	return "stop the server and make one: mien keys create --operator --data " + relative(d.path)
}

// writeSecret writes a new file for the owner alone, durably and whole or not at all. It never replaces one:
// the error is then fs.ErrExist.
func writeSecret(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// reason drops the path from a file error that names it already.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
