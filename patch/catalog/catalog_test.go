package catalog

import (
	"slices"
	"strings"
	"testing"

	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/quote"
)

// A value that is filled in must not stand in a comment: a schema's name may hold the end of a line.
func TestNothingIsFilledIntoComments(t *testing.T) {
	for line := range strings.Lines(catalogSQL) {
		if _, comment, found := strings.Cut(line, "--"); found && strings.Contains(comment, ":'") {
			t.Error(line)
		}
	}
	const schema = "a\n;SELECT 1;\r--'\\"
	for _, q := range append(slices.Concat(identity, details), code) {
		filled := q.with(placeholders(&plan.State{Schema: schema}))
		if strings.Count(filled, schema) != 0 || strings.Count(filled, quote.Literal(schema)) != strings.Count(q.sql(), ":'schema'") {
			t.Errorf("%s: the name of the schema stands elsewhere than in a literal:\n%s", q.name, filled)
		}
	}
}

// Every statement of the file is used, by its name.
func TestCatalogNames(t *testing.T) {
	queries := append(slices.Concat(identity, details), code)
	for _, q := range queries {
		if !strings.Contains(q.sql(), "SELECT") {
			t.Errorf("catalog.sql has no statement of the name %s", q.name)
		}
	}
	if n := strings.Count(catalogSQL, "\n-- name: "); n != len(queries) {
		t.Errorf("catalog.sql has %d statements, and %d are used", n, len(queries))
	}
}

// What makes no difference is not asked about: in a fresh session, each question costs the server more than its answer.
func TestWhatIsAsked(t *testing.T) {
	bare := &plan.State{Schema: "s"}
	missing := plan.State{Schema: "s", Table: &plan.Relation{OID: "1", Columns: []plan.Column{{Collation: plan.DefaultCollation}}}}
	whole, another := missing, missing
	whole.Function = &plan.Function{}
	another.Table = &plan.Relation{OID: "1", Columns: []plan.Column{{Collation: "16384"}}}
	const always = "session schemas relations columns "
	const ofTable = "indexes constraints triggers "
	for title, c := range map[string]struct {
		c    Scope
		s    *plan.State
		want string
	}{
		"no table, index":        {Scope{}, bare, always + "elsewhere "},
		"no table, auto":         {Scope{Pad: true}, bare, always + "functions elsewhere "},
		"no table, guard":        {Scope{Guard: true}, bare, always + "elsewhere strangers grantees event_triggers "},
		"index":                  {Scope{}, &missing, always + ofTable + "event_triggers "},
		"index, backup":          {Scope{Backup: true}, &whole, always + "functions " + ofTable + "event_triggers "},
		"padding in place":       {Scope{Pad: true}, &whole, always + "functions " + ofTable + "replica event_triggers "},
		"padding to come":        {Scope{Pad: true}, &missing, always + "functions " + ofTable + "replica grantees event_triggers "},
		"padding to be reverted": {Scope{Pad: true, Revert: true}, &whole, always + "functions function_use " + ofTable + "replica event_triggers "},
		"collation":              {Scope{}, &another, always + "collations " + ofTable + "event_triggers "},
	} {
		var asked strings.Builder
		for _, q := range slices.Concat(identity, details) {
			if q.needed == nil || q.needed(c.c, &Inspection{State: *c.s}) {
				asked.WriteString(q.name + " ")
			}
		}
		if asked.String() != c.want {
			t.Errorf("%s: %s\nwant %s", title, asked.String(), c.want)
		}
	}
}
