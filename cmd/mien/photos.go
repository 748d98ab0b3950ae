package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"mien/extract"
	"mien/extract/pack"
	"mien/http"
)

// everyFace extracts a face of each file on all cores, with the first of the packs. found hears of one file at a
// time, in any order: a face, or the API's code of why there is none. Errors that are not about a photo end the
// work. o.Select must ask for one face.
func (m modelFlags) everyFace(ctx context.Context, p providerFlags, files []string, o extract.Options, found func(i int, f *extract.Face, code string)) (*pack.Manifest, error) {
	library, models := m.paths()
	config := extract.Config{Library: library, Pack: models[0], Queue: len(files)}
	if err := p.apply(&config); err != nil {
		return nil, err
	}
	x, err := extract.New(config)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex // one call of found at a time
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * runtime.GOMAXPROCS(0)) // the extractor admits what keeps its models busy
	for i, file := range files {
		g.Go(func() error {
			f, code, err := faceOf(ctx, x, file, o)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			mu.Lock()
			defer mu.Unlock()
			found(i, f, code)
			return nil
		})
	}
	err = errors.Join(g.Wait(), x.Close())
	return x.Manifest(), err
}

func faceOf(ctx context.Context, x *extract.Extractor, file string, o extract.Options) (*extract.Face, string, error) {
	photo, err := os.ReadFile(file)
	if err != nil {
		return nil, "", err
	}
	faces, err := x.Extract(ctx, photo, o)
	if code := http.Code(err); code != "" {
		return nil, code, nil
	}
	if err != nil {
		return nil, "", err
	}
	return &faces[0], "", nil
}
