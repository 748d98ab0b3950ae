package jpeg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
)

// segmentOf is a whole segment.
func segmentOf(marker uint8, body ...uint8) []uint8 {
	n := 2 + len(body)
	return append([]uint8{0xff, marker, uint8(n >> 8), uint8(n)}, body...)
}

// inserted is data with s at byte at.
func inserted(data []byte, at int, s []byte) []byte {
	return bytes.Join([][]byte{data[:at], s, data[at:]}, nil)
}

// boundaries are the bytes of data where a segment may be inserted: before each but SOI and restart markers, and before EOI.
func boundaries(t testing.TB, data []byte) (at []int) {
	t.Helper()
	for p := 2; ; {
		marker, next, err := nextMarker(data, p)
		if err != nil {
			t.Fatal(err)
		}
		if p = next; marker >= markerRST0 && marker <= markerRST7 {
			continue
		}
		if at = append(at, next-2); marker == markerEOI {
			return at
		}
		if _, p, err = segment(data, p); err != nil {
			t.Fatal(err)
		}
	}
}

// restarted is a photo with a restart marker behind each row of MCUs: rows that were encoded alone, one behind another.
func restarted(t testing.TB, w, rows int) []byte {
	t.Helper()
	m := painted(w, 16*rows, 4)
	data, _ := split(t, encoded(t, m, 75))
	header := bytes.LastIndex(data, []byte{0xff, markerSOS})
	data = inserted(data, header, segmentOf(markerDRI, 0, uint8((w+15)/16)))
	for y := range rows {
		if y > 0 {
			data = append(data, 0xff, markerRST0+uint8(y-1)&7)
		}
		_, body := split(t, encoded(t, m.SubImage(image.Rect(0, 16*y, w, 16*y+16)), 75))
		data = append(data, body...)
	}
	return append(data, 0xff, markerEOI)
}

// split cuts what the standard library encoded in its headers and its one scan.
func split(t testing.TB, data []byte) (headers, scan []byte) {
	t.Helper()
	at := boundaries(t, data)
	_, end, err := segment(data, at[len(at)-2]+2)
	if err != nil {
		t.Fatal(err)
	}
	return data[:end], data[end : len(data)-2]
}

// agrees checks data against image/jpeg, and at each reduction the overview against regions that are decoded again.
func agrees(t testing.TB, name string, data []byte) {
	t.Helper()
	compareDamaged(t, name, data)
	for _, shrink := range []int{1, 2, 4, 8} {
		w, h, whole, err := decoded(t, data, shrink)
		if err != nil {
			if !knownError(err) {
				t.Fatalf("%s: an error of no kind: %v", name, err)
			}
			continue
		}
		p, err := Open(t.Context(), data, Options{MaxPixels: testMaxPixels, Shrink: func(int, int) int { return 16 / shrink % 15 }})
		if err != nil {
			t.Fatalf("%s: %v with another overview", name, err)
		}
		for _, r := range []image.Rectangle{image.Rect(0, 0, w, h), image.Rect(w/3, h/3, w/3+w/2+1, h/3+h/2+1).Intersect(image.Rect(0, 0, w, h))} {
			sameRegion(t, fmt.Sprintf("%s at 1/%d", name, shrink), p, whole, w, r, shrink)
		}
		p.Close()
	}
}

// lateIntervals are photos with a DRI behind their scan: it rules no region.
func lateIntervals(t testing.TB) (photos [][]byte) {
	data := restarted(t, 70, 6)
	for _, interval := range []uint8{0, 1, 2, 10, 200} {
		photos = append(photos, inserted(data, len(data)-2, segmentOf(markerDRI, 0, interval)))
	}
	plain := encoded(t, painted(70, 50, 4), 75)
	return append(photos, inserted(plain, len(plain)-2, segmentOf(markerDRI, 0, 1)))
}

func TestIntervalBehindScan(t *testing.T) {
	for i, data := range lateIntervals(t) {
		if _, _, _, err := decoded(t, data, 1); err != nil {
			t.Fatal(err)
		}
		agrees(t, fmt.Sprint("photo ", i), data)
	}
}

// strays are segments that change the state of a decoder, some of them damaged.
func strays(t testing.TB) (s [][]byte) {
	other := encoded(t, painted(16, 16, 9), 20)
	at := boundaries(t, other)
	for i, from := range at[:len(at)-2] {
		s = append(s, other[from:at[i+1]])
	}
	for _, transform := range []uint8{0, 1, 2} {
		s = append(s, segmentOf(markerAPP14, append([]uint8("Adobe\x00\x64\x00\x00\x00\x00"), transform)...))
	}
	for _, interval := range []uint8{0, 1, 3, 20} {
		s = append(s, segmentOf(markerDRI, 0, interval))
	}
	for class := range uint8(2) { // codes to 16 bits, longer than one look takes
		counts := append(bytes.Repeat([]uint8{1}, 15), 2)
		s = append(s, segmentOf(markerDHT, append(append([]uint8{class << 4}, counts...), make([]uint8, 17)...)...))
	}
	for i, from := range at[:len(at)-2] {
		if other[from+1] == markerDHT {
			s = append(s, segmentOf(markerDHT, otherwise(other[from+4:at[i+1]])...))
		}
	}
	return append(s, segmentOf(markerAPP0, []uint8("JFIF\x00")...), segmentOf(markerAPP0, []uint8("other")...))
}

// A region is decoded again with what ruled the scan, whatever was defined behind it.
func TestSegmentsBehindScan(t *testing.T) {
	photos := [][]byte{restarted(t, 70, 4), encoded(t, painted(64, 48, 3), 95)}
	for i, data := range photos {
		for j, s := range strays(t) {
			agrees(t, fmt.Sprintf("photo %d, segment %d", i, j), inserted(data, len(data)-2, s))
		}
	}
}

// otherwise is a DHT of the same codes with their values in the other order.
func otherwise(body []byte) []byte {
	out := bytes.Clone(body)
	for rest := out; len(rest) > 0; {
		n := 0
		for _, c := range rest[1:17] {
			n += int(c)
		}
		slices.Reverse(rest[17 : 17+n])
		rest = rest[17+n:]
	}
	return out
}

// Whatever segments are put between those of a photo, in whatever order, it is read as image/jpeg does, and its
// overview and regions are of one picture.
func TestStraySegments(t *testing.T) {
	photos := [][]byte{restarted(t, 40, 5), encoded(t, painted(37, 50, 2), 60), encoded(t, painted(9, 17, 1), 50)}
	for _, name := range []string{"faces/small.jpg"} {
		photos = append(photos, readFile(t, filepath.Join("..", "..", "testdata", name)))
	}
	for _, name := range standardFiles() {
		if data := readFile(t, name); len(data) < 5000 && !testing.Short() {
			photos = append(photos, data)
		}
	}
	r := rand.New(rand.NewPCG(8, 9))
	kinds, rounds := strays(t), 30
	if testing.Short() {
		rounds = 5
	}
	for i, data := range photos {
		for j := range rounds {
			changed := data
			for range 1 + r.IntN(3) {
				at := boundaries(t, changed)
				place := at[len(at)-1-min(r.IntN(len(at)), r.IntN(len(at)))] // rather behind the scans
				changed = inserted(changed, place, kinds[r.IntN(len(kinds))])
			}
			agrees(t, fmt.Sprintf("photo %d, change %d", i, j), changed)
		}
	}
}

// without is data with no segment of a marker.
func without(t testing.TB, data []byte, marker uint8) []byte {
	t.Helper()
	at := boundaries(t, data)
	out := bytes.Clone(data[:at[0]])
	for i, from := range at[:len(at)-1] {
		if data[from+1] != marker {
			out = append(out, data[from:at[i+1]]...)
		}
	}
	return append(out, data[at[len(at)-1]:]...)
}

// A photo that lacks a definition gets none from the photo before, whose memory it has.
func TestNothingOfThePhotoBefore(t *testing.T) {
	before := restarted(t, 70, 6)
	lacking := without(t, before, markerDHT)
	for range 20 { // the pool may forget
		agrees(t, "before", before)
		if _, _, _, err := decoded(t, lacking, 1); !errors.Is(err, ErrFormat) {
			t.Fatalf("%v of a photo without Huffman tables", err)
		}
	}
	for _, marker := range []uint8{markerDQT, markerDRI} {
		agrees(t, "before", before)
		agrees(t, fmt.Sprintf("without %#x", marker), without(t, before, marker))
	}
}

// A file may define tables without end: what no scan uses costs no more than its check.
func TestTablesAreBuiltByScans(t *testing.T) {
	data := encoded(t, painted(9, 17, 1), 50)
	table := append(append([]uint8{3, 1}, make([]uint8, 15)...), 0)
	p, err := Open(t.Context(), inserted(data, 2, segmentOf(markerDHT, bytes.Repeat(table, 3000)...)), Options{MaxPixels: testMaxPixels})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if used, other := &p.huff[0][0], &p.huff[0][3]; !used.built || !other.known || other.built {
		t.Errorf("a table of the scan: %v, want built; another: %v, want not", used.built, other.built)
	}
}

// A table may use up all codes of a length, as image/jpeg allows, but no more.
func TestTableOfTooManyCodes(t *testing.T) {
	data := encoded(t, painted(9, 17, 1), 50)
	for _, c := range []struct {
		counts [3]uint8
		fits   bool
	}{{[3]uint8{2}, true}, {[3]uint8{3}, false}, {[3]uint8{1, 2}, true}, {[3]uint8{1, 3}, false}, {[3]uint8{2, 0, 1}, false}, {[3]uint8{0, 0, 9}, false}} {
		table := append(append([]uint8{3}, c.counts[:]...), make([]uint8, 13+9)...)
		table = table[:17+c.counts[0]+c.counts[1]+c.counts[2]]
		_, _, _, err := decoded(t, inserted(data, 2, segmentOf(markerDHT, table...)), 1)
		if c.fits && err != nil || !c.fits && !errors.Is(err, ErrFormat) {
			t.Errorf("%v codes of 1 to 3 bits: %v", c.counts, err)
		}
	}
}

func TestContextBetweenSegments(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	data := append([]uint8{0xff, markerSOI}, bytes.Repeat(segmentOf(markerCOM), 10)...)
	if _, err := Open(ctx, data, Options{MaxPixels: testMaxPixels}); err != cause {
		t.Errorf("%v, want the context's cause", err)
	}
}

// What a refining scan passes over at no cost is exactly what is 0: else a few bytes would cost a walk over each
// coefficient of the photo, or bits would be read that aren't there.
func TestBusy(t *testing.T) {
	photos, blocks, idle := 0, 0, 0
	for _, name := range testFiles(t) {
		p, err := Open(t.Context(), readFile(t, name), Options{MaxPixels: testMaxPixels})
		if err != nil {
			continue // TestSameAsStandardFiles tells
		}
		if p.progressive {
			photos++
			for i := range p.comp {
				n, zero := checkBusy(t, name, &p.comp[i])
				blocks, idle = blocks+n, idle+zero
			}
		}
		p.Close()
	}
	if t.Logf("%d photos: %d of %d blocks have no AC coefficient", photos, idle, blocks); photos == 0 || idle == 0 || idle == blocks {
		t.Error("that tells nothing")
	}
}

// checkBusy returns how many blocks c has, and how many without AC coefficients.
func checkBusy(t *testing.T, name string, c *component) (blocks, idle int) {
	for at := range c.coef {
		var want uint64
		for k := 1; k < 64; k++ {
			if c.coef[at][natural[k]] != 0 {
				want |= 1 << k
			}
		}
		if c.busy[at] != want {
			t.Fatalf("%s: block %d of component %d says %#x, want %#x", name, at, c.id, c.busy[at], want)
		}
		if want == 0 {
			idle++
		}
	}
	return len(c.coef), idle
}
