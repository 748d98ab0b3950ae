package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestEnrolNotes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes")
	target := enrolTarget{Folder: ".", Server: "s", Gallery: "g"}
	people := []someone{{"a\nb", []string{"1"}}, {"c", []string{"2", "3"}}, {"日本", []string{"4"}}}
	for i, want := range [][]someone{people, people[1:], people[2:]} {
		n, err := openNotes(path, target)
		if err != nil {
			t.Fatal(err)
		}
		left, photos := n.left(people)
		if !reflect.DeepEqual(left, want) || photos != []int{4, 3, 1}[i] {
			t.Errorf("%d: %v, %d photos", i, left, photos)
		}
		if err := n.note(people[i].id); err != nil {
			t.Error(err)
		}
		if i == 1 { // a crash in the middle of a line
			if _, err := n.f.WriteString(`{"person":"日`); err != nil {
				t.Error(err)
			}
		}
		if err := n.close(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := (*enrolNotes)(nil).left(people); len(left) != 3 {
		t.Error(left)
	}
	if _, err := openNotes(path, enrolTarget{Folder: ".", Server: "s", Gallery: "other"}); err == nil || !strings.Contains(err.Error(), "not of this") {
		t.Error(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || os.WriteFile(path, append(data, "{}\n"...), 0o600) != nil {
		t.Fatal(err)
	}
	if _, err := openNotes(path, target); err == nil || !strings.Contains(err.Error(), "line 5") {
		t.Error(err)
	}
}
