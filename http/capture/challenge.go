package capture

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"time"

	"mien/extract"
)

// What a try asks for: first to look into the camera, then challenges that nobody can know before they are asked. One is told when the frames of the
// one before have come and have shown it, with a nonce of its own and a time of its own.

// manner is how a challenge is asked for.
type manner struct {
	window time.Duration // to do it in, from when it was told to the arrival of the frames
	least  time.Duration // nobody reads it and does it faster
	frames int           // to be sent
}

// manners: who gets into the picture and the light takes their time, and a challenge is 12 s with reading it, moving and sending. A shorter one stops
// who would make the pictures up, and also people: TestManners has what is asked of both.
var manners = map[extract.Challenge]manner{
	extract.Centre:    {60 * time.Second, 300 * time.Millisecond, 3},
	extract.TurnLeft:  {12 * time.Second, 700 * time.Millisecond, 4},
	extract.TurnRight: {12 * time.Second, 700 * time.Millisecond, 4},
	extract.LookUp:    {12 * time.Second, 700 * time.Millisecond, 4},
	extract.Blink:     {12 * time.Second, 700 * time.Millisecond, 4},
	extract.Flash:     {12 * time.Second, flashColours * leastShown, flashColours},
}

// slowly is by how much the window grows for who asks for more time.
const slowly = 4

// task is a challenge that was told.
type task struct {
	kind     extract.Challenge
	n        int // from 0, within the try
	nonce    [nonceBytes]byte
	colours  []colour // of flash
	released time.Time
	window   time.Duration
	held     held // frames that came and could not be judged yet
}

// held is what is known of frames that came in time and met a server that was busy: they may come again.
type held struct {
	tag     string // of the last
	arrived time.Time
}

func newTask(kind extract.Challenge, n int, slower bool, now time.Time) task {
	t := task{kind: kind, n: n, nonce: newNonce(), released: now, window: manners[kind].window}
	if slower {
		t.window *= slowly
	}
	if kind == extract.Flash {
		t.colours = newColours()
	}
	return t
}

func newNonce() (nonce [nonceBytes]byte) {
	_, _ = rand.Read(nonce[:]) // never fails
	return nonce
}

// taskBody is a task as the page is told it.
type taskBody struct {
	N       int               `json:"n"`
	Kind    extract.Challenge `json:"kind"`
	Nonce   string            `json:"nonce"`
	Seconds int               `json:"seconds"`
	LeastMs int               `json:"min_ms"`
	Frames  int               `json:"frames"`
	Of      int               `json:"of"`
	Colours []string          `json:"colours,omitempty"`
}

func (t *task) body(of int) *taskBody {
	b := &taskBody{N: t.n, Kind: t.kind, Nonce: base64.StdEncoding.EncodeToString(t.nonce[:]), Seconds: int(t.window.Seconds()),
		LeastMs: int(manners[t.kind].least.Milliseconds()), Frames: manners[t.kind].frames, Of: of}
	for _, c := range t.colours {
		b.Colours = append(b.Colours, fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]))
	}
	return b
}

// mostOf is how many frames of a challenge are taken.
func mostOf(kind extract.Challenge) int {
	if kind == extract.Flash {
		return flashFrames
	}
	return mostFrames
}

// random is a number from 0 to below n that nobody can guess.
func random(n int) int {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic("BUG: capture: " + err.Error()) // crypto/rand never fails
	}
	return int(i.Int64())
}

// drawKinds chooses the n challenges of a try among kinds, every choice as likely as any other: no two alike in a row, and a turn among them where one of the kinds
// is one, else a movement. A single kind is asked for once. REQUIRES: kinds is not empty, without Centre, none twice.
func drawKinds(kinds []extract.Challenge, n int) []extract.Challenge {
	if len(kinds) == 1 {
		return slices.Clone(kinds)
	}
	wanted := isTurn
	if !slices.ContainsFunc(kinds, isTurn) {
		wanted = isMovement
	}
	has := slices.ContainsFunc(kinds, wanted)
	for {
		list := make([]extract.Challenge, 0, n)
		for len(list) < n {
			if k := kinds[random(len(kinds))]; len(list) == 0 || k != list[len(list)-1] {
				list = append(list, k)
			}
		}
		if !has || slices.ContainsFunc(list, wanted) { // of two kinds half of the single ones, else more
			return list
		}
	}
}

func isTurn(c extract.Challenge) bool { return c == extract.TurnLeft || c == extract.TurnRight }

// isMovement reports whether the head moves, which a picture hardly does (extract, "Presentations"). Eyes that close can be drawn on one.
func isMovement(c extract.Challenge) bool { return isTurn(c) || c == extract.LookUp }

// instead are those of kinds that may be asked for in place of what somebody can't do: movements, if else there were none in the plan and there is one.
func instead(plan []extract.Challenge, cannot extract.Challenge, kinds []extract.Challenge) []extract.Challenge {
	moves := func(k extract.Challenge) bool { return k != cannot && isMovement(k) }
	if slices.ContainsFunc(plan, moves) || !slices.ContainsFunc(kinds, moves) {
		return kinds
	}
	return slices.DeleteFunc(slices.Clone(kinds), func(k extract.Challenge) bool { return !moves(k) })
}

// replace puts another challenge in the place of the one at i, which the person can't do, and of those alike behind it. It is one of kinds that is unlike those
// beside it, if there is one. ok is false where there is no other.
func replace(plan []extract.Challenge, i int, kinds []extract.Challenge) (changed []extract.Challenge, ok bool) {
	cannot := plan[i]
	changed = slices.Clone(plan)
	for ; i < len(plan); i++ {
		if plan[i] != cannot {
			continue
		}
		var others, unlike []extract.Challenge
		for _, k := range kinds {
			if k == cannot {
				continue
			}
			others = append(others, k)
			if changed[i-1] != k && (i+1 == len(plan) || plan[i+1] != k) {
				unlike = append(unlike, k)
			}
		}
		if len(others) == 0 {
			return nil, false
		}
		if len(unlike) > 0 {
			others = unlike
		}
		changed[i] = others[random(len(others))]
	}
	return changed, true
}

// Flash: colours that the screen shows one after the other.

// colour is sRGB.
type colour [3]uint8

const (
	flashColours = 5
	flashFrames  = flashColours + leastFrames // that are taken
	// leastShown is how long one is shown at the least: no more than 2.5 changes a second, below the three that may cause seizures (WCAG 2.2, 2.3.1).
	leastShown = 400 * time.Millisecond
)

// palette are the colours: bright, and none a saturated red, which is what harms most.
var palette = []colour{{255, 255, 255}, {90, 150, 255}, {110, 235, 130}, {250, 215, 110}, {200, 140, 250}, {90, 220, 225}}

// newColours are those of a flash, no two alike in a row.
func newColours() []colour {
	list := make([]colour, 0, flashColours)
	for len(list) < flashColours {
		if c := palette[random(len(palette))]; len(list) == 0 || c != list[len(list)-1] {
			list = append(list, c)
		}
	}
	return list
}
