package plan

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"evolution-openai-patch/patch/quote"
)

// table is a State with Evolution's table and these indexes.
func table(indexes ...Index) State {
	s := State{Schema: "s", Keys: &Keys{}, Migrations: Migrations{Last: FirstChecking}, Table: &Relation{Kind: "r", Mine: true, Creates: true, Readable: true, Columns: []Column{
		{Name: "id", Number: 1, Text: true, Collation: DefaultCollation},
		{Name: "name", Number: 2, Text: true, Collation: DefaultCollation, Limit: 255},
		{Name: "apiKey", Number: 3, Text: true, Collation: DefaultCollation, Limit: 255},
	}}}
	for i, x := range indexes {
		x.OID = strconv.Itoa(i)
		s.Relations = append(s.Relations, Relation{OID: x.OID, Name: x.Name, Kind: "i"})
		x.Bare, x.Name = x.Name, quote.Qualified("s", x.Name)
		s.Table.Indexes = append(s.Table.Indexes, &x)
	}
	return s
}

func unique(name string) Index {
	return Index{Name: name, Unique: true, Keys: 1, Key: "apiKey"}
}

// Indexes and objects of which the states below are made.
var (
	shipped    = unique("OpenaiCreds_apiKey_key")
	plainIndex = with(shipped, func(x *Index) { x.Unique = false })
	constraint = with(unique("c"), func(x *Index) { x.Constraints = []Constraint{{Name: "c", Type: "u"}} })
	needed     = with(unique("f"), func(x *Index) { x.Constraints = []Constraint{{Name: "k", Type: "f", Table: "somebody"}} })
	primary    = with(unique("p"), func(x *Index) { x.Primary = true })
	standing   = with(plainIndex, func(x *Index) { x.Comment = "evolution-openai-patch, in the words of another version" })
	renamed    = with(standing, func(x *Index) { x.Name = "renamed" })
	otherName  = with(plainIndex, func(x *Index) { x.Name = "a" })
	partial    = with(unique("w"), func(x *Index) { x.Partial = true })

	padTrigger  = Trigger{Name: ObjectName, Function: "1", Plain: true, Type: 23, Enabled: "O"}
	disabled    = Trigger{Name: ObjectName, Function: "1", Plain: true, Type: 23, Enabled: "D"}
	ownFunction = Function{OID: "1", Exact: true, Trusted: true}
	another     = Function{OID: "1", Trusted: true}

	future        = with(table(), func(s *State) { s.Migrations.Last = "20991231000000" })
	futureShipped = at(future.Migrations.Last, shipped)
)

// at is the same of a database whose last migration has this time stamp.
func at(last string, indexes ...Index) State {
	s := table(indexes...)
	s.Migrations.Last = last
	return s
}

// with returns a copy of a value that change has changed.
func with[T any](value T, change func(*T)) T {
	change(&value)
	return value
}

// padded returns the state of a table with these keys and, unless they are nil, the padding.
func padded(t *Trigger, f *Function, k Keys, indexes ...Index) State {
	s := table(indexes...)
	if s.Keys, s.Function = &k, f; t != nil {
		s.Triggers = []Trigger{*t}
	}
	return s
}

const (
	dropIndex     = `DROP INDEX IF EXISTS "s"."OpenaiCreds_apiKey_key"`
	createPlain   = `CREATE INDEX "OpenaiCreds_apiKey_key" ON "s"."OpenaiCreds" ("apiKey")`
	comment       = `COMMENT ON INDEX "s"."OpenaiCreds_apiKey_key" IS 'evolution-openai-patch `
	createUnique  = `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "s"."OpenaiCreds" ("apiKey")`
	dropRenamed   = `DROP INDEX IF EXISTS "s"."renamed"`
	uniqueRenamed = `CREATE UNIQUE INDEX "renamed" ON "s"."OpenaiCreds" ("apiKey")`
	refused       = "refused"
)

// plans are requests and states with the beginnings of the statements that lead to each goal.
var plans = map[string]struct {
	fixes         []Fix
	s             State
	keep          bool
	apply, revert string // the beginnings of the statements
}{
	"as shipped":                      {Fixes[:1], table(shipped), false, dropIndex, ""},
	"as shipped, kept":                {Fixes[:1], table(shipped), true, dropIndex + "|" + createPlain + "|" + comment, ""},
	"patched":                         {Fixes[:1], table(), false, "", createUnique},
	"patched, to be kept":             {Fixes[:1], table(), true, createPlain + "|" + comment, createUnique},
	"kept":                            {Fixes[:1], table(standing), true, "", dropIndex + "|" + createUnique},
	"kept without a comment":          {Fixes[:1], table(plainIndex), true, comment, dropIndex + "|" + createUnique},
	"kept before":                     {Fixes[:1], table(standing), false, "", dropIndex + "|" + createUnique},
	"kept before, no comment":         {Fixes[:1], table(plainIndex), false, "", dropIndex + "|" + createUnique},
	"another name":                    {Fixes[:1], table(otherName), true, createPlain + "|" + comment, createUnique},
	"kept and renamed":                {Fixes[:1], table(renamed), true, "", dropRenamed + "|" + uniqueRenamed},
	"kept, renamed, made anew":        {Fixes[:1], table(renamed, shipped), true, dropIndex + "|" + createPlain + "|" + comment, dropRenamed},
	"kept, and another unique":        {Fixes[:1], table(standing, unique("u")), true, `DROP INDEX IF EXISTS "s"."u"`, dropIndex},
	"unknown, dropped":                {Fixes[:1], at(""), true, "", ""},
	"unknown, plain":                  {Fixes[:1], at("", plainIndex), true, "", ""},
	"unknown, kept":                   {Fixes[:1], at("", standing), true, "", dropIndex + "|" + createUnique},
	"unknown, as shipped":             {Fixes[:1], at("", shipped), true, dropIndex + "|" + createPlain + "|" + comment, ""},
	"dropped by Evolution":            {Fixes[:1], future, true, "", ""},
	"made plain by Evolution":         {Fixes[:1], at(future.Migrations.Last, plainIndex), true, "", ""},
	"kept, renamed by Evolution":      {Fixes[:1], at(future.Migrations.Last, renamed), true, "", dropRenamed + "|" + uniqueRenamed},
	"kept for Evolution":              {Fixes[:1], at(future.Migrations.Last, standing), true, "", dropIndex + "|" + createUnique},
	"made anew by Evolution":          {Fixes[:1], futureShipped, true, dropIndex + "|" + createPlain + "|" + comment, ""},
	"made anew by Evolution, kept":    {Fixes[:1], at(future.Migrations.Last, renamed, shipped), true, dropIndex + "|" + createPlain + "|" + comment, dropRenamed},
	"not of the role":                 {Fixes[:1], with(table(), func(s *State) { s.Table.Mine = false }), true, "", createUnique},
	"no right to create":              {Fixes[:1], with(table(shipped), func(s *State) { s.Table.Creates = false }), true, dropIndex, ""},
	"a standby":                       {Fixes[:1], with(table(), func(s *State) { s.Standby = true }), true, "", createUnique},
	"somebody's event trigger":        {Fixes[:1], with(table(), func(s *State) { s.Superuser, s.EventTriggers = true, []EventTrigger{{Name: "e"}} }), true, "", refused},
	"constraint":                      {Fixes[:1], table(constraint), false, `ALTER TABLE "s"."OpenaiCreds" DROP CONSTRAINT IF EXISTS "c"`, ""},
	"two":                             {Fixes[:1], table(unique("a"), unique("b")), false, `DROP INDEX IF EXISTS "s"."a"|DROP INDEX IF EXISTS "s"."b"`, ""},
	"needed":                          {Fixes[:1], table(needed), false, refused, refused},
	"primary":                         {Fixes[:1], table(primary), false, refused, refused},
	"partial":                         {Fixes[:1], table(partial), false, refused, refused},
	"one good, one not":               {Fixes[:1], table(unique("a"), needed), false, refused, refused},
	"another column":                  {Fixes[2:3], table(shipped), false, "", `CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON "s"."OpenaiCreds" ("name")`},
	"check, nothing stored":           {Fixes[1:2], padded(nil, nil, Keys{}), false, "CREATE FUNCTION|REVOKE ALL|CREATE TRIGGER", ""},
	"check, keys":                     {Fixes[1:2], padded(nil, nil, Keys{Bare: 3}), false, "CREATE FUNCTION|REVOKE ALL|CREATE TRIGGER|UPDATE ONLY", ""},
	"check, spaced before":            {Fixes[1:2], padded(nil, nil, Keys{Spaced: 1, Bare: 1}), false, "CREATE FUNCTION|REVOKE ALL|CREATE TRIGGER|UPDATE ONLY", ""},
	"check, in place":                 {Fixes[1:2], padded(&padTrigger, &ownFunction, Keys{Spaced: 3}), false, "", "DROP TRIGGER|DROP FUNCTION|UPDATE ONLY"},
	"check, keys slipped":             {Fixes[1:2], padded(&padTrigger, &ownFunction, Keys{Spaced: 3, Bare: 1}), false, "UPDATE ONLY", "DROP TRIGGER|DROP FUNCTION|UPDATE ONLY"},
	"check, slipped, not ours to run": {Fixes[1:2], with(padded(&padTrigger, &ownFunction, Keys{Spaced: 3, Bare: 1}), func(s *State) { s.Role = "postgres" }), false, "DROP TRIGGER|UPDATE ONLY|CREATE TRIGGER", "DROP TRIGGER|DROP FUNCTION|UPDATE ONLY"},
	"check, disabled, keys slipped":   {Fixes[1:2], padded(&disabled, &ownFunction, Keys{Spaced: 3, Bare: 1}), false, "DROP TRIGGER|CREATE TRIGGER|UPDATE ONLY", "DROP TRIGGER|DROP FUNCTION|UPDATE ONLY"},
	"check, no trigger, keys slipped": {Fixes[1:2], with(padded(nil, &ownFunction, Keys{Spaced: 3, Bare: 1}), func(s *State) { s.Role = "postgres" }), false, "UPDATE ONLY|CREATE TRIGGER", "DROP FUNCTION|UPDATE ONLY"},
	"check, disabled":                 {Fixes[1:2], padded(&disabled, &ownFunction, Keys{Spaced: 3}), false, "DROP TRIGGER|CREATE TRIGGER", "DROP TRIGGER|DROP FUNCTION|UPDATE ONLY"},
	"check, no trigger":               {Fixes[1:2], padded(nil, &ownFunction, Keys{Spaced: 3}), false, "CREATE TRIGGER", "DROP FUNCTION|UPDATE ONLY"},
	"check, other function":           {Fixes[1:2], padded(&padTrigger, &another, Keys{Spaced: 3}), false, refused, refused},
	"check, lone trigger":             {Fixes[1:2], padded(&padTrigger, nil, Keys{}), false, refused, refused},
	"check, keys full":                {Fixes[1:2], padded(&padTrigger, &ownFunction, Keys{Full: 3}), false, "", "DROP TRIGGER|DROP FUNCTION"},
}

// TestPlan holds every state against both goals.
func TestPlan(t *testing.T) {
	for title, c := range plans {
		for goal, want := range map[Goal]string{Apply: c.apply, Revert: c.revert} {
			p, err := Make(Request{Fixes: c.fixes, Goal: goal, KeepNames: c.keep}, c.s)
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
			if a := Assess(Request{Fixes: c.fixes, KeepNames: c.keep}, c.s); goal == Apply && (a.Status == Patched) != (len(p.SQL) == 0 || p.Optional) {
				t.Errorf("%s: %s, but the plan is %q", title, a.Status, p.SQL)
			}
		}
	}
}

// The function goes to the owner of the table, so that it can be dropped with that, and nobody else may call what is created.
func TestPaddingBelongsToTheOwner(t *testing.T) {
	s := padded(nil, nil, Keys{})
	s.Role, s.Table.Owner, s.Grantees = "postgres", "evo-1", []Named{{"a b"}, {"c"}}
	p, err := Make(Request{Schema: "s", Fixes: Fixes[1:2]}, s)
	function := `FUNCTION "s"."evolution_openai_patch"() `
	want := []string{"CREATE " + function, "REVOKE ALL ON " + function + `FROM PUBLIC, "a b", "c"`, "CREATE TRIGGER", "ALTER " + function + `OWNER TO "evo-1"`}
	if err != nil || !slices.EqualFunc(p.SQL, want, strings.HasPrefix) {
		t.Errorf("%v, %q", err, p.SQL)
	}
}
