package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mien/extract/pack"
)

// setup is one run.
type setup struct {
	build    string // what to install under
	platform string // GOOS/GOARCH
	sources  bool   // also the tarballs of the models
	browser  bool   // also what drives a browser in tests
	cache    cache
	runtime  runtimePackage
	models   []*pack.Definition
	driver   treePackage
	out      io.Writer
	terminal bool // out is one
}

// step is something to install: ready says whether it is there and whole, make puts it there.
type step struct {
	name  string
	ready func() error // nil if so, else what is amiss
	make  func(context.Context) error
}

// run installs what is missing. The first look takes no lock, so that a set-up with nothing to do works on a folder
// that it may not write.
func (s *setup) run(ctx context.Context) error {
	steps, err := s.steps()
	if err != nil {
		return err
	}
	if allReady(steps) {
		s.say("library and models are in place under %s", s.build)
		return nil
	}
	if err := s.folders(); err != nil {
		return fmt.Errorf("cannot write build folder %s: %w", s.build, reason(err))
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s.sweep()
	for _, st := range steps {
		if err := s.do(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

func (s *setup) steps() ([]step, error) {
	lib, err := s.runtime.library(s.platform)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.libDir(), lib.name)
	steps := []step{
		{path, func() error { return checkFile(path, lib.sha256) },
			func(ctx context.Context) error { return s.makeLibrary(ctx, lib, path) }},
	}
	for _, d := range s.models {
		steps = append(steps, step{s.packDir(d), func() error { _, err := d.Check(s.packDir(d)); return err },
			func(ctx context.Context) error { return s.makePack(ctx, d) }})
	}
	if s.sources {
		for _, p := range s.packages() {
			steps = append(steps, step{p.Spec + " as published", func() error { return s.cache.check(p.SHA256) },
				func(ctx context.Context) error { _, err := s.fetch(ctx, download{p.Spec, p.SHA256}); return err }})
		}
	}
	if s.browser {
		dir := s.treeDir(s.driver)
		steps = append(steps, step{dir, func() error { return checkTree(dir, s.driver.tree) },
			func(ctx context.Context) error { return s.makeTree(ctx, s.driver) }})
	}
	return steps, nil
}

// packages lists what the packs are made from, each once.
func (s *setup) packages() []pack.Package {
	var all []pack.Package
	for _, d := range s.models {
		for _, p := range d.Packages {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all
}

func (s *setup) libDir() string {
	return filepath.Join(s.build, "lib", strings.ReplaceAll(s.platform, "/", "-"))
}

func (s *setup) modelsDir() string { return filepath.Join(s.build, "models") }

func (s *setup) packDir(d *pack.Definition) string {
	return filepath.Join(s.modelsDir(), d.Manifest.Name)
}

func (s *setup) folders() error {
	return errors.Join(os.MkdirAll(s.libDir(), 0o755), os.MkdirAll(s.modelsDir(), 0o755))
}

func allReady(steps []step) bool {
	for _, st := range steps {
		if st.ready() != nil {
			return false
		}
	}
	return true
}

// do makes one step and looks at what it made.
func (s *setup) do(ctx context.Context, st step) error {
	err := st.ready()
	if err == nil {
		s.say("%s is in place", st.name)
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		s.say("%v; mending it", err)
	}
	if err := st.make(ctx); err != nil {
		return err
	}
	if err := st.ready(); err != nil {
		return err
	}
	s.say("%s is ready", st.name)
	return nil
}

func (s *setup) makePack(ctx context.Context, d *pack.Definition) error {
	tarballs := make(map[string]string)
	for _, p := range d.Packages {
		var err error
		if tarballs[p.Spec], err = s.fetch(ctx, download{p.Spec, p.SHA256}); err != nil {
			return err
		}
	}
	return d.Build(tarballs, s.packDir(d))
}

// sweep deletes what a killed set-up left. REQUIRES: the lock.
func (s *setup) sweep() {
	for _, dir := range []string{s.build, s.libDir(), s.modelsDir()} {
		stale, _ := filepath.Glob(filepath.Join(dir, pack.TempPrefix+"*"))
		for _, path := range stale {
			os.RemoveAll(path)
		}
	}
}

func (s *setup) say(format string, args ...any) {
	fmt.Fprintf(s.out, "setup: "+format+"\n", args...)
}

// reason strips the operation and the path from a file system error whose line names the path already.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
