package plan

import (
	"slices"
	"strings"
	"testing"
)

// The rows of the catalogue say what the rest of the package relies on.
func TestFixes(t *testing.T) {
	t.Parallel()
	if !slices.IsSortedFunc(Fixes, func(a, b Fix) int { return strings.Compare(a.Since, b.Since) }) {
		t.Error("the fixes are not in the order of the migrations that create their columns")
	}
	for i, f := range Fixes {
		if !slices.Contains(Columns, f.Column) {
			t.Errorf("%s: no column %s in Columns", f.Name, f.Column)
		}
		if f.Pad != (f.Index == "") || f.Pad && f.Column != KeyColumn {
			t.Errorf("%s: it either drops an index or pads %s", f.Name, KeyColumn)
		}
		if f.Needs != "" && !Contains(Fixes[:i], f.Needs) {
			t.Errorf("%s: it needs %s, which is no fix above it", f.Name, f.Needs)
		}
		if f.Secret != (f.Column == KeyColumn) {
			t.Errorf("%s: the keys, and nothing else, are secret", f.Name)
		}
	}
}
