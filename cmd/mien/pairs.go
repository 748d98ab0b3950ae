package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mien/bench/evaluate"
)

// located is a photo on disk.
type located struct {
	name   string // in reports: person/photo, or as a list has it
	file   string
	person string // "": a list says who is who
}

// selectPhotos lists the photos to compare, and where they lie: all of the folder, or those of a list of pairs.
func selectPhotos(folder, list string) (*evaluate.Set, []string, error) {
	var all []located
	if folder != "" {
		people, _, err := findPeople(folder)
		if err != nil {
			return nil, nil, err
		}
		for _, p := range people {
			for _, file := range p.photos {
				all = append(all, located{filepath.ToSlash(filepath.Join(p.id, filepath.Base(file))), file, p.id})
			}
		}
	}
	if list != "" {
		return readPairs(list, all)
	}
	set, files := &evaluate.Set{}, make([]string, len(all))
	for i, l := range all {
		set.Photos, files[i] = append(set.Photos, evaluate.Photo{Person: l.person, File: l.name}), l.file
	}
	return set, files, nil
}

// readPairs makes the set of a list, whose photos are among those of the folder, or beside the list.
func readPairs(list string, folder []located) (*evaluate.Set, []string, error) {
	f, err := os.Open(list)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	lines, err := evaluate.ReadPairs(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", filepath.Base(list), err)
	}
	p := pairList{dir: filepath.Dir(list), named: map[string][]located{}, at: map[string]int{}, set: &evaluate.Set{Pairs: []evaluate.Pair{}}}
	for _, l := range folder {
		p.named[l.name], p.named[filepath.Base(l.name)] = append(p.named[l.name], l), append(p.named[filepath.Base(l.name)], l)
	}
	for _, l := range lines {
		a, errA := p.photo(l.A)
		b, errB := p.photo(l.B)
		if err := errors.Join(errA, errB); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", filepath.Base(list), err)
		}
		p.set.Pairs = append(p.set.Pairs, evaluate.Pair{A: a, B: b, Same: l.Same, Reference: l.Reference})
	}
	p.set.NamePeople()
	return p.set, p.files, nil
}

// pairList collects the photos of a list, each once.
type pairList struct {
	dir   string
	named map[string][]located // of the folder, by person/photo and by photo
	at    map[string]int       // number by file
	set   *evaluate.Set
	files []string
}

// photo is the number of the photo that the list calls name.
func (p *pairList) photo(name string) (int, error) {
	l := located{name: name, file: filepath.Join(p.dir, name)}
	switch found := p.named[filepath.ToSlash(filepath.Clean(name))]; {
	case len(found) == 1:
		l = found[0]
	case len(found) > 1:
		return 0, fmt.Errorf("there are several photos %s: write person/photo", name)
	case !isPhoto(l.file):
		return 0, fmt.Errorf("there is no photo %s, neither in the folder nor beside the list", name)
	}
	i, ok := p.at[l.file]
	if !ok {
		i = len(p.files)
		p.at[l.file], p.files = i, append(p.files, l.file)
		p.set.Photos = append(p.set.Photos, evaluate.Photo{Person: l.person, File: l.name})
	}
	return i, nil
}
