package guard

import (
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// What a dry run prints can be executed as it is, though the guard's function has many lines.
func TestGuardOfADryRunCanBePasted(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	o := d.Patch(pgtest.AllFixes, "PATCH_DRY_RUN=true")
	o.Expect(t, 0, "pending: ", pgtest.GuardWouldBe)
	o.ExpectNot(t, pgtest.OnceMore)
	_, sql, _ := strings.Cut(strings.TrimSpace(o.Stdout), " would run: ")
	d.Exec(sql)
	d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "guarded: ")
	d.Migrate(pgtest.Last)
	d.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
}
