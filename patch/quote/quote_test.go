package quote

import (
	"strings"
	"testing"
)

func TestIdentifier(t *testing.T) {
	for name, want := range map[string]string{"a": `"a"`, `"`: `""""`, `a"; DROP`: `"a""; DROP"`, "": `""`} {
		if got := Identifier(name); got != want {
			t.Errorf("%s becomes %s, want %s", name, got, want)
		}
	}
}

// FuzzIdentifier reads the identifier back as PostgreSQL's scanner does: to the first double quote that is not doubled.
func FuzzIdentifier(f *testing.F) {
	f.Add(`we"ird'; DROP TABLE x; --`)
	f.Fuzz(func(t *testing.T, name string) {
		inner, ok := strings.CutPrefix(Identifier(name), `"`)
		var read strings.Builder
		for ok {
			i := strings.IndexByte(inner, '"')
			if i < 0 {
				t.Fatalf("%q is not closed", name)
			}
			read.WriteString(inner[:i])
			if inner = inner[i+1:]; !strings.HasPrefix(inner, `"`) {
				break
			}
			read.WriteByte('"')
			inner = inner[1:]
		}
		if read.String() != name || inner != "" {
			t.Errorf("%q reads back as %q, followed by %q", name, read.String(), inner)
		}
	})
}
