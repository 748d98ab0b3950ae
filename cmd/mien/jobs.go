package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"mien/engine"
)

// jobFlags say which job's results are printed: a new one's, or one that is there.
type jobFlags struct {
	remote
	policyFlags
	ExpectedFalsePairs *float64 `help:"Instead of a policy: the threshold at which so many pairs of strangers are to be expected among all pairs of templates (default: 1)." xor:"policy" placeholder:"N"`
	MaxPairs           int      `help:"How many pairs are kept, the best (default: 10000)." placeholder:"N"`
	MinQuality         *float64 `help:"Unified score below which a reference's photo is reported (default: 40)." placeholder:"SCORE"`
	Job                string   `help:"Print the results of a job that is there, and wait for it if it has not ended." placeholder:"ID"`
	Gallery            string   `help:"Gallery to look through." short:"g"`
}

// Validate is called by kong.
func (c *jobFlags) Validate() error {
	if (c.Gallery == "") == (c.Job == "") {
		return errors.New("give -g GALLERY, or --job ID")
	}
	return nil
}

func jobPath(id string) string { return "/v1/jobs/" + url.PathEscape(id) }

// follow runs the job and shows how far it is.
func (c *jobFlags) follow(ctx context.Context, out *output) (*client, engine.Job, *jobReport, error) {
	client, err := c.client()
	if err != nil {
		return nil, engine.Job{}, nil, err
	}
	r := newJobReport(out)
	j, err := c.run(ctx, client, r)
	if err != nil {
		return nil, j, nil, r.finish(err)
	}
	return client, j, r, nil
}

// run starts the job, unless it is there, and follows it to its end. When ctx ends, the job goes on.
func (c *jobFlags) run(ctx context.Context, client *client, r *jobReport) (j engine.Job, err error) {
	id := c.Job
	if id == "" {
		body := map[string]any{}
		if p := c.policy(); p != nil {
			body["policy"] = p
		}
		if c.ExpectedFalsePairs != nil {
			body["expected_false_pairs"] = *c.ExpectedFalsePairs
		}
		if c.MinQuality != nil {
			body["min_quality"] = *c.MinQuality
		}
		if c.MaxPairs != 0 {
			body["max_pairs"] = c.MaxPairs
		}
		if err := client.do(ctx, "POST", galleryPath(c.Gallery)+"/dedupe", body, &j); err != nil {
			return j, err
		}
		id = j.ID
	}
	for {
		if err := client.do(ctx, "GET", jobPath(id), nil, &j); err != nil {
			if ctx.Err() != nil {
				return j, fmt.Errorf("job %s goes on (mien dedupe --job %s follows it, mien jobs cancel %s ends it): %w", id, id, id, err)
			}
			return j, err
		}
		if r.progress(j); j.State != engine.JobQueued && j.State != engine.JobRunning {
			break
		}
		select {
		case <-time.After(jobPoll):
		case <-ctx.Done(): // said by the next request
		}
	}
	if j.State == engine.JobFailed {
		return j, fmt.Errorf("job %s failed: %s", id, j.Reason)
	}
	return j, nil
}

const jobPoll = 300 * time.Millisecond

// eachOf calls f with every element of a job's list, page by page.
func eachOf[T any](ctx context.Context, c *client, id, list string, f func(T)) error {
	for cursor := ""; ; {
		var page map[string]json.RawMessage
		if err := c.do(ctx, "GET", jobPath(id)+"/"+list+"?limit=1000"+cursor, nil, &page); err != nil {
			return err
		}
		var all []T
		if err := json.Unmarshal(page[list], &all); err != nil {
			return err
		}
		for _, x := range all {
			f(x)
		}
		var next string
		if len(page["next"]) == 0 || json.Unmarshal(page["next"], &next) != nil {
			return nil
		}
		cursor = "&cursor=" + url.QueryEscape(next)
	}
}

type dedupeCmd struct{ jobFlags }

// Run prints the pairs of people who look like one, the nearest first. Its exit code says whether there are any.
func (c *dedupeCmd) Run(ctx context.Context, out *output) error {
	client, j, r, err := c.follow(ctx, out)
	if err != nil {
		return err
	}
	pairs := 0
	err = eachOf(ctx, client, j.ID, "pairs", func(p engine.Pair) {
		pairs++
		r.line(p, pairLine(p))
	})
	if err != nil {
		return r.finish(err)
	}
	text := fmt.Sprintf("%d pairs among %d people at cosine %.3f or more, of whom %.3g pairs of strangers were to be expected%s; job %s is %s",
		pairs, j.Done, j.Threshold, j.ExpectedFalsePairs, truncatedText(j), j.ID, j.State)
	return r.answer(pairs == 0, j, text)
}

func pairLine(p engine.Pair) string {
	return fmt.Sprintf("%s\t%s\tsimilarity %.3f\tcosine %.3f\tFMR %.1e", p.Person, p.Other, p.Similarity, p.Cosine, p.FMR)
}

func truncatedText(j engine.Job) string {
	if !j.Truncated {
		return ""
	}
	return " (there were more than are kept: these are the best)"
}

type hygieneCmd struct{ jobFlags }

// Run prints what looks wrong with a gallery's references. Its exit code says whether anything does.
func (c *hygieneCmd) Run(ctx context.Context, out *output) error {
	client, j, r, err := c.follow(ctx, out)
	if err != nil {
		return err
	}
	found := 0
	err = eachOf(ctx, client, j.ID, "pairs", func(p engine.Pair) {
		found++
		r.line(struct {
			Kind string `json:"kind"`
			engine.Pair
		}{"conflicting", p}, "conflicting\t"+pairLine(p))
	})
	if err == nil {
		err = eachOf(ctx, client, j.ID, "findings", func(f engine.Finding) {
			found++
			r.line(f, findingLine(f))
		})
	}
	if err != nil {
		return r.finish(err)
	}
	return r.answer(found == 0, j, hygieneText(j))
}

func findingLine(f engine.Finding) string {
	line := fmt.Sprintf("%s\t%s template %s", f.Kind, f.Person, f.Template)
	if f.Own != nil {
		line += fmt.Sprintf("\tcosine to the person's others %.3f", *f.Own)
	}
	if f.Quality != nil {
		line += fmt.Sprintf("\tunified score %.0f", *f.Quality)
	}
	if f.Other != "" {
		line += fmt.Sprintf("\tnearest to %s: similarity %.3f, cosine %.3f", f.Other, f.Similarity, f.Cosine)
	}
	return line
}

func hygieneText(j engine.Job) string {
	h := j.Hygiene
	return fmt.Sprintf("%d people with %d templates, %d with one only; %d templates are older than 1 year, %d than 5, %d than 10\n"+
		"%d pairs conflict, %d templates look mislabelled, %d match none of their person's others, %d are of photos below unified score %.0f (of %d it is not known)%s; job %s is %s",
		h.People, h.Templates, h.OneTemplate, h.Over1Year+h.Over5Years+h.Over10Years, h.Over5Years+h.Over10Years, h.Over10Years,
		j.Pairs, h.Mislabelled, h.Inconsistent, h.LowQuality, j.MinQuality, h.Unjudged, truncatedText(j), j.ID, j.State)
}

// jobReport shows a job's progress and results: a bar and text on a terminal, JSON lines otherwise.
type jobReport struct {
	bar   *progressbar.ProgressBar
	lines *json.Encoder // nil where there is a bar
	done  int           // people, of the last line
}

func newJobReport(out *output) *jobReport {
	r := &jobReport{done: -1}
	if out.json || !term.IsTerminal(int(os.Stdout.Fd())) {
		r.lines = json.NewEncoder(os.Stdout)
		r.lines.SetEscapeHTML(false)
	} else {
		r.bar = progressbar.NewOptions(1, progressbar.OptionSetDescription("comparing"), progressbar.OptionShowCount(),
			progressbar.OptionShowIts(), progressbar.OptionSetItsString("people"), progressbar.OptionSetWriter(os.Stderr), progressbar.OptionClearOnFinish())
	}
	return r
}

func (r *jobReport) progress(j engine.Job) {
	if r.bar != nil {
		r.bar.ChangeMax(max(j.People, 1))
		_ = r.bar.Set(j.Done)
		return
	}
	if j.Done != r.done {
		r.done = j.Done
		_ = r.lines.Encode(map[string]any{"job": j.ID, "state": j.State, "people_done": j.Done, "people": j.People, "pairs": j.Pairs})
	}
}

func (r *jobReport) line(v any, text string) {
	if r.lines != nil {
		_ = r.lines.Encode(v)
		return
	}
	_ = r.bar.Clear()
	fmt.Println(printable(text))
}

// answer prints the end and says by the exit code whether the gallery is clean.
func (r *jobReport) answer(clean bool, j engine.Job, text string) error {
	r.line(j, text)
	if err := r.finish(nil); err != nil || clean {
		return err
	}
	return errNegative
}

func (r *jobReport) finish(err error) error {
	if r.bar != nil {
		_ = r.bar.Finish()
	}
	return err
}

type jobsCmd struct {
	List   jobListCmd   `cmd:"" help:"List the jobs."`
	Cancel jobCancelCmd `cmd:"" help:"End a job; what it has found stays."`
	Delete jobDeleteCmd `cmd:"" help:"Delete a job with what it has found."`
}

type jobListCmd struct{ remote }

// Run lists the jobs, oldest first.
func (c *jobListCmd) Run(ctx context.Context, out *output) error {
	var all struct {
		Jobs []engine.Job `json:"jobs"`
	}
	if err := c.call(ctx, "GET", "/v1/jobs", nil, &all); err != nil {
		return err
	}
	lines := make([]string, len(all.Jobs))
	for i, j := range all.Jobs {
		lines[i] = jobLine(j)
	}
	if len(lines) == 0 {
		lines = []string{"no jobs"}
	}
	return out.print(all, strings.Join(lines, "\n"))
}

func jobLine(j engine.Job) string {
	line := fmt.Sprintf("%s\t%s %s\t%s\t%d of %d people\t%d pairs\t%d findings", j.ID, j.Kind, j.Gallery, j.State, j.Done, j.People, j.Pairs, j.Findings)
	if j.ETASeconds != nil {
		line += "\t" + time.Duration(*j.ETASeconds*float64(time.Second)).Round(time.Second).String() + " to go"
	}
	return line
}

type jobCancelCmd struct {
	remote
	ID string `arg:""`
}

// Run cancels one job.
func (c *jobCancelCmd) Run(ctx context.Context, out *output) error {
	var j engine.Job
	if err := c.call(ctx, "PATCH", jobPath(c.ID), map[string]engine.JobState{"state": engine.JobCancelled}, &j); err != nil {
		return err
	}
	return out.print(j, jobLine(j))
}

type jobDeleteCmd struct {
	remote
	ID string `arg:""`
}

// Run deletes one job.
func (c *jobDeleteCmd) Run(ctx context.Context, out *output) error {
	if err := c.call(ctx, "DELETE", jobPath(c.ID), nil, nil); err != nil {
		return err
	}
	return out.print(map[string]string{"deleted": c.ID}, "deleted "+c.ID)
}
