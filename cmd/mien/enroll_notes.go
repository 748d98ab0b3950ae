package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// enrolNotes says who of a folder is done, in a file: a line of JSON for each, behind one that says of which folder and gallery.
// Safe for concurrent use. nil notes nothing.
type enrolNotes struct {
	done map[string]bool // by the runs before; not changed after

	mu sync.Mutex
	f  *os.File // protected by mu
}

// enrolTarget is the first line.
type enrolTarget struct {
	Enrol   int    `json:"enrol"` // 1
	Folder  string `json:"folder"`
	Server  string `json:"server"`
	Gallery string `json:"gallery"`
}

// enrolNote is each other line.
type enrolNote struct {
	Person string `json:"person"`
}

// openNotes opens or makes the notes of an enrolment; "" is none.
func openNotes(path string, target enrolTarget) (*enrolNotes, error) {
	if path == "" {
		return nil, nil
	}
	var err error
	if target.Folder, err = filepath.Abs(target.Folder); err != nil {
		return nil, err
	}
	target.Enrol = 1
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	n := &enrolNotes{done: map[string]bool{}}
	whole := data[:bytes.LastIndexByte(data, '\n')+1] // a line that a crash has cut is of nobody
	if err := n.read(whole, target); err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	if n.f, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	_, err = n.f.Seek(int64(len(whole)), 0)
	if err = errors.Join(err, n.f.Truncate(int64(len(whole)))); err == nil && len(whole) == 0 {
		err = n.line(target)
	}
	if err != nil {
		return nil, errors.Join(err, n.f.Close())
	}
	return n, nil
}

func (n *enrolNotes) read(data []byte, want enrolTarget) error {
	for i, line := range bytes.Split(data, []byte{'\n'}) {
		if len(line) == 0 {
			continue
		}
		if i == 0 {
			var have enrolTarget
			if json.Unmarshal(line, &have) != nil || have != want {
				return errors.New("is not of this folder, server and gallery: name another file, or remove it to begin anew")
			}
			continue
		}
		var p enrolNote
		if json.Unmarshal(line, &p) != nil || p.Person == "" {
			return fmt.Errorf("has no person in line %d: remove it to begin anew", i+1)
		}
		n.done[p.Person] = true
	}
	return nil
}

// left is who is not done yet, of people, with how many photos.
func (n *enrolNotes) left(people []someone) (left []someone, photos int) {
	for _, p := range people {
		if n == nil || !n.done[p.id] {
			left = append(left, p)
			photos += len(p.photos)
		}
	}
	return left, photos
}

// note says that a person is done. Not synced: who is forgotten is enrolled again, as who they are.
func (n *enrolNotes) note(id string) error {
	if n == nil {
		return nil
	}
	return n.line(enrolNote{id})
}

func (n *enrolNotes) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	_, err = n.f.Write(append(b, '\n'))
	return err
}

func (n *enrolNotes) close() error {
	if n == nil {
		return nil
	}
	return n.f.Close()
}
