package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"mien/engine"
)

type auditCmd struct {
	List   auditListCmd   `cmd:"" help:"List records of the audit log, newest first."`
	Export auditExportCmd `cmd:"" help:"Write the audit log to a file that verifies without a key."`
	Head   auditHeadCmd   `cmd:"" help:"Print the newest record's number and hash, to be noted down elsewhere."`
	Verify auditVerifyCmd `cmd:"" help:"Check an exported audit log, offline."`
}

type auditListCmd struct {
	keyStore
	Gallery string    `help:"Only records of this gallery."`
	Person  string    `help:"Only records about this person, or of searches that found the person."`
	From    time.Time `help:"Only records of this time or later, as in 2026-11-30T13:00:00Z." placeholder:"TIME"`
	To      time.Time `help:"Only records before this time." placeholder:"TIME"`
	Limit   int       `help:"At most so many records." default:"50"`
}

// Run lists records.
func (c *auditListCmd) Run(ctx context.Context, out *output) error {
	if c.Limit < 1 {
		return errors.New("--limit must be more than 0")
	}
	q := engine.AuditQuery{From: c.From, To: c.To, Gallery: c.Gallery, Person: c.Person}
	left := c.Limit
	page := func(next func(engine.AuditQuery) (engine.AuditPage, error)) error {
		for {
			q.Limit = min(left, engine.MaxListLimit)
			p, err := next(q)
			if err != nil {
				return err
			}
			for _, l := range p.Records {
				if err := out.print(l, string(l.Record)); err != nil {
					return err
				}
			}
			left -= len(p.Records)
			if q.Cursor = p.Next; q.Cursor == "" || left == 0 {
				return nil
			}
		}
	}
	return c.run(func(e *engine.Engine) error {
		return page(func(q engine.AuditQuery) (engine.AuditPage, error) { return e.Audit(ctx, c.tenant(), q) })
	}, func() error {
		return page(func(q engine.AuditQuery) (p engine.AuditPage, err error) {
			return p, c.call(ctx, "GET", "/v1/audit?"+c.values(q).Encode(), nil, &p)
		})
	})
}

// values is a query for a server.
func (c *auditListCmd) values(q engine.AuditQuery) url.Values {
	v := url.Values{"limit": {strconv.Itoa(q.Limit)}}
	for name, value := range map[string]string{"tenant": c.Tenant, "gallery": q.Gallery, "person": q.Person, "cursor": q.Cursor} {
		if value != "" {
			v.Set(name, value)
		}
	}
	for name, t := range map[string]time.Time{"from": q.From, "to": q.To} {
		if !t.IsZero() {
			v.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	return v
}

type auditExportCmd struct {
	keyStore
	Output string `short:"o" help:"File to write, which must not be there yet (default: standard output)." type:"path" placeholder:"FILE"`
	After  uint64 `help:"Begin after this record, the last of an export before; 0: from the first." placeholder:"N"`
}

// Run writes the export and verifies it on the way. Its summary goes to stderr if the export goes to stdout.
func (c *auditExportCmd) Run(ctx context.Context, out *output) (err error) {
	to := os.Stdout
	if c.Output != "" {
		if to, err = os.OpenFile(c.Output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return fmt.Errorf("--output: %w", err)
		}
		defer func() { err = errors.Join(err, to.Close()) }()
	}
	var sum engine.AuditSummary
	copyOut := func(r io.Reader) error {
		w := bufio.NewWriter(to)
		if sum, err = engine.VerifyAudit(io.TeeReader(r, w), engine.AuditHead{}); err != nil {
			return err
		}
		if err := w.Flush(); err != nil || c.Output == "" {
			return err
		}
		return to.Sync()
	}
	err = c.run(func(e *engine.Engine) error {
		x, err := e.ExportAudit(ctx, c.tenant(), c.After)
		if err != nil {
			return err
		}
		return copyOut(x)
	}, func() error {
		path := "/v1/audit/export?after=" + strconv.FormatUint(c.After, 10)
		if c.Tenant != "" {
			path += "&" + url.Values{"tenant": {c.Tenant}}.Encode()
		}
		return c.stream(ctx, path, copyOut)
	})
	if err != nil {
		return err
	}
	if c.Output != "" {
		return out.print(sum, summaryText(sum))
	}
	_, err = fmt.Fprintln(os.Stderr, summaryText(sum))
	return err
}

func summaryText(s engine.AuditSummary) string {
	text := fmt.Sprintf("%d records of tenant %s", s.Records, s.Tenant)
	if s.After > 0 {
		text += fmt.Sprintf(", after record %d", s.After)
		if s.Pruned {
			text += " (what was before was pruned, as the log says)"
		}
	}
	return text + "\nhead " + headText(s.Head)
}

func headText(h engine.AuditHead) string { return fmt.Sprintf("%d:%s", h.Seq, h.Hash) }

type auditHeadCmd struct{ keyStore }

// Run prints the head.
func (c *auditHeadCmd) Run(ctx context.Context, out *output) error {
	var head engine.AuditHead
	if err := c.run(func(e *engine.Engine) (err error) {
		head, err = e.AuditHead(ctx, c.tenant())
		return err
	}, func() error {
		return c.call(ctx, "GET", "/v1/audit/head"+c.query(), nil, &head)
	}); err != nil {
		return err
	}
	return out.print(head, headText(head))
}

type auditVerifyCmd struct {
	File string `arg:"" help:"File that export wrote; - is standard input." type:"path"`
	Head string `help:"Head that was noted down, which must be among the records." placeholder:"N:HASH"`
}

// Run verifies, and says by the exit code 2 that the file is not what was exported.
func (c *auditVerifyCmd) Run(out *output) (err error) {
	var noted engine.AuditHead
	if c.Head != "" {
		if noted, err = parseHead(c.Head); err != nil {
			return err
		}
	}
	from := os.Stdin
	if c.File != "-" {
		if from, err = os.Open(c.File); err != nil {
			return err
		}
		defer from.Close()
	}
	sum, err := engine.VerifyAudit(from, noted)
	bad, wrong := errors.AsType[*engine.AuditFileError](err)
	switch {
	case wrong:
		return out.answer(false, map[string]any{"ok": false, "line": bad.Line, "seq": bad.Seq, "error": bad.Why}, "does not verify: "+bad.Error())
	case err != nil:
		return err
	}
	return out.print(struct {
		OK bool `json:"ok"`
		engine.AuditSummary
	}{true, sum}, "verifies: "+summaryText(sum))
}

func parseHead(text string) (h engine.AuditHead, err error) {
	number, hash, ok := strings.Cut(text, ":")
	if h.Seq, err = strconv.ParseUint(number, 10, 64); !ok || err != nil || h.Seq == 0 || h.Hash.UnmarshalText([]byte(hash)) != nil {
		return h, fmt.Errorf("--head %q is not a head as `mien audit head` prints it, a number, a colon and 64 hex digits", text)
	}
	return h, nil
}
