package capture

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"mien/extract"
)

// Every challenge of a session comes up, in every place, no two alike in a row, and a turn is among them where one may be.
func TestDraw(t *testing.T) {
	all := []extract.Challenge{extract.TurnLeft, extract.TurnRight, extract.LookUp, extract.Blink}
	still := []extract.Challenge{extract.LookUp, extract.Blink, extract.Flash}
	for _, kinds := range [][]extract.Challenge{all, still, all[:2], all[1:3], still[:2], still[:1]} {
		for n := 1; n <= maxSteps; n++ {
			seen := map[string]int{}
			for range 400 {
				list := drawKinds(kinds, n)
				if want := n; len(kinds) > 1 && len(list) != want || len(kinds) == 1 && len(list) != 1 {
					t.Fatalf("%v of %v, %d are asked for", list, kinds, n)
				}
				for i, k := range list {
					if i > 0 && list[i-1] == k {
						t.Fatalf("%v", list)
					}
					seen[fmt.Sprint(i, k)]++
				}
				if slices.ContainsFunc(kinds, isTurn) && !slices.ContainsFunc(list, isTurn) {
					t.Fatalf("no turn in %v", list)
				}
			}
			for i := range len(drawKinds(kinds, n)) {
				for _, k := range kinds {
					if n > 1 && seen[fmt.Sprint(i, k)] < 10 { // expected: 57 and more
						t.Errorf("%s is %d times of 400 challenge %d of %d of %v", k, seen[fmt.Sprint(i, k)], i, n, kinds)
					}
				}
			}
		}
	}
	x := &Session{Challenges: []string{"blink", "look_up"}, Steps: 2}
	if plan := newPlan(x, []extract.Challenge{extract.Blink}); !slices.Equal(plan, []extract.Challenge{extract.Centre, extract.LookUp}) {
		t.Errorf("without blinking: %v", plan)
	}
	if plan := newPlan(x, []extract.Challenge{extract.Blink, extract.LookUp}); len(plan) != 3 {
		t.Errorf("with nothing left: %v", plan)
	}
}

// What can't be done is replaced, wherever it comes.
func TestReplace(t *testing.T) {
	kinds := []extract.Challenge{extract.TurnLeft, extract.TurnRight, extract.LookUp, extract.Blink}
	plan := []extract.Challenge{extract.Centre, extract.Blink, extract.TurnLeft, extract.Blink}
	for range 200 {
		got, ok := replace(plan, 1, kinds)
		if !ok || slices.Contains(got, extract.Blink) || got[1] == extract.TurnLeft || got[3] == extract.TurnLeft || got[2] != extract.TurnLeft || plan[1] != extract.Blink {
			t.Fatalf("%v %v", got, ok)
		}
	}
	if got, ok := replace(plan, 1, kinds[3:]); ok {
		t.Errorf("there is no other: %v", got)
	}
	if got, ok := replace([]extract.Challenge{extract.Centre, extract.Blink, extract.LookUp}, 1, []extract.Challenge{extract.LookUp, extract.Blink}); !ok || got[1] != extract.LookUp {
		t.Errorf("the only other: %v", got)
	}
}

// Each challenge has a way to be asked for that a person can follow: time to read and to do it, and no faster flashes than eyes bear.
func TestManners(t *testing.T) {
	for _, k := range extract.Challenges() {
		m, known := manners[k]
		if !known || m.window < 10*time.Second || m.window > time.Minute || m.least < 200*time.Millisecond || m.least > m.window/4 || m.frames < leastFrames || m.frames > mostOf(k) {
			t.Errorf("%s: %+v", k, m)
		}
	}
	if manners[extract.Flash].least < flashColours*time.Second/3 {
		t.Errorf("more than three colours a second: %v", manners[extract.Flash].least)
	}
	for range 200 {
		list := newColours()
		for i, c := range list {
			if len(list) != flashColours || i > 0 && c == list[i-1] || float64(c[0]) >= .8*(float64(c[0])+float64(c[1])+float64(c[2])) {
				t.Fatalf("%v", list)
			}
		}
	}
}

// A camera's label that gives a program away is told from others; what is no label is none.
func TestVirtualCamera(t *testing.T) {
	for label, want := range map[string]bool{"OBS Virtual Camera": true, "ManyCam Source": true, "FaceTime HD Camera": false, "camera2 1, facing front": false, "": false} {
		if got := (&cameraSpec{Label: &label}).isVirtual(); got != want {
			t.Errorf("%q: %v", label, got)
		}
	}
	if (*cameraSpec)(nil).isVirtual() || new(cameraSpec).isVirtual() {
		t.Error("nothing is a program")
	}
}

// trial is a session's tries, and a clock.
type trial struct {
	*tries
	t   *testing.T
	now time.Time
	at  place
}

func newTrial(t *testing.T, max int64) *trial {
	return &trial{newTries(max), t, time.Unix(1e9, 0), place{"t", "s"}}
}

func (b *trial) session() *Session {
	return &Session{ID: b.at.id, Ends: b.now.Add(10 * time.Minute), Challenges: []string{"blink", "turn_left"}, Steps: 2}
}

func (b *trial) mustBegin() *try {
	b.t.Helper()
	t, err := b.begin(b.at, b.session(), false, b.now)
	if err != nil {
		b.t.Fatal(err)
	}
	return t
}

// step is frames of some bytes for the task that is on, that hold.
func (b *trial) step(seed byte, size int) *sent {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.mu.of[b.at].try
	x := &sent{meta: meta{Step: t.task.n, Nonce: t.task.body(3).Nonce}}
	c := t.chain
	for j := range 3 {
		data := bytes.Repeat([]byte{seed, byte(j)}, size/2)
		sum := sha256.Sum256(data)
		f := frameMeta{I: c.next, T: c.t + 100 + float64(seed), SHA256: fmt.Sprintf("%x", sum)}
		m := c.tag(t.task.nonce, f, sum)
		f.Tag = fmt.Sprintf("%x", m)
		c.last, c.next, c.t = m, c.next+1, f.T
		x.Frames, x.data, x.sums = append(x.Frames, f), append(x.data, data), append(x.sums, sum)
	}
	return x
}

func (b *trial) mustTake(x *sent) *turn {
	b.t.Helper()
	b.now = b.now.Add(time.Second)
	u, _, err := b.take(b.at, x, b.now)
	if err != nil || u.failed != nil {
		b.t.Fatal(err, u)
	}
	return u
}

func (b *trial) used(want int64) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.used != want {
		b.t.Errorf("%d bytes are counted, want %d", b.mu.used, want)
	}
}

// shown is a step with faces of some memory.
func shown(kind extract.Challenge, n int) (s extract.Step) {
	s.Challenge = kind
	for range n {
		s.Shots = append(s.Shots, extract.Shot{Face: extract.Face{Template: []float32{1, 2, 3}, Crop: &extract.Image{W: 1, H: 1, Pix: []uint8{4, 5, 6}}}})
	}
	return s
}

// gone reports whether nothing is left of frames and faces.
func gone(frames [][]byte, s extract.Step, templates [][]float32) bool {
	for _, f := range frames {
		if bytes.ContainsFunc(f, func(r rune) bool { return r != 0 }) {
			return false
		}
	}
	for _, v := range templates {
		if slices.ContainsFunc(v, func(x float32) bool { return x != 0 }) {
			return false
		}
	}
	return len(s.Shots) == 0 || s.Shots[0].Face.Template == nil
}

// However a try ends, its frames and templates are overwritten, and its bytes are there for others.
func TestTriesLeaveNothing(t *testing.T) {
	const sums = 3 * sha256.Size
	for name, c := range map[string]struct {
		end  func(b *trial, u *turn)
		left int64
	}{
		"failed":    {func(b *trial, u *turn) { b.end(u) }, visitorBytes + 2*sums},
		"forgotten": {func(b *trial, u *turn) { b.forget(b.at); b.end(u) }, 0},
		"begun anew": {func(b *trial, u *turn) {
			b.mustBegin()
			b.end(u)
		}, visitorBytes + sums},
		"left":     {func(b *trial, u *turn) { b.leave(u); b.sweep(b.now.Add(15 * time.Minute)) }, 0},
		"given up": {func(b *trial, u *turn) { b.leave(u); b.sweep(b.now.Add(3 * time.Minute)) }, visitorBytes + sums},
		"repeated too often": {func(b *trial, u *turn) {
			u.t.again = maxAgain
			if task, err := b.repeat(u, b.now); task != nil || err != nil {
				t.Error(task, err)
			}
			b.end(u)
		}, visitorBytes + 2*sums},
	} {
		b := newTrial(t, 1<<20)
		b.mustBegin()
		first := b.step(1, 1000)
		u := b.mustTake(first)
		b.used(visitorBytes + 3*(1000+faceBytes) + sums)
		step := shown(extract.Centre, 3)
		templates := [][]float32{step.Shots[0].Face.Template, step.Shots[2].Face.Template}
		if _, err := b.accept(u, step, nil, b.now); err != nil {
			t.Fatal(err)
		}
		b.used(visitorBytes + 3*(1000+faceBytes) + sums)
		second := b.step(2, 500)
		u = b.mustTake(second)
		c.end(b, u)
		b.used(c.left)
		if !gone(slices.Concat(first.data, second.data), step, templates) {
			t.Errorf("%s: something is left", name)
		}
	}
}

// One number bounds all sessions together; who finds no room may come again, in time that is counted from when they came first.
func TestTriesAreBounded(t *testing.T) {
	const share = 2*visitorBytes + 3*(1000+faceBytes+sha256.Size)
	b := newTrial(t, share+share/3)
	b.mustBegin()
	x := b.step(1, 1000)
	other := *b
	other.at.id = "other"
	other.mustBegin()
	u := b.mustTake(x)
	if _, err := b.begin(place{"t", "third"}, b.session(), false, b.now); err != errNoRoom {
		t.Errorf("a third: %v", err)
	}
	if _, err := b.begin(place{"another tenant", "third"}, b.session(), false, b.now); err != nil {
		t.Errorf("one tenant has taken all: %v", err)
	}
	small := other.step(1, 100)
	other.now = other.now.Add(time.Second)
	if _, _, err := other.take(other.at, small, other.now); err != errNoRoom {
		t.Errorf("no room: %v", err)
	}
	b.end(u)
	if u, _, err := other.take(other.at, small, other.now.Add(time.Hour)); err != nil || u.failed != nil {
		t.Errorf("%v %+v", err, u)
	}
}

// Whoever only looks keeps no try alive: after a step's time nothing is looked at.
func TestLookingEnds(t *testing.T) {
	b := newTrial(t, 1<<20)
	b.mustBegin()
	if _, _, ok := b.watch(b.at, 0, b.now.Add(manners[extract.Centre].window)); !ok {
		t.Error("nothing is on")
	}
	b.unwatch(b.at)
	if _, _, ok := b.watch(b.at, 0, b.now.Add(manners[extract.Centre].window+1)); ok {
		t.Error("its time is over")
	}
	b.sweep(b.now.Add(2*manners[extract.Centre].window + idle))
	b.used(visitorBytes)
}

// The colours of a flash come in the order in which they are shown: no frame is called by what it looks like.
func TestColoursInOrder(t *testing.T) {
	for name, c := range map[string]struct {
		order []int
		want  error
	}{
		"as shown":      {[]int{-1, 0, 1, 2}, nil},
		"each twice":    {[]int{0, 0, 1, 1, 2, 2, -1}, nil},
		"another order": {[]int{1, 0, 2}, errOrder},
		"one back":      {[]int{0, 1, 0, 2}, errOrder},
		"one left out":  {[]int{0, 2}, errOrder},
		"not all":       {[]int{0, 1}, errOrder},
		"none":          {[]int{-1, 7}, errOrder},
	} {
		u := &turn{v: new(visitor), sent: new(sent), task: task{kind: extract.Flash, colours: make([]colour, 3)}}
		for i, k := range c.order {
			u.sent.Frames, u.sent.sums = append(u.sent.Frames, frameMeta{Colour: &k}), append(u.sent.sums, [32]byte{byte(i)})
		}
		if err := u.checkRepeats(); err != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// Who asks for alternatives does not come to a try without a movement of the head where there is one: eyes can be drawn on a photo.
func TestAlternativesMove(t *testing.T) {
	x := &Session{Challenges: []string{"turn_left", "turn_right", "look_up", "blink"}, Steps: 1}
	for range 100 {
		b := newTrial(t, 1<<20)
		x.Ends = b.now.Add(time.Minute)
		if _, err := b.begin(b.at, x, false, b.now); err != nil {
			t.Fatal(err)
		}
		at := b.mu.of[b.at]
		at.try.task = newTask(at.try.plan[1], 1, false, b.now)
		for range maxAlternatives {
			if told, _, err := b.alternative(b.at, x, b.now); err != nil || !isMovement(told.Kind) {
				t.Fatalf("%+v %v", told, err)
			}
		}
		if plan := newPlan(x, at.avoid); !slices.ContainsFunc(plan, isMovement) {
			t.Fatalf("%v without %v", plan, at.avoid)
		}
	}
}

// Of requests of one step at the same time one is judged.
func TestTakeOnce(t *testing.T) {
	b := newTrial(t, 1<<20)
	b.mustBegin()
	b.now = b.now.Add(time.Second)
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for range 16 {
		x := b.step(1, 100)
		wg.Go(func() {
			u, _, err := b.take(b.at, x, b.now)
			mu.Lock()
			defer mu.Unlock()
			if err == nil && u.failed == nil {
				taken++
			} else if err != errStepBusy {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if taken != 1 {
		t.Errorf("%d were taken", taken)
	}
}

// What a step holds of m is what the specification of the chain says, by hand.
func TestChainVector(t *testing.T) {
	c := chain{key: [32]byte(bytes.Repeat([]byte{0x0b}, 32))}
	var nonce [nonceBytes]byte
	copy(nonce[:], "0123456789abcdef")
	frames := [][]byte{[]byte("one"), []byte("two"), []byte("three")}
	x := &sent{data: frames}
	for j, data := range frames {
		x.sums = append(x.sums, sha256.Sum256(data))
		x.Frames = append(x.Frames, frameMeta{I: j, T: 12345.6 + 100*float64(j), SHA256: fmt.Sprintf("%x", x.sums[j])})
	}
	// Python: hmac.new(b"\x0b"*32, last + b"0123456789abcdef" + struct.pack(">Id", i, 12345.6 + 100*i) + sha256(frame).digest(), "sha256")
	for j, tag := range vectorTags {
		x.Frames[j].Tag = tag
	}
	after, err := c.follow(nonce, x)
	if err != nil || after.next != 3 || after.t != 12545.6 || fmt.Sprintf("%x", after.last) != vectorTags[2] {
		t.Errorf("%+v %v", after, err)
	}
	for name, change := range map[string]func(x *sent){
		"NaN":      func(x *sent) { x.Frames[1].T = math.NaN() },
		"infinite": func(x *sent) { x.Frames[1].T = math.Inf(1) },
		"tag":      func(x *sent) { x.Frames[2].Tag = x.Frames[2].Tag[2:] },
	} {
		y := *x
		y.Frames = slices.Clone(x.Frames)
		change(&y)
		if _, err := c.follow(nonce, &y); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

var vectorTags = []string{
	"3f4401db20d178b7bb3183060c0dc3c08c79df692a5dac113619ea273fff8101",
	"cf589fe4278913ea51a26e456b653fc5438e25858b224a4445e12aeb725dd427",
	"96ec8e32587f579d6a7c796a336e3b5f1511b90f4a46451dd8cce5ab491a5b55",
}
