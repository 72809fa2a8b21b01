package test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Where session_replication_role is replica, the padding trigger does not run. The program says where that is set, and
// changes nothing, however it is spelled.
func TestReplicaRole(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, options, says string }{
		"database":     {`ALTER DATABASE %s SET session_replication_role = 'REPLICA'`, "", "for the database, this session,"},
		"another name": {`ALTER DATABASE %s SET "Session_Replication_Role" TO Replica`, "", "for the database, this session,"},
		"owner":        {`ALTER ROLE %s_own SET session_replication_role = 'Replica'`, "", `for role %s_own,`},
		"owner here":   {`ALTER ROLE %s_own IN DATABASE %s SET session_replication_role = 'REPLICA'`, "", `for role %s_own,`},
		"not for us":   {`ALTER DATABASE %s SET session_replication_role = 'REPLICA'; ALTER ROLE postgres IN DATABASE %s SET session_replication_role = origin`, "", "for the database,"},
		"options":      {``, "&options=-c%20session_replication_role%3Dreplica", "for this session,"},
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "public")
			d.Register("2.3", "i1", "one", pgtest.APIKey)
			d.Exec(fmt.Sprintf(`CREATE ROLE %[1]s_own; ALTER TABLE "OpenaiCreds" OWNER TO %[1]s_own`, d.Name))
			d.Exec(strings.ReplaceAll(c.sql, "%s", d.Name))
			expectReplicaRefused(t, d, c.options, strings.ReplaceAll(c.says, "%s", d.Name))
		})
	}
}

// The setting may also be that of the whole server.
func TestReplicaRoleOfTheServer(t *testing.T) {
	t.Parallel()
	d := pgtest.NewServer(t).NewDatabase(t, "public")
	d.Migrate(pgtest.Last)
	d.Exec(`ALTER SYSTEM SET session_replication_role = 'REPLICA'`)
	d.Exec("SELECT pg_reload_conf()")
	pgtest.MustUntil(t, func() error {
		if got := d.Text("SELECT current_setting('session_replication_role')"); got != "replica" {
			return fmt.Errorf("session_replication_role is %s", got)
		}
		return nil
	})
	expectReplicaRefused(t, d, "", "for this session,")
}

// expectReplicaRefused runs the program with options added to the connection string. It must refuse the setting and change nothing.
func expectReplicaRefused(t *testing.T, d *pgtest.Database, options, says string) {
	t.Helper()
	before := d.Dump()
	uri := "DATABASE_CONNECTION_URI=" + d.URI() + options
	for _, action := range []string{"status", "apply"} {
		pgtest.Run(t, uri, pgtest.AllFixes, "PATCH_ACTION="+action).
			Expect(t, 3, "failed: ", "changed=false", pgtest.IsReplica+says, "RESET session_replication_role")
	}
	d.ExpectDump(before)
}

// A session that a pooler gives to others may have been left in that mode. The program's own change is made without it, so that the
// triggers of the table count, and a warning says what Evolution's own sessions would meet.
func TestReplicaRoleLeftInAPooler(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	d.Register("2.3", "i1", "one", pgtest.APIKey)
	address := d.Server.StartPgBouncer(t)
	uri := d.URIThrough(address)
	pgtest.MustUntil(t, func() error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	left := pgtest.Connect(t, pgtest.URI("postgres", address, d.Name, "")+"&default_query_exec_mode=simple_protocol")
	program := func(environ ...string) pgtest.Outcome {
		t.Helper()
		pgtest.Exec(t, left, "SET session_replication_role = replica") // a session that the last run had may be gone
		return pgtest.Run(t, append([]string{"DATABASE_CONNECTION_URI=" + uri, pgtest.AllFixes}, environ...)...)
	}
	d.Exec(createStrip + `CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`)
	before := d.Dump()
	program().Expect(t, 3, "failed: ", `trigger \"zz\"`)
	d.ExpectDump(before)

	d.Exec(`DROP TRIGGER zz ON "OpenaiCreds"`)
	before = d.Dump()
	program().Expect(t, 0, "patched: ", "changed=true", "level=WARN", "session_replication_role")
	program("PATCH_ACTION=status").Expect(t, 0, "patched: ", "level=WARN", "session_replication_role")
	program("PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
	d.ExpectDump(before)
}
