package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"mien/engine"
)

type enrollCmd struct {
	remote
	selectFlag
	Gallery  string `help:"Gallery to enrol into." required:"" short:"g"`
	Create   bool   `help:"Create the gallery if it is not there."`
	Parallel int    `help:"People sent at once." default:"4"`
	Folder   string `arg:"" type:"existingdir" help:"Folder with a folder a person, whose name is the person's id, with that person's photos."`
}

// photoTypes are the file names that count as photos.
var photoTypes = []string{".jpg", ".jpeg", ".png", ".bmp", ".webp"}

// putBytes is how much of a person's photos goes into one request; the rest is added one by one.
const putBytes = 8 << 20

// Run enrols everyone, goes on after a bad photo and names it.
func (c *enrollCmd) Run(ctx context.Context, out *output) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	people, photos, err := findPeople(c.Folder)
	if err != nil {
		return err
	}
	if c.Create {
		if err := client.do(ctx, "PUT", galleryPath(c.Gallery), map[string]any{}, nil); err != nil {
			return err
		}
	}
	r := newEnrolReport(out, photos)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(c.Parallel, 1))
	for _, p := range people {
		group.Go(func() error { return c.enrol(ctx, client, p, r) })
	}
	return r.finish(group.Wait())
}

// someone is a person of the folder.
type someone struct {
	id     string
	photos []string
}

// findPeople lists folder/person/photo, by name.
func findPeople(folder string) (people []someone, photos int, err error) {
	dirs, err := os.ReadDir(folder)
	if err != nil {
		return nil, 0, err
	}
	for _, d := range dirs {
		files, err := os.ReadDir(filepath.Join(folder, d.Name()))
		if err != nil {
			continue // a file, not a person's folder
		}
		p := someone{id: d.Name()}
		for _, f := range files {
			if slices.Contains(photoTypes, strings.ToLower(filepath.Ext(f.Name()))) && f.Name()[0] != '.' {
				p.photos = append(p.photos, filepath.Join(folder, d.Name(), f.Name()))
			}
		}
		if len(p.photos) > 0 {
			people = append(people, p)
			photos += len(p.photos)
		}
	}
	if photos == 0 {
		err = fmt.Errorf("no person/photo files in %s: it must hold a folder for each person with photos (%s)", folder, strings.Join(photoTypes, " "))
	}
	return people, photos, err
}

// enrol sends one person. What the server refuses is reported and is no error; no answer is.
func (c *enrollCmd) enrol(ctx context.Context, client *client, p someone, r *enrolReport) error {
	photos := p.photos
	if n := len(photos); n > engine.MaxTemplates {
		for _, extra := range photos[engine.MaxTemplates:] {
			r.refused(extra, &problem{Code: "templates_full", Detail: fmt.Sprintf("a person may have %d photos", engine.MaxTemplates)})
		}
		photos = photos[:engine.MaxTemplates]
	}
	first, rest, err := c.put(ctx, client, p.id, photos, r)
	if err != nil || first == 0 {
		return err
	}
	templates := first
	for _, photo := range rest {
		n, err := c.add(ctx, client, p.id, photo, r)
		if err != nil {
			return err
		}
		templates += n
	}
	r.enrolled(p.id, templates)
	return nil
}

// put replaces the person by as many of photos as go into one request, without those that the server refuses, and
// returns how many were taken and which are left to add. None: the person was refused.
func (c *enrollCmd) put(ctx context.Context, client *client, id string, photos []string, r *enrolReport) (int, []string, error) {
	batch, rest, err := load(photos)
	if err != nil {
		return 0, nil, err
	}
	for len(batch) > 0 {
		images := make([][]byte, len(batch))
		for i, b := range batch {
			images[i] = b.data
		}
		err := client.do(ctx, "PUT", personPath(c.Gallery, id), map[string]any{"images": images, "select": c.Select}, nil)
		p := (*problem)(nil)
		if err == nil || !errors.As(err, &p) {
			r.passed(len(batch))
			return len(batch), rest, err
		}
		bad := p.image()
		if bad < 0 && len(batch) > 1 { // not about one photo
			return 0, nil, fmt.Errorf("person %q: %w", id, p)
		}
		bad = min(max(bad, 0), len(batch)-1)
		r.refused(batch[bad].file, p)
		batch = slices.Delete(batch, bad, bad+1)
		if len(batch) == 0 && len(rest) > 0 {
			if batch, rest, err = load(rest); err != nil {
				return 0, nil, err
			}
		}
	}
	r.refusedPerson(id)
	return 0, nil, nil
}

// image is the index of the image that a problem is about, −1 if of none.
func (p *problem) image() int {
	if index, ok := strings.CutPrefix(p.Pointer, "/images/"); ok {
		if i, err := strconv.Atoi(index); err == nil {
			return i
		}
	}
	return -1
}

// loaded is a photo in memory.
type loaded struct {
	file string
	data []byte
}

// load reads photos up to putBytes in all, at least one.
func load(photos []string) (batch []loaded, rest []string, err error) {
	size := 0
	for i, file := range photos {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, err
		}
		if size += len(data); i > 0 && size > putBytes {
			return batch, photos[i:], nil
		}
		batch = append(batch, loaded{file, data})
	}
	return batch, nil, nil
}

// add adds one photo and returns how many were taken.
func (c *enrollCmd) add(ctx context.Context, client *client, id, file string, r *enrolReport) (int, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	err = client.do(ctx, "POST", personPath(c.Gallery, id)+"/templates", &probe{Image: data, Select: c.Select}, nil)
	if p := (*problem)(nil); errors.As(err, &p) {
		r.refused(file, p)
		return 0, nil
	}
	r.passed(1)
	return 1, err
}

// enrolReport shows progress: a bar on a terminal, JSON lines otherwise. Safe for concurrent use.
type enrolReport struct {
	mu    sync.Mutex // guards everything below
	bar   *progressbar.ProgressBar
	lines *json.Encoder // nil where there is a bar
	total enrolTotal
}

type enrolTotal struct {
	People        int `json:"people"`
	Templates     int `json:"templates"`
	PhotosRefused int `json:"photos_refused"`
	PeopleRefused int `json:"people_refused"`
}

func newEnrolReport(out *output, photos int) *enrolReport {
	r := &enrolReport{}
	if out.json || !term.IsTerminal(int(os.Stdout.Fd())) {
		r.lines = json.NewEncoder(os.Stdout)
	} else {
		r.bar = progressbar.NewOptions(photos, progressbar.OptionSetDescription("enrolling"), progressbar.OptionShowCount(),
			progressbar.OptionShowIts(), progressbar.OptionSetItsString("photos"), progressbar.OptionSetWriter(os.Stderr), progressbar.OptionClearOnFinish())
	}
	return r
}

// line reports one event. A broken terminal or pipe must not stop the enrolment.
func (r *enrolReport) line(event any, text string) {
	if r.lines != nil {
		_ = r.lines.Encode(event)
	} else if text != "" {
		_ = r.bar.Clear()
		fmt.Println(text)
	}
}

func (r *enrolReport) passed(photos int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bar != nil {
		_ = r.bar.Add(photos)
	}
}

func (r *enrolReport) enrolled(id string, templates int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.People++
	r.total.Templates += templates
	r.line(map[string]any{"person": id, "templates": templates}, "")
}

func (r *enrolReport) refused(file string, p *problem) {
	r.passed(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.PhotosRefused++
	r.line(map[string]any{"photo": file, "code": p.Code, "error": p.Detail}, fmt.Sprintf("refused %s: %v", file, p))
}

func (r *enrolReport) refusedPerson(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.PeopleRefused++
	r.line(map[string]any{"person": id, "templates": 0}, fmt.Sprintf("not enrolled: %s (no photo was taken)", id))
}

// finish prints the totals, also of work that was cut short by err.
func (r *enrolReport) finish(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bar != nil {
		_ = r.bar.Finish()
	}
	t := r.total
	r.line(t, fmt.Sprintf("%d people with %d templates enrolled; %d photos and %d people refused", t.People, t.Templates, t.PhotosRefused, t.PeopleRefused))
	if err == nil && t.PhotosRefused+t.PeopleRefused > 0 {
		return errNegative
	}
	return err
}
