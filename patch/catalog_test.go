package patch

import (
	"slices"
	"strings"
	"testing"

	"evolution-openai-patch/patch/postgres"
)

// A value that is filled in must not stand in a comment: a schema's name may hold the end of a line.
func TestNothingIsFilledIntoComments(t *testing.T) {
	texts := map[string]string{"guardbody.sql": guardTemplate}
	for _, q := range slices.Concat(identity, details) {
		texts[q.file] = q.sql()
	}
	if files, err := catalog.ReadDir("catalog"); err != nil || len(files) != len(texts)-1 {
		t.Errorf("%d files are used, want %d of the folder (%v)", len(texts)-1, len(files), err)
	}
	for name, sql := range texts {
		for line := range strings.Lines(sql) {
			if _, comment, found := strings.Cut(line, "--"); found && strings.Contains(comment, ":'") {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
	const schema = "a\n;SELECT 1;\r--'\\"
	for _, q := range slices.Concat(identity, details) {
		filled := q.about(&State{Schema: schema})
		if strings.Count(filled, schema) != 0 || strings.Count(filled, postgres.Array([]string{schema})) != strings.Count(q.sql(), ":'schemas'") {
			t.Errorf("%s: the name of the schema stands elsewhere than in a literal:\n%s", q.file, filled)
		}
	}
}
