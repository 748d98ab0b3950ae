package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mien/engine"
)

// rootFlags say which master key a data folder gets.
type rootFlags struct {
	NewMasterKey string `name:"new-master-key" help:"With --root: file with the new master key, 64 hex digits. Default: one is made, and takes the place of the old one in its file." type:"path" placeholder:"FILE"`
}

// rotatedRoot is what the rotation of a master key has done, as printed.
type rotatedRoot struct {
	KeyFiles  int    `json:"key_files"`
	MasterKey string `json:"master_key"` // the file of the new one
}

// rotateRoot has a data folder's keys wrapped by another master key, and opens the store with it.
func (c *encryptionRotateCmd) rotateRoot(ctx context.Context, out *output) error {
	if c.Data == "" {
		return errors.New("--root works on a stopped data folder: stop the server and name it with --data")
	}
	old := dataDir{c.Data, c.masterKeyFlags}
	next, err := c.nextRoot(old)
	if err != nil {
		return err
	}
	done := rotatedRoot{MasterKey: next.in}
	if done.KeyFiles, err = c.wrap(ctx, old, next); err != nil {
		return err
	}
	now := dataDir{c.Data, masterKeyFlags{MasterKey: next.in, KeyDir: c.KeyDir}}
	e, err := now.open(engine.Config{})
	if err != nil {
		return err
	}
	if err := errors.Join(e.RecordRootRotation(ctx), e.Close()); err != nil {
		return err
	}
	return out.print(done, fmt.Sprintf("%d key files are wrapped by the master key in %s, and by the one before no more\n"+
		"keep a copy of it elsewhere, and the one before as long as backups of its time: they, and backup folders without a --backup-key of their own, open with that one; "+
		"name a new folder for backups to come", done.KeyFiles, relative(next.in)))
}

// nextRoot is a new master key and the file that it is in; it is in from until everything opens with it.
type nextRoot struct{ from, in string }

// nextRoot makes the key, unless it is named, or an attempt before has.
func (c *encryptionRotateCmd) nextRoot(old dataDir) (nextRoot, error) {
	if c.NewMasterKey != "" {
		return nextRoot{c.NewMasterKey, c.NewMasterKey}, nil
	}
	if c.MasterKeyText != "" || c.MasterKeyCommand != "" {
		return nextRoot{}, errors.New("the master key is in no file that a new one could be put into: name a file with the new one by --new-master-key, and put it where the old one comes from afterwards")
	}
	next := nextRoot{old.masterKeyFile() + ".new", old.masterKeyFile()}
	key := make([]byte, engine.MasterKeyBytes)
	defer clear(key)
	rand.Read(key)
	if err := writeSecret(next.from, hex.EncodeToString(key)); err != nil && !errors.Is(err, fs.ErrExist) {
		return nextRoot{}, fmt.Errorf("new master key %s can't be written: %w", next.from, reason(err))
	}
	return next, nil
}

// wrap rotates.
func (c *encryptionRotateCmd) wrap(ctx context.Context, old dataDir, next nextRoot) (files int, err error) {
	from, err := old.rootKey()
	if err != nil {
		return 0, err
	}
	to, err := dataDir{c.Data, masterKeyFlags{MasterKey: next.from}}.rootKey()
	if err != nil {
		return 0, err
	}
	files, err = engine.RotateRootKey(ctx, engine.RootRotation{Dir: c.Data, KeyDir: c.KeyDir, Old: from, New: to, Switch: func() error {
		if next.from == next.in {
			return nil
		}
		return replaceSecret(next.from, next.in)
	}})
	if err != nil {
		err = fmt.Errorf("data folder %s: %w", c.Data, err)
	}
	return files, err
}

func (d dataDir) rootKey() (engine.RootKey, error) {
	key, err := d.masterKey()
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return engine.NewRootKey(key)
}

// replaceSecret puts a file durably in the place of another and then overwrites that, as far as the file system lets it reach the same
// blocks.
func replaceSecret(from, to string) error {
	old, err := os.OpenFile(to, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer old.Close()
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(to)); err != nil {
		return err
	}
	if info, err := old.Stat(); err == nil {
		if _, err := old.WriteAt(make([]byte, info.Size()), 0); err == nil {
			_ = old.Sync()
		}
	}
	return nil
}
