package config

import (
	"context"
	"strings"
	"testing"
)

// A string of the environment without a name sets nothing, and its value is not printed.
func TestNamelessVariable(t *testing.T) {
	cfg, err := Parse(context.Background(), []string{goodURI, "=Sup3rSecret"})
	if err != nil || len(cfg.Sources) != 1 {
		t.Errorf("%d targets, %v", len(cfg.Sources), err)
	}
	if err != nil && strings.Contains(err.Error(), "Sup3rSecret") {
		t.Error("the value is printed")
	}
}
