package test

import (
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The report says changed=unknown if and only if the program cannot know whether its change was committed.
func TestLostCommit(t *testing.T) {
	for name, c := range map[string]struct {
		cut   pgtest.CommitCut
		code  int
		says  []string
		again string
	}{
		"lost":                     {pgtest.CommitCut{}, 0, []string{"patched: ", "changed=true"}, "changed=false"},
		"answer lost":              {pgtest.CommitCut{AnswerLost: true}, 0, []string{"patched: ", "changed=unknown"}, "changed=false"},
		"lost, server gone":        {pgtest.CommitCut{ServerGone: true}, 4, []string{"failed: ", "changed=unknown", "PATCH_ACTION=status tells"}, "changed=true"},
		"answer lost, server gone": {pgtest.CommitCut{AnswerLost: true, ServerGone: true}, 4, []string{"failed: ", "changed=unknown", "PATCH_ACTION=status tells"}, "changed=false"},
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "evolution_api")
			d.InsertCredentials(10)
			address, done := c.cut.Listen(t)
			uri := "DATABASE_CONNECTION_URI=" + d.URIThrough(address)
			o := pgtest.Run(t, uri, allFixes, "PATCH_WAIT_TIMEOUT=2s")
			o.Expect(t, c.code, c.says...)
			if !done.Load() {
				t.Fatal("the program sent no COMMIT")
			}
			d.Patch(allFixes).Expect(t, 0, "patched: ", c.again)
			address, _ = c.cut.Listen(t)
			o = pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.URIThrough(address), "PATCH_ACTION=revert", allFixes, "PATCH_LOG_FORMAT=json", "PATCH_WAIT_TIMEOUT=2s")
			if want := strings.Contains(strings.Join(c.says, " "), "unknown"); strings.Contains(o.Stdout, `"changed":null`) != want {
				t.Errorf("changed is null: %t, want %t: %s", !want, want, o.Stdout)
			}
		})
	}
}
