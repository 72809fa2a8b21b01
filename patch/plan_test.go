package patch

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	for name, want := range map[string]string{"a": `"a"`, `"`: `""""`, `a"; DROP`: `"a""; DROP"`, "": `""`} {
		if got := quote(name); got != want {
			t.Errorf("%s becomes %s, want %s", name, got, want)
		}
	}
}

// FuzzQuote reads the identifier back as PostgreSQL's scanner does: to the first double quote that is not doubled.
func FuzzQuote(f *testing.F) {
	f.Add(`we"ird'; DROP TABLE x; --`)
	f.Fuzz(func(t *testing.T, name string) {
		inner, ok := strings.CutPrefix(quote(name), `"`)
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

// table is a State with Evolution's table and these indexes.
func table(indexes ...Index) State {
	return State{Schema: "s", Table: &TableInfo{Kind: "r", Columns: []string{"id", "apiKey", "name"}}, Indexes: indexes}
}

func unique(name string) Index {
	return Index{Name: name, Unique: true, Valid: true, Keys: 1, Key: "apiKey"}
}

func TestPlan(t *testing.T) {
	constraint, fk, primary, partial := unique("c"), unique("f"), unique("p"), unique("w")
	constraint.Constraint, fk.Dependants, primary.Primary, partial.Special = "c", []string{"somebody"}, true, true
	plain := unique("OpenaiCreds_apiKey_key")
	plain.Unique = false
	for name, c := range map[string]struct {
		s       State
		sql     []string
		refused bool
	}{
		"as shipped":        {table(unique("OpenaiCreds_apiKey_key")), []string{`DROP INDEX IF EXISTS "s"."OpenaiCreds_apiKey_key"`}, false},
		"patched":           {table(), nil, false},
		"plain":             {table(plain), nil, false},
		"constraint":        {table(constraint), []string{`ALTER TABLE "s"."OpenaiCreds" DROP CONSTRAINT IF EXISTS "c"`}, false},
		"two":               {table(unique("a"), unique("b")), []string{`DROP INDEX IF EXISTS "s"."a"`, `DROP INDEX IF EXISTS "s"."b"`}, false},
		"needed":            {table(fk), nil, true},
		"primary":           {table(primary), nil, true},
		"partial":           {table(partial), nil, true},
		"one good, one not": {table(unique("a"), fk), nil, true},
	} {
		p, err := plan(Fixes[:1], c.s)
		var refused *RefusedError
		if errors.As(err, &refused) != c.refused {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && !slices.Equal(p.SQL, c.sql) {
			t.Errorf("%s: %q, want %q", name, p.SQL, c.sql)
		}
		if err == nil && (len(p.Open) == 0) != (len(p.SQL) == 0) {
			t.Errorf("%s: %v is open, but the plan is %q", name, p.Open, p.SQL)
		}
	}
}
