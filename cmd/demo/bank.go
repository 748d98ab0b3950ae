package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"log"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

// bank is the relying party. It knows its customers by their names, and mien knows the faces to those names. Safe for concurrent use.
type bank struct {
	name   string
	origin string // its own, as browsers reach it
	mien   string // mien's, as the bank does
	key    string // of the role client, for the dialect authface

	mu sync.Mutex
	// Protected by mu. A browser is known by a cookie.
	waiting map[string]visit  // by client_state
	signed  map[string]string // who is signed in, by browser
}

// visit is one trip to the capture page: of whom, and from which browser.
type visit struct {
	flow, user, browser string
	begun               time.Time
}

// maxWaiting bounds visits that never came back.
const maxWaiting = 1000

func newBank(name, origin, mien, key string) *bank {
	return &bank{name: name, origin: origin, mien: mien, key: key, waiting: make(map[string]visit), signed: make(map[string]string)}
}

//go:embed bank.html
var bankHTML string

var pages = template.Must(template.New("bank").Parse(bankHTML))

// handler serves the bank. A form of another site is refused: it could sign somebody in as somebody else.
func (b *bank) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", b.home)
	mux.HandleFunc("GET /bank.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		_ = pages.ExecuteTemplate(w, "style", nil)
	})
	mux.HandleFunc("POST /begin", b.begin)
	mux.HandleFunc("GET /callback", b.callback)
	mux.HandleFunc("POST /leave", b.leave)
	mux.HandleFunc("POST /close", b.close)
	return http.NewCrossOriginProtection().Handler(secured(mux))
}

// secured sets what every page of a bank should.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// view is what the template shows.
type view struct {
	Bank, User string
	Good       bool
	Title      string // of what happened; "": nothing did
	Text       string
	Result     string // mien's answer, as it came
}

func (b *bank) show(w http.ResponseWriter, r *http.Request, status int, v view) {
	v.Bank = b.name
	b.mu.Lock()
	v.User = b.signed[browserOf(r)]
	b.mu.Unlock()
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, "page", v); err != nil {
		log.Print(err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w)
}

func (b *bank) home(w http.ResponseWriter, r *http.Request) { b.show(w, r, 200, view{}) }

var userName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)

// begin sends the browser to the capture page, for one of the API's flows.
func (b *bank) begin(w http.ResponseWriter, r *http.Request) {
	flow, user := r.FormValue("flow"), strings.ToLower(strings.TrimSpace(r.FormValue("user")))
	switch flow {
	case "enroll", "verify":
		if !userName.MatchString(user) {
			b.show(w, r, 400, view{Title: "That name won’t do", Text: "Use up to 32 small letters, digits, dots, hyphens and underscores."})
			return
		}
	case "update_embedding": // one's own only
		b.mu.Lock()
		user = b.signed[browserOf(r)]
		b.mu.Unlock()
		if user == "" {
			b.show(w, r, 403, view{Title: "Please sign in first"})
			return
		}
	case "identify":
		user = ""
	default:
		http.Error(w, "unknown flow", 400)
		return
	}
	state := newUUID()
	var started struct {
		BiometryURL string `json:"biometry_url"`
	}
	body := map[string]string{"client_state": state, "redirect_url": b.origin + "/callback"}
	if user != "" {
		body["external_user_id"] = user
	}
	if raw, err := b.ask(r.Context(), flow, body, &started); err != nil {
		b.show(w, r, 502, view{Title: "That can’t be done", Text: err.Error(), Result: raw})
		return
	}
	browser := browserOf(r)
	if browser == "" {
		browser = rand.Text()
		http.SetCookie(w, &http.Cookie{Name: cookieName, Value: browser, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	b.wait(state, visit{flow, user, browser, time.Now()})
	http.Redirect(w, r, started.BiometryURL, http.StatusSeeOther)
}

// wait notes a visit; of too many the oldest is forgotten.
func (b *bank) wait(state string, v visit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) >= maxWaiting {
		oldest := ""
		for s, o := range b.waiting {
			if oldest == "" || o.begun.Before(b.waiting[oldest].begun) {
				oldest = s
			}
		}
		delete(b.waiting, oldest)
	}
	b.waiting[state] = v
}

// result is mien's answer to how a session ended.
type result struct {
	Status         string  `json:"status"`
	Reason         *string `json:"reason"`
	ExternalUserID *string `json:"external_user_id"`
}

// callback is where the capture page sends the browser back to. A client_state is taken once, and from the browser that it was made for.
func (b *bank) callback(w http.ResponseWriter, r *http.Request) {
	state := r.URL.Query().Get("client_state")
	b.mu.Lock()
	v, known := b.waiting[state]
	known = known && v.browser == browserOf(r)
	if known {
		delete(b.waiting, state)
	}
	b.mu.Unlock()
	if !known {
		b.show(w, r, 400, view{Title: "We don’t know this visit", Text: "It is over already, or was begun in another browser. Please begin again."})
		return
	}
	end, raw, err := b.result(r.Context(), state)
	if err != nil {
		b.show(w, r, 502, view{Title: "We couldn’t find out how it went", Text: err.Error(), Result: raw})
		return
	}
	if end.Status == "success" {
		b.mu.Lock()
		b.signed[v.browser] = *cmp.Or(end.ExternalUserID, &v.user)
		b.mu.Unlock()
	}
	title, text := told(v.flow, end)
	b.show(w, r, 200, view{Good: end.Status == "success", Title: title, Text: text, Result: raw})
}

// result asks until the session is over. Whoever comes back from the page is, but asking again costs little.
func (b *bank) result(ctx context.Context, state string) (end result, raw string, err error) {
	for try := 0; ; try++ {
		raw, err = b.ask(ctx, "result", map[string]string{"client_state": state}, &end)
		if err != nil || end.Status != "pending" && end.Status != "in_progress" || try == 5 {
			return end, raw, err
		}
		select {
		case <-time.After(1100 * time.Millisecond): // mien answers once a second
		case <-ctx.Done():
			return end, raw, ctx.Err()
		}
	}
}

// told is what the bank says to the customer.
func told(flow string, end result) (title, text string) {
	if end.Status == "success" {
		switch flow {
		case "enroll":
			return "Welcome!", "Your account is open. From now on your face is your key."
		case "update_embedding":
			return "Thank you", "We have learned how you look today."
		}
		return "You are signed in", "It’s you."
	}
	reason := "the link expired"
	if end.Reason != nil {
		reason = *end.Reason
	}
	texts := map[string]string{
		"conflict":           "Somebody with this face has an account already. Sign in to it instead.",
		"below_threshold":    "This face is not the one of the account.",
		"not_found":          "Nobody here has this face. Open an account first.",
		"not_enrolled":       "There is no account of this name.",
		"liveness_spoof":     "We could not be sure that somebody was before the camera.",
		"liveness_uncertain": "We could not be sure that somebody was before the camera.",
		"cancelled":          "You stopped.",
		"camera_unavailable": "There was no camera to use.",
	}
	return "That didn’t work", cmp.Or(texts[reason], "Please try again.")
}

func (b *bank) leave(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	delete(b.signed, browserOf(r))
	b.mu.Unlock()
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// close deletes the account of who is signed in, and mien's template of the face.
func (b *bank) close(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	user := b.signed[browserOf(r)]
	b.mu.Unlock()
	if user == "" {
		b.show(w, r, 403, view{Title: "Please sign in first"})
		return
	}
	raw, err := b.ask(r.Context(), "delete-user", map[string]string{"external_user_id": user}, nil)
	if err != nil {
		b.show(w, r, 502, view{Title: "That can’t be done", Text: err.Error(), Result: raw})
		return
	}
	b.mu.Lock()
	for browser, signed := range b.signed {
		if signed == user {
			delete(b.signed, browser)
		}
	}
	b.mu.Unlock()
	b.show(w, r, 200, view{Good: true, Title: "Your account is closed", Text: "What was known of your face is deleted.", Result: raw})
}

// client asks mien.
var client = &http.Client{Timeout: 10 * time.Second}

// ask calls the Auth Face API and decodes the answer into out, unless that is nil. raw is the answer as it came, for people to read. Errors are
// for people too.
func (b *bank) ask(ctx context.Context, path string, body, out any) (raw string, err error) {
	data, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, "POST", b.mien+"/biometry/v1/"+path, bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+b.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("the face service does not answer: %w", err)
	}
	defer resp.Body.Close()
	if data, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20)); err != nil {
		return "", err
	}
	var indented bytes.Buffer
	if json.Indent(&indented, data, "", "  ") == nil {
		raw = indented.String()
	}
	if resp.StatusCode != 200 {
		var refusal struct{ Message string }
		if json.Unmarshal(data, &refusal) != nil || refusal.Message == "" {
			refusal.Message = resp.Status
		}
		return raw, fmt.Errorf("the face service refuses it: %s", refusal.Message)
	}
	if out == nil {
		return raw, nil
	}
	return raw, json.Unmarshal(data, out)
}

// cookieName is of the cookie that knows a browser again. Behind TLS it would be Secure and begin with __Host-.
const cookieName = "demo_browser"

func browserOf(r *http.Request) string {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return ""
	}
	return c.Value
}

// newUUID is random, of version 4.
func newUUID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
