package mpc

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"
)

// TestWindows: windows may be in days, as operators think of them, and what is no time is refused with what is one.
func TestWindows(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "24h": 24 * time.Hour, "30d": 30 * 24 * time.Hour, "1h30m": 90 * time.Minute} {
		if got, err := parseWindow(text); got != want || err != nil {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "1.5d", "-1d", "30 days", "99999d"} {
		if got, err := parseWindow(text); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// TestBudgetsWritten: budgets are read as they were written.
func TestBudgetsWritten(t *testing.T) {
	want := Budgets{Record: DefaultRecordBudget, Tenant: DefaultTenantBudget}
	b, err := json.Marshal(map[string]any{"policies": map[int]any{1: map[string]any{"model": 1, "dim": testDim, "log2_scale": 12, "cosine": 0.4}}, "budgets": want})
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePolicies(b)
	if err != nil || !reflect.DeepEqual(p.Budgets, want) {
		t.Errorf("%s: %+v, %v", b, p, err)
	}
}
