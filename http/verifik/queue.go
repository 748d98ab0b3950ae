package verifik

import (
	"context"
	"errors"
	"log/slog"
	nethttp "net/http"
	"slices"
	"sync"
	"time"

	"mien/engine"
)

// queue sends deliveries. The store has them, before anybody is answered what they tell of; here is which there are and when the next
// attempt is due. After a restart it is read from the store: what was under way then is sent again under the same webhook-id.
//
// A project has one delivery under way at a time, and maxLane in all: one more takes the place of the oldest, which is given up if it
// was not delivered. Safe for concurrent use.
type queue struct {
	engine *engine.Engine
	client *nethttp.Client
	log    *slog.Logger
	delays []time.Duration
	most   int           // deliveries of a project
	wake   chan struct{} // something has changed; buffered

	mu struct {
		sync.Mutex
		lanes map[laneKey]*lane
	}
}

type laneKey struct{ tenant, project string }

// lane are a project's deliveries.
type lane struct {
	all     []string             // ids in the order in which they were made, delivered ones too
	pending map[string]time.Time // when they are due
	busy    bool
}

const (
	maxLane    = 1000
	maxSenders = 16 // deliveries under way
	maxShare   = 4  // of them of one tenant: receivers that do not answer are not to hold up others'
	retryStore = time.Minute
)

func newQueue(e *engine.Engine, g guard, log *slog.Logger) *queue {
	q := &queue{engine: e, client: g.client(), log: log, delays: delays, most: maxLane, wake: make(chan struct{}, 1)}
	q.mu.lanes = make(map[laneKey]*lane)
	return q
}

// take has the deliveries of a write sent that has happened.
func (q *queue) take(tenant string, o *outbox) {
	for _, d := range o.list {
		q.add(tenant, d)
	}
	if len(o.list) > 0 {
		q.stir()
	}
}

func (q *queue) stir() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) add(tenant string, d *delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := laneKey{tenant, d.Project}
	l := q.mu.lanes[key]
	if l == nil {
		l = &lane{pending: make(map[string]time.Time)}
		q.mu.lanes[key] = l
	}
	if i, there := slices.BinarySearch(l.all, d.ID); !there {
		l.all = slices.Insert(l.all, i, d.ID)
		if d.Status == deliveryPending {
			l.pending[d.ID] = d.Next
		}
	}
}

// forget drops a project.
func (q *queue) forget(tenant, project string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.mu.lanes, laneKey{tenant, project})
}

// run sends until ctx ends, and waits for what is under way.
func (q *queue) run(ctx context.Context) {
	var senders sync.WaitGroup
	defer senders.Wait()
	for loaded := false; ; {
		loaded = loaded || q.load(ctx)
		wait := q.start(ctx, &senders)
		if !loaded {
			wait = min(wait, retryStore)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-q.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// load reads all deliveries of the store that can be read, and reports whether that was all of them.
func (q *queue) load(ctx context.Context) (all bool) {
	all = true
	for _, tenant := range q.engine.DocumentTenants() {
		if err := q.loadTenant(ctx, tenant); err != nil && ctx.Err() == nil {
			q.log.LogAttrs(ctx, slog.LevelError, "webhooks of a tenant wait: their deliveries can't be read", slog.String("tenant", tenant), slog.Any("error", err))
			all = false
		}
	}
	return all
}

func (q *queue) loadTenant(ctx context.Context, tenant string) error {
	for after := ""; ; {
		list, err := q.engine.Documents(ctx, tenant, kindDelivery, engine.MaxListLimit, after)
		if errors.Is(err, engine.ErrTenantNotFound) || err == nil && len(list) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range list {
			d, err := decodeDelivery(&list[i])
			if err != nil {
				return err
			}
			q.add(tenant, d)
		}
		after = list[len(list)-1].ID
	}
}

// job is one thing to do for a project: to send a delivery, or to drop the oldest.
type job struct {
	key  laneKey
	id   string
	drop bool
}

// start begins what is due and may begin. It returns how long it is until something else will be.
func (q *queue) start(ctx context.Context, senders *sync.WaitGroup) time.Duration {
	jobs, wait := q.due(q.engine.Now())
	for _, j := range jobs {
		senders.Go(func() {
			defer q.stir()
			q.do(ctx, j)
		})
	}
	return wait
}

func (q *queue) due(now time.Time) (jobs []job, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	busy, of := 0, make(map[string]int) // all, and by tenant
	begin := func(tenant string) { busy, of[tenant] = busy+1, of[tenant]+1 }
	for key, l := range q.mu.lanes {
		if l.busy {
			begin(key.tenant)
		}
	}
	wait = time.Hour
	for key, l := range q.mu.lanes {
		id, left, ok := l.next(now)
		switch {
		case l.busy || !ok && len(l.all) <= q.most || busy >= maxSenders || of[key.tenant] >= maxShare: // who is busy will stir
		case len(l.all) > q.most:
			jobs, l.busy = append(jobs, job{key, l.all[0], true}), true
			begin(key.tenant)
		case left <= 0:
			jobs, l.busy = append(jobs, job{key, id, false}), true
			begin(key.tenant)
		default:
			wait = min(wait, left)
		}
	}
	return jobs, max(wait, time.Millisecond)
}

// next is the pending delivery that is due first, the oldest of several, and when.
func (l *lane) next(now time.Time) (id string, left time.Duration, ok bool) {
	for i, at := range l.pending {
		if d := at.Sub(now); !ok || d < left || d == left && i < id {
			id, left, ok = i, d, true
		}
	}
	return id, left, ok
}

// do does a job, and notes what is left to do.
func (q *queue) do(ctx context.Context, j job) {
	var next time.Time
	var err error
	gone := j.drop
	if j.drop {
		err = deleteDocument(q.as(ctx, j), q.engine, j.key.tenant, kindDelivery, j.key.project+"."+j.id)
	} else {
		next, gone, err = q.deliver(q.as(ctx, j), j)
	}
	if err != nil && ctx.Err() == nil {
		q.log.LogAttrs(ctx, slog.LevelError, "a webhook's delivery can't be noted", slog.String("project", j.key.project), slog.String("delivery", j.id), slog.Any("error", err))
		next, gone = q.engine.Now().Add(retryStore), false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.mu.lanes[j.key]
	if l == nil {
		return
	}
	l.busy = false
	if next.IsZero() {
		delete(l.pending, j.id)
	} else {
		l.pending[j.id] = next
	}
	if i, there := slices.BinarySearch(l.all, j.id); there && gone {
		l.all = slices.Delete(l.all, i, i+1)
	}
}

// as says who writes.
func (q *queue) as(ctx context.Context, j job) context.Context {
	return engine.WithActor(ctx, engine.Actor{Tenant: j.key.tenant, Program: "verifik webhooks"})
}

// deliver makes an attempt and notes it. next is when the next is due, zero for never; gone says that there is no such delivery any
// more: it has ended, or whom it was about was deleted.
func (q *queue) deliver(ctx context.Context, j job) (next time.Time, gone bool, err error) {
	doc, err := q.engine.Document(ctx, j.key.tenant, kindDelivery, j.key.project+"."+j.id)
	if err != nil {
		return next, isGone(err), ignoreGone(err)
	}
	d, err := decodeDelivery(&doc)
	if err != nil || d.Status != deliveryPending {
		return next, false, err
	}
	projectDoc, err := q.engine.Document(ctx, j.key.tenant, kindProject, j.key.project)
	if err != nil {
		return next, isGone(err), ignoreGone(err)
	}
	p, err := decodeProject(&projectDoc)
	if err != nil {
		return next, false, err
	}
	now := q.engine.Now()
	a, after := sending{Time: now, Error: "no webhook"}, time.Duration(0)
	if p.Webhook.sends() {
		a, after = send(ctx, q.client, p.Webhook, d, now)
		if ctx.Err() != nil { // the server stops: what came of it is not known, and it is sent again
			return now, false, nil
		}
	}
	if a.Status == nethttp.StatusGone {
		if err := q.disable(ctx, j, now); err != nil {
			return next, false, err
		}
	}
	return q.note(ctx, j, a, after)
}

// note writes an attempt into the log.
func (q *queue) note(ctx context.Context, j job, a sending, after time.Duration) (next time.Time, gone bool, err error) {
	_, err = q.engine.ChangeDocument(ctx, j.key.tenant, kindDelivery, j.key.project+"."+j.id, engine.DocumentOptions{}, func(old *engine.Document) (*engine.Document, error) {
		if old == nil {
			return nil, nil
		}
		d, err := decodeDelivery(old)
		if err != nil {
			return nil, err
		}
		next = d.noted(a, after, q.delays)
		return d.document()
	})
	return next, isGone(err), ignoreGone(err)
}

// noted adds an attempt. next is when the next is due, zero for never.
func (d *delivery) noted(a sending, after time.Duration, delays []time.Duration) (next time.Time) {
	d.Attempts = append(d.Attempts, a)
	d.Next, d.Status = time.Time{}, deliveryFailed
	switch {
	case a.Error == "":
		d.Status = deliveryDelivered
	case a.Status == nethttp.StatusGone || a.Status == 0 && a.Error == "no webhook":
	default:
		if at, again := nextAttempt(a.Time, len(d.Attempts), delays, after); again {
			d.Next, d.Status = at, deliveryPending
		}
	}
	if d.Status != deliveryPending {
		d.Body = nil // the log tells when and how it went, and nobody reads what it said
	}
	return d.Next
}

// disable stops a webhook whose receiver wants no more (410), until it is given a URL anew.
func (q *queue) disable(ctx context.Context, j job, now time.Time) error {
	_, err := q.engine.ChangeDocument(ctx, j.key.tenant, kindProject, j.key.project, engine.DocumentOptions{Audit: "verifik.project.update", Note: "webhook disabled: 410"},
		func(old *engine.Document) (*engine.Document, error) {
			if old == nil {
				return nil, nil
			}
			p, err := decodeProject(old)
			if err != nil || p.Webhook == nil {
				return old, err
			}
			p.Webhook.Disabled = now
			return encode(p)
		})
	return err
}

// isGone reports whether there is no such document any more, nor its tenant, nor whom it is about.
func isGone(err error) bool {
	return errors.Is(err, engine.ErrDocumentNotFound) || errors.Is(err, engine.ErrTenantNotFound) || errors.Is(err, engine.ErrPersonNotFound) ||
		errors.Is(err, engine.ErrGalleryNotFound)
}

func ignoreGone(err error) error {
	if isGone(err) {
		return nil
	}
	return err
}
