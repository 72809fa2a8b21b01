package test

import (
	"fmt"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Where somebody has taken from PUBLIC what every role may read, the refusal says that, and not that the table has another owner.
func TestCatalogIsHidden(t *testing.T) {
	t.Parallel()
	for _, hidden := range []string{"TABLE pg_catalog.pg_proc", "TABLE pg_catalog.pg_trigger", "FUNCTION pg_catalog.pg_get_indexdef(oid)", "FUNCTION pg_catalog.pg_lock_status()", "SCHEMA pg_catalog"} {
		t.Run(hidden, func(t *testing.T) {
			t.Parallel()
			d := pgtest.NewEvolution(t, "evolution_api")
			owner := d.Name + "_owner"
			d.Exec(fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s'; GRANT ALL ON SCHEMA evolution_api TO %[1]s; ALTER TABLE "OpenaiCreds" OWNER TO %[1]s`, owner, pgtest.Password))
			right := "SELECT"
			switch hidden[0] {
			case 'F':
				right = "EXECUTE"
			case 'S':
				right = "USAGE"
			}
			d.Exec(fmt.Sprintf("REVOKE %s ON %s FROM PUBLIC", right, hidden))
			uri := "DATABASE_CONNECTION_URI=" + d.URIAs(owner)
			for _, action := range []string{"status", "apply"} {
				pgtest.Run(t, uri, pgtest.AllFixes, "PATCH_ACTION="+action).Expect(t, 1, "failed: ", pgtest.HiddenCatalog)
			}
			d.Exec(fmt.Sprintf("GRANT %s ON %s TO PUBLIC", right, hidden))
			pgtest.Run(t, uri, pgtest.AllFixes).Expect(t, 0, "patched: ")
		})
	}
}
