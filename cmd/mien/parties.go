package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"mien/engine"
	"mien/engine/mpc"
	"mien/http"
)

// partiesConfig is the file of serve --parties. Paths are relative to the file's folder.
type partiesConfig struct {
	Cluster  string            `json:"cluster"`
	Dir      string            `json:"dir"`                // of the gateway, as mien party init --role gateway-N makes it
	Policies string            `json:"policies,omitempty"` // default: DIR/policies.json
	Spaces   map[string]uint16 `json:"spaces"`             // the policy of each embedding space
	Parties  []partyAt         `json:"parties"`            // 0, 1 and 2
	Timeout  string            `json:"round_timeout,omitempty"`
}

// partyAt is where a party is, and by which key it is known.
type partyAt struct {
	Address  string `json:"address"`
	Pin      string `json:"pin"`
	SharePin string `json:"share_pin,omitempty"` // of the key that clients seal shares to; "": the one that the party says
}

// parties is a gateway to three parties; the zero value is none.
type parties struct {
	serves   *http.Decentralised
	greeting string
	children *children // of --parties dev

	ctx  context.Context // of tend and test
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// openParties opens the gateway, and starts the parties if they are to be children. What is opened is to be closed after the server.
func (c *serveCmd) openParties(ctx context.Context, spaces []engine.Space, log *slog.Logger) (*parties, error) {
	if c.RepairParty < -1 || c.RepairParty >= mpc.Parties {
		return nil, fmt.Errorf("--repair-party %d: parties are 0, 1 and 2", c.RepairParty)
	}
	switch c.Parties {
	case "":
		if c.RepairParty >= 0 {
			return nil, fmt.Errorf("--repair-party %d needs --parties", c.RepairParty)
		}
		return &parties{}, nil
	case "dev":
		p, err := c.devParties(ctx, spaces[0], log)
		if err == nil {
			p.tend(c.RepairParty, c.RefreshShares, log)
		}
		return p, err
	}
	config, err := readParties(c.Parties)
	if err != nil {
		return nil, fmt.Errorf("--parties %s: %w", c.Parties, err)
	}
	p, err := config.open(spaces, log)
	if err != nil {
		return nil, fmt.Errorf("--parties %s: %w", c.Parties, err)
	}
	p.tend(c.RepairParty, c.RefreshShares, log)
	p.greeting = fmt.Sprintf("decentralised matching with %s, %s and %s\n", config.Parties[0].Address, config.Parties[1].Address, config.Parties[2].Address)
	return p, nil
}

// readParties reads the file.
func readParties(path string) (c partiesConfig, err error) {
	f, err := os.Open(path)
	if err != nil {
		return c, fmt.Errorf("the file can't be read: %w; README.md has its form, and --parties dev needs none", reason(err))
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("it is not as README.md has it: %w", err)
	}
	if len(c.Parties) != mpc.Parties {
		return c, fmt.Errorf("it names %d parties, want %d", len(c.Parties), mpc.Parties)
	}
	for _, p := range []*string{&c.Dir, &c.Policies} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(path), *p)
		}
	}
	return c, nil
}

// open opens the gateway. The parties need not be there.
func (c partiesConfig) open(spaces []engine.Space, log *slog.Logger) (*parties, error) {
	config := mpc.GatewayConfig{Cluster: c.Cluster, Dir: c.Dir, Pins: mpc.Pins{}, Logger: log}
	var err error
	if config.Identity, err = readIdentity(c.Dir); err != nil {
		return nil, err
	}
	var ok bool
	if config.Index, ok = config.Identity.Role.Gateway(); !ok {
		return nil, fmt.Errorf("the certificate in %s is that of %s, not of a gateway: mien party init --role gateway-0", c.Dir, config.Identity.Role)
	}
	if config.Policies, err = readPolicies(or(c.Policies, c.Dir, policiesFile)); err != nil {
		return nil, err
	}
	if c.Timeout != "" {
		if config.Timeout, err = time.ParseDuration(c.Timeout); err != nil {
			return nil, fmt.Errorf("round_timeout: %w", err)
		}
	}
	warnReadable(log, filepath.Join(c.Dir, tlsKeyFile), filepath.Join(c.Dir, directoryFile))
	for i, p := range c.Parties {
		pins, err := parsePins(map[string]string{string(mpc.PartyRole(i)): p.Pin})
		if err != nil {
			return nil, err
		}
		config.Parties[i], config.Pins[mpc.PartyRole(i)] = p.Address, pins[mpc.PartyRole(i)]
		if p.SharePin != "" {
			if pins, err = parsePins(map[string]string{string(mpc.PartyRole(i)): p.SharePin}); err != nil {
				return nil, err
			}
			config.ShareKeys[i] = pins[mpc.PartyRole(i)]
		}
	}
	if err := c.checkSpaces(spaces, config.Policies); err != nil {
		return nil, err
	}
	if config.Key, err = readKey(filepath.Join(c.Dir, directoryFile)); err != nil {
		return nil, err
	}
	defer clear(config.Key)
	g, err := mpc.OpenGateway(config)
	if err != nil {
		return nil, fmt.Errorf("gateway folder %s: %w", c.Dir, err)
	}
	return &parties{serves: &http.Decentralised{Gateway: g, Policies: c.Spaces}}, nil
}

// checkSpaces refuses policies that no embedding space of the server can have.
func (c partiesConfig) checkSpaces(spaces []engine.Space, policies *mpc.Policies) error {
	for _, s := range spaces {
		id, named := c.Spaces[s.ID]
		if !named {
			continue
		}
		p, known := policies.Policies[id]
		switch {
		case !known:
			return fmt.Errorf("embedding space %s has policy %d, which %s does not have", s.ID, id, policiesFile)
		case p.Params.Dim != s.Dim:
			return fmt.Errorf("embedding space %s has %d numbers, and its policy %d", s.ID, s.Dim, p.Params.Dim)
		}
	}
	for id := range c.Spaces {
		if !slices.Contains(idsOf(spaces), id) {
			return fmt.Errorf("there is no embedding space %q here: %s", id, strings.Join(idsOf(spaces), ", "))
		}
	}
	return nil
}

// tend repairs a party, if one is named, and refreshes shares every so often, until close.
func (p *parties) tend(repair int, every time.Duration, log *slog.Logger) {
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.wg.Go(func() {
		if repair >= 0 {
			p.repair(p.ctx, repair, log)
		}
		if every <= 0 {
			return
		}
		refresh(p.ctx, p.serves.Gateway, every, log)
	})
}

// test has the parties asked about canaries at random times, every so often on average, until close.
func (p *parties) test(server *http.Server, every time.Duration) {
	if p.serves == nil || every <= 0 {
		return
	}
	p.wg.Go(func() {
		for {
			select {
			case <-p.ctx.Done():
				return
			case <-time.After(time.Duration(rand.ExpFloat64() * float64(every))):
			}
			_ = server.CheckCanaries(p.ctx) // it fails when this ends
		}
	})
}

// refreshes is a gateway.
type refreshes interface {
	Refreshed() (time.Time, error)
	Refresh(ctx context.Context) error
}

// refreshAgain is how long a refresh that came to nothing waits for another try.
const refreshAgain = time.Minute

// refresh has shares made anew whenever those of last time are old, until ctx ends. Restarts of the server don't put it off.
func refresh(ctx context.Context, g refreshes, every time.Duration, log *slog.Logger) {
	for {
		last, err := g.Refreshed()
		wait := time.Until(last.Add(every))
		if err == nil && (wait <= 0 || wait > every) { // or the clock was put back
			wait, err = 0, g.Refresh(ctx)
		}
		if err != nil {
			if ctx.Err() == nil {
				log.Warn("parties: shares were not made anew", "error", err)
			}
			wait = min(every, refreshAgain)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// repairEvery is how often it is tried to repair a party: it, or another, may not be there yet.
const repairEvery = 200 * time.Millisecond

func (p *parties) repair(ctx context.Context, party int, log *slog.Logger) {
	for ctx.Err() == nil {
		switch err := p.serves.Gateway.Repair(ctx, party); {
		case err == nil:
			log.Info("parties: a party was repaired, and all shares are new", "party", party)
			return
		case errors.Is(err, mpc.ErrExists) || errors.Is(err, mpc.ErrConfig):
			log.Info("parties: there is nothing to repair", "party", party, "reason", err)
			return
		default:
			log.Debug("parties: not repaired yet", "party", party, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(repairEvery):
		}
	}
}

func (p *parties) close() (err error) {
	if p.stop != nil {
		p.stop()
		p.wg.Wait()
	}
	if p.serves != nil {
		err = p.serves.Gateway.Close()
	}
	if p.children != nil {
		p.children.stop()
	}
	return err
}
