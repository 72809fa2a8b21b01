package patch

import (
	"slices"
	"strings"
	"testing"

	"evolution-openai-patch/patch/postgres"
)

// A value that is filled in must not stand in a comment: a schema's name may hold the end of a line.
func TestNothingIsFilledIntoComments(t *testing.T) {
	for name, sql := range map[string]string{"catalog.sql": catalogSQL, "guardbody.sql": guardTemplate} {
		for line := range strings.Lines(sql) {
			if _, comment, found := strings.Cut(line, "--"); found && strings.Contains(comment, ":'") {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
	const schema = "a\n;SELECT 1;\r--'\\"
	for _, q := range slices.Concat(identity, details) {
		filled := q.with(placeholders(&State{Schema: schema}))
		if strings.Count(filled, schema) != 0 || strings.Count(filled, postgres.Array([]string{schema})) != strings.Count(q.sql(), ":'schemas'") {
			t.Errorf("%s: the name of the schema stands elsewhere than in a literal:\n%s", q.name, filled)
		}
	}
}

// Every statement of the file is used, by its name.
func TestCatalogNames(t *testing.T) {
	queries := slices.Concat(identity, details)
	for _, q := range queries {
		if !strings.Contains(q.sql(), "SELECT") {
			t.Errorf("catalog.sql has no statement of the name %s", q.name)
		}
	}
	if n := strings.Count(catalogSQL, "\n-- name: "); n != len(queries) {
		t.Errorf("catalog.sql has %d statements, and %d are used", n, len(queries))
	}
}
