package engine

import (
	"encoding/json"
	"time"
)

// PortablePerson is a person as files of people carry it (engine/transfer): all that clients are told but the version, which
// is the store's, and the templates.
type PortablePerson struct {
	ID       string
	Metadata json.RawMessage
	// Status of "" says nothing: who is there keeps theirs, and who is new is active. An export says one.
	Status    Status
	Created   time.Time // to the millisecond, as Updated
	Updated   time.Time
	Retention                    // to the millisecond
	Templates []PortableTemplate // 1..MaxTemplates, oldest first
	History   []PortableTemplate // up to MaxHistory that were replaced, oldest first, without their vectors
}

// PortableTemplate is a template with its provenance.
type PortableTemplate struct {
	Number   uint32 // TemplateInfo.ID: from 1, rising, unique within the person
	Created  time.Time
	Source   string
	Quality  *float64  // of the photo, TemplateInfo.Quality; nil: it was not judged
	By       string    // id of the API key that enrolled it, of the installation where that was; up to MaxByBytes
	Replaced time.Time // of history: when
	Vector   []float32 // float32[dim] of the gallery's space; nil of history
}
