package http

import (
	"encoding/json"
	"strconv"

	"mien/engine"
)

// takeFilter takes {"status": "…", "metadata": {"field": value or [values]}}.
func takeFilter(f *engine.Filter) func([]byte, string) error {
	return func(raw []byte, at string) error {
		return decodeObject(raw, at, []member{
			{"status", takeString((*string)(&f.Status))},
			{"metadata", func(raw []byte, at string) error { return takeFieldValues(f, raw, at) }},
		})
	}
}

// textFilter takes the same as text of a form.
func textFilter(f *engine.Filter) func(string, string) error {
	return func(v, at string) error {
		var raw json.RawMessage
		if err := textJSONObject(&raw)(v, at); err != nil {
			return err
		}
		return takeFilter(f)(raw, at)
	}
}

func takeFieldValues(f *engine.Filter, raw []byte, at string) error {
	if raw[0] != '{' {
		return wrongType(raw, at, "an object")
	}
	f.Metadata = map[string][]any{}
	return eachMember(raw, func(member, value []byte) error {
		name := string(member)
		if _, again := f.Metadata[name]; again {
			return fail(codeBadJSON, "%q is given twice", pointer(at, clip(name)))
		}
		if len(f.Metadata) == engine.MaxFilterable {
			return fail(codeBadFilter, "%q may name %d fields at most", at, engine.MaxFilterable)
		}
		values, err := fieldValues(value, pointer(at, clip(name)))
		f.Metadata[name] = values
		return err
	})
}

// fieldValues are those of an array, or the one.
func fieldValues(raw []byte, at string) (values []any, err error) {
	if raw[0] != '[' {
		v, err := fieldValue(raw, at)
		return []any{v}, err
	}
	err = eachElement(raw, func(i int, element []byte) error {
		if i == engine.MaxFilterValues {
			return fail(codeBadFilter, "%q may have %d values at most", at, engine.MaxFilterValues)
		}
		v, err := fieldValue(element, at+"/"+strconv.Itoa(i))
		values = append(values, v)
		return err
	})
	return values, err
}

func fieldValue(raw []byte, at string) (v any, err error) {
	if raw[0] == '[' || raw[0] == '{' || raw[0] == 'n' || json.Unmarshal(raw, &v) != nil {
		return nil, wrongType(raw, at, "a string, a number, a boolean or an array of those")
	}
	return v, nil
}

// takeFields takes the names of filterable fields, which the engine validates.
func takeFields(names *[]string) func([]byte, string) error {
	return func(raw []byte, at string) error {
		if raw[0] != '[' {
			return wrongType(raw, at, "an array")
		}
		return eachElement(raw, func(i int, value []byte) error {
			if i == engine.MaxFilterable {
				return fail(codeBadRequest, "%q may have %d elements at most", at, engine.MaxFilterable)
			}
			var name string
			err := takeString(&name)(value, at+"/"+strconv.Itoa(i))
			*names = append(*names, name)
			return err
		})
	}
}
