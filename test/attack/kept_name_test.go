package attack

import (
	"fmt"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// newWithoutName creates evo's database, patched, without the names that should be kept.
func newWithoutName(t *testing.T) *attack {
	t.Helper()
	a := newAttackOnEvolution(t)
	a.patchAs("postgres", pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES=false").Expect(t, 0, "patched: ")
	return a
}

// For the sake of a name nothing is risked: no trap is sprung, nobody is waited for, and nothing fails where the role may only read.
func TestAttackOnAKeptName(t *testing.T) {
	t.Parallel()
	for _, tag := range []string{"COMMENT", "CREATE INDEX", "DROP INDEX"} {
		t.Run("event trigger for "+tag, func(t *testing.T) {
			t.Parallel()
			a := newWithoutName(t)
			pgtest.Exec(t, a.asEvo, `CREATE FUNCTION evil.fired() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM evil.strike(); END'`)
			a.Exec(fmt.Sprintf(`CREATE EVENT TRIGGER zz_trap ON ddl_command_end WHEN TAG IN ('%s') EXECUTE FUNCTION evil.fired()`, tag))
			before := a.Catalog()
			a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false", pgtest.NotKept)
			a.requireUnchanged(before, "a run that does not need the name")
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 3, "zz_trap", a.evo)
		})
	}
	t.Run("lock", func(t *testing.T) {
		t.Parallel()
		a := newWithoutName(t)
		pgtest.Exec(t, a.asEvo, `BEGIN; LOCK TABLE "OpenaiCreds" IN ACCESS SHARE MODE`)
		a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false", pgtest.NotKept) // while evo holds it
		pgtest.Exec(t, a.asEvo, `COMMIT`)
		a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
	})
	t.Run("reader", func(t *testing.T) {
		t.Parallel()
		a := newWithoutName(t)
		a.Exec(fmt.Sprintf(`GRANT SELECT ON ALL TABLES IN SCHEMA evolution_api TO %s`, a.mallory))
		a.patchAs(a.mallory, pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false", pgtest.NotKept)
	})
}

// Nor does a name fail a change that is needed.
func TestAttackOnAChangeByAKeptName(t *testing.T) {
	t.Parallel()
	t.Run("owner who may create nothing in the schema", func(t *testing.T) {
		t.Parallel()
		a := newAttackOnEvolution(t)
		a.Exec(`ALTER SCHEMA evolution_api OWNER TO postgres; GRANT USAGE ON SCHEMA evolution_api TO ` + a.evo)
		a.patchAs(a.evo, pgtest.IndexOnly).Expect(t, 0, "patched: ", "changed=true", pgtest.NotKept)
		a.patchAs(a.evo, pgtest.IndexOnly).Expect(t, 0, "patched: ", "changed=false", pgtest.NotKept)
		a.patchAs("postgres", pgtest.IndexOnly).Expect(t, 0, "patched: ", "changed=true")
	})
	t.Run("key that fits into no index", func(t *testing.T) {
		t.Parallel()
		a := newAttackOnEvolution(t)
		pgtest.Exec(t, a.asEvo, `ALTER TABLE "OpenaiCreds" ALTER "apiKey" TYPE text; DROP INDEX "OpenaiCreds_apiKey_key"`)
		pgtest.Exec(t, a.asEvo, `INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId")
			SELECT 'c3', 'n3', string_agg(md5(i::text), ''), now(), 'i1' FROM generate_series(1, 1000) AS i`)
		a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true", pgtest.NotKept)
		a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false", pgtest.NotKept)
	})
	t.Run("name that is taken", func(t *testing.T) {
		t.Parallel()
		a := newAttackOnEvolution(t)
		a.patchAs("postgres", pgtest.IndexOnly, "PATCH_KEEP_INDEX_NAMES=false").Expect(t, 0, "patched: ")
		pgtest.Exec(t, a.asMallory, `CREATE TABLE "OpenaiCreds_apiKey_key" ()`) // mallory may, and does so before Evolution is patched or after
		before := a.Catalog()
		a.patchAs("postgres", pgtest.IndexOnly).Expect(t, 3, pgtest.DifferentThing)
		a.requireUnchanged(before, "a run that was refused")
	})
}
