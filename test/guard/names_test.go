package guard

import (
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The names of guards end in a hash of the schema's name, which is the same for these two schemas. Only one of the two can
// have a guard; the other one is told so, and leaves the first alone.
func TestGuardsWithTheSameName(t *testing.T) {
	t.Parallel()
	const second = "tenant_c5wvpnb"
	first := pgtest.NewDatabase(t, "evolution_api")
	first.Exec("CREATE SCHEMA " + second)
	other := first.In(second)
	first.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true")
	unguarded := func() {
		t.Helper()
		other.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "pending: ", "apikey-check=pending")
		other.Patch(pgtest.AllFixes).Expect(t, 0, "pending: ", "changed=false", "level=WARN", pgtest.NoGuard, pgtest.GuardOfAnother, "evolution_api")
		other.Patch(pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "pending: ", "changed=false")
		other.Patch(pgtest.AllFixes, "PATCH_ON_MISSING_TABLE=fail").Expect(t, 4)
	}
	unguarded()
	pgtest.MustMigrate(t, other.NewConn(), pgtest.Last)
	other.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
	other.Patch(pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
	first.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "guarded: ")
	first.Migrate(pgtest.Last)
	first.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "patched: ")

	// What the first guard leaves is the first schema's to remove.
	first.Exec(`ALTER TABLE ` + second + `."OpenaiCreds" RENAME TO hidden`)
	unguarded()
	first.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
	first.ExpectNoGuard(pgtest.AllFixes)
	other.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true")
}
