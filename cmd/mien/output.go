package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// print writes v as one line of JSON, or text, to stdout.
func (o *output) print(v any, text string) error {
	if !o.json {
		_, err := fmt.Println(text)
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
