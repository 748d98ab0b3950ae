package extract

import "errors"

// opened is a model on a device: a session of ONNX Runtime, or a test's.
type opened interface {
	runner
	close() error
}

// open loads a model on a device.
func (c *Config) open(m *model, d device) (opened, error) {
	if c.opens != nil {
		return c.opens(m, d)
	}
	return m.open(d)
}

// openAll opens a model on every device.
func (h *host) openAll(m *model) (sessions []opened, err error) {
	for _, d := range h.devices {
		s, err := h.config.open(m, d)
		if err != nil {
			return nil, errors.Join(err, closeAll(sessions))
		}
		sessions = append(sessions, s)
	}
	return sessions, nil
}

func closeAll(sessions []opened) error {
	var errs []error
	for _, s := range sessions {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// once runs a model on one full batch: that it loads does not say that it runs, nor that there is memory for it.
func once(m *model, s opened, batch int) error {
	r, err := m.newRun(batch)
	if err != nil {
		return err
	}
	return errors.Join(s.run(r, batch), r.close())
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
	sessions, err := h.openAll(m)
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
	for i, d := range h.devices {
		p.Devices = append(p.Devices, d.String())
		if p.PerItem > 0 || d.provider == CPU { // it was measured, or can't be better elsewhere
			continue
		}
		if err := once(m, sessions[i], p.Batching.Max); err != nil {
			return nil, errors.Join(err, c.free())
		}
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
		h.devices = h.config.find(m)
	}
	return nil
}
