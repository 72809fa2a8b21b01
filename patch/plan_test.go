package patch

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"evolution-openai-patch/patch/postgres"
)

// table is a State with Evolution's table and these indexes.
func table(indexes ...Index) State {
	s := State{Schema: "s", Keys: &Keys{}, Table: &Table{Kind: "r", Readable: true, Columns: []Column{
		{Name: "id", Number: 1, Text: true, BuiltIn: true},
		{Name: "name", Number: 2, Text: true, BuiltIn: true, Limit: 255},
		{Name: "apiKey", Number: 3, Text: true, BuiltIn: true, Limit: 255},
	}}}
	for i, x := range indexes {
		x.OID = strconv.Itoa(i)
		s.Named = append(s.Named, Relation{OID: x.OID, Name: x.Name, Kind: "i"})
		x.Name = postgres.Qualified("s", x.Name)
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
	primary.Primary, partial.Partial = true, true
	shipped := unique("OpenaiCreds_apiKey_key")
	plain := shipped
	plain.Unique = false
	works := &Trigger{Name: objectName, Function: "1", Plain: true, Type: 23, Enabled: "O"}
	ours := Function{OID: "1", Plain: true, Trusted: true, Body: padBody, Settings: padSettings}
	older := ours
	older.Body = "something else"
	disabled := *works
	disabled.Enabled = "D"
	padded := func(t *Trigger, f *Function, k Keys, indexes ...Index) State {
		s := table(indexes...)
		if s.Keys, s.Function = &k, f; t != nil {
			s.Triggers = []Trigger{*t}
		}
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
		"check, nothing stored": {both[1:], padded(nil, nil, Keys{}), false, "CREATE FUNCTION|REVOKE ALL|CREATE TRIGGER", ""},
		"check, keys":           {both[1:], padded(nil, nil, Keys{Bare: 3}), false, "UPDATE ONLY|CREATE FUNCTION|REVOKE ALL|CREATE TRIGGER", ""},
		"check, spaced before":  {both[1:], padded(nil, nil, Keys{Spaced: 1, Bare: 1, Spaces: map[string]int{"c": 2}}), false, "UPDATE ONLY|CREATE FUNCTION|REVOKE ALL|COMMENT ON FUNCTION|CREATE TRIGGER", ""},
		"check, in place":       {both[1:], padded(works, &ours, Keys{Spaced: 3}), false, "", "DROP TRIGGER|DROP FUNCTION|UPDATE ONLY"},
		"check, keys slipped":   {both[1:], padded(works, &ours, Keys{Spaced: 3, Bare: 1}), false, "DROP TRIGGER|UPDATE ONLY|CREATE TRIGGER", "DROP TRIGGER|DROP FUNCTION|UPDATE ONLY"},
		"check, disabled":       {both[1:], padded(&disabled, &ours, Keys{Spaced: 3}), false, "DROP TRIGGER|CREATE TRIGGER", "DROP TRIGGER|DROP FUNCTION|UPDATE ONLY"},
		"check, no trigger":     {both[1:], padded(nil, &ours, Keys{Spaced: 3}), false, "CREATE TRIGGER", "DROP FUNCTION|UPDATE ONLY"},
		"check, other function": {both[1:], padded(works, &older, Keys{Spaced: 3}), false, refused, refused},
		"check, lone trigger":   {both[1:], padded(works, nil, Keys{}), false, refused, refused},
		"check, keys full":      {both[1:], padded(works, &ours, Keys{Full: 3}), false, "", "DROP TRIGGER|DROP FUNCTION"},
	} {
		for goal, want := range map[Goal]string{Apply: c.apply, Revert: c.revert} {
			p, err := plan(Request{Fixes: c.fixes, Goal: goal, KeepNames: c.keep}, c.s)
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
			if goal == Apply && slices.Contains(slices.Collect(maps.Values(p.Unmet)), true) != (len(p.SQL) > 0) {
				t.Errorf("%s: %v is unmet, but the plan is %q", title, p.Unmet, p.SQL)
			}
		}
	}
}
