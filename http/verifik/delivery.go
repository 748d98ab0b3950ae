package verifik

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	mathrand "math/rand/v2"
	"net"
	nethttp "net/http"
	"strconv"
	"strings"
	"time"

	"mien/engine"
	"mien/http/dialect"
)

// Events, as the vendor names them. The document says "various webhook events"; its page of supported events has these names, but for
// that of a person who is not found, which has none there.
const (
	eventNew            = "biometric_validation_new"
	eventValidated      = "biometric_validation_validated"
	eventFailed         = "biometric_validation_failed"
	eventLivenessScore  = "biometrics_liveness_score_not_acceptable"
	eventPersonNotFound = "biometric_validation_person_not_found"
)

// event is the body of a webhook: the vendor's type and object, and the time that Standard Webhooks wants beside them. Nothing
// biometric is in it.
type event struct {
	Type      string           `json:"type"`
	Timestamp string           `json:"timestamp"`
	Object    validationObject `json:"object"`
}

type validationObject struct {
	ID          string `json:"_id"`
	Client      string `json:"client"`
	Project     string `json:"project"`
	ProjectFlow string `json:"projectFlow"`
	Session     string `json:"livenessSession"`
	Identifier  string `json:"identifier"`
	Type        string `json:"type"`
	Status      string `json:"status"`
	Person      string `json:"person,omitempty"`
	ExpiresAt   string `json:"expiresAt"`
	CreatedAt   string `json:"createdAt"`
	UpdatedAt   string `json:"updatedAt"`
}

// Statuses of a delivery.
const (
	deliveryPending   = "pending"
	deliveryDelivered = "delivered"
	deliveryFailed    = "failed"
)

// delivery is an event on its way to a project's webhook, or the log of how it got there. It is kept as JSON.
type delivery struct {
	ID       string    `json:"id"` // the webhook-id, with messagePrefix
	Project  string    `json:"project"`
	Session  string    `json:"session"`
	Type     string    `json:"type"`
	Body     []byte    `json:"body"`
	Status   string    `json:"status"`
	Attempts []sending `json:"attempts,omitempty"`
	Next     time.Time `json:"next,omitzero"` // of pending ones

	Gallery string    `json:"gallery,omitempty"` // with Person: whom it is about
	Person  string    `json:"person,omitempty"`
	Created time.Time `json:"created"`
}

// sending is one attempt of a delivery.
type sending struct {
	Time   time.Time `json:"time"`
	Status int       `json:"status,omitempty"` // of HTTP; 0: there was no answer
	Error  string    `json:"error,omitempty"`  // why, one of the words of reasonOf
	TookMs int64     `json:"took_ms"`
}

const (
	messagePrefix = "msg_"
	keptDelivery  = 4 * 24 * time.Hour // longer than the last attempt takes to come
)

func (d *delivery) documentID() string { return d.Project + "." + d.ID }

func (d *delivery) document() (*engine.Document, error) {
	doc, err := encode(d)
	doc.Kind, doc.ID, doc.Gallery, doc.Person, doc.Expires = kindDelivery, d.documentID(), d.Gallery, d.Person, d.Created.Add(keptDelivery)
	return doc, err
}

func decodeDelivery(d *engine.Document) (*delivery, error) {
	x := new(delivery)
	return x, json.Unmarshal(d.Value, x)
}

// outbox are the deliveries that a write has beside a session.
type outbox struct {
	list []*delivery
	docs []engine.Document
}

func (o *outbox) documents() []engine.Document { return o.docs }

// fill makes the deliveries of a session's events; none where the project has no webhook.
func (s *service) fill(o *outbox, secret []byte, p *project, x *session, events []string) error {
	*o = outbox{}
	if !p.Webhook.sends() {
		return nil
	}
	n, now := namesOf(secret, x), x.Updated
	for _, kind := range events {
		body, err := compactJSON(event{kind, timestamp(now), validationObject{ID: x.Validation, Client: n.client, Project: p.ID, ProjectFlow: p.Flow, Session: x.ID,
			Identifier: x.Identifier, Type: "login", Status: x.validation(), Person: n.person, ExpiresAt: timestamp(x.Ends), CreatedAt: timestamp(x.Created),
			UpdatedAt: timestamp(now)}})
		if err != nil {
			return err
		}
		d := &delivery{ID: s.ids.next(now), Project: p.ID, Session: x.ID, Type: kind, Body: body, Status: deliveryPending, Next: now, Gallery: x.Gallery,
			Person: x.Person, Created: now}
		doc, err := d.document()
		if err != nil {
			return err
		}
		o.list, o.docs = append(o.list, d), append(o.docs, *doc)
	}
	return nil
}

// delays are those between attempts, the schedule that Standard Webhooks gives as an example; after the last one a delivery has
// failed. Each is lengthened by up to a tenth, at random, so that what failed at one time does not come back at one time.
var delays = []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}

// nextAttempt is when a delivery is tried again whose attempts have failed; ok is false if it is not. after is what the receiver asked for.
func nextAttempt(now time.Time, failed int, delays []time.Duration, after time.Duration) (at time.Time, ok bool) {
	if failed > len(delays) {
		return time.Time{}, false
	}
	wait := delays[failed-1]
	wait += time.Duration(mathrand.Int64N(int64(wait)/10 + 1))
	return now.Add(max(wait, min(after, maxRetryAfter))), true
}

const maxRetryAfter = time.Hour

// signatures are webhook-signature's: by the secret, and by the one before while that still counts (Standard Webhooks, 1.0.0).
func (w *webhook) signatures(id string, now time.Time, body []byte) string {
	text := v1Signature(w.Secret, id, now, body)
	if w.Previous != nil && now.Before(w.Until) {
		text += " " + v1Signature(w.Previous, id, now, body)
	}
	return text
}

func v1Signature(secret []byte, id string, now time.Time, body []byte) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(id + "." + strconv.FormatInt(now.Unix(), 10) + "."))
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// send makes one attempt. after is Retry-After's time.
func send(ctx context.Context, client *nethttp.Client, w *webhook, d *delivery, now time.Time) (a sending, after time.Duration) {
	start := time.Now()
	a.Time = now
	req, err := nethttp.NewRequestWithContext(ctx, "POST", w.URL, bytes.NewReader(d.Body))
	if err != nil {
		a.Error = "url"
		return a, 0
	}
	id := messagePrefix + d.ID
	for name, value := range map[string]string{"Content-Type": "application/json", "User-Agent": "mien", "webhook-id": id,
		"webhook-timestamp": strconv.FormatInt(now.Unix(), 10), "webhook-signature": w.signatures(id, now, d.Body)} {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	a.TookMs = time.Since(start).Milliseconds()
	if err != nil {
		a.Error = reasonOf(err)
		return a, 0
	}
	_ = resp.Body.Close() // unread: what it says is of no interest
	if a.Status = resp.StatusCode; a.Status >= 200 && a.Status < 300 {
		return a, 0
	}
	a.Error = "status"
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		after = time.Duration(min(seconds, int(maxRetryAfter.Seconds()))) * time.Second
	}
	return a, after
}

// reasonOf is why there was no answer, in a word: no more of an error is shown, for it may name addresses.
func reasonOf(err error) string {
	var ne net.Error
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	switch {
	case errors.Is(err, errNotPublic):
		return "address"
	case errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &invalid), errors.As(err, &record):
		return "tls"
	case errors.As(err, &dns):
		return "name"
	case errors.As(err, &ne) && ne.Timeout():
		return "timeout"
	}
	return "connection"
}

// deliveryBody is a delivery in an answer.
type deliveryBody struct {
	ID       string    `json:"id"`
	Session  string    `json:"session"`
	Type     string    `json:"type"`
	Status   string    `json:"status"`
	Attempts []sending `json:"attempts"`
	Next     time.Time `json:"next_attempt,omitzero"`
	Created  time.Time `json:"created"`
}

func (s *service) listDeliveries(c *dialect.Call) (dialect.Answer, error) {
	limit, cursor, err := page(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	if _, _, err := s.project(c.Ctx, c.Key.Tenant, c.Params[0]); err != nil {
		return dialect.Answer{}, err
	}
	list, next, err := s.below(c, kindDelivery, c.Params[0]+".", limit, strings.TrimPrefix(cursor, messagePrefix))
	if err != nil {
		return dialect.Answer{}, err
	}
	answer := struct {
		Deliveries []deliveryBody `json:"deliveries"`
		Next       string         `json:"next,omitempty"`
	}{[]deliveryBody{}, next}
	for i := range list {
		d, err := decodeDelivery(&list[i])
		if err != nil {
			return dialect.Answer{}, err
		}
		answer.Deliveries = append(answer.Deliveries, deliveryBody{messagePrefix + d.ID, d.Session, d.Type, d.Status, append([]sending{}, d.Attempts...), d.Next, d.Created})
	}
	return dialect.JSON(200, answer), nil
}
