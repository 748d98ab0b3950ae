package http

// spaceExtractor makes templates of photos in one space.
type spaceExtractor struct {
	Extractor
	space string
}

// extractorOf returns the extractor of a space; "" is the default one. Errors: engine.ErrSpaceUnknown, the problem
// extractor_missing.
func (s *Server) extractorOf(space string) (spaceExtractor, error) {
	known, err := s.engine.Space(space)
	if err != nil {
		return spaceExtractor{}, err
	}
	x := s.cfg.Extractors[known.ID]
	if known.ID == s.engine.DefaultSpace().ID {
		x = s.cfg.Extractor
	}
	if x == nil {
		return spaceExtractor{}, fail(codeExtractorMissing, "this server runs without models of embedding space %q; send templates", known.ID)
	}
	return spaceExtractor{x, known.ID}, nil
}

// spaceField takes the space in which photos become templates.
func (s *subject) spaceField() field {
	take := takeString(&s.space)
	return field{name: "space", json: take, text: func(v, _ string) error { s.space = v; return nil }}
}
