package mpc

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestDecisionThatFails: a decision that the gateway's disk did not acknowledge may be there all the same. Nobody is told that it is not: the gateway that is
// started next says.
func TestDecisionThatFails(t *testing.T) {
	for name, kept := range map[string]int{"kept": 100, "lost": 0} {
		t.Run(name, func(t *testing.T) {
			rng, c := seeded(t), newWorld(t)
			var broken atomic.Bool
			c.folders[Parties], c.files[Parties] = "gateway", errorfs.Wrap(c.gatewayFS, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if broken.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo) {
					return errors.New("the disk is gone")
				}
				return nil
			}))
			for i := range c.parties {
				c.start(i)
			}
			c.startGateway()
			c.ready()
			x := unit(rng, testDim)
			c.enrol("other", x)
			c.consistent()
			g := c.gateway
			g.cfg.hook = func(step string) {
				if step == "voted" {
					broken.Store(true)
				}
			}
			_, err := g.Enrol(context.Background(), "t", "a", Enrolment{Policy: 1, Template: x})
			wantErr(t, err, ErrStorage)
			for _, r := range g.remotes {
				if _, err := r.greet(t.Context(), false); err != nil {
					t.Fatal(err)
				}
				wantErr(t, r.settleDoubts(t.Context()), ErrStorage)
			}
			for i, p := range c.parties {
				if voted, err := p.store.voted(); err != nil || !voted {
					t.Errorf("party %d has forgotten its vote: %v", i, err)
				}
			}
			if err := g.Close(); !errors.Is(err, ErrStorage) {
				t.Errorf("close: %v", err)
			}
			c.gatewayFS, c.files[Parties] = c.gatewayFS.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: rng}), nil
			c.startGateway()
			c.consistent()
			is, err := c.gateway.Enrolled("t", "a")
			if err != nil || is != (kept == 100) {
				t.Errorf("enrolled: %v, %v", is, err)
			}
			c.verify("other", x, true)
		})
	}
}
