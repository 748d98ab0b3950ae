package extract

import "errors"

// openAll opens a model on every device.
func openAll(m *model, devices []device) (sessions []*session, err error) {
	for _, d := range devices {
		s, err := m.open(d)
		if err != nil {
			return nil, errors.Join(err, closeAll(sessions))
		}
		sessions = append(sessions, s)
	}
	return sessions, nil
}

func closeAll(sessions []*session) error {
	var errs []error
	for _, s := range sessions {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// host is what the stages of an extractor share.
type host struct {
	config  Config
	cores   *Cores
	devices []device // nil before the first model
	plans   []StagePlan
}

// stage loads a model on the devices and makes its stage.
func (h *host) stage(m *model) (*stage, error) {
	if err := h.findDevices(m); err != nil {
		return nil, err
	}
	sessions, err := openAll(m, h.devices)
	if err != nil {
		return nil, err
	}
	c := stageConfig{
		role: m.role, items: m.items, cores: h.cores, newRun: m.newRun, onCPU: h.devices[0].onCPU(), delay: h.config.BatchDelay, queue: h.config.StageQueue,
		free: func() error { return closeAll(sessions) },
	}
	for _, s := range sessions {
		c.runners = append(c.runners, s)
	}
	p, err := c.plan(m, h.config.Batching)
	if err != nil {
		return nil, errors.Join(err, c.free())
	}
	for _, d := range h.devices {
		p.Devices = append(p.Devices, d.String())
	}
	h.plans = append(h.plans, p)
	c.batching = p.Batching
	return newStage(c)
}

// findDevices settles the devices with the first model that is loaded.
func (h *host) findDevices(m *model) (err error) {
	if h.devices != nil {
		return nil
	}
	if h.devices, err = parseDevices(h.config.Devices); err != nil {
		return err
	}
	if h.devices[0].provider == Auto {
		h.devices = find(m, h.config.Logger)
	}
	return nil
}
