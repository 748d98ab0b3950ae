package evaluate

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"mien/simd"
)

// Errors of an evaluation.
var (
	// ErrNoFaces: no photo gave a template.
	ErrNoFaces = errors.New("evaluate: no photo gave a template")
	// ErrNoPairs: there are no two templates of one person, or none of two people.
	ErrNoPairs = errors.New("evaluate: nothing to compare")
	// ErrTemplate: templates of different lengths, or one whose norm is not 1.
	ErrTemplate = errors.New("evaluate: not a template of unit length")
)

// Photo is what became of one photo.
type Photo struct {
	Person   string
	File     string // as reports name it
	Failure  string // code of why there is no template; "" if there is one
	Template []float32
	Quality  []float32 // a value for each of Set.Measures, higher is better; NaN: not measured. Nil: none measured
}

// Set is what is compared.
type Set struct {
	Photos   []Photo
	Measures []string // names of the quality measures
	Pairs    []Pair   // the comparisons; nil: every two photos, and each other as the pair's Same
}

// Pair is a comparison of two photos by their numbers in Set.Photos.
type Pair struct {
	A, B      int
	Same      bool     // of one person: a mated pair
	Reference *float64 // somebody else's cosine, to hold ours against; nil: none
}

// gallery holds the templates of a set, those of a person side by side.
type gallery struct {
	photos []*Photo
	row    []int32 // of a photo of the set; −1: it has no template
	person []int32 // of a row: 0, 1, … in the order of rows
	end    []int32 // of a person: the row after the last
	rows   []float32
	stride int
}

func newGallery(s *Set) (*gallery, error) {
	g := &gallery{row: make([]int32, len(s.Photos))}
	order := make([]int, 0, len(s.Photos))
	for i, p := range s.Photos {
		if g.row[i] = -1; p.Failure == "" {
			order = append(order, i)
		}
	}
	if len(order) == 0 {
		return nil, fmt.Errorf("%w: %d photos, %s", ErrNoFaces, len(s.Photos), codesText(s.Photos))
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(s.Photos[a].Person, s.Photos[b].Person) })
	dim := len(s.Photos[order[0]].Template)
	g.stride = (dim + simd.FloatLine - 1) / simd.FloatLine * simd.FloatLine
	g.rows = make([]float32, len(order)*g.stride)
	for r, i := range order {
		p := &s.Photos[i]
		if n := norm(p.Template); len(p.Template) != dim || !(math.Abs(n-1) < 1e-3) {
			return nil, fmt.Errorf("%w: %s has %d numbers of norm %g, the first has %d", ErrTemplate, p.File, len(p.Template), n, dim)
		}
		copy(g.rows[r*g.stride:], p.Template)
		g.row[i] = int32(r)
		g.add(p)
	}
	return g, nil
}

// add gives the next row to p.
func (g *gallery) add(p *Photo) {
	r := len(g.photos)
	if r == 0 || g.photos[r-1].Person != p.Person {
		g.end = append(g.end, 0)
	}
	person := len(g.end) - 1
	g.photos, g.person = append(g.photos, p), append(g.person, int32(person))
	g.end[person] = int32(r + 1)
}

func (g *gallery) people() int { return len(g.end) }

// first is the first row of a person.
func (g *gallery) first(person int) int {
	if person == 0 {
		return 0
	}
	return int(g.end[person-1])
}

func (g *gallery) vector(row int) []float32 { return g.rows[row*g.stride : (row+1)*g.stride] }

// dot compares two rows. It has the same bits whenever it is called.
func (g *gallery) dot(a, b int) float32 {
	var d [1]float32
	simd.DotRows(d[:], g.vector(a), g.vector(b), g.stride)
	return d[0]
}

func norm(v []float32) float64 {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

// NamePeople gives a name to every photo that has none: photos that mated pairs connect are of one person, who is called
// after the first of them.
func (s *Set) NamePeople() {
	leader := make([]int, len(s.Photos)) // an earlier photo of the same person, or itself
	for i := range leader {
		leader[i] = i
	}
	find := func(i int) int {
		for leader[i] != i {
			leader[i] = leader[leader[i]]
			i = leader[i]
		}
		return i
	}
	for _, p := range s.Pairs {
		if a, b := find(p.A), find(p.B); p.Same {
			leader[max(a, b)] = min(a, b)
		}
	}
	for i := range s.Photos {
		if p := &s.Photos[i]; p.Person == "" {
			first := &s.Photos[find(i)]
			p.Person = cmp.Or(first.Person, first.File)
		}
	}
}
