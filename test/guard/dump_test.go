package guard

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// A guard that is armed travels in a dump. A superuser restores it, armed.
func TestGuardIsRestored(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true")
	restored := d.RestoreElsewhere(t)
	restored.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "guarded: ")
	restored.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=false")
	restored.Migrate(pgtest.Last)
	restored.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
}

// Anybody else who restores it is refused the event trigger, and nothing else.
func TestGuardIsRestoredBySuperusersOnly(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ", "changed=true")
	restored := pgtest.NewDatabase(t, "public")
	role := restored.Name + "_owner"
	restored.Exec(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'; ALTER DATABASE %s OWNER TO %[1]s`, role, pgtest.Password, restored.Name))
	psql, err := pgtest.PostgresCommand("psql", "-X", "-b", "-v", "VERBOSITY=sqlstate", "-h", "localhost", "-p", restored.Server.Port, "-U", role, "-d", restored.Name)
	if err != nil {
		t.Fatal(err)
	}
	psql.Stdin = strings.NewReader(dumpWithoutOwners(t, d))
	out, err := psql.CombinedOutput()
	errors := strings.Count(string(out), "ERROR:")
	if err != nil || errors != 1 || !strings.Contains(string(out), "ERROR:  42501\nSTATEMENT:  CREATE EVENT TRIGGER ") {
		t.Errorf("psql: %v\n%s", err, out)
	}
	restored.Patch(pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "pending: ")
}

// dumpWithoutOwners returns what pg_dump writes of the guard for somebody who may not set owners or, where there is no pg_dump of
// the server's version, the same statements.
func dumpWithoutOwners(t *testing.T, d *pgtest.Database) string {
	t.Helper()
	dir, err := pgtest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	if !pgtest.Exists(filepath.Join(dir, "pg_dump")) {
		return d.Text(`SELECT format(E'CREATE SCHEMA %1$I;\n%2$s;\nCREATE EVENT TRIGGER %1$I ON ddl_command_end WHEN TAG IN (''CREATE INDEX'') EXECUTE FUNCTION %3$s;\n',
			evtname, pg_get_functiondef(evtfoid), evtfoid::regprocedure) FROM pg_event_trigger`)
	}
	cmd, err := pgtest.PostgresCommand("pg_dump", "--no-owner", "--no-privileges", "-h", "localhost", "-p", d.Server.Port, "-U", "postgres", d.Name)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
