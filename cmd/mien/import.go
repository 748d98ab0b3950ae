package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mien/engine"
	"mien/engine/transfer"
)

type importCmd struct {
	keyStore
	Gallery    string `help:"Gallery to import into; it must be there, and of the file's embedding space." required:"" short:"g"`
	OnConflict string `help:"What becomes of people who are there: replace, skip or fail." enum:"replace,skip,fail" default:"replace"`
	Resume     bool   `help:"Go on where the same import stopped before (FILE.progress)."`
	Report     string `help:"Write a line of JSON for each person: index in the file, id, outcome; of failures code and error." type:"path" placeholder:"FILE"`
	NoTrailer  bool   `help:"Take NDJSON without its last line, as made by hand; nobody notices then if it was cut short."`
	PartBytes  int    `help:"Bytes of one request to a server." default:"33554432" hidden:""`
	Seal       string `help:"File with the key that the file was sealed with (export --seal)." type:"path" placeholder:"KEY"`
	File       string `arg:"" type:"existingfile" help:"File as export writes it, in either form."`
}

// saveEvery is how often progress is noted down.
const saveEvery = time.Second

// imported is what became of a file's people.
type imported struct {
	People   int `json:"people"`
	Created  int `json:"created"`
	Replaced int `json:"replaced"`
	Skipped  int `json:"skipped"`
	Failed   int `json:"failed"`
}

// add counts n people more of an outcome, or fewer.
func (t *imported) add(o engine.ImportOutcome, n int) {
	t.People += n
	switch o {
	case engine.ImportCreated:
		t.Created += n
	case engine.ImportReplaced:
		t.Replaced += n
	case engine.ImportSkipped:
		t.Skipped += n
	case engine.ImportFailed:
		t.Failed += n
	}
}

// importNote is FILE.progress: all before offset of the file is done.
type importNote struct {
	Version int      `json:"version"` // 1
	File    string   `json:"file"`    // see fileID
	Target  string   `json:"target"`
	Offset  int64    `json:"offset"`
	Done    imported `json:"done"`
}

// result is a line of the report.
type result struct {
	Index   int                  `json:"index"`
	ID      string               `json:"id"`
	Outcome engine.ImportOutcome `json:"outcome"`
	Code    string               `json:"code,omitempty"`
	Error   string               `json:"error,omitempty"`
}

// importRun is an import under way. add is called by one goroutine at a time, people by another.
type importRun struct {
	c        *importCmd
	reader   *transfer.Reader
	progress *progress
	report   *bufio.Writer // nil: none
	lines    *os.File
	note     importNote
	tail     []engine.ImportOutcome // of who is done and behind the last mark that is done
	saved    time.Time

	mu struct {
		sync.Mutex
		read  int        // people, of the whole file
		marks []fileMark // where blocks begin that are read and not done
	}
}

// fileMark says that so many people are before an offset.
type fileMark struct {
	people int
	offset int64
}

// Run imports the file, goes on after a bad person and names it.
func (c *importCmd) Run(ctx context.Context, out *output) (err error) {
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := c.begin(f, out)
	if err != nil {
		return err
	}
	err = c.into(ctx, r)
	r.progress.end()
	err = errors.Join(err, r.end(err))
	d := r.note.Done
	text := fmt.Sprintf("%d people: %d created, %d replaced, %d skipped, %d failed", d.People, d.Created, d.Replaced, d.Skipped, d.Failed)
	if err != nil {
		return fmt.Errorf("%w (%s before; the same command with --resume goes on)", err, text)
	}
	return out.answer(d.Failed == 0, d, text)
}

// into imports into whichever it is.
func (c *importCmd) into(ctx context.Context, r *importRun) error {
	if c.Data == "" {
		return r.toServer(ctx)
	}
	h := r.reader.Header
	space := engine.Space{ID: h.Space, Dim: h.Dim, Calibration: undecided}
	return c.onDataWith(engine.Config{Spaces: []engine.Space{space}, RecallSample: -1}, func(e *engine.Engine) error {
		ctx := engine.WithActor(ctx, engine.Actor{Program: "mien import"})
		o := engine.ImportOptions{Space: h.Space, OnConflict: engine.OnConflict(c.OnConflict)}
		return e.Import(ctx, c.tenant(), c.Gallery, o, r.people(), r.addAll)
	})
}

// undecided is a calibration for a store on which nothing is decided while it is open: templates are compared with nobody.
var undecided = engine.Calibration{Points: []engine.CalibrationPoint{{Cosine: 0.2, FMR: 1e-2}, {Cosine: 0.4, FMR: 1e-4}, {Cosine: 0.6, FMR: 1e-7}}}

// begin reads the file's head and, to resume, the note of before.
func (c *importCmd) begin(f *os.File, out *output) (*importRun, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r := &importRun{c: c, note: importNote{Version: 1, Target: c.target()}}
	if r.note.File, err = fileID(f, info.Size()); err != nil {
		return nil, err
	}
	content, err := c.open(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	config := transfer.Config{Open: c.NoTrailer}
	if r.reader, err = transfer.NewReader(content, config); err != nil {
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	resumed, err := c.resume(r, content)
	if err != nil {
		return nil, err
	}
	r.mu.read = r.note.Done.People
	r.mu.marks = []fileMark{{r.mu.read, r.reader.Offset()}}
	if c.Report != "" {
		mode := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
		if resumed {
			mode = os.O_CREATE | os.O_WRONLY | os.O_APPEND
		}
		if r.lines, err = os.OpenFile(c.Report, mode, 0o600); err != nil {
			return nil, err
		}
		r.report = bufio.NewWriter(r.lines)
	}
	r.progress = newProgress(out, "importing", "bytes", info.Size())
	return r, nil
}

// open is what is in the file, sealed or not.
func (c *importCmd) open(f *os.File, size int64) (io.ReadSeeker, error) {
	key, err := keyFile(c.Seal, "key for the file")
	if err != nil {
		return nil, err
	}
	sealed, err := transfer.IsSealed(f)
	switch {
	case err != nil:
		return nil, err
	case sealed && key == nil:
		return nil, errors.New("it is sealed: name the file with its key, --seal KEY")
	case !sealed && key != nil:
		return nil, errors.New("it is not sealed, so it may be anybody's: leave --seal out if that is right")
	case !sealed:
		return f, nil
	}
	return transfer.OpenSealed(f, size, key)
}

// target is where the people go, as the note names it.
func (c *importCmd) target() string {
	if c.Data != "" {
		return c.Data + " " + c.tenant() + "/" + c.Gallery
	}
	return c.Server + " " + c.Gallery
}

// fileID tells a file from others: SHA-256 of its length, first and last MiB, in hex; the last holds the trailer, with the hash of all.
func fileID(f *os.File, size int64) (string, error) {
	const part = 1 << 20
	h := sha256.New()
	fmt.Fprintln(h, size)
	for _, at := range []int64{0, max(size-part, 0)} {
		if _, err := io.Copy(h, io.NewSectionReader(f, at, part)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (c *importCmd) noteFile() string { return c.File + ".progress" }

// resume goes to where the note says, if there is one, and reports whether it did.
func (c *importCmd) resume(r *importRun, f io.ReadSeeker) (bool, error) {
	data, err := os.ReadFile(c.noteFile())
	if errors.Is(err, os.ErrNotExist) || !c.Resume {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var n importNote
	if err := json.Unmarshal(data, &n); err != nil || n.Version != 1 || n.Offset < 0 {
		return false, fmt.Errorf("%s is no note of an import: remove it, or import without --resume", c.noteFile())
	}
	if n.File != r.note.File || n.Target != r.note.Target {
		return false, fmt.Errorf("%s is of another file or gallery: import without --resume to begin anew", c.noteFile())
	}
	if n.Offset == 0 {
		return false, nil
	}
	if _, err := f.Seek(n.Offset, io.SeekStart); err != nil {
		return false, err
	}
	r.reader.Skip(f, n.Offset, uint64(n.Done.People))
	r.note = n
	return true, nil
}

// people yields those of the file and marks where its blocks begin.
func (r *importRun) people() iter.Seq2[engine.PortablePerson, error] {
	return func(yield func(engine.PortablePerson, error) bool) {
		offset := r.reader.Offset()
		for p, err := range r.reader.People() {
			if err != nil {
				err = fmt.Errorf("%s: %w", r.c.File, err)
			}
			if !yield(p, err) {
				return
			}
			if err == nil {
				r.mark(&offset)
			}
		}
	}
}

func (r *importRun) mark(last *int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.read++
	if at := r.reader.Offset(); at != *last {
		*last = at
		r.mu.marks = append(r.mu.marks, fileMark{r.mu.read, at})
	}
}

// addAll takes what became of the next people, and notes it down now and then.
func (r *importRun) addAll(results []engine.ImportResult) error {
	for _, x := range results {
		line := result{ID: x.ID, Outcome: x.Outcome}
		if x.Err != nil {
			line.Error = engine.Detail(x.Err)
		}
		if err := r.add(line); err != nil {
			return err
		}
	}
	return r.save(false)
}

func (r *importRun) add(line result) error {
	line.Index = r.note.Done.People
	r.note.Done.add(line.Outcome, 1)
	r.tail = append(r.tail, line.Outcome)
	if r.report == nil {
		return nil
	}
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = r.report.Write(append(b, '\n'))
	return err
}

// save notes the end of the last of the file's blocks of which everybody is done, and what became of the people before that.
func (r *importRun) save(now bool) error {
	r.mu.Lock()
	n := 0
	for n+1 < len(r.mu.marks) && r.mu.marks[n+1].people <= r.note.Done.People {
		n++
	}
	r.mu.marks = r.mu.marks[n:]
	mark := r.mu.marks[0]
	r.mu.Unlock()
	r.tail = append(r.tail[:0], r.tail[len(r.tail)-(r.note.Done.People-mark.people):]...)
	r.progress.at(mark.offset)
	if !now && time.Since(r.saved) < saveEvery {
		return nil
	}
	r.saved = time.Now()
	if r.report != nil {
		if err := r.report.Flush(); err != nil {
			return err
		}
	}
	note := r.note
	note.Offset = mark.offset
	for _, o := range r.tail {
		note.Done.add(o, -1)
	}
	return writeNote(r.c.noteFile(), note)
}

// writeNote replaces the note, whole or not at all.
func writeNote(path string, n importNote) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".progress-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// end removes the note of an import that is done, and notes down how far another came.
func (r *importRun) end(failed error) error {
	var err error
	if failed != nil {
		err = r.save(true)
	} else if err = os.Remove(r.c.noteFile()); errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if r.report != nil {
		err = errors.Join(err, r.report.Flush(), r.lines.Close())
	}
	return err
}

// toServer sends the file in parts, each a file of its own.
func (r *importRun) toServer(ctx context.Context) error {
	if r.c.Tenant != "" {
		return errors.New("--tenant goes with --data: a server imports into its key's tenant")
	}
	client, err := r.c.client()
	if err != nil {
		return err
	}
	part := importPart{r: r, client: client.patient()}
	for p, err := range r.people() {
		if err != nil {
			return errors.Join(part.send(ctx), err)
		}
		if err := part.add(&p); err != nil {
			return err
		}
		if part.body.Len() >= r.c.PartBytes {
			if err := part.send(ctx); err != nil {
				return err
			}
		}
	}
	return part.send(ctx)
}

// importPart is the next request.
type importPart struct {
	r      *importRun
	client *client
	body   bytes.Buffer
	writer *transfer.Writer
	ids    []string
}

func (p *importPart) add(person *engine.PortablePerson) (err error) {
	if p.writer == nil {
		p.body.Reset()
		if p.writer, err = transfer.NewWriter(&p.body, transfer.Binary, p.r.reader.Header); err != nil {
			return err
		}
	}
	p.ids = append(p.ids, person.ID)
	return p.writer.Write(person)
}

// importAnswer is a server's report; of its failures, and of its outcomes, the first.
type importAnswer struct {
	People   int `json:"people"`
	Failures []struct {
		Index        int
		Code, Detail string
	} `json:"failures"`
	Outcomes []struct {
		Outcome engine.ImportOutcome `json:"outcome"`
		Count   int                  `json:"count"`
	} `json:"outcomes"`
}

func (p *importPart) send(ctx context.Context) error {
	if p.writer == nil {
		return nil
	}
	if err := p.writer.Close(); err != nil {
		return err
	}
	var a importAnswer
	path := galleryPath(p.r.c.Gallery) + "/import?on_conflict=" + p.r.c.OnConflict
	if err := p.client.send(ctx, "POST", path, transfer.BinaryType, p.body.Bytes(), &a); err != nil {
		return err
	}
	if err := p.take(a); err != nil {
		return err
	}
	p.writer, p.ids = nil, p.ids[:0]
	return p.r.save(false)
}

// take gives each person of a part what the server said of it.
func (p *importPart) take(a importAnswer) error {
	at, failures := 0, a.Failures
	for _, run := range a.Outcomes {
		for range run.Count {
			if at == len(p.ids) {
				return errors.New("the server tells of more people than were sent")
			}
			line := result{ID: p.ids[at], Outcome: run.Outcome}
			if len(failures) > 0 && failures[0].Index == at {
				line.Code, line.Error, failures = failures[0].Code, failures[0].Detail, failures[1:]
			}
			if err := p.r.add(line); err != nil {
				return err
			}
			at++
		}
	}
	if at != len(p.ids) || a.People != at {
		return fmt.Errorf("the server tells of %d people, and %d were sent", at, len(p.ids))
	}
	return nil
}
