package load

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm pauses by a timerfd that Go's poller waits for: the kernel wakes it to the moment, where a timer of Go's that
// nothing else runs beside fires up to 1 ms late (measured: 300 µs took 1.08 ms).
type alarm struct{ f *os.File }

func newPauser() (pauser, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	return alarm{os.NewFile(uintptr(fd), "timerfd")}, nil
}

// until falls back to Go's timer where the alarm fails.
func (a alarm) until(ctx context.Context, t time.Time) {
	d := time.Until(t)
	if d <= 0 || ctx.Err() != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = a.f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if a.sleep(d) != nil {
		sleeper{}.until(ctx, t)
	}
}

func (a alarm) sleep(d time.Duration) error {
	raw, err := a.f.SyscallConn()
	if err != nil {
		return err
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}
	closed := raw.Control(func(fd uintptr) { err = unix.TimerfdSettime(int(fd), 0, &spec, nil) })
	if err := cmp.Or(closed, err); err != nil {
		return err
	}
	var ticks [8]byte
	_, err = a.f.Read(ticks[:])
	return err
}

// Close frees the timer.
func (a alarm) Close() error { return a.f.Close() }
