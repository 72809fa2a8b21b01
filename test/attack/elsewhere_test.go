package attack

import (
	"fmt"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// mallory holds Evolution's table in many schemas. The advice names a few of them, whatever they are called.
func TestAttackBySchemasElsewhere(t *testing.T) {
	t.Parallel()
	a := newAttack(t, "mallory")
	a.Exec(fmt.Sprintf(`GRANT CREATE ON DATABASE %s TO %s`, a.Name, a.mallory))
	pgtest.Exec(t, a.asMallory, `DO $$ BEGIN FOR i IN 1..1000 LOOP
		EXECUTE format('CREATE SCHEMA %1$I; CREATE TABLE %1$I."OpenaiCreds" ()', format(E'trap %s\r\n\x1b[2J" patched: ', i)); END LOOP; END $$`)
	for _, environ := range [][]string{{"PATCH_ACTION=status"}, {"PATCH_ON_MISSING_TABLE=continue"}, {}, {"PATCH_ACTION=revert", "PATCH_LOG_FORMAT=json"}} {
		o := a.patchAs("postgres", environ...)
		o.Expect(t, 0, pgtest.IsElsewhere)
		if named := strings.Count(o.Stderr, "trap "); named == 0 || named > 20 {
			t.Errorf("%v: %d schemas are named, want 20 at most", environ, named)
		}
		requirePrintable(t, o.Stdout+o.Stderr)
	}
}

// mallory creates a further one between the look and the change. A message names it; it does not hold up the guard.
func TestAttackOnAGuardByASchemaElsewhere(t *testing.T) {
	t.Parallel()
	a := newAttack(t, "mallory")
	a.Exec(fmt.Sprintf(`GRANT CREATE ON DATABASE %s TO %s`, a.Name, a.mallory))
	a.patchAs("postgres", pgtest.IndexOnly).Expect(t, 0, "guarded: ")
	second := a.NewConn()
	pgtest.Exec(t, second, `BEGIN; DO $$ BEGIN EXECUTE (SELECT format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', evtname) FROM pg_event_trigger); END $$`)
	r := a.startBlocked("postgres", pgtest.AllFixes) // the guard is to be another one
	r.waitUntilBlockedBy(second)
	pgtest.Exec(t, a.asMallory, `CREATE SCHEMA trap_api; CREATE TABLE trap_api."OpenaiCreds" ()`)
	pgtest.Exec(t, second, `ROLLBACK`)
	o := r.wait("mallory created a schema")
	o.Expect(t, 0, "guarded: ", "changed=true")
	o.ExpectNot(t, pgtest.WaitsForServer)
}

// A revert of all schemas looks for guards. What somebody wrote into a schema under the name of a guard's is not taken for one.
func TestAttackOnTheSearchForGuards(t *testing.T) {
	t.Parallel()
	const function = `CREATE FUNCTION %s.f%d() RETURNS int LANGUAGE plpgsql AS $f$-- evolution-openai-patch {"schema": "trap %[2]d\r\u001b[2J%[3]s", "fixes": ["apikey-index"]}
		BEGIN END $f$;`
	a := newAttack(t, "evo")
	a.startEvolution(a.asEvo)
	a.Exec(fmt.Sprintf(`CREATE SCHEMA evolution_openai_patch_00000000 AUTHORIZATION %s; CREATE SCHEMA evolution_openai_patch_00000001; GRANT ALL ON SCHEMA evolution_openai_patch_00000001 TO %[1]s`, a.evo))
	for i := range 200 {
		for _, schema := range []string{"evolution_openai_patch_00000000", "evolution_openai_patch_00000001"} {
			pgtest.Exec(t, a.asEvo, fmt.Sprintf(function, schema, i, strings.Repeat("x", 10_000)))
		}
	}
	o := a.patchAs("postgres", "PATCH_SCHEMAS=*", "PATCH_ACTION=revert")
	o.ExpectCode(t, 0)
	requirePrintable(t, o.Stdout+o.Stderr)
	if strings.Contains(o.Stdout, "trap ") || strings.Count(o.Stdout, "\n") != 1 {
		t.Errorf("evo's functions are taken for guards:\n%.500s", o.Stdout)
	}
	if left := a.Text(`SELECT count(*) FROM pg_proc WHERE prosrc LIKE '-- evolution-openai-patch {"schema": "trap%'`); left != "400" {
		t.Errorf("%s of evo's 400 functions are left", left)
	}
}
