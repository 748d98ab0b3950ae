package http

import (
	"slices"

	"mien/engine"
)

// needsExact refuses jobs to a key that is told less than exact scores: their results are all pairs with their scores, and
// who may choose their threshold finds out scores that are left out. Errors: the problem forbidden.
func (r *request) needsExact() error {
	if r.key.Scores == "" || r.key.Scores == engine.ScoresExact {
		return nil
	}
	return fail(codeForbidden, "this key is not told exact scores, and jobs are about nothing else: use a key with scores exact")
}

// job is the job that the path names. For a key that is bound to other galleries than the job's there is none. Errors: the problem
// forbidden, engine.ErrJobNotFound.
func (s *Server) job(r *request) (engine.Job, error) {
	if err := r.needsExact(); err != nil {
		return engine.Job{}, err
	}
	j, err := s.engine.Job(r.ctx, r.key.Tenant, r.params[0])
	if err == nil && !r.key.MayUse(j.Gallery) {
		_, err = s.engine.Job(r.ctx, r.key.Tenant, "")
	}
	return j, err
}

// startDedupe begins a de-duplication: 202 with the job, 200 if it is under way already.
func (s *Server) startDedupe(r *request) (reply, error) {
	var spec engine.DedupeSpec
	var falsePairs *float64
	err := r.decodeOptional([]field{
		{name: "policy", json: takePolicy(&spec.Policy)},
		{name: "expected_false_pairs", json: takeFloat(&falsePairs)},
		{name: "min_quality", json: takeFloat(&spec.MinQuality)},
		{name: "max_pairs", json: takeInt(&spec.MaxPairs, 1, engine.MaxJobPairs)},
	})
	if err != nil {
		return reply{}, err
	}
	if falsePairs != nil {
		if spec.ExpectedFalsePairs = *falsePairs; !(*falsePairs > 0) {
			return reply{}, fail(codeBadPolicy, "expected_false_pairs is %v: it must be above 0", *falsePairs)
		}
	}
	if err := r.needsExact(); err != nil {
		return reply{}, err
	}
	answer := func(j engine.Job, created bool) reply {
		if created {
			return reply{status: 202, value: j}
		}
		return reply{status: 200, value: j}
	}
	j, created, err := s.engine.StartDedupe(once(r.ctx, r, answer), r.key.Tenant, r.params[0], spec)
	return answer(j, created), err
}

func (s *Server) listJobs(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	if err := r.needsExact(); err != nil {
		return reply{}, err
	}
	all, err := s.engine.Jobs(r.ctx, r.key.Tenant)
	all = slices.DeleteFunc(all, func(j engine.Job) bool { return !r.key.MayUse(j.Gallery) })
	return reply{status: 200, value: map[string]any{"jobs": orEmpty(all)}}, err
}

func (s *Server) getJob(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	j, err := s.job(r)
	return reply{status: 200, value: j}, err
}

// patchJob cancels a job, which is all that can be changed of one.
func (s *Server) patchJob(r *request) (reply, error) {
	state := ""
	if err := r.decode([]field{{name: "state", json: takeString(&state)}}); err != nil {
		return reply{}, err
	}
	if state != string(engine.JobCancelled) {
		return reply{}, fail(codeBadRequest, `give {"state": %q}: nothing else of a job can be changed`, engine.JobCancelled)
	}
	if _, err := s.job(r); err != nil {
		return reply{}, err
	}
	j, err := s.engine.CancelJob(r.ctx, r.key.Tenant, r.params[0])
	return reply{status: 200, value: j}, err
}

func (s *Server) deleteJob(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	if _, err := s.job(r); err != nil {
		return reply{}, err
	}
	return reply{status: 204}, s.engine.DeleteJob(once(r.ctx, r, noContent), r.key.Tenant, r.params[0])
}

// pairsBody is a page of a job's pairs.
type pairsBody struct {
	Pairs []engine.Pair `json:"pairs"`
	Next  string        `json:"next,omitempty"` // the cursor of the next page; none: this was the last
}

func (s *Server) jobPairs(r *request) (reply, error) {
	limit, cursor, err := r.pageQuery()
	if err != nil {
		return reply{}, err
	}
	if _, err := s.job(r); err != nil {
		return reply{}, err
	}
	pairs, next, err := s.engine.JobPairs(r.ctx, r.key.Tenant, r.params[0], limit, cursor)
	return reply{status: 200, value: pairsBody{orEmpty(pairs), next}}, err
}

// findingsBody is a page of a job's findings.
type findingsBody struct {
	Findings []engine.Finding `json:"findings"`
	Next     string           `json:"next,omitempty"`
}

func (s *Server) jobFindings(r *request) (reply, error) {
	limit, cursor, err := r.pageQuery()
	if err != nil {
		return reply{}, err
	}
	if _, err := s.job(r); err != nil {
		return reply{}, err
	}
	findings, next, err := s.engine.JobFindings(r.ctx, r.key.Tenant, r.params[0], limit, cursor)
	return reply{status: 200, value: findingsBody{orEmpty(findings), next}}, err
}
