package engine

import (
	"encoding/json"
	"time"
)

// PortablePerson is a person as files of people carry it (engine/transfer): all that clients are told but the version, which
// is the store's, and the templates.
type PortablePerson struct {
	ID        string
	Metadata  json.RawMessage
	Created   time.Time // to the millisecond, as Updated
	Updated   time.Time
	Templates []PortableTemplate // 1..MaxTemplates, oldest first
}

// PortableTemplate is a template with its provenance.
type PortableTemplate struct {
	Number  uint32 // TemplateInfo.ID: from 1, rising, unique within the person
	Created time.Time
	Source  string
	Vector  []float32 // float32[dim] of the gallery's space
}
