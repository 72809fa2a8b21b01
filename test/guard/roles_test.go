package guard

import (
	"context"
	"fmt"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The guard fires for whoever may do in the schema or in the database whatever their owners may. For a role that may only create
// something there it does not: it stays armed, and the next run applies the fixes.
func TestGuardFiresForOwners(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql     string // %[1]s is the database, %[2]s Evolution's role
		changed bool   // whether anything is left to the next run
	}{
		"owner of the schema":             {`ALTER SCHEMA public OWNER TO %[2]s`, false},
		"member of the schema's owner":    {`CREATE ROLE %[2]s_owner; GRANT %[2]s_owner TO %[2]s; ALTER SCHEMA public OWNER TO %[2]s_owner`, false},
		"owner of the database":           {`ALTER DATABASE %[1]s OWNER TO %[2]s; GRANT ALL ON SCHEMA public TO %[2]s`, false},
		"member of the database's owner":  {`CREATE ROLE %[2]s_owner; GRANT %[2]s_owner TO %[2]s; ALTER DATABASE %[1]s OWNER TO %[2]s_owner; GRANT ALL ON SCHEMA public TO %[2]s`, false},
		"superuser":                       {`ALTER ROLE %[2]s SUPERUSER`, false},
		"everybody":                       {`GRANT ALL ON SCHEMA public TO PUBLIC, %[2]s`, true},
		"role that may let others create": {`GRANT ALL ON SCHEMA public TO %[2]s WITH GRANT OPTION; GRANT ALL ON DATABASE %[1]s TO %[2]s WITH GRANT OPTION`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pgtest.NewDatabase(t, "public")
			evo := createRole(t, d, d.Name+"_evo")
			d.Exec(fmt.Sprintf(c.sql, d.Name, d.Name+"_evo"))
			d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ")
			pgtest.MustMigrate(t, evo, pgtest.Last)
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", fmt.Sprintf("changed=%t", c.changed))
		})
	}
}

// The owner of the schema renames it while a migration is open in which the guard has fired. Without a guard that does not wait.
func TestGuardHoldsUpNoRename(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	d.Exec(`CREATE SCHEMA evolution_api`)
	d = d.In("evolution_api")
	evo := createOwner(t, d, d.Name+"_evo")
	d.Exec(fmt.Sprintf(`GRANT CREATE ON DATABASE %s TO %s_evo`, d.Name, d.Name))
	d.Patch(pgtest.AllFixes).Expect(t, 0, "guarded: ")
	pgtest.Exec(t, evo, `SET search_path TO evolution_api; BEGIN; CREATE TABLE "OpenaiCreds" (id text PRIMARY KEY, "apiKey" varchar(255), "instanceId" text, name varchar(255));
		CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`)
	if got := pgtest.Text(t, evo, `SELECT indisunique FROM pg_index WHERE indexrelid = '"OpenaiCreds_apiKey_key"'::regclass`); got != "false" {
		t.Error("the guard has not fired")
	}
	d.Exec(`SET lock_timeout = '1s'`)
	if _, err := d.Conn.Exec(context.Background(), `ALTER SCHEMA evolution_api RENAME TO evolution_old`); err != nil {
		t.Error(err)
	}
	pgtest.Exec(t, evo, `COMMIT`)
}
