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
	gateFlag
	Gallery    string `help:"Gallery to enrol into." required:"" short:"g"`
	Create     bool   `help:"Create the gallery if it is not there; --gate becomes its gate for enrolment."`
	Duplicates string `help:"Whose face is another person's already is refused (reject) or named (warn); off asks for no check, which counts with an admin's key (default: as the gallery has it)." enum:",reject,warn,off" default:"" placeholder:"reject|warn|off"`
	KeepPhotos bool   `help:"With --create: the gallery stores the photos, sealed, so that it can be moved to another space without enrolling again."`
	Parallel   int    `help:"People sent at once." default:"4"`
	Resume     string `help:"Note in this file who is done, and leave out who is noted in it: the same command again goes on where it stopped." type:"path" placeholder:"FILE"`
	Folder     string `arg:"" type:"existingdir" help:"Folder with a folder a person, whose name is the person's id, with that person's photos."`
}

// photoTypes are the file names that count as photos.
var photoTypes = []string{".jpg", ".jpeg", ".png", ".bmp", ".webp"}

// putBytes is how much of a person's photos goes into one request; the rest is added one by one.
const putBytes = 8 << 20

// Validate is called by kong.
func (c *enrollCmd) Validate() error {
	if c.KeepPhotos && !c.Create {
		return errors.New("--keep-photos goes with --create: it can't be changed of a gallery that is there")
	}
	return nil
}

// Run enrols everyone, goes on after a bad photo and names it.
func (c *enrollCmd) Run(ctx context.Context, out *output) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	people, _, err := findPeople(c.Folder)
	if err != nil {
		return err
	}
	if c.Create {
		spec := gallerySpec{Gate: engine.Gates{Enrol: c.Gate}, KeepPhotos: c.KeepPhotos}
		if err := client.do(ctx, "PUT", galleryPath(c.Gallery), spec, nil); err != nil {
			return err
		}
	}
	notes, err := openNotes(c.Resume, enrolTarget{Folder: c.Folder, Server: c.Server, Gallery: c.Gallery})
	if err != nil {
		return err
	}
	people, photos := notes.left(people)
	r := newEnrolReport(out, photos)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(c.Parallel, 1))
	for _, p := range people {
		group.Go(func() error {
			if err := c.enrol(ctx, client, p, r); err != nil {
				return err
			}
			return notes.note(p.id)
		})
	}
	return r.finish(errors.Join(group.Wait(), notes.close()))
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
		if err != nil || d.Name()[0] == '.' {
			continue // a file, not a person's folder; or hidden
		}
		p := someone{id: d.Name()}
		for _, f := range files {
			if path := filepath.Join(folder, d.Name(), f.Name()); isPhoto(path) {
				p.photos = append(p.photos, path)
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

// isPhoto goes by the name, and takes regular files alone: opening a pipe could wait for ever.
func isPhoto(path string) bool {
	if filepath.Base(path)[0] == '.' || !slices.Contains(photoTypes, strings.ToLower(filepath.Ext(path))) {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// enrol sends one person. What the server refuses of a photo or an id is reported; whatever else goes wrong would
// go wrong for everybody, and ends the work.
func (c *enrollCmd) enrol(ctx context.Context, client *client, p someone, r *enrolReport) error {
	photos := p.photos
	if len(photos) > engine.MaxTemplates {
		for _, extra := range photos[engine.MaxTemplates:] {
			r.refused(extra, &problem{Code: "templates_full", Detail: fmt.Sprintf("a person may have %d photos", engine.MaxTemplates)})
		}
		photos = photos[:engine.MaxTemplates]
	}
	templates, rest, err := c.put(ctx, client, p.id, photos, r)
	for _, photo := range rest {
		if err != nil {
			break
		}
		var n int
		n, err = c.add(ctx, client, p.id, photo, r)
		templates += n
	}
	refusal := (*problem)(nil)
	switch {
	case errors.As(err, &refusal) && (refusal.Code == "bad_id" || refusal.Code == "duplicate"):
		r.refusedPerson(p.id, len(photos), refusal)
	case err != nil:
		return fmt.Errorf("person %q: %w", p.id, err)
	case templates == 0:
		r.refusedPerson(p.id, 0, nil)
	default:
		r.enrolled(p.id, templates)
	}
	return nil
}

// put replaces the person's templates by as many of photos as go into one request, without those that the server
// refuses, and returns how many were taken and which are left to add.
func (c *enrollCmd) put(ctx context.Context, client *client, id string, photos []string, r *enrolReport) (int, []string, error) {
	body := map[string]any{"select": c.Select}
	if c.Gate != nil {
		body["gate"] = c.Gate
	}
	if c.Duplicates != "" {
		body["duplicates"] = c.Duplicates
	}
	if err := keepMetadata(ctx, client, personPath(c.Gallery, id), body); err != nil {
		return 0, nil, err
	}
	for len(photos) > 0 {
		batch, rest, err := loadPhotos(photos)
		if err != nil {
			return 0, nil, err
		}
		images := make([][]byte, len(batch))
		for i, b := range batch {
			images[i] = b.data
		}
		body["images"] = images
		var p engine.Person
		err = client.do(ctx, "PUT", personPath(c.Gallery, id), body, &p)
		r.alike(id, p.Duplicates)
		bad := badPhoto(err, len(batch))
		if bad < 0 {
			r.passed(len(batch))
			return len(batch), rest, err
		}
		r.refused(batch[bad].file, err)
		photos = slices.Concat(photos[:bad], photos[bad+1:])
	}
	return 0, nil, nil
}

// keepMetadata puts the metadata of a person who is there into body, for a put replaces all.
func keepMetadata(ctx context.Context, client *client, path string, body map[string]any) error {
	var old engine.Person
	err := client.do(ctx, "GET", path, nil, &old)
	if p := (*problem)(nil); errors.As(err, &p) && p.Code == "person_not_found" {
		return nil
	}
	if old.Metadata != nil {
		body["metadata"] = old.Metadata
	}
	return err
}

// badPhoto is the index of the photo that err is about, of n that were sent; −1 if err is about none of them.
func badPhoto(err error, n int) int {
	p := (*problem)(nil)
	if !errors.As(err, &p) || p.Status != 422 && p.Code != "body_too_large" {
		return -1
	}
	if n == 1 {
		return 0
	}
	if index, ok := strings.CutPrefix(p.Pointer, "/images/"); ok {
		if i, err := strconv.Atoi(index); err == nil && i < n {
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

// loadPhotos reads photos up to putBytes in all, at least one.
func loadPhotos(photos []string) (batch []loaded, rest []string, err error) {
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
	var p engine.Person
	err = client.do(ctx, "POST", personPath(c.Gallery, id)+"/templates", &probe{Image: data, Select: c.Select, Gate: c.Gate, Duplicates: c.Duplicates}, &p)
	r.alike(id, p.Duplicates)
	if refusal := (*problem)(nil); badPhoto(err, 1) == 0 || errors.As(err, &refusal) && refusal.Code == "duplicate" {
		r.refused(file, err)
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	r.passed(1)
	return 1, nil
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

// refused reports a photo that the server did not take. REQUIRES: err is a *problem.
func (r *enrolReport) refused(file string, err error) {
	r.passed(1)
	p := (*problem)(nil)
	errors.As(err, &p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.PhotosRefused++
	event := map[string]any{"photo": file, "code": p.Code, "error": p.Detail}
	if p.Reasons != nil {
		event["reasons"] = p.Reasons
	}
	r.line(event, fmt.Sprintf("refused %s: %v", file, p))
}

// refusedPerson reports a person who was not enrolled, with some photos that were not looked at, or, with a nil refusal,
// of whom no photo was taken.
func (r *enrolReport) refusedPerson(id string, photos int, refusal *problem) {
	r.passed(photos)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.PeopleRefused++
	why := "no photo was taken"
	event := map[string]any{"person": id, "templates": 0}
	if refusal != nil {
		why = refusal.Error()
		if refusal.Duplicates != nil {
			event["duplicates"] = refusal.Duplicates
			why += ": " + alikeText(refusal.Duplicates)
		}
	}
	event["error"] = why
	r.line(event, fmt.Sprintf("not enrolled: %s: %s", id, why))
}

// alike reports whom an enrolment that went through seems to duplicate.
func (r *enrolReport) alike(id string, people []engine.Candidate) {
	if len(people) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line(map[string]any{"person": id, "duplicates": people}, fmt.Sprintf("alike: %s and %s", id, alikeText(people)))
}

func alikeText(people []engine.Candidate) string {
	names := make([]string, len(people))
	for i, c := range people {
		names[i] = fmt.Sprintf("%s (similarity %.3f)", c.Person, c.Similarity)
	}
	return strings.Join(names, ", ")
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
