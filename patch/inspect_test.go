package patch

import (
	"strings"
	"testing"

	"evolution-openai-patch/patch/postgres"
)

// A value that is filled in must not stand in a comment: a schema's name may hold the end of a line.
func TestNothingIsFilledIntoComments(t *testing.T) {
	for name, sql := range map[string]string{"inspect.sql": inspectSQL, "padding.sql": paddingSQL, "guard.sql": guardSQL, "guardbody.sql": guardTemplate} {
		for line := range strings.Lines(sql) {
			if _, comment, found := strings.Cut(line, "--"); found && strings.Contains(comment, ":'") {
				t.Errorf("%s: %s", name, line)
			}
		}
		const schema = "a\n;SELECT 1;\r--'\\"
		filled := forSchemas(sql, &State{Schema: schema})
		if strings.Count(filled, schema) != 0 || strings.Count(filled, postgres.Array([]string{schema})) != strings.Count(sql, ":'schemas'") {
			t.Errorf("%s: the name of the schema stands elsewhere than in a literal:\n%s", name, filled)
		}
	}
}
