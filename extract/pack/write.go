package pack

import (
	"errors"
	"os"
	"path/filepath"
)

// TempPrefix starts the name of every temporary that this package makes beside what it installs. One that a killed
// program left may be deleted when no other set-up runs.
const TempPrefix = ".mien-tmp-"

// WriteFile puts data at path so that a reader, or a crash, finds either what was there before or all of data: it
// writes a temporary in the same folder, syncs it, renames it and syncs the folder.
func WriteFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	temp, err := os.MkdirTemp(dir, TempPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	name := filepath.Join(temp, filepath.Base(path))
	if err := writeSynced(name, data); err != nil {
		return err
	}
	if err := os.Rename(name, path); err != nil {
		return err
	}
	return syncDir(dir)
}

// writeFiles fills the folder dir durably.
func writeFiles(dir string, files map[string][]byte) error {
	if err := os.Chmod(dir, 0o755); err != nil { // MkdirTemp gives 0700
		return err
	}
	for name, data := range files {
		if err := writeSynced(filepath.Join(dir, name), data); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
