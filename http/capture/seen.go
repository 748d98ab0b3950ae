package capture

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"mien/engine"
)

// seen knows the prints of the frames that a tenant was sent in the last 30 days, so that a presentation of frames that somebody kept is found. It
// is in memory, and in documents of a day and a page each, which a restart reads when the tenant is next asked for. Safe for concurrent use.
//
// What is kept is a number for each word of a frame that means nothing without the tenant's key, and a mark of the session. Nothing says whose
// it was. A tenant that is sent more than maxSeenWords in 30 days (some 24,000 presentations of eleven frames) forgets the oldest day first.
type seen struct {
	engine *engine.Engine
	limit  int // words of all tenants in memory; those who were not asked for lately are read again
	mu     struct {
		sync.Mutex
		of map[string]*seenTenant
	}
}

const (
	kindSeen     = "capture.seen" // by day.page
	seenDays     = 30
	maxSeenWords = 1 << 20 // of a tenant: 40 MB
	maxAllWords  = 2 << 20
	maxPageBytes = 24 << 10
	secretSeen   = "capture.seen/1"
	dayLayout    = "20060102"

	// leastReplayed is how many frames of a presentation must have been seen: one may be chance.
	leastReplayed = 2
)

type seenTenant struct {
	key    []byte
	turn   chan struct{} // whoever holds the one place reads and writes what follows
	days   map[string]*seenDay
	asked  time.Time
	loaded bool
	size   int // words; also read under seen.mu
}

// seenDay is what came on a day.
type seenDay struct {
	words      map[uint64]uint64 // the session's mark
	page, used int               // the page that is written to, and its bytes
}

func newSeen(e *engine.Engine) *seen {
	s := &seen{engine: e, limit: maxAllWords}
	s.mu.of = make(map[string]*seenTenant)
	return s
}

// prints are those of pictures, by the tenant's key. Errors: the engine's.
func (s *seen) prints(ctx context.Context, tenant string, frames []*picture) ([]print, error) {
	key, err := s.engine.TenantSecret(ctx, tenant, secretSeen)
	if err != nil {
		return nil, err
	}
	list := make([]print, len(frames))
	for i, f := range frames {
		list[i] = printOf(key, f)
	}
	return list, nil
}

// note keeps the prints of a session's presentation, and returns how many of its frames another session has sent. It is in memory when it returns, with
// an error too. Errors: the engine's; that there are too many documents is none.
func (s *seen) note(ctx context.Context, tenant, session string, prints []print) (replayed int, err error) {
	t, err := s.take(ctx, tenant)
	if err != nil {
		return 0, err
	}
	defer s.giveBack(tenant, t)
	now := s.engine.Now().UTC()
	t.forget(now)
	mark := t.mark(session)
	for _, p := range prints {
		if t.has(p, mark) {
			replayed++
		}
	}
	page, record := t.add(now.Format(dayLayout), mark, prints)
	err = s.append(ctx, tenant, page, now, record)
	if errors.Is(err, engine.ErrDocumentsFull) {
		err = nil // until a restart it is known
	}
	return replayed, err
}

// take is a tenant's, once nobody else has it.
func (s *seen) take(ctx context.Context, tenant string) (*seenTenant, error) {
	key, err := s.engine.TenantSecret(ctx, tenant, secretSeen)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	t := s.mu.of[tenant]
	if t == nil || !hmac.Equal(t.key, key) { // erased, and there again
		t = &seenTenant{key: key, turn: make(chan struct{}, 1), days: make(map[string]*seenDay)}
		s.mu.of[tenant] = t
	}
	t.asked = s.engine.Now()
	s.mu.Unlock()
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if t.loaded {
		return t, nil
	}
	if err := s.load(ctx, tenant, t); err != nil {
		t.days = make(map[string]*seenDay)
		<-t.turn
		return nil, err
	}
	t.loaded = true
	return t, nil
}

// giveBack lets the next one have it, and drops other tenants' while there is too much in memory.
func (s *seen) giveBack(tenant string, t *seenTenant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.size = 0
	for _, d := range t.days {
		t.size += len(d.words)
	}
	<-t.turn
	for s.tooMuchLocked() {
		oldest := ""
		for name, other := range s.mu.of {
			if name != tenant && len(other.turn) == 0 && (oldest == "" || other.asked.Before(s.mu.of[oldest].asked)) {
				oldest = name
			}
		}
		if oldest == "" {
			return
		}
		delete(s.mu.of, oldest)
	}
}

func (s *seen) tooMuchLocked() bool {
	n := 0
	for _, t := range s.mu.of {
		n += t.size
	}
	return n > s.limit
}

// mark is what stands for a session.
func (t *seenTenant) mark(session string) uint64 {
	h := hmac.New(sha256.New, t.key)
	h.Write([]byte("session\x00" + session))
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// has reports whether one other session has sent a frame.
func (t *seenTenant) has(p print, mark uint64) bool {
	alike := make(map[uint64]int)
	for _, d := range t.days {
		for _, w := range p {
			if of, there := d.words[w]; there && of != mark {
				if alike[of]++; alike[of] == printAlike {
					return true
				}
			}
		}
	}
	return false
}

// keep notes a word. It stays that of the session that sent it first: who sends it again does not make it theirs.
func (d *seenDay) keep(word, mark uint64) {
	if _, there := d.words[word]; !there {
		d.words[word] = mark
	}
}

// add notes the prints of a day. It returns the document that they go to, and as what.
func (t *seenTenant) add(day string, mark uint64, prints []print) (page string, record []byte) {
	d := t.day(day)
	record = binary.BigEndian.AppendUint64(nil, mark)
	record = append(record, byte(len(prints)))
	for _, p := range prints {
		for _, w := range p {
			d.keep(w, mark)
			record = binary.BigEndian.AppendUint64(record, w)
		}
	}
	if d.used += len(record); d.used > maxPageBytes {
		d.page, d.used = d.page+1, len(record)
	}
	return pageID(day, d.page), record
}

func (t *seenTenant) day(name string) *seenDay {
	if t.days[name] == nil {
		t.days[name] = &seenDay{words: make(map[uint64]uint64)}
	}
	return t.days[name]
}

func pageID(day string, page int) string { return fmt.Sprintf("%s.%06d", day, page) }

// forget drops the days that are over, and the oldest while there is too much.
func (t *seenTenant) forget(now time.Time) {
	oldest := now.AddDate(0, 0, -seenDays).Format(dayLayout)
	names, n := make([]string, 0, len(t.days)), 0
	for name, d := range t.days {
		names, n = append(names, name), n+len(d.words)
	}
	slices.Sort(names)
	for _, name := range names {
		if name >= oldest && n <= maxSeenWords {
			return
		}
		n -= len(t.days[name].words)
		delete(t.days, name)
	}
}

// append writes what was added behind what a page has.
func (s *seen) append(ctx context.Context, tenant, page string, now time.Time, record []byte) error {
	end := now.Truncate(24*time.Hour).AddDate(0, 0, seenDays+1)
	_, err := s.engine.ChangeDocument(ctx, tenant, kindSeen, page, engine.DocumentOptions{}, func(old *engine.Document) (*engine.Document, error) {
		d := &engine.Document{Expires: end}
		if old != nil {
			d.Value = old.Value
		}
		d.Value = append(d.Value, record...)
		return d, nil
	})
	return err
}

// load reads the pages.
func (s *seen) load(ctx context.Context, tenant string, t *seenTenant) error {
	for after := ""; ; {
		list, err := s.engine.Documents(ctx, tenant, kindSeen, engine.MaxListLimit, after)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, d := range list {
			if err := t.read(&d); err != nil {
				return err
			}
		}
		after = list[len(list)-1].ID
		t.forget(s.engine.Now().UTC())
	}
}

// read takes a page into memory. Errors: engine.ErrCorrupt.
func (t *seenTenant) read(page *engine.Document) error {
	name, number, ok := strings.Cut(page.ID, ".")
	d, b, n := t.day(name), page.Value, 0
	if _, err := fmt.Sscanf(number, "%06d", &n); !ok || err != nil {
		return fmt.Errorf("%w: page of frames that were seen", engine.ErrCorrupt)
	}
	for len(b) > 0 {
		if len(b) < 9 || len(b) < 9+int(b[8])*printWords*8 {
			return fmt.Errorf("%w: page of frames that were seen", engine.ErrCorrupt)
		}
		mark, frames := binary.BigEndian.Uint64(b), int(b[8])
		for b = b[9:]; frames > 0; frames-- {
			for range printWords {
				d.keep(binary.BigEndian.Uint64(b), mark)
				b = b[8:]
			}
		}
	}
	if n >= d.page {
		d.page, d.used = n, len(page.Value)
	}
	return nil
}
