package transfer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mien/engine"
)

var update = flag.Bool("update", false, "write the golden files of this version")

var forms = []Format{NDJSON, Binary}

// goldenHeader and goldenPeople are what testdata's files hold.
var goldenHeader = Header{Space: "a-4", Dim: 4, Gallery: "staff", Created: time.UnixMilli(1767323045000).UTC()}

func goldenPeople() []engine.PortablePerson {
	at := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	return []engine.PortablePerson{
		{ID: "ada", Metadata: json.RawMessage(`{"desk":"4.12"}`), Created: at(1700000000001), Updated: at(1700000000999),
			Templates: []engine.PortableTemplate{
				{Number: 2, Created: at(1700000000001), Source: "image", Vector: []float32{0.5, -0.5, 0.5, -0.5}},
				{Number: 7, Created: at(1700000000999), Source: "template", Vector: []float32{1, 0, float32(math.Copysign(0, -1)), 1e-20}},
			}},
		{ID: "日本 / é", Created: at(0), Updated: at(253402300799999),
			Templates: []engine.PortableTemplate{{Number: math.MaxUint32, Created: at(5), Source: "", Vector: []float32{0, 0, 0, 1}}}},
	}
}

// goldenPeople2 has what version 2 added.
func goldenPeople2() []engine.PortablePerson {
	at := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	people := goldenPeople()
	people[0].Status, people[1].Status = engine.StatusSuspended, engine.StatusActive
	people[0].Retention = engine.Retention{Expires: at(1900000000000), Consent: &engine.Consent{Purpose: "access to \"B\"", Basis: "consent",
		Given: at(1700000000000), Reference: "file 7", Expires: at(1800000000001)}}
	people[1].Retention.Consent = &engine.Consent{Purpose: "p", Basis: "b", Given: at(1)}
	people[0].Templates[0].Quality, people[0].Templates[0].By = new(71.25), "0123456789abcdef"
	people[0].Templates[1].Quality = new(0.0)
	people[1].Templates[0].Source = "image"
	people[0].History = []engine.PortableTemplate{
		{Number: 1, Created: at(3), Source: "image", Quality: new(100.0), By: "k", Replaced: at(4)},
		{Number: 2, Created: at(5), Source: "template", Replaced: at(1700000000001)},
	}
	return append(people, engine.PortablePerson{ID: "c", Created: at(1), Updated: at(2),
		Retention: engine.Retention{Expires: at(253402300799999)},
		Templates: []engine.PortableTemplate{{Number: 1, Created: at(1), Source: "image", By: "x", Vector: []float32{0, 1, 0, 0}}}})
}

// written is a file of people.
func written(t testing.TB, f Format, h Header, people []engine.PortablePerson) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, f, h)
	if err != nil {
		t.Fatal(err)
	}
	for i := range people {
		if err := w.Write(&people[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// clone copies what dies with the next person.
func clone(p engine.PortablePerson) engine.PortablePerson {
	p.Metadata = slices.Clone(p.Metadata)
	p.Templates = slices.Clone(p.Templates)
	for i := range p.Templates {
		p.Templates[i].Vector = slices.Clone(p.Templates[i].Vector)
	}
	return p
}

// readAll reads a file to its end or the first error.
func readAll(data []byte, c Config) (h Header, people []engine.PortablePerson, err error) {
	r, err := NewReader(bytes.NewReader(data), c)
	if err != nil {
		return h, nil, err
	}
	for p, err := range r.People() {
		if err != nil {
			return r.Header, people, err
		}
		people = append(people, clone(p))
	}
	return r.Header, people, nil
}

// TestGolden reads the files of every version, and writes today's as it is.
func TestGolden(t *testing.T) {
	for _, f := range forms {
		for version, want := range [][]engine.PortablePerson{1: goldenPeople(), 2: goldenPeople2()} {
			if version == 0 {
				continue
			}
			path := filepath.Join("testdata", fmt.Sprintf("version-%d.%s", version, f))
			if now := written(t, f, goldenHeader, want); version == Version && *update {
				if err := os.WriteFile(path, now, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if version == 1 && f == NDJSON {
				want[1].Templates[0].Source = "template" // as of a file that does not say
			}
			h, people, err := readAll(data, Config{})
			if err != nil || !reflect.DeepEqual(h, goldenHeader) || !reflect.DeepEqual(people, want) {
				t.Errorf("%s: %+v\n%+v\n%v", path, h, people, err)
			}
			if now := written(t, f, goldenHeader, want); version == Version && !bytes.Equal(now, data) {
				t.Errorf("%s: what is written today is not the golden file", f)
			}
		}
	}
}

// TestFirstVersion: what version 2 added is in no file that says that it is of version 1.
func TestFirstVersion(t *testing.T) {
	data := written(t, NDJSON, goldenHeader, goldenPeople2())
	old := bytes.Replace(data, []byte(`"version":2`), []byte(`"version":1`), 1)
	if _, _, err := readAll(old, Config{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "fields of version 2") {
		t.Error(err)
	}
	data = written(t, Binary, goldenHeader, goldenPeople2())
	old = slices.Clone(data)
	old[len(magic)] = 1
	end := len(magic) + 4 + int(binary.LittleEndian.Uint16(old[len(magic)+2:]))
	binary.LittleEndian.PutUint32(old[end:], crc32.Checksum(old[:end], castagnoli))
	if _, _, err := readAll(old, Config{NoHash: true}); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

// TestExtras: an extra that is not what doc.go lays out is damage, with checksums that fit.
func TestExtras(t *testing.T) {
	status := func(s string) []byte { return append([]byte{tagStatus, byte(len(s))}, s...) }
	many := append([]byte{tagHistory, 2}, engine.MaxHistory+1, 0)
	for name, extra := range map[string][]byte{
		"tag 0": {0, 0}, "unknown tag": {4, 0}, "no payload": {tagStatus}, "twice": slices.Concat(status("active"), status("active")),
		"not in order": append([]byte{tagHistory, 1, 0}, status("active")...), "retention with more": {tagRetention, 3, 0, 0, 0},
		"an end after the year 9999": append([]byte{tagRetention, 10}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0),
		"too long a history":         many,
	} {
		if parseExtra(new(engine.PortablePerson), extra) {
			t.Errorf("%s: %x is taken", name, extra)
		}
	}
}

func randomPeople(rng *rand.Rand, n, dim int) (people []engine.PortablePerson) {
	for i := range n {
		p := engine.PortablePerson{ID: fmt.Sprintf("p%d", i), Created: time.UnixMilli(rng.Int64N(1 << 41)).UTC(), Updated: time.UnixMilli(rng.Int64N(1 << 41)).UTC()}
		if rng.IntN(2) == 0 {
			p.Metadata = fmt.Appendf(nil, `{"n":"%s"}`, strings.Repeat("x", rng.IntN(200)))
		}
		for j := range 1 + rng.IntN(engine.MaxTemplates) {
			v := make([]float32, dim)
			for k := range v {
				v[k] = float32(rng.NormFloat64())
			}
			p.Templates = append(p.Templates, engine.PortableTemplate{Number: uint32(j + 1), Created: p.Created, Source: "image", Vector: v})
		}
		people = append(people, p)
	}
	return people
}

func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, f := range forms {
		for _, n := range []int{0, 1, 700} { // of dim 300, some 3 MB: several blocks
			people := randomPeople(rng, n, 300)
			h := Header{Space: "s", Dim: 300}
			got, all, err := readAll(written(t, f, h, people), Config{})
			if err != nil || got != h || !reflect.DeepEqual(all, people) {
				t.Errorf("%s, %d people: %d, %v", f, n, len(all), err)
			}
		}
	}
}

// TestDamage cuts a file at every length and turns every bit of it: never a panic, never a whole file.
func TestDamage(t *testing.T) {
	for _, f := range forms {
		data := written(t, f, goldenHeader, goldenPeople2())
		for n := range data {
			_, _, err := readAll(data[:n], Config{})
			if !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrFormat) {
				t.Fatalf("%s cut at %d of %d: %v", f, n, len(data), err)
			}
			if n > 100 && f == Binary && !errors.Is(err, ErrTruncated) {
				t.Fatalf("%s cut at %d of %d: %v", f, n, len(data), err)
			}
		}
		for i := range len(data) {
			bad := slices.Clone(data)
			bad[i] ^= 1 << (i % 8)
			if _, _, err := readAll(bad, Config{}); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTruncated) {
				t.Fatalf("%s with a bit of byte %d turned: %v", f, i, err)
			}
		}
		for name, bad := range map[string][]byte{
			"more behind":     append(slices.Clone(data), '\n'),
			"twice":           slices.Concat(data, data),
			"empty":           {},
			"something else":  []byte("GIF89a"),
			"another version": bytes.Replace(bytes.Replace(data, []byte(`"version":2`), []byte(`"version":3`), 1), []byte("people\n\x02"), []byte("people\n\x03"), 1),
		} {
			if _, _, err := readAll(bad, Config{}); err == nil || name == "another version" && !errors.Is(err, ErrFormat) {
				t.Errorf("%s, %s: %v", f, name, err)
			}
		}
	}
}

// TestNoHash: a flipped bit is found by the block's CRC alone.
func TestNoHash(t *testing.T) {
	data := written(t, Binary, goldenHeader, goldenPeople())
	if _, _, err := readAll(data, Config{NoHash: true}); err != nil {
		t.Error(err)
	}
	data[len(data)-trailerBytes-3] ^= 1
	if _, _, err := readAll(data, Config{NoHash: true}); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

// TestHandMade: NDJSON with the least that a person needs, and no trailer.
func TestHandMade(t *testing.T) {
	const head, line = `{"mien":"export","version":1,"space":"s","dim":1}` + "\n", `{"id":"a","templates":[{"f32":"AACAPw=="}]}` + "\n"
	if _, _, err := readAll([]byte(head+line), Config{}); !errors.Is(err, ErrTruncated) {
		t.Error(err)
	}
	_, people, err := readAll([]byte(head+line), Config{Open: true})
	if err != nil || len(people) != 1 || people[0].Templates[0].Number != 1 || people[0].Templates[0].Source != "template" ||
		people[0].Templates[0].Vector[0] != 1 || time.Since(people[0].Created) > time.Minute {
		t.Errorf("%+v, %v", people, err)
	}
	for _, bad := range []string{
		`{"id":"a","templates":[{"f32":"AACAPw=="}],"status":"suspended"}`, // a field of version 2
		`{"id":"a","templates":[{"f32":"AACAPw=="}],"faces":1}`,            // nobody's
		`{"id":"a","templates":[{"f32":"AACAPwAA"}]}`,
		`{"id":"a","templates":[{"f32":"*"}]}`,
		`{"id":"a","templates":[` + strings.Repeat(`{"f32":"AACAPw=="},`, engine.MaxTemplates) + `{"f32":"AACAPw=="}]}`,
		`{"id":1}`, `[]`, ``, `{"id":"a"} {}`,
	} {
		if _, _, err := readAll([]byte(head+line+bad+"\n"), Config{Open: true}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestSkip goes on from the offset of a block.
func TestSkip(t *testing.T) {
	people := randomPeople(rand.New(rand.NewPCG(3, 4)), 900, 300)
	for _, f := range forms {
		data := written(t, f, Header{Space: "s", Dim: 300}, people)
		r, err := NewReader(bytes.NewReader(data), Config{})
		if err != nil {
			t.Fatal(err)
		}
		first := r.Offset()
		n, offset, at := 0, int64(0), 0
		for range r.People() {
			if n++; r.Offset() != first && offset == 0 && n > 100 {
				offset, at = r.Offset(), n
				break
			}
		}
		again, err := NewReader(bytes.NewReader(data), Config{})
		if err != nil || offset == 0 {
			t.Fatal(offset, err)
		}
		again.Skip(bytes.NewReader(data[offset:]), offset, uint64(at))
		rest := 0
		for p, err := range again.People() {
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(clone(p), people[at+rest]) {
				t.Fatalf("%s: person %d of the rest is %q", f, rest, p.ID)
			}
			rest++
		}
		if at+rest != len(people) {
			t.Errorf("%s: %d and %d of %d", f, at, rest, len(people))
		}
	}
}

// TestClaims: what a block says of itself is held against what there is, with checksums that fit.
func TestClaims(t *testing.T) {
	head := written(t, Binary, goldenHeader, nil)
	head = head[:len(head)-trailerBytes]
	body := new(Writer).appendRecord(nil, &goldenPeople2()[0])
	huge := slices.Concat([]byte{3, 'a', 'd', 'a'}, binary.AppendUvarint(nil, math.MaxUint64))
	many := append(slices.Clone(body), 0)
	for name, b := range map[string]struct {
		records, length uint32
		body            []byte
	}{
		"more records":  {2, uint32(len(body)), body},
		"bytes behind":  {1, uint32(len(many)), many},
		"huge string":   {1, uint32(len(huge)), huge},
		"huge block":    {1, math.MaxUint32, body},
		"no records":    {0, 0, nil},
		"more than fit": {math.MaxUint32, uint32(len(body)), body},
	} {
		block := []byte{blockMark}
		block = binary.LittleEndian.AppendUint32(block, b.records)
		block = binary.LittleEndian.AppendUint32(block, b.length)
		block = binary.LittleEndian.AppendUint32(block, crc32.Update(crc32.Checksum(block, castagnoli), castagnoli, b.body))
		if _, _, err := readAll(slices.Concat(head, block, b.body), Config{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRead: any bytes end in people and an error or none, and what was read is written and read as the same.
func FuzzRead(f *testing.F) {
	for _, form := range forms {
		f.Add(written(f, form, goldenHeader, goldenPeople()))
		f.Add(written(f, form, goldenHeader, goldenPeople2()))
		f.Add(written(f, form, goldenHeader, nil))
		for version := 1; version <= Version; version++ {
			old, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("version-%d.%s", version, form)))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(old)
		}
	}
	f.Add([]byte(`{"mien":"export","version":2,"space":"s","dim":1}` + "\n" + `{"id":"a","templates":[{"f32":"AACAPw==","quality":7.5}],"status":"active",` +
		`"consent":{"purpose":"p","basis":"b","given_at":"2020-01-01T00:00:00Z"},"history":[{"number":1,"created":"2020-01-01T00:00:00Z","replaced":"2020-01-01T00:00:00Z"}]}` + "\n"))
	f.Add([]byte(`{"mien":"export","version":1,"space":"s","dim":1}` + "\n" + `{"id":"a","templates":[{"f32":"AACAPw=="}]}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, people, err := readAll(data, Config{Open: true, NoHash: true})
		if err != nil || !comparable(people) {
			return
		}
		got, again, err := readAll(written(t, Binary, h, people), Config{})
		if err != nil || !reflect.DeepEqual(again, people) || got.Space != h.Space || got.Dim != h.Dim {
			t.Errorf("%+v\n%+v\n%v", people, again, err)
		}
	})
}

// comparable leaves out what the binary form can't say as it is: NaN, times outside its range or finer, long strings.
func comparable(people []engine.PortablePerson) bool {
	plain := func(at time.Time) bool {
		return at.Equal(at.Truncate(time.Millisecond)) && at.Location() == time.UTC && at.UnixMilli() >= 0
	}
	some := func(at time.Time) bool { return at.IsZero() || plain(at) && at.UnixMilli() > 0 }
	provenance := func(e engine.PortableTemplate) bool {
		return plain(e.Created) && len(e.Source) <= engine.MaxSourceBytes && len(e.By) <= engine.MaxByBytes && some(e.Replaced) &&
			(e.Quality == nil || *e.Quality >= 0 && *e.Quality <= 100 && *e.Quality == math.Round(100**e.Quality)/100)
	}
	for _, p := range people {
		if !plain(p.Created) || !plain(p.Updated) || len(p.ID) > engine.MaxIDBytes || len(p.Metadata) > engine.MaxMetadataBytes || p.Metadata != nil && len(p.Metadata) == 0 {
			return false
		}
		if len(p.Templates) == 0 || len(p.Status) > 64 || !some(p.Expires) || slices.ContainsFunc(p.History, func(e engine.PortableTemplate) bool { return !provenance(e) }) {
			return false
		}
		if c := p.Consent; c != nil && (max(len(c.Purpose), len(c.Basis), len(c.Reference)) > engine.MaxConsentBytes || !some(c.Given) || !some(c.Expires)) {
			return false
		}
		for _, e := range p.Templates {
			if !provenance(e) || slices.ContainsFunc(e.Vector, func(x float32) bool { return x != x }) {
				return false
			}
		}
	}
	return true
}

func BenchmarkRead(b *testing.B) {
	data := written(b, Binary, Header{Space: "s", Dim: 512}, randomPeople(rand.New(rand.NewPCG(5, 6)), 1000, 512))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(data), Config{})
		if err != nil {
			b.Fatal(err)
		}
		for _, err := range r.People() {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
