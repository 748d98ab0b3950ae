package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/term"

	"mien/extract/pack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with its surroundings given; it returns the exit code.
func run(ctx context.Context, args []string, stderr io.Writer) int {
	s, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "setup:", err)
		return 2
	}
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(stderr, "setup:", err)
		return 1
	}
	return 0
}

func parseFlags(args []string, stderr io.Writer) (*setup, error) {
	s := &setup{out: stderr, runtime: onnxRuntime, models: pack.Definitions(), driver: playwright, terminal: isTerminal(stderr)}
	flags := flag.NewFlagSet("setup", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are our one line
	flags.StringVar(&s.build, "build", "build", "folder to install under")
	flags.StringVar(&s.platform, "platform", runtime.GOOS+"/"+runtime.GOARCH, "whose library, as GOOS/GOARCH")
	flags.BoolVar(&s.sources, "sources", false, "also keep the published models in the cache")
	flags.BoolVar(&s.browser, "browser", false, "also install what drives a browser in tests")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stderr)
		flags.Usage()
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		return nil, err
	}
	s.cache = cache{dir: cacheDir()}
	return s, nil
}

// cacheDir returns "" if the machine has no cache folder to offer; that matters only when something is to be fetched.
func cacheDir() string {
	user, err := os.UserCacheDir()
	if err == nil {
		user = filepath.Join(user, "mien")
	}
	return cmp.Or(os.Getenv("MIEN_CACHE"), user)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
