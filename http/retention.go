package http

import (
	"bytes"
	"encoding/json"
	"time"

	"mien/engine"
)

// retentionFields take how long a person may be kept and why; queries, which proxies write to their logs, take neither.
func retentionFields(dst *engine.Retention) []field {
	return []field{
		{name: "expires", json: takeTime(&dst.Expires), text: textTime(&dst.Expires), noQuery: true},
		{name: "consent", noQuery: true,
			json: func(raw []byte, at string) error { return takeConsent(&dst.Consent)(raw, at) },
			text: func(v, at string) error {
				raw := bytes.Trim([]byte(v), jsonSpace)
				if !json.Valid(raw) {
					return fail(codeBadJSON, "%q must be a JSON object: %s", at, syntaxDetail(raw))
				}
				return takeConsent(&dst.Consent)(raw, at)
			}},
	}
}

func takeConsent(dst **engine.Consent) func([]byte, string) error {
	return func(raw []byte, at string) error {
		c := new(engine.Consent)
		*dst = c
		return decodeObject(raw, at, []member{
			{"purpose", takeString(&c.Purpose)}, {"basis", takeString(&c.Basis)}, {"reference", takeString(&c.Reference)},
			{"given_at", takeTime(&c.Given)}, {"expires", takeTime(&c.Expires)},
		})
	}
}

// retentionPatch are the fields by which a patch changes a person's retention; null removes.
func retentionPatch(patch *engine.PersonPatch) []field {
	return []field{
		{name: "expires", json: func(raw []byte, at string) error {
			patch.Expires = new(time.Time)
			return unlessNull(raw, at, takeTime(patch.Expires))
		}},
		{name: "consent", json: func(raw []byte, at string) error {
			patch.Consent = new(*engine.Consent)
			return unlessNull(raw, at, takeConsent(patch.Consent))
		}},
	}
}
