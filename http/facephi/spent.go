package facephi

import (
	"bytes"
	"errors"
	"strconv"
	"time"

	"mien/engine"
	"mien/http/dialect"
	"mien/http/token"
)

// spent remembers the uses of a tenant's tokens in documents of the engine, so that single use holds over a restart: Spend returns when
// the use is on the disk. Uses that end in one minute share spentShards documents, each a list of ids, so that a tenant has a few
// hundred of them however many people authenticate, of the engine.MaxDocuments that all dialects share.
type spent struct{ c *dialect.Call }

const (
	spentKind   = "facephi.spent"
	spentShards = 32
	idSize      = len(token.ID{})
	minute      = 60
)

// Spend implements token.Spent. Errors: token.ErrReplayed, token.ErrFull, the engine's.
func (s spent) Spend(u token.Use) error {
	ends := u.Until.Unix()/minute + 1 // the minute in which nobody needs the use any more
	id := strconv.FormatInt(ends, 10) + "-" + strconv.Itoa(int(u.ID[0])%spentShards)
	_, err := s.c.Engine().ChangeDocument(s.c.Ctx, s.c.Key.Tenant, spentKind, id, engine.DocumentOptions{}, func(old *engine.Document) (*engine.Document, error) {
		d := &engine.Document{Expires: time.Unix((ends+1)*minute, 0)}
		if old != nil {
			d.Value = old.Value
		}
		if holds(d.Value, u.ID) {
			return nil, token.ErrReplayed
		}
		d.Value = append(d.Value, u.ID[:]...)
		return d, nil
	})
	if errors.Is(err, engine.ErrDocument) || errors.Is(err, engine.ErrDocumentsFull) {
		return token.ErrFull
	}
	return err
}

// holds reports whether a list of ids has one.
func holds(list []byte, id token.ID) bool {
	for ; len(list) >= idSize; list = list[idSize:] {
		if bytes.Equal(list[:idSize], id[:]) {
			return true
		}
	}
	return false
}
