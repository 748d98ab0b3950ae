package browsertest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// shots is where pictures of the pages go, for people to look at.
var shots = filepath.Join(build, "screenshots")

// patience is how long anything is waited for: nothing here takes a tenth of it on a machine that has time.
const patience = 5 * time.Minute

// visit is somebody before a page.
type visit struct {
	*browser
	site  *site
	name  string // of pictures, before what they show; "": none are taken
	shown map[string]bool
	acts  func(stage) // what somebody does before the camera who follows the page
}

// arrives opens the link in a context of its own. name, if any, is the beginning of the names of pictures that are taken of every state.
func (b *browser) arrives(s *site, link, name string, o options) *visit {
	b.t.Helper()
	if o.Permissions == nil {
		o.Permissions = []string{"camera"}
	}
	b.open(o)
	v := &visit{browser: b, site: s, shown: make(map[string]bool)}
	v.acts = func(s stage) { b.camera.turns(pose0(s)) }
	if name != "" {
		v.name = name
		if err := os.MkdirAll(shots, 0o755); err != nil {
			b.t.Fatal(err)
		}
	}
	b.page("goto", link)
	return v
}

// stage is what the page says of itself (page/view.js) and where it is.
type stage struct {
	State, Code, Step, Hint, Cue, Mood string
	Where                              string
	Lang                               string
	Title                              string // the heading that is seen
}

const stageJS = `({state: "", code: "", step: "", hint: "", cue: "", mood: "", ...document.body.dataset, where: location.href, lang: document.documentElement.lang,
	title: [...document.querySelectorAll("h1")].filter((e) => e.checkVisibility()).map((e) => e.textContent).join("")})`

func (v *visit) stage() (s stage) {
	v.t.Helper()
	v.eval(stageJS, &s)
	return s
}

// picture takes one of the page, unless there is one of the name.
func (v *visit) picture(name string) {
	v.t.Helper()
	if v.name == "" || v.shown[name] {
		return
	}
	v.shown[name] = true
	v.page("screenshot", map[string]any{"path": filepath.Join(shots, fmt.Sprintf("%s-%s.png", v.name, name)), "animations": "disabled"})
}

// stages hands every stage that it sees to each, until that says it is done.
func (v *visit) stages(what string, each func(stage) (done bool)) stage {
	v.t.Helper()
	var last stage
	var way []string
	for end := time.Now().Add(patience); ; time.Sleep(80 * time.Millisecond) {
		s, err := v.tryStage()
		if err != nil { // between two pages
			continue
		}
		if s != last {
			way = append(way, fmt.Sprintf("%+v", s))
			last = s
		}
		if each(s) {
			return s
		}
		if time.Now().After(end) {
			v.page("screenshot", map[string]any{"path": filepath.Join(shots, "stuck.png")})
			v.t.Fatalf("%s: not seen for %v; the way was\n%s\nproblems %+v", what, patience, strings.Join(way[max(0, len(way)-40):], "\n"), v.problems())
		}
	}
}

func (v *visit) tryStage() (s stage, err error) {
	err = v.try(command{Do: "page", Call: "evaluate", Args: []any{stageJS}}, &s)
	return s, err
}

// follows does what the page asks for, as somebody does who wants to get through: turns where to turn is asked for, tries again after a
// failed try, and stays still otherwise. It ends when the browser is back at the relying party, or where stop says so.
func (v *visit) follows(stop func(stage) bool) stage {
	v.t.Helper()
	return v.stages("the end", func(s stage) bool {
		if strings.HasPrefix(s.Where, v.site.party) || stop != nil && stop(s) {
			v.acts(stage{})
			return true
		}
		v.acts(s)
		v.picture(strings.Join(slices.DeleteFunc([]string{s.State, s.Cue, s.Code}, func(part string) bool { return part == "" || part == "redirect" }), "-"))
		if s.State == "failed" {
			v.t.Logf("a try failed: %s, by the audit log for %s", s.Code, v.site.lastTry())
			v.presses("#note-actions button.main")
		}
		return false
	})
}

// pose0 is how somebody holds the head who does what the page asks for.
func pose0(s stage) (yaw, pitch float64) {
	if s.State != "step" {
		return 0, 0
	}
	switch s.Cue {
	case "turn_left":
		return -toLeft, 0
	case "turn_right":
		return toRight, 0
	case "look_up":
		return 0, upwards
	}
	return 0, 0
}

// presses clicks a button. It may be gone by then: the page went on by itself.
func (v *visit) presses(selector string) {
	v.t.Helper()
	_ = v.try(command{Do: "page", Call: "click", Args: []any{selector, map[string]any{"timeout": 1000}}}, nil)
}

// begins waits for the page's first words and opens the camera.
func (v *visit) begins() {
	v.t.Helper()
	v.stages("the intro", func(s stage) bool { return s.State == "intro" })
	v.picture("intro")
	v.page("click", "#start")
}

// clean fails where something was noticed that a page in use never shows. ignore are parts of lines that are known.
func (v *visit) clean(ignore ...string) {
	v.t.Helper()
	p := v.problems()
	p.Console = slices.DeleteFunc(p.Console, func(line string) bool {
		return slices.ContainsFunc(ignore, func(part string) bool { return strings.Contains(line, part) })
	})
	if len(p.Console)+len(p.Exceptions)+len(p.Policy) > 0 {
		v.t.Errorf("console %q, exceptions %q, policy %q", p.Console, p.Exceptions, p.Policy)
	}
	for _, host := range p.Hosts {
		if host != strings.TrimPrefix(v.site.url, "http://") && host != strings.TrimPrefix(v.site.party, "http://") {
			v.t.Errorf("a request to %s", host)
		}
	}
}

// notes waits for a note of the code, and for words in it.
func (v *visit) notes(code string) {
	v.t.Helper()
	if s := v.stages("the note "+code, func(s stage) bool { return s.Code == code }); len(s.Title) < 5 {
		v.t.Errorf("the note says %q", s.Title)
	}
	v.picture("note")
}

// speaks waits for the intro and looks at its language.
func (v *visit) speaks(lang, title string) {
	v.t.Helper()
	if s := v.stages("the intro", func(s stage) bool { return s.State == "intro" }); s.Lang != lang || s.Title != title {
		v.t.Errorf("the page says %q in %s, want %q in %s", s.Title, s.Lang, title, lang)
	}
}

// tabsTo goes by the keyboard to what has the id; it must be seen where one is.
func (v *visit) tabsTo(id string) {
	v.t.Helper()
	var at []string
	for range 12 {
		v.page("keyboard.press", "Tab")
		var focus string
		v.eval(`document.querySelector(":focus-visible")?.id ?? ""`, &focus)
		if at = append(at, focus); focus == id {
			return
		}
	}
	v.t.Fatalf("by the keyboard one gets to %q, not to %s", at, id)
}

// cancels stops the check, by the keyboard.
func (v *visit) cancels() {
	v.t.Helper()
	v.page("focus", "#cancel")
	v.page("keyboard.press", "Enter")
	v.until(`document.querySelector("#ask").open`)
	v.picture("ask")
	v.tabsTo("ask-stop")
	v.page("keyboard.press", "Enter")
	v.follows(nil)
}

// listens notes from now on what a screen reader is told, when, and whether it is a hint.
func (v *visit) listens() {
	v.t.Helper()
	v.page("evaluate", `(() => {
		const told = document.getElementById("say");
		window.told = [];
		new MutationObserver(() => window.told.push({ line: told.textContent, at: performance.now(), hint: told.textContent === document.getElementById("hint-text").textContent }))
			.observe(told, { childList: true });
	})()`)
}

// heard holds what was told against what can be listened to: nothing twice in a row, and hints only when what was told before has been heard.
func (v *visit) heard() {
	v.t.Helper()
	var told []struct {
		Line string
		At   float64
		Hint bool
	}
	v.eval(`window.told`, &told)
	if len(told) < 3 {
		v.t.Errorf("a screen reader is told %v", told)
	}
	for i := 1; i < len(told); i++ {
		before, now := told[i-1], told[i]
		if now.Line == before.Line || now.Hint && now.At-before.At < 2000 {
			v.t.Errorf("a screen reader is told %q %.0f ms after %q", now.Line, now.At-before.At, before.Line)
		}
	}
}
