package scan

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"mien/index"
)

// saved is a folder with a saved index of n rows, some of them removed.
func saved(t *testing.T, dim, n int) (Config, oracle) {
	t.Helper()
	c := Config{Dim: dim, Dir: t.TempDir(), Key: testKey}
	x, o, people := mustNew(t, c), oracle{}, map[uint32][]uint32{}
	rng := rand.New(rand.NewPCG(3, uint64(n)))
	fill(t, x, o, people, rng, n)
	for i := range uint32(n / 10) {
		replace(t, x, o, people, 100+5*i, nil)
	}
	if err := x.Save(7, []byte("owner's")); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return c, o
}

func TestSaveAndOpen(t *testing.T) {
	sizes := []int{0, 5, SmallRows, SmallRows + 1, segmentRows + 77}
	if testing.Short() {
		sizes = sizes[:4]
	}
	for _, n := range sizes {
		for _, dim := range []int{8, 64, 256} {
			c, o := saved(t, dim, n)
			x, sequence, owner, err := Open(c)
			if err != nil || sequence != 7 || string(owner) != "owner's" {
				t.Fatalf("%d rows of %d: sequence %d, owner %q, %v", n, dim, sequence, owner, err)
			}
			checkRows(t, x, o)
			rng := rand.New(rand.NewPCG(4, 4))
			for i := range 3 { // goes on as any other
				people := map[uint32][]uint32{}
				replace(t, x, o, people, uint32(i), [][]float32{unit(rng, dim)})
				q := unit(rng, dim)
				opt := index.Options{K: 5, Threshold: -1}
				hits, err := x.SearchInto(t.Context(), nil, q, opt)
				if err != nil {
					t.Fatal(err)
				}
				agree(t, o, q, opt, hits)
			}
			seen := 0
			if err := x.Each(func(row, label uint32) {
				if o[row].label != label {
					t.Fatalf("row %d has label %d, want %d", row, label, o[row].label)
				}
				seen++
			}); err != nil || seen != len(o) {
				t.Fatalf("%d rows of %d: %v", seen, len(o), err)
			}
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	c, _ := saved(t, 64, SmallRows+100)
	if _, _, _, err := Open(Config{Dim: 64, Dir: t.TempDir(), Key: testKey}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing saved: %v", err)
	}
	other := c
	other.Key = []byte("another key, 32 bytes of it, no?")
	if _, _, _, err := Open(other); !errors.Is(err, index.ErrCorrupt) {
		t.Errorf("another key: %v", err)
	}
	other = c
	other.Dim = 65
	if _, _, _, err := Open(other); !errors.Is(err, index.ErrCorrupt) {
		t.Errorf("another dim: %v", err)
	}
	path := filepath.Join(c.Dir, cacheFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 5))
	for range 60 {
		bad := append([]byte(nil), whole...)
		at := rng.IntN(len(bad))
		if rng.IntN(3) == 0 {
			at = rng.IntN(600)
		}
		what := "flipped"
		if rng.IntN(2) == 0 {
			bad[at] ^= 1 << rng.IntN(8)
		} else {
			bad, what = bad[:at], "cut"
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := Open(c); !errors.Is(err, index.ErrCorrupt) {
			t.Fatalf("%s at %d of %d: %v", what, at, len(whole), err)
		}
	}
	if err := errors.Join(os.WriteFile(path, whole, 0o600), os.Remove(filepath.Join(c.Dir, vectorsFile))); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := Open(c); !errors.Is(err, index.ErrCorrupt) {
		t.Errorf("no vectors: %v", err)
	}
	x := mustNew(t, c) // what is left of another index is not opened any more
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := Open(c); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after New: %v", err)
	}
}

// A vector that was changed on disk is an error, not a wrong answer.
func TestVectorsFileDamaged(t *testing.T) {
	c := Config{Dim: 64, Dir: t.TempDir(), Key: testKey}
	x, o, people := mustNew(t, c), oracle{}, map[uint32][]uint32{}
	fill(t, x, o, people, rand.New(rand.NewPCG(6, 6)), SmallRows+10)
	row := uint32(SmallRows + 3)
	f, err := os.OpenFile(filepath.Join(c.Dir, vectorsFile), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{1, 2, 3}, x.vectors.slot(row)+40); err != nil {
		t.Fatal(err)
	}
	q := o[row].v
	if _, err := x.SearchInto(t.Context(), nil, q, index.Options{K: 1}); !errors.Is(err, index.ErrCorrupt) {
		t.Errorf("search: %v", err)
	}
	if _, err := x.Dot(row, q); !errors.Is(err, index.ErrCorrupt) {
		t.Errorf("dot: %v", err)
	}
	if _, err := x.SearchInto(t.Context(), nil, q, index.Options{K: 1, Exact: true}); !errors.Is(err, index.ErrCorrupt) {
		t.Errorf("exact: %v", err)
	}
	replace(t, x, o, people, o[row].label, [][]float32{q}) // repairs it
	if hits, err := x.SearchInto(t.Context(), nil, q, index.Options{K: 1}); err != nil || len(hits) != 1 {
		t.Errorf("after a replacement: %v, %v", hits, err)
	}
}

// Where the disk takes no file, rows stay in memory.
func TestNoFile(t *testing.T) {
	inTheWay := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	x, o, people := mustNew(t, Config{Dim: 64, Dir: filepath.Join(inTheWay, "index"), Key: testKey}), oracle{}, map[uint32][]uint32{}
	rng := rand.New(rand.NewPCG(7, 7))
	fill(t, x, o, people, rng, SmallRows+200)
	replace(t, x, o, people, 100+SmallRows+50, nil)
	checkRows(t, x, o)
	for _, exact := range []bool{false, true} {
		opt := index.Options{K: 5, Threshold: -1, Exact: exact}
		hits, err := x.SearchInto(t.Context(), nil, unit(rng, 64), index.Options{K: 5, Threshold: -1, Exact: exact})
		if err != nil || len(hits) != opt.K {
			t.Errorf("exact %v: %v, %v", exact, hits, err)
		}
	}
	if err := x.Save(1, nil); err == nil {
		t.Error("an index with rows in memory only was saved")
	}
}

// A slot of the vectors file that was right at another time does not open.
func TestSlotOfAnotherTime(t *testing.T) {
	c := Config{Dim: 64, Dir: t.TempDir(), Key: testKey}
	x, o, people := mustNew(t, c), oracle{}, map[uint32][]uint32{}
	rng := rand.New(rand.NewPCG(8, 8))
	fill(t, x, o, people, rng, SmallRows+10)
	path := filepath.Join(c.Dir, vectorsFile)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	row := uint32(SmallRows + 3)
	label := o[row].label
	for range 2 { // the second takes the row that the first freed
		replace(t, x, o, people, label, [][]float32{unit(rng, 64)})
		settle(t, x)
	}
	if people[label][0] != row {
		t.Fatalf("row %d, want %d again", people[label][0], row)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := x.vectors.slot(row)
	copy(after[at:at+int64(x.vectors.slotBytes())], before[at:])
	if err := os.WriteFile(path, after, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Dot(row, o[row].v); !errors.Is(err, index.ErrCorrupt) {
		t.Errorf("an old slot: %v", err)
	}
}
