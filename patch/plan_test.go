package patch

import (
	"errors"
	"maps"
	"slices"
	"strconv"
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
	s := State{Schema: "s", Table: &TableInfo{Kind: "r"}, Background: Background{Columns: []string{"id", "apiKey", "name"}}}
	for i, x := range indexes {
		x.OID = strconv.Itoa(i)
		s.Named = append(s.Named, Relation{OID: x.OID, Name: x.Name, Kind: "i"})
		x.Name = qualified("s", x.Name)
		s.Indexes = append(s.Indexes, x)
	}
	return s
}

func unique(name string) Index {
	return Index{Name: name, Unique: true, Keys: 1, Key: "apiKey"}
}

// TestPlan holds every state against both goals.
func TestPlan(t *testing.T) {
	constraint, fk, primary, partial := unique("c"), unique("f"), unique("p"), unique("w")
	constraint.Constraints, fk.Constraints = []Constraint{{Name: "c", Type: "u"}}, []Constraint{{Name: "k", Type: "f", Table: "somebody"}}
	primary.Primary, partial.Special = true, true
	shipped := unique("OpenaiCreds_apiKey_key")
	plain := shipped
	plain.Unique = false
	works := &Trigger{Body: padBody, Settings: []string{padSettings}, Works: true}
	older := &Trigger{Body: "something else", Settings: []string{padSettings}, Works: true}
	padded := func(t *Trigger, k Keys, indexes ...Index) State {
		s := table(indexes...)
		s.Trigger, s.Keys = t, &k
		if t != nil {
			s.Function = "x"
		}
		k.Limit = 255
		return s
	}
	const (
		dropIndex    = `DROP INDEX IF EXISTS "s"."OpenaiCreds_apiKey_key"`
		createPlain  = `CREATE INDEX "OpenaiCreds_apiKey_key" ON "s"."OpenaiCreds" ("apiKey")`
		createUnique = `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "s"."OpenaiCreds" ("apiKey")`
		refused      = "refused"
	)
	index, both, name := Fixes[:1], Fixes[:2], Fixes[2:3]
	future := table()
	future.Migrations.Last = "20991231000000"
	for title, c := range map[string]struct {
		fixes         []Fix
		s             State
		keep          bool
		apply, revert string // the beginnings of the statements
	}{
		"as shipped":            {index, table(shipped), false, dropIndex, ""},
		"as shipped, kept":      {index, table(shipped), true, dropIndex + "|" + createPlain, ""},
		"patched":               {index, table(), false, "", createUnique},
		"patched, to be kept":   {index, table(), true, createPlain, createUnique},
		"kept":                  {index, table(plain), true, "", dropIndex + "|" + createUnique},
		"kept before":           {index, table(plain), false, "", dropIndex + "|" + createUnique},
		"dropped by Evolution":  {index, future, true, "", createUnique},
		"constraint":            {index, table(constraint), false, `ALTER TABLE "s"."OpenaiCreds" DROP CONSTRAINT IF EXISTS "c"`, ""},
		"two":                   {index, table(unique("a"), unique("b")), false, `DROP INDEX IF EXISTS "s"."a"|DROP INDEX IF EXISTS "s"."b"`, ""},
		"needed":                {index, table(fk), false, refused, refused},
		"primary":               {index, table(primary), false, refused, refused},
		"partial":               {index, table(partial), false, refused, refused},
		"one good, one not":     {index, table(unique("a"), fk), false, refused, refused},
		"another column":        {name, table(shipped), false, "", `CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON "s"."OpenaiCreds" ("name")`},
		"check, nothing stored": {both[1:], padded(nil, Keys{}), false, "CREATE OR REPLACE FUNCTION|DROP TRIGGER IF EXISTS|CREATE TRIGGER", ""},
		"check, keys":           {both[1:], padded(nil, Keys{Bare: 3}), false, "UPDATE|CREATE OR REPLACE FUNCTION|DROP TRIGGER IF EXISTS|CREATE TRIGGER", ""},
		"check, spaced before":  {both[1:], padded(nil, Keys{Spaced: 1}), false, refused, ""},
		"check, in place":       {both[1:], padded(works, Keys{Spaced: 3}), false, "", "DROP TRIGGER IF EXISTS|DROP FUNCTION IF EXISTS|UPDATE"},
		"check, keys slipped":   {both[1:], padded(works, Keys{Spaced: 3, Bare: 1}), false, "UPDATE", "DROP TRIGGER IF EXISTS|DROP FUNCTION IF EXISTS|UPDATE"},
		"check, older function": {both[1:], padded(older, Keys{Spaced: 3}), false, "CREATE OR REPLACE FUNCTION|DROP TRIGGER IF EXISTS|CREATE TRIGGER", "DROP TRIGGER IF EXISTS|DROP FUNCTION IF EXISTS|UPDATE"},
		"check, keys full":      {both[1:], padded(works, Keys{Full: 3}), false, "", "DROP TRIGGER IF EXISTS|DROP FUNCTION IF EXISTS|UPDATE"},
	} {
		for goal, want := range map[Goal]string{Apply: c.apply, Revert: c.revert} {
			p, err := plan(wish{fixes: c.fixes, goal: goal, keepNames: c.keep}, c.s)
			var refusal *RefusedError
			if errors.As(err, &refusal) != (want == refused) {
				t.Errorf("%s, goal %d: %v", title, goal, err)
			}
			if err != nil {
				continue
			}
			var prefixes []string
			if want != "" {
				prefixes = strings.Split(want, "|")
			}
			if !slices.EqualFunc(p.SQL, prefixes, strings.HasPrefix) {
				t.Errorf("%s, goal %d: %q, want %q", title, goal, p.SQL, prefixes)
			}
			if goal == Apply && slices.Contains(slices.Collect(maps.Values(p.Open)), true) != (len(p.SQL) > 0) {
				t.Errorf("%s: %v is open, but the plan is %q", title, p.Open, p.SQL)
			}
		}
	}
}
