package mpc

import (
	"reflect"
	"testing"
	"time"
)

// TestSettings: settings are read as they were written, and what differs is told, of policies only what the gateway has.
func TestSettings(t *testing.T) {
	of := func(cluster string, timeout time.Duration, cosines map[uint16]float64) settings {
		p := &Policies{Policies: make(map[uint16]Policy)}
		for id, cosine := range cosines {
			p.Policies[id] = Policy{Model: 1, Params: defaults(t, testDim, VerifyLogScale), Cosine: cosine}
		}
		return newSettings(cluster, timeout, p)
	}
	gateway := of("a", 2*time.Second, map[uint16]float64{1: 0.4, 2: 0.5, 3: 0.6})
	r := &reader{b: gateway.appendTo(nil)}
	if got := r.settings(); r.end() != nil || !reflect.DeepEqual(got, gateway) {
		t.Errorf("%+v, %v, want %+v", got, r.end(), gateway)
	}
	for want, party := range map[string]settings{
		"":                        of("a", 2*time.Second, map[uint16]float64{1: 0.4, 2: 0.5, 3: 0.6, 4: 0.7}),
		"the name of the cluster": of("b", 2*time.Second, map[uint16]float64{1: 0.4, 2: 0.5, 3: 0.6}),
		"policies 1 3":            of("a", 2*time.Second, map[uint16]float64{1: 0.41, 2: 0.5}),
		"the round timeout, 3s at the party and 2s at the gateway": of("a", 3*time.Second, map[uint16]float64{1: 0.4, 2: 0.5, 3: 0.6}),
	} {
		if d := party.differ(gateway); d.String() != want || d.any() != (want != "") {
			t.Errorf("%q, %v, want %q", d, d.any(), want)
		}
	}
}
