package jpeg

import (
	"bytes"
	"fmt"
	"image"
	"math/rand/v2"
	"path/filepath"
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
	data, body := split(t, encoded(t, m, 75))
	header := bytes.LastIndex(data, []byte{0xff, markerSOS})
	data = inserted(data, header, segmentOf(markerDRI, 0, uint8((w+15)/16)))
	for y := range rows {
		if y > 0 {
			data = append(data, 0xff, markerRST0+uint8(y-1)&7)
		}
		_, body = split(t, encoded(t, m.SubImage(image.Rect(0, 16*y, w, 16*y+16)), 75))
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
	counts := [16]uint8{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
	for class := range uint8(2) {
		table := append(append([]uint8{class << 4}, counts[:]...), 0, 1, 2, 3, 4, 5, 6, 0x11, 0x21, 0xf0)
		s = append(s, segmentOf(markerDHT, table...))
	}
	return append(s, segmentOf(markerAPP0, []uint8("JFIF\x00")...), segmentOf(markerAPP0, []uint8("other")...))
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
