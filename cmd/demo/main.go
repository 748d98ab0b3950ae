package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run serves the bank until ctx ends or mien does.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	program := flags.String("mien", "build/mien", "mien's program")
	data := flags.String("data", "build/demo-data", "mien's data folder")
	listen := flags.String("listen", "127.0.0.1:8090", "where the bank listens: on this machine, for browsers give a camera to no other page without TLS")
	mienListen := flags.String("mien-listen", "127.0.0.1:8091", "where its mien does")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	ctx, cancel := context.WithCancel(ctx)
	mien, err := startMien(ctx, *program, *data, *mienListen)
	if err != nil {
		cancel()
		return err
	}
	defer func() { cancel(); <-mien.done }()
	const name = "Example Bank"
	origin := "http://" + listener.Addr().String()
	key, err := mien.prepare(ctx, name, origin)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newBank(name, origin, mien.url, key).handler(), ReadHeaderTimeout: 5 * time.Second}
	fmt.Fprintf(stdout, "%s is open at %s (mien at %s)\n", name, origin, mien.url)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err = <-failed:
	case err = <-mien.done:
		mien.done <- nil
		err = fmt.Errorf("mien ended: %w", err)
	case <-ctx.Done():
		err = nil
	}
	return errors.Join(err, server.Close())
}
