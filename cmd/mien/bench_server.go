package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"mien/engine"
	"mien/http"
)

// benchServer is a server that is asked, one that runs already or one of this process.
type benchServer struct {
	name  string // for the report
	api   remote
	dim   int      // of its templates
	undo  cleanups // of what runs here
	space string   // of the gallery; "" is the server's default
}

// cleanups are what is to be done at the end, the last first.
type cleanups []func() error

func (c cleanups) close() (err error) {
	for _, f := range slices.Backward(c) {
		err = errors.Join(err, f())
	}
	return err
}

// server is the one of --server if --running, else one of its own.
func (c *benchHTTPCmd) server(ctx context.Context) (*benchServer, error) {
	if c.Running {
		return &benchServer{name: c.Server, api: c.remote, dim: c.Dim, space: c.Space}, nil
	}
	s := &benchServer{name: "in process"}
	if err := s.start(ctx, c); err != nil {
		return nil, errors.Join(err, s.undo.close())
	}
	return s, nil
}

// start serves as mien serve does, from a folder that is removed at the end. It logs every request, into a file: a server
// that logs nothing would look faster than one that is used.
func (s *benchServer) start(ctx context.Context, c *benchHTTPCmd) error {
	dir, err := os.MkdirTemp("", "mien-bench-*")
	if err != nil {
		return err
	}
	s.undo = append(s.undo, func() error { return os.RemoveAll(dir) })
	file, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	s.undo = append(s.undo, file.Close)
	serve := &serveCmd{modelFlags: c.modelFlags, providerFlags: c.providerFlags, limitFlags: c.limitFlags, logFlags: logFlags{LogFormat: "json", LogLevel: "info"}}
	log, flush := serve.logger(file)
	s.undo = append(s.undo, func() error { flush(); return nil })
	loaded, err := s.load(c, serve, log)
	if err != nil {
		return err
	}
	spaces := loaded.spaces()
	if len(spaces) == 0 {
		spaces = []engine.Space{benchSpace(c.Dim)}
	}
	s.dim = spaces[0].Dim
	e, err := serve.engine(dataDir{path: dir}, spaces, loaded, log)
	if err != nil {
		return err
	}
	s.undo = append(s.undo, e.Close)
	if _, s.api.Key, err = e.CreateKey(ctx, "default", engine.KeySpec{Role: engine.RoleAdmin}); err != nil {
		return err
	}
	return s.listen(ctx, serve.httpConfig(e, loaded, log), log)
}

// load loads the models if photos are to be read.
func (s *benchServer) load(c *benchHTTPCmd, serve *serveCmd, log *slog.Logger) (packs, error) {
	if !c.readsPhotos() {
		return nil, nil
	}
	loaded, err := serve.loadPacks(log)
	if err == nil {
		s.undo = append(s.undo, loaded.close)
	}
	return loaded, err
}

// listen serves on a free port until undo, which may be after ctx: the gallery is to be deleted first.
func (s *benchServer) listen(ctx context.Context, config http.Config, log *slog.Logger) error {
	server, err := http.New(config)
	if err != nil {
		return err
	}
	ln, err := listen("127.0.0.1:0", false)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s.api.Server = "http://" + ln.Addr().String()
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var g errgroup.Group
	g.Go(func() error { return serveUntil(ctx, server, ln, log) })
	s.undo = append(s.undo, func() error { stop(); return g.Wait() })
	return nil
}

// benchSpace is the space of made-up templates, with thresholds near those of the default model.
func benchSpace(dim int) engine.Space {
	return engine.Space{ID: "bench", Dim: dim, Calibration: engine.Calibration{Points: []engine.CalibrationPoint{
		{Cosine: 0.2, FMR: 1e-2}, {Cosine: 0.4, FMR: 1e-4}, {Cosine: 0.6, FMR: 1e-7, Extrapolated: true},
	}}}
}
