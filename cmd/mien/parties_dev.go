package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"mien/engine"
	"mien/engine/mpc"
)

// devCluster names the installation of --parties dev.
const devCluster = "dev"

// oneDomain is said of --parties dev wherever it is started.
const oneDomain = "decentralised matching, for a try-out: three parties are child processes of this one, with folders below %s.\n" +
	"They are ONE TRUST DOMAIN: whoever reads this disk, or administers this machine, can rebuild every template. " +
	"It is decentralised only with three administrators, machines and backups: mien party, and serve --parties FILE\n"

// devParties starts three parties as children, below the data folder, and opens the gateway to them.
func (c *serveCmd) devParties(ctx context.Context, of engine.Space, log *slog.Logger) (*parties, error) {
	dir := filepath.Join(c.Data, "parties")
	k, err := newChildren(dir, of, c.logFlags, log)
	if err != nil {
		return nil, fmt.Errorf("--parties dev: %w", err)
	}
	if c.CoreDumps {
		k.extra = []string{"--allow-core-dumps"}
	}
	config, err := devConfig(dir, of)
	if err == nil {
		config.Parties = k.at
		k.start(ctx)
		var p *parties
		if p, err = config.open([]engine.Space{of}, log); err == nil {
			p.children, p.greeting = k, fmt.Sprintf(oneDomain, relative(dir))
			log.Warn("--parties dev: three parties on one machine are one trust domain", "folder", dir)
			return p, nil
		}
	}
	k.stop()
	return nil, fmt.Errorf("--parties dev: %w", err)
}

// devConfig is the gateway's, with the policy of the space that the folder was made for: of another one there is none.
func devConfig(dir string, of engine.Space) (c partiesConfig, err error) {
	gateway := filepath.Join(dir, "gateway")
	if _, err := initParty(gateway, mpc.GatewayRole(0), of); err != nil {
		return c, err
	}
	file := filepath.Join(gateway, "space")
	if err := writeNew(file, of.ID); err != nil {
		return c, err
	}
	made, err := os.ReadFile(file)
	if err != nil {
		return c, err
	}
	if id := strings.TrimSpace(string(made)); id != of.ID {
		return c, fmt.Errorf("%s was made for embedding space %s, and this server's default is %s: name that pack first by --models, or remove the folder with all who are enrolled", dir, id, of.ID)
	}
	return partiesConfig{Cluster: devCluster, Dir: gateway, Spaces: policiesOf([]engine.Space{of})}, nil
}

// children are three parties as child processes. Their ports are held here, so that they outlive the children.
type children struct {
	at        []partyAt
	log       *slog.Logger
	logs      logFlags
	dir       string
	gateway   string // pin
	listeners [mpc.Parties]*os.File
	cancel    context.CancelFunc
	wg        sync.WaitGroup
	cluster   string
	extra     []string // flags
}

// newChildren makes folders and keys, and opens the ports.
func newChildren(dir string, of engine.Space, logs logFlags, log *slog.Logger) (*children, error) {
	k := &children{log: log, logs: logs, dir: dir, cluster: devCluster}
	gateway, err := initParty(filepath.Join(dir, "gateway"), mpc.GatewayRole(0), of)
	if err != nil {
		return nil, err
	}
	k.gateway = pinText(gateway.Pin())
	for i := range k.listeners {
		id, err := initParty(k.folder(i), mpc.PartyRole(i), of)
		if err != nil {
			return nil, errors.Join(err, k.closePorts())
		}
		address, err := k.open(i)
		if err != nil {
			return nil, errors.Join(err, k.closePorts())
		}
		share, err := sharePin(k.folder(i))
		if err != nil {
			return nil, errors.Join(err, k.closePorts())
		}
		k.at = append(k.at, partyAt{address, pinText(id.Pin()), share})
	}
	return k, nil
}

func (k *children) folder(i int) string { return filepath.Join(k.dir, string(mpc.PartyRole(i))) }

func (k *children) open(i int) (address string, err error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	k.listeners[i], err = l.(*net.TCPListener).File()
	return l.Addr().String(), err
}

func (k *children) closePorts() (err error) {
	for _, f := range k.listeners {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

func (k *children) start(ctx context.Context) {
	ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx)) // a signal ends the server first, and then them
	for i := range k.listeners {
		k.wg.Go(func() { k.keep(ctx, i) })
	}
}

// stop ends the children and waits for them.
func (k *children) stop() {
	if k.cancel != nil {
		k.cancel()
	}
	k.wg.Wait()
	_ = k.closePorts()
}

const (
	shortestBackOff = 50 * time.Millisecond
	longestBackOff  = 10 * time.Second
	childStop       = 10 * time.Second // then a child that does not end is killed
)

// keep runs a party, again and again, and waits longer each time that it ends soon.
func (k *children) keep(ctx context.Context, i int) {
	for wait := shortestBackOff; ctx.Err() == nil; wait = min(2*wait, longestBackOff) {
		begin := time.Now()
		err := k.run(ctx, i)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begin) > longestBackOff {
			wait = shortestBackOff
		}
		k.log.Error("a party ended", "party", i, "error", err, "again_in", wait.String())
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// run runs a party until it ends, or ctx.
func (k *children) run(ctx context.Context, i int) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, k.arguments(i)...)
	cmd.Env = append(withoutSettings(os.Environ()), fmt.Sprintf("GOMAXPROCS=%d", max(1, runtime.GOMAXPROCS(0)/mpc.Parties))) // they share the cores
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, []*os.File{k.listeners[i]}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's interrupt is for the server
	life, err := cmd.StdinPipe()                          // which ends with this process, however it ends
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	k.log.Info("a party runs", "party", i, "pid", cmd.Process.Pid)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return end(cmd, life, done)
	}
}

func end(cmd *exec.Cmd, life io.Closer, done <-chan error) error {
	_ = life.Close()
	select {
	case err := <-done:
		return err
	case <-time.After(childStop):
		_ = cmd.Process.Kill()
		return <-done
	}
}

func (k *children) arguments(i int) []string {
	pins := "gateway-0=" + k.gateway
	for j, p := range k.at {
		pins += fmt.Sprintf(";party%d=%s", j, p.Pin)
	}
	args := []string{"party", "--data", k.folder(i), "--cluster", k.cluster, "--next", k.at[(i+1)%mpc.Parties].Address, "--pin", pins,
		"--listen-fd", "3", "--with-parent", "--log-format", k.logs.LogFormat, "--log-level", k.logs.LogLevel}
	return append(args, k.extra...)
}

// withoutSettings is an environment without this program's: the master key may be among them, and is none of a party's business.
func withoutSettings(env []string) (kept []string) {
	for _, v := range env {
		if !strings.HasPrefix(v, "MIEN_") {
			kept = append(kept, v)
		}
	}
	return kept
}
