package project

import (
	"strings"
	"testing"

	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/test/pgtest"
)

// Every fix of the catalogue stands in what `help` prints and has a row in the reference.
func TestEveryFixIsDocumented(t *testing.T) {
	t.Parallel()
	for _, f := range plan.Fixes {
		if !strings.Contains(config.Help(), f.Name) {
			t.Errorf("help does not name %s", f.Name)
		}
		for _, page := range translated[1] {
			if !strings.Contains(pgtest.Read(t, page), "\n| `"+f.Name+"` | ") {
				t.Errorf("%s has no row for %s", page, f.Name)
			}
		}
	}
}
