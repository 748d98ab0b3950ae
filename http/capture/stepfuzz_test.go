package capture

import (
	"errors"
	"math"
	"strings"
	"testing"

	"mien/http/dialect"
)

// FuzzStep: whatever a body has, a step that is taken has a frame for each that it tells of, and all within the limits.
func FuzzStep(f *testing.F) {
	const kind = "multipart/form-data; boundary=x"
	part := func(name, data string) string {
		return "--x\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + data + "\r\n"
	}
	meta := `{"step":1,"nonce":"AAAA","frames":[{"i":0,"t_ms":12.5,"sha256":"00","tag":"11","colour":-1}],"alternative":false}`
	f.Add(kind, []byte(part("meta", meta)+part("frame", "\xff\xd8")+"--x--\r\n"))
	f.Add(kind, []byte(part("meta", meta)+"--x--\r\n"))
	f.Add(kind, []byte(part("meta", `{"frames":[{"t_ms":1e999}]}`)+part("frame", "x")+"--x--\r\n"))
	f.Add(kind, []byte(part("frame", "x")+part("meta", meta)+"--x--\r\n"))
	f.Add(kind, []byte("--x\r\nContent-Disposition: form-data; name=\"meta\"\r\n--x--"))
	f.Add("multipart/form-data", []byte("--\r\n"))
	f.Add("text/plain", []byte{})
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		x, err := parseStep(kind, body)
		if err != nil {
			if _, ok := errors.AsType[*dialect.Refusal](err); !ok {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(x.data) == 0 || len(x.data) != len(x.Frames) || len(x.data) != len(x.sums) || len(x.data) > flashFrames || x.size() > int64(len(body)) {
			t.Fatalf("%d frames of %d bytes, %d sums, %d are told of", len(x.data), x.size(), len(x.sums), len(x.Frames))
		}
		var c chain
		if _, err := c.follow([nonceBytes]byte{}, x); err == nil || !errors.Is(err, errDamaged) { // nobody has the key
			t.Errorf("%v", err)
		}
	})
}

// FuzzMeta: what is said of frames never makes a chain go back or stand still.
func FuzzMeta(f *testing.F) {
	f.Add(0, 1.0, 2.0, "00")
	f.Add(-1, math.NaN(), math.Inf(1), strings.Repeat("a", 64))
	f.Fuzz(func(t *testing.T, i int, t0, t1 float64, text string) {
		x := &sent{data: [][]byte{{1}, {2}}, sums: make([][32]byte, 2), meta: meta{Nonce: text, Frames: []frameMeta{{I: i, T: t0, SHA256: text, Tag: text}, {I: i + 1, T: t1}}}}
		var c chain
		for j := range x.Frames { // with tags that are right
			if text == "" {
				break
			}
			x.Frames[j].SHA256 = strings.Repeat("00", 32)
			m := c.tag([nonceBytes]byte{}, x.Frames[j], x.sums[j])
			x.Frames[j].Tag = hexOf(m)
			c.last = m
		}
		after, err := chain{}.follow([nonceBytes]byte{}, x)
		if err == nil && (i != 0 || after.next != 2 || !(t0 >= 0) || !(t1-t0 >= leastSpan) || !(t1 < maxTime)) {
			t.Errorf("frames %d at %v and %v hold", i, t0, t1)
		}
		if k, err := (skew{known: true}).with(0, t1); err == nil && (k.most-k.least > maxSkew || k.most < k.least) {
			t.Errorf("%+v", k)
		}
		isNonce(text, [nonceBytes]byte{})
	})
}

// FuzzPicture: a picture that is opened has the sizes that it says, whatever the file is.
func FuzzPicture(f *testing.F) {
	f.Add(scene{photo: "", width: 240, height: 200}.jpeg(f))
	f.Add([]byte("\xff\xd8\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := openPicture(t.Context(), data)
		if err != nil {
			if !errors.Is(err, errNoJPEG) {
				t.Fatal(err)
			}
			return
		}
		if min(p.width, p.height) < leastSide || max(p.width, p.height) > longestSide || len(p.pix) != 3*p.w*p.h || p.w < 60 || p.h < 60 {
			t.Errorf("%d×%d as %d×%d", p.width, p.height, p.w, p.h)
		}
		printOf([]byte("k"), p)
	})
}

func hexOf(m [32]byte) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, v := range m {
		b.WriteByte(digits[v>>4])
		b.WriteByte(digits[v&15])
	}
	return b.String()
}
