package mpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"
)

// complaint says why somebody can't be reached, when it is said for the first time or has changed: who dials tries again every second.
type complaint struct {
	log  *slog.Logger
	text string
	last string
}

// about logs an error of Dial at WARN, or at DEBUG if it is the one of before.
func (c *complaint) about(err error, args ...any) {
	level, now := slog.LevelWarn, causeOf(err)
	if now == c.last {
		level = slog.LevelDebug
	}
	c.last = now
	c.log.Log(context.Background(), level, c.text, append(args, "error", err)...)
}

// over is that it could be reached.
func (c *complaint) over() { c.last = "" }

// causeOf is an error's text without the ports of this side, which differ each time.
func causeOf(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Op + ": " + e.Err.Error()
	}
	return err.Error()
}

// youngLink is the age up to which a link that is up is not replaced by another of the same peer. Two processes that have one folder take
// turns at it, each as soon as the other has; one that was started anew has ended its link before.
const youngLink = time.Second

// twiceEvery is how often it is said that a peer is there twice.
const twiceEvery = time.Minute

// afterYoung waits while a link is up and young, so that who takes turns does it once a second, and says so.
func (p *Party) afterYoung(ctx context.Context, old *Link) {
	if old == nil || old.Err() != nil {
		return
	}
	wait := youngLink - time.Since(old.since)
	if wait <= 0 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-old.Done():
		return
	case <-ctx.Done():
		return
	case <-t.C:
		p.saidTwice(old.Peer())
	}
}

// linksOf are a gateway's links that are up.
func (p *Party) linksOf(gateway uint16) (links []*Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l, g := range p.mu.gateways {
		if g.index == gateway {
			links = append(links, l)
		}
	}
	return links
}

func (p *Party) saidTwice(peer Role) {
	p.mu.Lock()
	quiet := time.Since(p.mu.twice) < twiceEvery
	if !quiet {
		p.mu.twice = time.Now()
	}
	p.mu.Unlock()
	if !quiet {
		p.cfg.Logger.Warn("party: two processes connect as one: a folder, with its key, is in use twice; end one of them", "peer", peer)
	}
}
