package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"unicode"
)

// printable is text without what a terminal takes for commands or draws in another order: texts of manifests and names of
// files are others' work. Line breaks and tabs stay.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return -1
		}
		return r
	}, text)
}

// print writes v as one line of JSON, or text, made printable, to stdout.
func (o *output) print(v any, text string) error {
	if !o.json {
		_, err := fmt.Println(printable(text))
		return err
	}
	e := json.NewEncoder(os.Stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// answer prints and then says by the exit code whether the answer was yes.
func (o *output) answer(yes bool, v any, text string) error {
	if err := o.print(v, text); err != nil {
		return err
	}
	if !yes {
		return errNegative
	}
	return nil
}
