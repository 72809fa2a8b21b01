package guard

import (
	"fmt"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// mallory creates a function under the name of the program's and does not commit. The guard gives up waiting for her soon,
// long before Evolution's own timeout.
func TestGuardWaitsForNoFunction(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Exec(`GRANT CREATE ON SCHEMA public TO PUBLIC`)
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ")
	mallory, evo := createRole(t, d, d.Name+"_mallory"), createOwner(t, d, d.Name+"_evo")
	pgtest.Exec(t, mallory, `BEGIN; CREATE FUNCTION public.evolution_openai_patch() RETURNS text LANGUAGE sql AS 'SELECT 1::text'`)
	pgtest.Exec(t, evo, `SET search_path TO public; SET statement_timeout = '1min'`)
	pgtest.MustMigrate(t, evo, pgtest.Last)
	pgtest.Exec(t, mallory, `ROLLBACK`)
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
	d.ExpectNoGuard(pgtest.AllFixes)
}

// Somebody's event trigger that reads what a command has created runs after the guard, which has dropped it. Before PostgreSQL 14
// it would fail, and the migration with it, so no guard is installed there; since then both do their work.
func TestGuardBesideAnEventTrigger(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"", "WHEN TAG IN ('CREATE INDEX')"} {
		d := pgtest.NewDatabase(t, "public")
		d.Exec(`CREATE SCHEMA audit; GRANT USAGE ON SCHEMA audit TO PUBLIC;
			CREATE FUNCTION audit.read() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN PERFORM object_identity FROM pg_event_trigger_ddl_commands(); END$$;
			CREATE EVENT TRIGGER zz_ddl_watch ON ddl_command_end ` + when + ` EXECUTE FUNCTION audit.read()`)
		o := d.Patch(pgtest.AllFixes)
		if d.Major() < 14 {
			o.Expect(t, 0, "pending: ", "changed=false", "level=WARN", pgtest.NoGuard, "zz_ddl_watch")
		} else {
			o.Expect(t, 0, "guarded: ", "changed=true")
		}
		evo := createOwner(t, d, d.Name+"_evo")
		pgtest.Exec(t, evo, `SET search_path TO public`)
		pgtest.MustMigrate(t, evo, pgtest.Last)
		d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", fmt.Sprintf("changed=%t", d.Major() < 14))
	}
}

// What the guard executes sends nothing to the session: neither a notice of somebody's event trigger about an index
// that the guard drops, nor the guard's own message to the server's log. createRole checks that. Nor does an error of the
// guard's end a session that every error ends.
func TestGuardIsSilent(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]string{
		"notice": `CREATE SCHEMA audit; CREATE FUNCTION audit.dropped() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN
				IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE object_name = 'OpenaiCreds_apiKey_key') THEN RAISE NOTICE 'dropped'; END IF; END$$;
			CREATE EVENT TRIGGER audit ON sql_drop WHEN TAG IN ('DROP INDEX') EXECUTE FUNCTION audit.dropped()`,
		"log": `CREATE FUNCTION public.evolution_openai_patch() RETURNS text LANGUAGE sql AS 'SELECT 1::text'`,
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewDatabase(t, "public")
			d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ")
			d.Exec(prepare)
			evo := createOwner(t, d, d.Name+"_evo")
			pgtest.Exec(t, evo, `SET search_path TO public; SET client_min_messages = log; SET exit_on_error = on`)
			pgtest.MustMigrate(t, evo, pgtest.Last)
		})
	}
}
